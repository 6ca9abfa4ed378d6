"""The benchmark for the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ranoscope.benchmarking.estimate import CellCost
from ranoscope.benchmarking.page import points
from ranoscope.evaluation.scores import FIRST_PROGRESSION_AUC

_GIB = 1024**3
_HOUR_S = 3600.0


def render_benchmark(content: dict[str, Any]) -> RenderableType:
    """A table per ground: every arm beside the rivals, the headline score, the paper's median and the reference.

    Args:
        content: of benchmark.json.
    """
    parts: list[RenderableType] = []
    for place, ground in enumerate(content["grounds"]):
        if ground["watermark"]:
            parts.append(Text(ground["watermark"], "bold red"))
        parts.append(_table(content, place, ground))
    for one in content["optimism"]:
        change = one["differences"].get(_headline(one))
        if change is not None:
            parts.append(
                Text(f"Published protocol: {one['as_published']} minus {one['patient']}, {points(change)} points")
            )
    return Group(*parts)


def render_costs(costs: list[CellCost]) -> RenderableType:
    """A row per training: its cells' estimated memory and hours."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for heading in ("Arm", "Parameters", "Cells", "Memory, GiB", "Hours a cell", "of it pretraining"):
        table.add_column(heading, justify="left" if heading == "Arm" else "right")
    for cost in costs:
        table.add_row(
            "\n= ".join(cost.arms),
            f"{cost.parameters / 1e6:.1f} M",
            str(cost.cells),
            f"{cost.memory_bytes / _GIB:.2f}",
            f"{cost.seconds / _HOUR_S:.3g}",
            f"{cost.pretraining_seconds / _HOUR_S:.3g}" if cost.pretraining_seconds else "",
            style="yellow" if cost.advice else None,
        )
    return table


def _headline(one: dict[str, Any]) -> str:
    return "balanced_accuracy" if one["target"] == "four-classes" else "pd_balanced_accuracy"


def _table(content: dict[str, Any], place: int, ground: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("Four classes" if ground["target"] == "four-classes" else "PD against the rest")
    for heading in ("Balanced acc.", "minus reference", "1st-PD AUC", "median of folds"):
        table.add_column(heading, justify="right")
    for arm in (arm for arm in content["arms"] if arm["ground"] == place):
        table.add_row(*_cells(arm["name"], arm["scores"], arm["minus_reference"], ground), style="bold")
    for rival in ground["rivals"]:
        table.add_row(*_cells(rival["title"], rival, None, ground))
    return table


def _cells(
    title: str, scores: dict[str, Any], beside: dict[str, Any] | None, ground: dict[str, Any]
) -> tuple[str, ...]:
    headline = scores["metrics"][ground["headline"]]
    first = scores["metrics"][FIRST_PROGRESSION_AUC]["estimate"]
    change = (beside or {}).get(ground["headline"])
    return (
        title,
        _percent(headline["estimate"]) + _interval(headline),
        "" if change is None else points(change),
        "–" if first is None else f"{first:.3f}",
        _percent(scores["paper"]["balanced_accuracy"]["estimate"]),
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _interval(found: dict[str, Any]) -> str:
    return "" if found["low"] is None else f" ({100 * found['low']:.0f}–{100 * found['high']:.0f})"
