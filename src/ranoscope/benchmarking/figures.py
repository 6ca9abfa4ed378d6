"""A figure per approach: its arms beside their rivals, a panel per ground."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ranoscope.config import FoldProtocol
from ranoscope.drawing import STYLE, svg_bytes

_ARM, _RIVAL, _WARNING, _FAINT = "#1b4f8f", "#7f7f7f", "#b3261e", "#444444"
_ROW_INCHES, _PANEL_INCHES = 0.34, 1.15


def draw_approach(content: dict[str, Any], approach: str) -> bytes | None:
    """Forest plot as SVG: balanced accuracy with its interval (disc) and the paper's median over folds (open diamond).

    None while no arm of the approach has figures.

    Args:
        content: of benchmark.json.
        approach: one of its approaches.
    """
    arms = [arm for arm in content["arms"] if arm["approach"] == approach]
    panels = []
    for place, ground in enumerate(content["grounds"]):
        here = [arm for arm in arms if arm["ground"] == place]
        if here:
            rows = [(arm["name"].removeprefix(f"{approach}/"), arm["scores"], _ARM, "o") for arm in here]
            rows += [(rival["title"], rival, _RIVAL, "s") for rival in ground["rivals"]]
            panels.append((ground, rows))
    if not panels:
        return None
    heights = [_PANEL_INCHES + _ROW_INCHES * len(rows) for _, rows in panels]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.2, sum(heights) + 0.5), layout="constrained")
        drawn = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (ground, rows) in zip(drawn, panels, strict=True):
            _draw_panel(axes, ground, rows)
        mark = "synthetic cohort: no patient is in it" if content["synthetic"] else None
        figure.suptitle(f"{approach}{f' ({mark})' if mark else ''}", fontsize=11, fontweight="bold", x=0.02, ha="left")
        handles, labels = drawn[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
        return svg_bytes(figure)


def _draw_panel(axes: Axes, ground: dict[str, Any], rows: list[tuple[str, dict[str, Any], str, str]]) -> None:
    headline = ground["headline"]
    metric = next(one for one in ground["metrics"] if one["name"] == headline)
    labelled = {"pooled, with interval over patients": "o", "the paper's median over folds": "d"}
    for label, marker in labelled.items():
        face = _ARM if marker == "o" else "none"
        axes.plot([], [], color=_ARM, marker=marker, markerfacecolor=face, linestyle="none", label=label)
    for place, (_, scores, colour, marker) in enumerate(rows):
        found, median = scores["metrics"][headline], scores["paper"]["balanced_accuracy"]["estimate"]
        if found["low"] is not None:
            axes.hlines(place, found["low"], found["high"], color=colour, linewidth=2)
        if found["estimate"] is not None:
            axes.plot(found["estimate"], place, color=colour, marker=marker, clip_on=False)
        if median is not None:
            axes.plot(median, place, color=colour, marker="d", markerfacecolor="none", markersize=9, clip_on=False)
        text = "undefined" if found["estimate"] is None else f"{100 * found['estimate']:.1f} %"
        axes.text(1.02, place, text, va="center", fontsize=9, transform=axes.get_yaxis_transform())
    axes.axvline(metric["chance"], color=_FAINT, linestyle="--", linewidth=1)
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6), xlabel=metric["title"])
    axes.set_yticks(range(len(rows)), [title for title, *_ in rows])
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.grid(visible=True)
    title = f"Folds {_protocol(ground)}, {ground['cohort']['cases']} cases of {ground['cohort']['patients']} patients"
    axes.set_title(title, fontsize=9.5, fontweight="normal", color="black" if ground["watermark"] is None else _WARNING)
    if ground["watermark"] is not None:
        words = ground["watermark"].split(":")[0].upper()
        axes.text(
            0.5, 0.5, words, fontsize=26, fontweight="bold", color=_WARNING, alpha=0.16, ha="center", va="center",
            transform=axes.transAxes,
        )  # fmt: skip


def _protocol(ground: dict[str, Any]) -> str:
    by_patient = ground["protocol"]["folds"] == FoldProtocol.PATIENT
    return "by patient" if by_patient else "as published (optimistic, for comparison only)"
