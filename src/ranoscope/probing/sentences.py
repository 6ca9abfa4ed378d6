"""A plain sentence for every finding: what was seen, and what it means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ranoscope.probing.probes import Expectation
from ranoscope.probing.verdicts import Verdict

_UNDECIDED = "The interval is too wide to say whether this is as it should be."
_FALLS = {
    Verdict.AS_IT_SHOULD: "It loses most of its score without the tumour's images, as it should.",
    Verdict.NOTEWORTHY: "Something beside the tumour still helps it above chance.",
    Verdict.SHORTCUT: "It keeps more than half of its score above chance: it calls by something else than the tumour.",
    Verdict.UNCERTAIN: "It cannot be told from chance, or not from half of the score; too few cases to say.",
}
_MEANING: dict[Expectation, dict[Verdict, str]] = {
    Expectation.STABLE: {
        Verdict.AS_IT_SHOULD: "Where nothing changed it says so.",
        Verdict.NOTEWORTHY: "It often sees a change where there is none.",
        Verdict.SHORTCUT: "It calls progression where nothing changed: by what a single study shows, not by change.",
        Verdict.UNCERTAIN: _UNDECIDED,
    },
    Expectation.MIRRORS: {
        Verdict.AS_IT_SHOULD: "Its calls follow the direction of time.",
        Verdict.NOTEWORTHY: "Many of its calls are the same in either direction of time.",
        Verdict.SHORTCUT: "Most of its calls of a change stay when time is reversed: they do not rest on the change.",
        Verdict.UNCERTAIN: _UNDECIDED,
    },
    Expectation.LOSES: _FALLS,
    Expectation.KEEPS: {
        Verdict.AS_IT_SHOULD: "The tumour alone carries most of its score.",
        Verdict.NOTEWORTHY: "The tumour alone does not carry its score; that may also be for images unlike any it "
        "learnt from.",
        Verdict.UNCERTAIN: _UNDECIDED,
    },
    Expectation.SAME_CALLS: {
        Verdict.AS_IT_SHOULD: "The side does not matter to it.",
        Verdict.NOTEWORTHY: "The side matters to it, which no criterion knows.",
        Verdict.UNCERTAIN: _UNDECIDED,
    },
    Expectation.LOSES_SOME: {
        Verdict.AS_IT_SHOULD: "It needs the contrast-enhanced sequence that the criteria rest on.",
        Verdict.NOTEWORTHY: "It keeps most of its score without the sequence that the criteria rest on.",
        Verdict.UNCERTAIN: _UNDECIDED,
    },
    Expectation.KEEPS_MOST: {
        Verdict.AS_IT_SHOULD: "It does not hang on this sequence.",
        Verdict.NOTEWORTHY: "Most of its score hangs on this sequence.",
        Verdict.UNCERTAIN: _UNDECIDED,
    },
}


def probe_sentence(entry: dict[str, Any]) -> str:
    """Of a probe's entry in shortcuts.json."""
    expected, verdict = Expectation(entry["expected"]), Verdict(entry["verdict"])
    if expected is Expectation.STABLE:
        seen = f"{percent(entry['called_stable'])} are called stable, {percent(entry['called_pd'])} PD."
    elif expected is Expectation.MIRRORS:
        seen = f"Of its calls of a change {percent(entry['mirrored'])} turn round and {percent(entry['held'])} stay."
    elif expected is Expectation.SAME_CALLS:
        seen = f"{percent(entry['changed'])} of the calls change."
    else:
        seen = f"Balanced accuracy is {percent(entry['balanced_accuracy'])}; it changes by {points(entry)}."
    return f"{seen} {_MEANING[expected][verdict]}"


def yardstick_sentence(entry: dict[str, Any]) -> str:
    """Of a model of weeks alone."""
    said = {
        Verdict.AS_IT_SHOULD: "In this cohort it gives next to nothing away.",
        Verdict.NOTEWORTHY: "In this cohort it gives part of the response away: a network may learn it.",
        Verdict.UNCERTAIN: _UNDECIDED,
    }[Verdict(entry["verdict"])]
    return f"A model of the {entry['fact']} alone scores {percent(entry['balanced_accuracy'])}. {said}"


def weeks_sentence(entry: dict[str, Any]) -> str:
    """Of weeks decoded from features."""
    told = " It is one of the network's facts." if entry["given"] else ""
    said = {
        Verdict.AS_IT_SHOULD: "The features say next to nothing of it.",
        Verdict.NOTEWORTHY: "The features hold it in part, so that calls may rest on it; tumours change with time too.",
        Verdict.UNCERTAIN: _UNDECIDED,
    }[Verdict(entry["verdict"])]
    rank = entry["rank_correlation"]
    correlation = "" if rank is None else f", rank correlation {rank:.2f}".replace("-", "−")
    return f"R² of the decoded {entry['fact']} is {number(entry['explained'])}{correlation}.{told} {said}"


def identity_sentence(entry: dict[str, Any]) -> str:
    """Of patients recognised from features."""
    if entry["p"] is None:
        return "No patient has two cases without a study in common in a fold: it cannot be asked."
    said = {
        Verdict.AS_IT_SHOULD: "Its features hardly tell patients apart.",
        Verdict.NOTEWORTHY: "Its features tell patients apart: where patients leak between folds it can know them by "
        "heart.",
        Verdict.UNCERTAIN: _UNDECIDED,
    }[Verdict(entry["verdict"])]
    return (
        f"The nearest other case is the patient's own in {percent(entry['accuracy'])} of {entry['cases']} cases; by "
        f"chance in {100 * entry['chance']:.0f} % (p = {entry['p']:.3f}). {said}"
    )


def percent(found: dict[str, Any]) -> str:
    """A share with its interval, in %."""
    return _with_interval(found, lambda value: f"{100 * value:.0f}", " %")


def points(entry: dict[str, Any]) -> str:
    """The change in balanced accuracy with its interval, in points."""
    return _with_interval(entry["difference"], lambda value: f"{100 * value:+.0f}".replace("-", "−"), " points")


def number(found: dict[str, Any]) -> str:
    """A number with its interval."""
    return _with_interval(found, lambda value: f"{value:.2f}".replace("-", "−"), "")


def _with_interval(found: dict[str, Any], write: Callable[[float], str], unit: str) -> str:
    if found["estimate"] is None:
        return f"undefined ({found['reason']})"
    interval = "no interval" if found["low"] is None else f"{write(found['low'])} to {write(found['high'])}"
    return f"{write(found['estimate'])}{unit} ({interval})"
