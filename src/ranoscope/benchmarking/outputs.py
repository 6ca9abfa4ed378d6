"""What a benchmark leaves: a table and a figure per approach, the page, and benchmark.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ranoscope import runs
from ranoscope.benchmarking.figures import draw_approach
from ranoscope.benchmarking.page import render_page

BENCHMARK = "benchmark.json"
PAGE = "benchmark.html"
TABLES = "tables"


def write_outputs(out: Path, content: dict[str, Any]) -> None:
    """Write ``tables/<approach>.csv``, ``figures/<approach>.svg``, ``benchmark.html`` and, last, ``benchmark.json``.

    Args:
        out: the benchmark's folder.
        content: what ``run_benchmark`` returns.
    """
    figures = {}
    for approach in content["approaches"]:
        name = approach.replace("/", "-")
        runs.write_csv(out / TABLES / f"{name}.csv", approach_table(content, approach))
        drawing = draw_approach(content, approach)
        if drawing is not None:
            figures[approach] = drawing
            runs.write_bytes(out / runs.FIGURES / f"{name}.svg", drawing)
    runs.write_text(out / PAGE, render_page(content, figures))
    runs.write_json(out / BENCHMARK, content)


def approach_table(content: dict[str, Any], approach: str) -> pd.DataFrame:
    """One row per arm, and below the arms of each ground (same cases, folds and target) its rivals.

    Columns: what the row is; ``median_<metric>``, the paper's figures; every other metric with ``_low`` and ``_high``;
    ``minus_reference`` of balanced accuracy. Empty where undefined, ``message`` says why an arm has no figures. What
    was measured of PD against the rest stands in columns that begin with ``pd_rest_``: it is another quantity.
    """
    arms = [arm for arm in content["arms"] if arm["approach"] == approach]
    rows = []
    for place, ground in enumerate(content["grounds"]):
        here = [arm for arm in arms if arm["ground"] == place]
        rows += [_arm_row(arm, ground) for arm in here]
        rows += [_rival_row(rival, ground) for rival in ground["rivals"] if here]
    rows += [_about(arm) for arm in arms if arm["ground"] is None]
    return pd.DataFrame(rows)


def _about(arm: dict[str, Any]) -> dict[str, Any]:
    cells = arm["cells"]
    return {
        "name": arm["name"],
        "kind": "model",
        "description": arm["description"],
        "protocol": arm["protocol"],
        "target": arm["target"],
        "watermark": arm["watermark"],
        "cells": f"{cells['finished']} of {cells['total']}",
        "message": " ".join(arm["messages"]) or None,
    }


def _arm_row(arm: dict[str, Any], ground: dict[str, Any]) -> dict[str, Any]:
    row = {**_about(arm), **_figures(arm["scores"], ground)}
    change = (arm["minus_reference"] or {}).get(ground["headline"])
    if change is not None:
        names = {"minus_reference": "estimate", "minus_reference_low": "low", "minus_reference_high": "high"}
        row |= {f"{_prefix(ground)}{name}": change[key] for name, key in names.items()}
    return row


def _rival_row(rival: dict[str, Any], ground: dict[str, Any]) -> dict[str, Any]:
    about = {
        "name": rival["name"],
        "kind": "rival",
        "description": rival["knew"],
        "protocol": ground["protocol"]["folds"],
        "target": ground["target"],
        "watermark": ground["watermark"],
    }
    return {**about, **_figures(rival, ground)}


def _figures(scores: dict[str, Any], ground: dict[str, Any]) -> dict[str, Any]:
    prefix = _prefix(ground)
    found = {"level": scores["level"], "cases": ground["cohort"]["cases"]}
    for name, median in scores["paper"].items():
        found[f"{prefix}median_{name}"] = median["estimate"]
    for metric in ground["metrics"]:
        name, value = metric["name"], scores["metrics"][metric["name"]]
        found |= {
            f"{prefix}{name}": value["estimate"],
            f"{prefix}{name}_low": value["low"],
            f"{prefix}{name}_high": value["high"],
        }
    return found


def _prefix(ground: dict[str, Any]) -> str:
    return "" if ground["target"] == "four-classes" else "pd_rest_"
