"""The decision: which of a study's series are CT1, T1, T2 and FLAIR."""

from __future__ import annotations

from collections.abc import Sequence as Sequential
from dataclasses import dataclass, replace

from ranoscope.domain import SEQUENCES, Sequence
from ranoscope.errors import ImageError, problem
from ranoscope.preparing.recognition.contrast import Verdict, judge
from ranoscope.preparing.recognition.decision import Decision, Recognition, SetAside
from ranoscope.preparing.recognition.overrides import Override, Resolved, naming, resolve
from ranoscope.preparing.recognition.preference import Company, choose
from ranoscope.preparing.recognition.reading import Reading, by_number, describe, label, read
from ranoscope.preparing.recognition.words import Weighting
from ranoscope.preparing.series import SeriesFacts

_OTHER_SIDE = {Sequence.T1: Sequence.CT1, Sequence.CT1: Sequence.T1}
_WEIGHTING = {
    Sequence.CT1: Weighting.T1,
    Sequence.T1: Weighting.T1,
    Sequence.T2: Weighting.T2,
    Sequence.FLAIR: Weighting.FLAIR,
}
_BESIDE = {
    SetAside.DUPLICATE: "duplicate of",
    SetAside.REFORMAT: "reformat beside",
    SetAside.PARTIAL: "covers less than",
}
_NOTHING = Resolved({}, frozenset(), frozenset())


def recognise(
    series: Sequential[SeriesFacts], override: Override | None = None, where: str = "this study"
) -> Recognition:
    """Choose at most one series for each sequence and set every other aside with a reason.

    The order of ``series`` does not matter. Rules: ``reading`` for one series, ``contrast`` for T1 and CT1,
    ``preference`` for several of one sequence. Where they do not decide, nothing is guessed.

    Args:
        series: of one study.
        override: wins over the rules; where it contradicts them, the reasons say so.
        where: names patient and study in messages.

    Raises:
        ImageError: several series could be one sequence and no rule tells them apart (it lists them and the lines that
            would decide), or the override fits none or several.
    """
    given = resolve(override, series, where) if override else _NOTHING
    read_so = [read(place, facts) for place, facts in enumerate(series)]
    readings = [_as_told(reading, given) for reading in read_so]
    sides = _sort(readings, given)
    decisions = {place: _told(sequence, read_so[place], override) for sequence, place in given.chosen.items()}
    decisions |= {
        place: Decision(None, SetAside.BY_OVERRIDE, ("named under `set_aside` in the override",))
        for place in given.set_aside
    }
    ties = []
    for sequence in SEQUENCES:
        found, tied = _decide(sequence, sides, given)
        decisions |= found
        if tied:
            ties.append(_Tie((sequence,), tied))
    decisions |= _rest(sides, decisions)
    open_ = tuple(one for one in _OTHER_SIDE if not sides.of[one] and one not in given.left_out)
    if sides.unknown and open_:
        ties.append(_Tie(open_, tuple(sides.unknown)))
    if ties:
        raise ImageError(_ambiguity(ties, series, where))
    return Recognition(tuple(decisions[place] for place in range(len(series))))


@dataclass(frozen=True)
class _Tie:
    """Series that could be any of ``sequences``, as far as the rules can see."""

    sequences: tuple[Sequence, ...]
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class _Sides:
    """Candidates per sequence, T1s of unknown contrast, and what is out already."""

    of: dict[Sequence, list[Reading]]
    verdicts: dict[int, Verdict]
    unknown: list[Reading]
    aside: dict[int, Decision]


def _as_told(reading: Reading, given: Resolved) -> Reading:
    """A series the override names is what the override says, for the judgement of the others too."""
    if reading.place in given.set_aside:
        return replace(reading, weighting=None, set_aside=SetAside.BY_OVERRIDE)
    for sequence, place in given.chosen.items():
        if place == reading.place:
            contrast = {Sequence.CT1: True, Sequence.T1: False}.get(sequence, reading.said.contrast)
            said = replace(reading.said, contrast=contrast)
            return replace(reading, weighting=_WEIGHTING[sequence], set_aside=None, said=said, reformat=False)
    return reading


def _sort(readings: Sequential[Reading], given: Resolved) -> _Sides:
    aside = {
        one.place: Decision(None, one.set_aside, one.reasons or ("the override says so",))
        for one in readings
        if one.set_aside is not None
    }
    t1 = [one for one in readings if one.weighting is Weighting.T1]
    acquired = [one for one in t1 if not one.reformat] or t1
    verdicts = judge(acquired, readings)
    for one in t1:
        if one not in acquired:
            verdicts[one.place] = Verdict(
                one.said.contrast, True, "a reformat that says itself whether agent was given"
            )
            if one.said.contrast is None:
                reasons = (*one.reasons, "computed from another series, and no word about contrast")
                aside[one.place] = Decision(None, SetAside.REFORMAT, reasons)
        elif verdicts[one.place].contradiction and one.place not in given.chosen.values():
            reasons = (*one.reasons, verdicts[one.place].reason)
            aside[one.place] = Decision(None, SetAside.CONTRADICTION, reasons)
    free = [one for one in readings if one.place not in aside]
    of = {sequence: [one for one in free if _is(one, sequence, verdicts, given)] for sequence in SEQUENCES}
    settled = {one.place for candidates in of.values() for one in candidates}
    unknown = [one for one in free if one.place not in settled]
    return _Sides(of, verdicts, unknown, aside)


def _is(reading: Reading, sequence: Sequence, verdicts: dict[int, Verdict], given: Resolved) -> bool:
    for chosen, place in given.chosen.items():
        if place == reading.place:
            return chosen is sequence
    if reading.weighting is not _WEIGHTING[sequence]:
        return False
    if sequence not in _OTHER_SIDE:
        return True
    return verdicts[reading.place].contrast is (sequence is Sequence.CT1)


def _decide(sequence: Sequence, sides: _Sides, given: Resolved) -> tuple[dict[int, Decision], tuple[Reading, ...]]:
    """Decisions on the candidates of one sequence, and those that no rule tells apart."""
    candidates = sides.of[sequence]
    if sequence in given.left_out:
        reason = f"`{sequence}: none` in the override"
        return {
            one.place: Decision(None, SetAside.BY_OVERRIDE, (*_reasons(one, sides), reason)) for one in candidates
        }, ()
    if sequence in given.chosen:
        winner = next(one for one in candidates if one.place == given.chosen[sequence])
        lost = {one.place: (SetAside.DUPLICATE, "is the override's choice") for one in candidates if one is not winner}
        return _losers(lost, winner, sides), ()
    if not candidates:
        return {}, ()
    other = _OTHER_SIDE.get(sequence)
    own = frozenset(one.place for one in candidates if other and sides.verdicts[one.place].own)
    choice = choose(candidates, Company(sequence, tuple(sides.of[other]) if other else (), own))
    if len(choice.best) > 1:
        return {}, choice.best
    winner = choice.best[0]
    chosen = Decision(sequence, None, _reasons(winner, sides))
    return {winner.place: chosen} | _losers(choice.lost, winner, sides), ()


def _losers(lost: dict[int, tuple[SetAside, str]], winner: Reading, sides: _Sides) -> dict[int, Decision]:
    every = {one.place: one for candidates in sides.of.values() for one in candidates}
    return {
        place: Decision(
            None, reason, (*_reasons(every[place], sides), f"{_BESIDE[reason]} {label(winner.facts)}, which {better}")
        )
        for place, (reason, better) in lost.items()
    }


def _reasons(reading: Reading, sides: _Sides) -> tuple[str, ...]:
    verdict = sides.verdicts.get(reading.place)
    return reading.reasons if verdict is None else (*reading.reasons, verdict.reason)


def _told(sequence: Sequence, read_so: Reading, override: Override | None) -> Decision:
    """What the override chose, with what the rules would have said against it."""
    pick = override.picks[sequence].written if override else ""
    reasons = [f"`{sequence}: {pick}` in the override"]
    if read_so.set_aside is not None:
        reasons.append(f"against it: {read_so.set_aside} ({'; '.join(read_so.reasons)})")
    elif read_so.weighting is not _WEIGHTING[sequence]:
        reasons.append(f"against it: {read_so.weighting} ({'; '.join(read_so.reasons)})")
    else:
        reasons += read_so.reasons
    agent = read_so.facts.contrast is True
    if sequence is Sequence.T1 and (agent or read_so.said.contrast is True):
        reasons.append(f"against it: contrast agent in the {'header' if agent else 'name'}")
    if sequence is Sequence.CT1 and read_so.said.contrast is False:
        reasons.append("against it: its name says without contrast agent")
    return Decision(sequence, None, tuple(reasons))


def _rest(sides: _Sides, decisions: dict[int, Decision]) -> dict[int, Decision]:
    unknown = {one.place: Decision(None, SetAside.CONTRAST_UNKNOWN, _reasons(one, sides)) for one in sides.unknown}
    return {place: one for place, one in {**sides.aside, **unknown}.items() if place not in decisions}


def _ambiguity(ties: Sequential[_Tie], series: Sequential[SeriesFacts], where: str) -> str:
    """The candidates as lines of an override file, each with its times and voxels as a comment."""
    counts, lines = [], []
    for tie in ties:
        counts.append(f"{len(tie.readings)} series that could be {' or '.join(tie.sequences)}")
        ordered = sorted(tie.readings, key=lambda one: by_number(one.facts))
        for sequence in tie.sequences:
            lines += [f"\n  {_line(sequence, one, series)}" for one in ordered]
            lines.append(f"\n  {sequence}: none")
    return problem(
        "names and headers that tell a study's series apart",
        " and ".join(counts),
        where,
        f"write into the override file one of these lines for each sequence:{''.join(lines)}\nand run again",
    )


def _line(sequence: Sequence, reading: Reading, series: Sequential[SeriesFacts]) -> str:
    pick = naming(reading.place, series)
    if pick is None:
        return f"# {describe(reading.facts)}; another has its number and name, export them with numbers of their own"
    return f"{sequence}: {pick.written}  # {describe(reading.facts)}"
