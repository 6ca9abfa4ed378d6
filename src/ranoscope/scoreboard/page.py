"""The scoreboard as one page that opens offline. Nothing is computed here: numbers become text and drawings."""

from __future__ import annotations

from importlib import resources
from typing import Any

import jinja2

from ranoscope import __version__
from ranoscope.domain import InformationLevel
from ranoscope.drawing import inline_svg
from ranoscope.evaluation.figures import draw_calibration, draw_confusion, draw_recall, draw_scoreboard
from ranoscope.evaluation.scores import BALANCED_ACCURACY, FIRST_PROGRESSION_AUC
from ranoscope.scoreboard.criteria import RULE_SETS
from ranoscope.scoreboard.disagreements import CHOSEN
from ranoscope.scoreboard.figures import draw_expert_sizes

_COLUMNS = (
    (BALANCED_ACCURACY, "Balanced accuracy"), (FIRST_PROGRESSION_AUC, "1st-PD AUC"), ("recall_CR", "CR"),
    ("recall_PR", "PR"), ("recall_SD", "SD"), ("recall_PD", "PD"), ("macro_f1", "Macro-F1"),
    ("quadratic_kappa", "Kappa"), ("pd_auc", "PD AUC"), ("ece", "ECE"), ("brier", "Brier"),
)  # fmt: skip
_CRITERIA = frozenset(rules.name for rules in RULE_SETS)
EXPERT_SIZES = "expert_sizes.svg"
_AGREEMENT = (
    ("spearman", "Spearman"), ("icc_log", "ICC(2,1) of logs"), ("icc", "ICC(2,1)"), ("log_log_slope", "Log-log slope"),
    ("ratio", "Measured / stated"), ("ratio_low", "95 % limit, low"), ("ratio_high", "high"),
)  # fmt: skip
_VISITS = {"all": "all visits", "complete": "no other lesion named"}
_PERCENT = {BALANCED_ACCURACY, "accuracy", "recall_CR", "recall_PR", "recall_SD", "recall_PD"}


def draw_figures(scoreboard: dict[str, Any]) -> dict[str, bytes]:
    """SVG by file name: each level's first model beside the rivals, then its confusion and its calibration.

    Of the response criteria the one whose disagreements are listed stands among the rivals; all of them have a figure
    of their own.
    """
    best = best_models(scoreboard)
    rivals = [one for one in scoreboard["contenders"] if one["kind"] == "rival"]
    criteria = [one for one in rivals if one["name"] in _CRITERIA]
    beside = {
        **scoreboard,
        "contenders": [*best, *(r for r in rivals if r not in criteria or r["name"] == CHOSEN.name)],
    }
    figures = {"scoreboard.svg": draw_scoreboard(beside), "recall.svg": draw_recall(beside)}
    if criteria:
        title = "The response criteria by volume"
        figures["criteria.svg"] = draw_scoreboard({**scoreboard, "contenders": criteria}, title)
    for model in best:
        figures[f"confusion_{model['name']}.svg"] = draw_confusion({**scoreboard, "contenders": [model]})
        figures[f"calibration_{model['name']}.svg"] = draw_calibration({**scoreboard, "contenders": [model]})
    sizes = draw_expert_sizes(scoreboard["expert_sizes"]) if "expert_sizes" in scoreboard else None
    return figures if sizes is None else figures | {EXPERT_SIZES: sizes}


def best_models(scoreboard: dict[str, Any]) -> list[dict[str, Any]]:
    """The first model of each level, in the order of the levels: models are listed with the one to use first."""
    models = [one for one in scoreboard["contenders"] if one["kind"] == "model"]
    first = {level: next((one for one in models if one["level"] == level), None) for level in InformationLevel}
    return [model for model in first.values() if model is not None]


def is_to_beat(comparison: dict[str, Any]) -> bool:
    """Whether the rival is of the model's own level, of the response criteria the chosen set alone, or stands beside
    the model, as what it was made from does.
    """
    rival = comparison["rival"]
    own = comparison["same_level"] and (rival == CHOSEN.name or rival not in _CRITERIA)
    return bool(own or comparison["beside"])


def render_page(scoreboard: dict[str, Any], figures: dict[str, bytes]) -> str:
    """The page as HTML, with style, script and drawings inside.

    Args:
        scoreboard: content of scoreboard.json.
        figures: what ``draw_figures`` returned.
    """
    loader = jinja2.PackageLoader("ranoscope.scoreboard", "page")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("scoreboard.html.j2").render(
        version=__version__,
        board=scoreboard,
        coverage=f"{100 * scoreboard['protocol']['coverage']:g} %",
        classes=", ".join(f"{name} {count}" for name, count in scoreboard["cohort"]["cases_per_response"].items()),
        levels=[(str(level), level.sentence) for level in InformationLevel],
        columns=[title for _, title in _COLUMNS],
        rows=[_row(one) for one in scoreboard["contenders"]],
        tiles=[_tile(scoreboard, one) for one in best_models(scoreboard)],
        differences=[_difference(scoreboard, one) for one in scoreboard["comparisons"]],
        figures={name: inline_svg(drawing) for name, drawing in figures.items() if name != EXPERT_SIZES},
        sizes_figure=inline_svg(figures[EXPERT_SIZES]) if EXPERT_SIZES in figures else None,
        agreement_columns=[title for _, title in _AGREEMENT],
        agreements=_agreements(scoreboard["expert_sizes"]) if "expert_sizes" in scoreboard else [],
        fusion=[_weighing(one) for one in scoreboard.get("fusion", {}).get("levels", ())],
        metrics=scoreboard["metrics"],
        css=_page_file("scoreboard.css"),
        script=_page_file("scoreboard.js"),
    )


def _row(contender: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": contender["title"],
        "knew": contender["knew"],
        "level": contender["level"],
        "kind": contender["kind"],
        "counts": "; ".join(f"{name}: {count}" for name, count in contender["counts"].items() if count),
        "cells": [_cell(name, contender["metrics"][name]) for name, _ in _COLUMNS],
    }


def _cell(metric: str, found: dict[str, Any]) -> dict[str, Any]:
    if found["estimate"] is None:
        return {"sort": -1, "value": "–", "interval": "", "reason": found["reason"]}
    percent = metric in _PERCENT
    interval = ""
    if found["low"] is not None:
        interval = (
            f"{100 * found['low']:.0f}–{100 * found['high']:.0f}"
            if percent
            else f"{found['low']:.2f}–{found['high']:.2f}"
        )
    value = f"{100 * found['estimate']:.1f}" if percent else f"{found['estimate']:.3f}"
    return {"sort": found["estimate"], "value": value, "interval": interval, "reason": found["reason"]}


def _tile(scoreboard: dict[str, Any], model: dict[str, Any]) -> dict[str, str]:
    """A level's model beside the strongest of its level's rivals and of what it was made from."""
    mine = [one for one in scoreboard["comparisons"] if one["model"] == model["name"]]
    allowed = [one for one in mine if one["same_level"] or one["beside"]]
    found = model["metrics"][BALANCED_ACCURACY]
    # The strongest rival is the one that leaves the model the smallest lead.
    hardest = min(allowed, key=lambda one: one["differences"][BALANCED_ACCURACY]["estimate"] or 0.0, default=None)
    note = "No rival of this level."
    if hardest is not None:
        change = hardest["differences"][BALANCED_ACCURACY]
        note = f"{_points(change)} over {_inside(hardest['rival_title'])}, its strongest rival"
    return {
        "level": model["level"],
        "name": model["title"],
        "big": "–" if found["estimate"] is None else f"{100 * found['estimate']:.1f} %",
        "interval": _cell(BALANCED_ACCURACY, found)["interval"],
        "first": _cell(FIRST_PROGRESSION_AUC, model["metrics"][FIRST_PROGRESSION_AUC])["value"],
        "note": note,
    }


def _difference(scoreboard: dict[str, Any], comparison: dict[str, Any]) -> dict[str, Any]:
    titles = {one["name"]: one for one in scoreboard["contenders"]}
    model = titles[comparison["model"]]
    change, first = (comparison["differences"][name] for name in (BALANCED_ACCURACY, FIRST_PROGRESSION_AUC))
    better = change["better"]
    return {
        "model": model["title"],
        "level": model["level"],
        "rival": comparison["rival_title"],
        "to_beat": is_to_beat(comparison),
        "points": _points(change),
        "sort": change["estimate"] if change["estimate"] is not None else -1,
        "above_zero": change["low"] is not None and change["low"] > 0,
        "better": "–" if better is None else f"{100 * better:.1f} %",
        "first": "–" if first["estimate"] is None else f"{first['estimate']:+.3f}".replace("-", "−"),
    }


def _weighing(about: dict[str, Any]) -> dict[str, Any]:
    """How a level's network, measurement and criteria were weighed, as text."""
    of_calibration = (about[name] for name in ("temperature", "ece_before", "ece_after"))
    numbers = (f"{about['penalty_c']:g}", *(f"{number:.2f}" for number in of_calibration))
    return {
        "level": about["level"],
        "model": about["model"],
        "cells": [*(f"{100 * share:.0f} %" for share in about["shares"].values()), *numbers],
    }


def _agreements(expert_sizes: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per source of volumes and choice of visits; sources with too few visits stay out."""
    rows = []
    for source, found in expert_sizes["sources"].items():
        for kind, title in _VISITS.items():
            if "reason" not in found[kind]:
                cells = [_number_with_interval(found[kind][name]) for name, _ in _AGREEMENT]
                visits = {"visits": found[kind]["pairs"], "zeros": found[kind]["zeros"]}
                rows.append({"title": f"{source.removesuffix('_mm3')}, {title}", **visits, "cells": cells})
    measured = expert_sizes.get("lesions_measured", {}).get("spd")
    if measured is not None and "reason" not in measured:
        cells = [_number_with_interval(measured[name]) for name, _ in _AGREEMENT]
        visits = {"visits": measured["pairs"], "zeros": measured["zeros"]}
        rows.append({"title": "products of measured lesions", **visits, "cells": cells})
    return rows


def _number_with_interval(found: dict[str, Any]) -> str:
    if found["estimate"] is None:
        return "–"
    between = "" if found["low"] is None else f" ({found['low']:.2f}–{found['high']:.2f})"
    return f"{found['estimate']:.2f}{between}"


def _inside(title: str) -> str:
    """A title within a sentence; an abbreviation keeps its capitals."""
    return title[0].lower() + title[1:] if title[1:2].islower() else title


def _points(change: dict[str, Any]) -> str:
    if change["estimate"] is None:
        return "–"
    between = "" if change["low"] is None else f" ({100 * change['low']:+.1f} to {100 * change['high']:+.1f})"
    return f"{100 * change['estimate']:+.1f} points{between}".replace("-", "−")


def _page_file(name: str) -> str:
    return resources.files("ranoscope.scoreboard").joinpath("page", name).read_text(encoding="utf-8")
