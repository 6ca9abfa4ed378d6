"""The scorecard as the page's table, tiles and sentences. Nothing is computed here: numbers become text."""

from __future__ import annotations

from typing import Any

# The page's two tables behind the headline, of which those are shown that the scorecard gives a meaning; it and
# scoreboard.csv hold every metric.
_GROUPS = (
    ("macro_f1", "quadratic_kappa", "pd_auc", "first_progression_auc"),
    ("recall_PD", "recall_rest", "recall_SD", "recall_PR", "recall_CR", "ece", "brier"),
)
_PERCENT = {
    "balanced_accuracy", "pd_balanced_accuracy", "accuracy", "recall_PD", "recall_SD", "recall_PR", "recall_CR",
    "recall_rest",
}  # fmt: skip


def describe_board(scorecard: dict[str, Any]) -> dict[str, Any]:
    """Rows and sentences of the scoreboard section."""
    titles = {metric["name"]: metric["title"] for metric in scorecard["metrics"]}
    headline = scorecard["headline"]
    groups = [(headline, *(name for name in group if name in titles)) for group in _GROUPS]
    cohort, protocol = scorecard["cohort"], scorecard["protocol"]
    coverage = f"{100 * protocol['coverage']:g} %"
    return {
        "lead": (
            f"{cohort['cases']} cases of {cohort['patients']} patients, {protocol['predictions']}. In small print: "
            f"{coverage} intervals from {protocol['bootstrap']} resamples of patients. Every rival saw the same cases."
        ),
        "coverage": coverage,
        "tables": [
            {
                "columns": [titles[name] for name in group],
                "rows": [_row(contender, group) for contender in scorecard["contenders"]],
            }
            for group in groups
        ],
        "differences": [_difference(comparison, headline) for comparison in scorecard["comparisons"]],
        "notes": _notes(scorecard),
    }


def headline_tiles(scorecard: dict[str, Any]) -> list[dict[str, str]]:
    """The first thing a reader sees: the model's balanced accuracy, the strongest rival's, and the difference."""
    name = scorecard["headline"]
    chance = next(metric["chance"] for metric in scorecard["metrics"] if metric["name"] == name)
    model = next(one for one in scorecard["contenders"] if one["kind"] == "model")
    rivals = [one for one in scorecard["contenders"] if one["kind"] == "rival"]
    best = max(rivals, key=lambda one: one["metrics"][name]["estimate"] or 0.0)
    comparison = next(
        one for one in scorecard["comparisons"] if (one["model"], one["rival"]) == (model["name"], best["name"])
    )
    change = comparison["differences"][name]
    first = model["metrics"]["first_progression_auc"]
    return [
        _tile(f"{model['title']}: balanced accuracy", _number(name, model["metrics"][name]["estimate"]),
              f"interval {_interval(name, model['metrics'][name])}; chance {100 * chance:.0f} %"),
        _tile(f"Strongest rival: {best['title'].lower()}", _number(name, best["metrics"][name]["estimate"]),
              f"interval {_interval(name, best['metrics'][name])}; {best['level_sentence']}"),
        _tile("Model minus that rival, points", _signed(change["estimate"]), f"interval {_points_interval(change)}"),
        _tile("First progression, AUC", _number("first_progression_auc", first["estimate"]),
              f"interval {_interval('first_progression_auc', first)}; memory of ratings cannot win it"),
    ]  # fmt: skip


def _row(contender: dict[str, Any], group: tuple[str, ...]) -> dict[str, Any]:
    return {
        "title": contender["title"],
        "knew": contender["knew"],
        "level": contender["level"] or "not declared",
        "is_model": contender["kind"] == "model",
        "cells": [
            {
                "value": _number(name, contender["metrics"][name]["estimate"]),
                "interval": _interval(name, contender["metrics"][name]),
                "reason": contender["metrics"][name]["reason"],
            }
            for name in group
        ],
    }


def _difference(comparison: dict[str, Any], headline: str) -> dict[str, str]:
    change = comparison["differences"][headline]
    better = change["better"]
    return {
        "rival": f"minus {comparison['rival_title']} ({comparison['rival_level'] or 'not declared'})",
        "value": _signed(change["estimate"]),
        "interval": _points_interval(change),
        "better": "–" if better is None else f"{100 * better:.1f} %",
    }


def _notes(scorecard: dict[str, Any]) -> list[str]:
    notes = []
    for contender in scorecard["contenders"]:
        if contender["kind"] == "model" and contender["median_of_folds"]["estimate"] is not None:
            median = _number(scorecard["headline"], contender["median_of_folds"]["estimate"])
            notes.append(
                f"For comparison only: the reference paper's statistic, the median over folds of the balanced "
                f"accuracy, is {median} for {contender['title']}. With a handful of PR and CR per fold it is not a "
                "usable figure."
            )
    hard = {one["probabilities_note"] for one in scorecard["contenders"] if one["probabilities_note"]}
    missing = [f"Not shown: {one['title']}, because {one['reason']}." for one in scorecard["rivals_not_shown"]]
    return [*notes, *sorted(hard), *missing]


def _tile(name: str, big: str, note: str) -> dict[str, str]:
    return {"name": name, "big": big, "note": note}


def _number(metric: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if metric in _PERCENT else f"{value:.3f}"


def _interval(metric: str, estimate: dict[str, Any]) -> str:
    low, high = estimate["low"], estimate["high"]
    if low is None or high is None:
        return ""
    return f"{100 * low:.0f}–{100 * high:.0f} %" if metric in _PERCENT else f"{low:.2f}–{high:.2f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


def _points_interval(estimate: dict[str, Any]) -> str:
    low, high = estimate["low"], estimate["high"]
    return "" if low is None or high is None else f"{100 * low:+.1f} to {100 * high:+.1f}".replace("-", "−")
