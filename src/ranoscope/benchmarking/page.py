"""The benchmark as one page that opens offline. Nothing is computed here: numbers become text."""

from __future__ import annotations

from importlib import resources
from typing import Any

import jinja2

from ranoscope import __version__
from ranoscope.drawing import inline_svg
from ranoscope.evaluation.scores import FIRST_PROGRESSION_AUC, KAPPA, MACRO_F1, PD_AUC

# Beside the ground's own headline; PD against the rest has no macro-F1 and no kappa over the four responses.
_HONEST = (MACRO_F1, KAPPA, PD_AUC, FIRST_PROGRESSION_AUC)
_PERCENT = ("accuracy", "balanced_accuracy", "pd_balanced_accuracy", "precision_macro", "recall_macro")
_DIFFERENCES = ("balanced_accuracy", "pd_balanced_accuracy", MACRO_F1, PD_AUC, FIRST_PROGRESSION_AUC)


def render_page(content: dict[str, Any], figures: dict[str, bytes]) -> str:
    """The page as HTML, with style and drawings inside.

    Args:
        content: of benchmark.json.
        figures: SVG by approach.
    """
    loader = jinja2.PackageLoader("ranoscope.benchmarking", "page")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("benchmark.html.j2").render(
        version=__version__,
        board=content,
        sections=[_section(content, approach, figures.get(approach)) for approach in content["approaches"]],
        optimism=[_optimism(one, content) for one in content["optimism"]],
        failures=[_failure(cell) for cell in content["failures"]],
        hours=f"{content['cells']['seconds'] / 3600:.1f}",
        metrics=list({one["name"]: one for ground in content["grounds"] for one in ground["metrics"]}.values()),
        css=resources.files("ranoscope.benchmarking").joinpath("page", "benchmark.css").read_text(encoding="utf-8"),
    )


def _section(content: dict[str, Any], approach: str, drawing: bytes | None) -> dict[str, Any]:
    arms = [arm for arm in content["arms"] if arm["approach"] == approach]
    blocks = []
    for place, ground in enumerate(content["grounds"]):
        here = [arm for arm in arms if arm["ground"] == place]
        if here:
            blocks.append(_block(content, approach, ground, here))
    return {
        "title": approach,
        "blocks": blocks,
        "missing": [_missing(arm) for arm in arms if arm["ground"] is None],
        "drawing": None if drawing is None else inline_svg(drawing),
    }


def _block(
    content: dict[str, Any], approach: str, ground: dict[str, Any], arms: list[dict[str, Any]]
) -> dict[str, Any]:
    titles = {metric["name"]: metric["title"] for metric in ground["metrics"]}
    honest = [ground["headline"], *(name for name in _HONEST if name in titles)]
    four = ground["target"] == "four-classes"
    rows = [
        _row(arm["name"].removeprefix(f"{approach}/"), arm["description"], arm, arm["scores"], honest) for arm in arms
    ]
    rows += [_row(rival["title"], rival["knew"], None, rival, honest) for rival in ground["rivals"]]
    cohort = ground["cohort"]
    return {
        "title": "Four classes" if four else "PD against the rest",
        "cases": f"{cohort['cases']} cases of {cohort['patients']} patients",
        "watermark": ground["watermark"],
        "paper_columns": list(content["paper_metrics"].values()),
        "honest_columns": [titles[name] for name in honest],
        "coverage": f"{100 * ground['protocol']['coverage']:g} %",
        "rows": rows,
        "notes": [*ground["warnings"], *(f"{one['title']}: {one['reason']}." for one in ground["rivals_not_shown"])],
    }


def _row(
    title: str, about: str, arm: dict[str, Any] | None, scores: dict[str, Any], honest: list[str]
) -> dict[str, Any]:
    return {
        "title": title,
        "about": about,
        "kind": "rival" if arm is None else "model",
        "level": scores["level"],
        "paper": [_median(name, found) for name, found in scores["paper"].items()],
        "honest": [_cell(name, scores["metrics"][name]) for name in honest],
        "beside": _beside(arm, honest[0]),
    }


def _beside(arm: dict[str, Any] | None, headline: str) -> dict[str, Any]:
    """An arm's headline minus the reference arm's; ``apart``: the interval leaves out zero."""
    if arm is None or arm["minus_reference"] is None:
        words = "reference" if arm is not None and arm["is_reference"] else ""
        return {"value": words, "interval": "", "apart": False, "reason": None}
    change = arm["minus_reference"]
    if "reason" in change:
        return {"value": "–", "interval": "", "apart": False, "reason": change["reason"]}
    found = change[headline]
    apart = found["low"] is not None and (found["low"] > 0 or found["high"] < 0)
    return {
        "value": points({**found, "low": None}),
        "interval": _between(found),
        "apart": apart,
        "reason": found["reason"],
    }


def _median(name: str, found: dict[str, Any]) -> dict[str, Any]:
    return {"value": _number(name, found["estimate"]), "interval": "", "reason": found["reason"]}


def _cell(name: str, found: dict[str, Any]) -> dict[str, Any]:
    interval = ""
    if found["low"] is not None:
        low, high = (_number(name, found[key]) for key in ("low", "high"))
        interval = f"{low} to {high}" if found["low"] < 0 else f"{low}–{high}"
    return {"value": _number(name, found["estimate"]), "interval": interval, "reason": found["reason"]}


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return (f"{100 * value:.1f}" if name in _PERCENT else f"{value:.3f}").replace("-", "−")


def points(found: dict[str, Any]) -> str:
    """A difference of shares in percentage points with its interval."""
    if found["estimate"] is None:
        return "–"
    between = f" ({_between(found)})" if found["low"] is not None else ""
    return f"{100 * found['estimate']:+.1f}".replace("-", "−") + between


def _between(found: dict[str, Any]) -> str:
    if found["low"] is None:
        return ""
    return f"{100 * found['low']:+.1f} to {100 * found['high']:+.1f}".replace("-", "−")


def _missing(arm: dict[str, Any]) -> dict[str, Any]:
    cells = arm["cells"]
    return {"name": arm["name"], "cells": f"{cells['finished']} of {cells['total']}", "messages": arm["messages"]}


def _optimism(one: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    titles = {metric["name"]: metric["title"] for ground in content["grounds"] for metric in ground["metrics"]}
    medians = one["median_of_folds"]
    changes = one["differences"]
    rows = (
        []
        if "reason" in changes
        else [(titles[name], points(changes[name])) for name in _DIFFERENCES if name in changes]
    )
    both = [medians["as_published"], medians["patient"]]
    if None not in both:
        change = points({"estimate": both[0] - both[1], "low": None})
        text = f"{change} ({100 * both[0]:.1f} % against {100 * both[1]:.1f} %)"
        rows.append(("Balanced accuracy, median over folds", text))
    return {**one, "rows": rows, "reason": changes.get("reason")}


def _failure(cell: dict[str, Any]) -> dict[str, Any]:
    return {**cell, "also": ", ".join(cell["shared_with"])}
