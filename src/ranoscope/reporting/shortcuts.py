"""The shortcut audit, shaped for the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ranoscope.probing.audit import read_shortcuts
from ranoscope.probing.sentences import percent, points
from ranoscope.probing.tables import findings
from ranoscope.probing.verdicts import Verdict


def describe_shortcuts(run: Path) -> dict[str, Any] | None:
    """What the section shows; None where ``ranoscope audit-shortcuts`` has not run.

    Raises:
        RunError: shortcuts.json is damaged.
    """
    content = read_shortcuts(run)
    if content is None:
        return None
    seeds = f", of the first of {content['seeds']} seeds" if content["seeds"] > 1 else ""
    return {
        "lead": f"Is it right for the right reason? All {content['cases']} cases of {content['patients']} patients, "
        f"each by its fold's network{seeds}, shown something else than the case. Intervals are of "
        f"{100 * content['coverage']:.0f} % over patients; a verdict follows from them, never from a value alone.",
        "before": percent(content["balanced_accuracy"]),
        "without_tumour": content["cases_without_tumour"],
        "margin_mm": f"{content['margin_mm']:g}",
        "counts": [(str(one), _css(str(one)), content["verdicts"][one]) for one in Verdict],
        "rows": [_row(entry) for entry in content["probes"]],
        "others": [_finding(*found) for found in findings(content)[len(content["probes"]) :]],
    }


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    numbers = (percent(entry["balanced_accuracy"]), points(entry), percent(entry["changed"]))
    # Value and interval one above the other, as in the scoreboard.
    cells = [number.rstrip(")").partition(" (")[::2] for number in numbers]
    return {**_finding(entry["title"], entry), "shows": entry["shows"], "cells": cells}


def _finding(title: str, entry: dict[str, Any]) -> dict[str, str]:
    verdict = entry["verdict"]
    return {"title": title, "sentence": entry["sentence"], "verdict": verdict, "css": _css(verdict)}


def _css(verdict: str) -> str:
    return verdict.replace(" ", "-")
