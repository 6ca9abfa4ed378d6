"""The scoreboard as a table: for the terminal and as CSV."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ranoscope.evaluation.ceiling import CEILING
from ranoscope.evaluation.scores import (
    BALANCED_ACCURACY,
    FIRST_PROGRESSION_AUC,
    KAPPA,
    MACRO_F1,
    PD_AUC,
    PD_BALANCED_ACCURACY,
    recall_name,
)

# The longest rival's name stays on one line in a terminal of 80 columns.
_NAME_WIDTH = 11
_FURTHER = (MACRO_F1, KAPPA, PD_AUC, FIRST_PROGRESSION_AUC)
_HEADLINE = (
    ("Balanced acc.", BALANCED_ACCURACY), ("Bal. acc., PD/rest", PD_BALANCED_ACCURACY), ("Macro-F1", MACRO_F1),
    ("Kappa", KAPPA), ("PD AUC", PD_AUC), ("1st-PD AUC", FIRST_PROGRESSION_AUC),
)  # fmt: skip


def scoreboard_table(scorecard: dict[str, Any]) -> pd.DataFrame:
    """One row per contender: what it is, then every metric with ``_low`` and ``_high``; empty where undefined.

    ``median_of_folds`` is the reference paper's statistic, for comparison only. A scorecard with a watermark has it in
    every row.
    """
    rows = []
    for contender in scorecard["contenders"]:
        cells = {key: contender[key] for key in ("name", "title", "kind", "level", "probabilities")}
        if scorecard["watermark"]:
            cells["watermark"] = scorecard["watermark"]
        for name, found in contender["metrics"].items():
            cells |= {name: found["estimate"], f"{name}_low": found["low"], f"{name}_high": found["high"]}
        rows.append({**cells, "median_of_folds": contender["median_of_folds"]["estimate"], "knew": contender["knew"]})
    return pd.DataFrame(rows)


def render_scoreboard(scorecard: dict[str, Any]) -> RenderableType:
    """The scoreboard for the terminal: headline scores, recalls, paired differences and what to bear in mind.

    Args:
        scorecard: content of scorecard.json.
    """
    cohort = scorecard["cohort"]
    classes = ", ".join(f"{name} {count}" for name, count in cohort["cases_per_response"].items())
    title = Text(f"{cohort['cases']} cases of {cohort['patients']} patients ({classes})", "bold")
    marks = [Text(text, "bold red") for text in (scorecard["watermark"], scorecard["target_note"]) if text]
    return Group(*marks, title, _headline(scorecard), _recall(scorecard), _differences(scorecard), *_remarks(scorecard))


def _headline(scorecard: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("", min_width=_NAME_WIDTH)
    table.add_column("Knew")
    defined = {metric["name"] for metric in scorecard["metrics"]}
    columns = [(heading, name) for heading, name in _HEADLINE if name in defined]
    # Where the four responses were learnt, their balanced accuracy stands for that of PD against the rest.
    columns = [one for one in columns if one[1] in (scorecard["headline"], *_FURTHER)]
    for heading, _ in columns:
        table.add_column(heading, justify="right")
    for contender in scorecard["contenders"]:
        found = contender["metrics"]
        table.add_row(
            contender["title"],
            contender["level"] or "?",
            *((_percent if name == scorecard["headline"] else _decimal)(found[name]) for _, name in columns),
            style="bold" if contender["kind"] == "model" else None,
        )
    return table


def _recall(scorecard: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("Recall in %", min_width=_NAME_WIDTH)
    classes = scorecard["classes"][::-1]
    for name in (*classes, "ECE", "Brier"):
        table.add_column(name, justify="right")
    for contender in scorecard["contenders"]:
        found = contender["metrics"]
        table.add_row(
            contender["title"],
            *(_percent(found[recall_name(name)], decimals=0, sign="") for name in classes),
            *(_decimal(found[name]) for name in ("ece", "brier")),
            style="bold" if contender["kind"] == "model" else None,
        )
    return table


def _differences(scorecard: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    headline = scorecard["headline"]
    title = "Balanced accuracy, paired" if headline == BALANCED_ACCURACY else "Balanced accuracy, PD/rest, paired"
    for heading, justify in ((title, "left"), ("points", "right"), ("better in", "right")):
        table.add_column(heading, justify="right" if justify == "right" else "left")
    titles = {contender["name"]: contender["title"] for contender in scorecard["contenders"]}
    for comparison in scorecard["comparisons"]:
        found = comparison["differences"][headline]
        better = "–" if found["better"] is None else f"{100 * found['better']:.0f} % of resamples"
        same = " (same level)" if comparison["same_level"] else ""
        table.add_row(f"{titles[comparison['model']]} − {comparison['rival_title']}{same}", _points(found), better)
    return table


def _remarks(scorecard: dict[str, Any]) -> list[Text]:
    protocol, model = scorecard["protocol"], scorecard["contenders"][0]
    found = model["metrics"][scorecard["headline"]]
    folds = model["median_of_folds"]
    lines = [
        f"Brackets: {100 * protocol['coverage']:.4g} % interval over {protocol['bootstrap']} resamples of patients; "
        f"{protocol['predictions']}.",
        f"Median of folds, for comparison only: {100 * folds['estimate']:.1f} % "
        f"({folds['lacking_a_class']} of {folds['folds']} folds lack a class).",
    ]
    lines += [f"{one['title']}: {one['knew']}" for one in scorecard["contenders"] if one["kind"] == CEILING]
    lines += [f"Not shown: {rival['title']}, {rival['reason']}." for rival in scorecard["rivals_not_shown"]]
    lines += scorecard["warnings"]
    if found["left_out"]:
        lines.append(f"{found['left_out']} resamples lack a class and are left out of balanced accuracy.")
    if found["reason"]:
        lines.append(f"Balanced accuracy: {found['reason']}.")
    return [Text(line, "dim") for line in (*lines, scorecard["note"])]


def _percent(found: dict[str, Any], decimals: int = 1, sign: str = " %") -> str:
    if found["estimate"] is None:
        return "–"
    between = "" if found["low"] is None else f" [{100 * found['low']:.0f}–{100 * found['high']:.0f}]"
    return f"{100 * found['estimate']:.{decimals}f}{sign}{between}"


def _decimal(found: dict[str, Any]) -> str:
    return "–" if found["estimate"] is None else f"{found['estimate']:.2f}"


def _points(found: dict[str, Any]) -> str:
    if found["estimate"] is None:
        return "–"
    between = "" if found["low"] is None else f" [{100 * found['low']:+.0f} to {100 * found['high']:+.0f}]"
    return f"{100 * found['estimate']:+.1f}{between}"
