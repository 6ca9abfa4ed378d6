"""The figure of a timeline: burden with its measurement band, the thresholds that apply, and the calls above.

SVG with real text, the same bytes for the same timeline. Every mark is told by shape, dash or letter as well as colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from ranoscope.drawing import STYLE, svg_bytes
from ranoscope.response.burden import Burden, burdens
from ranoscope.response.calls import Evaluation
from ranoscope.response.criteria import Criteria, Thresholds
from ranoscope.response.repeatability import band_95
from ranoscope.response.series import Series, make_series
from ranoscope.response.strip import GRID, INK, LANE, SOFT, Clock, arrange, draw_calls, explain
from ranoscope.response.timeline import Compartment, Measure, Timeline

_BURDEN, _PROGRESSION, _RESPONSE = "#1b4f8f", "#8a3b00", "#00664a"
_TITLES = {
    (Compartment.ENHANCING, Measure.AREA): "Enhancing, sum of products (mm²)",
    (Compartment.ENHANCING, Measure.VOLUME): "Enhancing volume (mm³)",
    (Compartment.NONENHANCING, Measure.AREA): "Non-enhancing, sum of products (mm²)",
    (Compartment.NONENHANCING, Measure.VOLUME): "Non-enhancing volume (mm³)",
}
_STYLE: dict[Any, Any] = {**STYLE, "hatch.color": "#c4c4c4", "hatch.linewidth": 0.6}
# Burdens that differ by more than this factor are drawn on a symmetric logarithmic axis, on which zero has a place.
_WIDE = 25.0
# Inches. Places are fixed: a layout that is measured takes as long as the drawing itself.
_WIDTH, _LEFT, _RIGHT, _PANEL, _GAP, _HEAD, _FOOT, _LINE = 9.0, 1.0, 0.1, 2.9, 0.14, 0.4, 0.65, 0.135


def draw_timeline(timeline: Timeline, criteria: Criteria, evaluation: Evaluation) -> bytes:
    """Draw one patient's evaluation as SVG: a panel per compartment under a strip of calls.

    Args:
        timeline: the patient's scans.
        criteria: what they were evaluated under.
        evaluation: the calls, one per scan of the timeline.
    """
    series = make_series(timeline, criteria)
    panels = series[0].compartments
    clock = Clock(timeline)
    lanes = arrange(evaluation.calls, clock)
    notes = explain(evaluation.calls)
    heights = (LANE * (max(lanes) + 2), *(_PANEL for _ in panels))
    with mpl.rc_context(_STYLE):
        figure, (top, *axes) = _stack(heights, foot=_FOOT + _LINE * len(notes))
        draw_calls(top, evaluation.calls, lanes, clock)
        for number, (one, compartment) in enumerate(zip(axes, panels, strict=True)):
            panel = _Panel(one, compartment, clock, evaluation)
            panel.draw(series, criteria)
            _draw_events(one, timeline, criteria, clock, named=number == 0)
            one.tick_params(labelbottom=number == len(panels) - 1)
        axes[-1].set_xlabel(f"{clock.unit.capitalize()} since the first scan")
        title: dict[str, Any] = {"fontsize": 12, "fontweight": "bold", "parse_math": False}
        top.set_title(f"{timeline.patient} under {criteria.title}", loc="left", **title)
        place: dict[str, Any] = {"x": 0.15 / _WIDTH, "y": 0.12 / figure.get_figheight(), "va": "bottom"}
        figure.text(s="\n".join(notes), fontsize=8, color=SOFT, parse_math=False, **place)
        return svg_bytes(figure)


def _stack(heights: Sequence[float], foot: float) -> tuple[Figure, list[Axes]]:
    """A figure with axes of these heights (inches) one below another, on one horizontal axis, over a foot."""
    whole = _HEAD + sum(heights) + _GAP * (len(heights) - 1) + foot
    figure = Figure(figsize=(_WIDTH, whole))
    axes: list[Axes] = []
    lower = whole - _HEAD
    for height in heights:
        lower -= height
        place = (_LEFT / _WIDTH, lower / whole, (_WIDTH - _LEFT - _RIGHT) / _WIDTH, height / whole)
        axes.append(figure.add_axes(place, sharex=axes[0] if axes else None))
        lower -= _GAP
    return figure, axes


# Where a threshold's line ends, its name and its colour.
_Line = tuple[float, float, str, str]


@dataclass(frozen=True)
class _Panel:
    """One compartment's burden over time."""

    axes: Axes
    compartment: Compartment
    clock: Clock
    evaluation: Evaluation

    def draw(self, series: Sequence[Series], criteria: Criteria) -> None:
        """Draw band, burden and thresholds of every series."""
        measure = self.evaluation.measure
        thresholds = criteria.parts[self.compartment].thresholds[measure]
        found = [(one, burdens(one, self.compartment, criteria, measure)) for one in series]
        lines: list[_Line] = []
        for one, sizes in found:
            self._draw_burden(sizes)
            # A series without measurable tumour has no thresholds; those of the last that has some are named.
            lines = self._draw_thresholds(one, sizes, thresholds) or lines
            self._mark_references(one, sizes)
        self._name_lines(sorted(lines, key=lambda line: line[1]))
        self.axes.set_ylabel(_TITLES[self.compartment, measure])
        self.axes.yaxis.grid(visible=True, color=GRID)
        self._scale([burden.size for _, sizes in found for burden in sizes if burden.size is not None])

    def _scale(self, sizes: Sequence[float]) -> None:
        positive = [size for size in sizes if size > 0]
        top = max(self.axes.get_ylim()[1], 1.0)
        if positive and max(positive) > _WIDE * min(positive):
            least = 10 ** math.floor(math.log10(min(positive)))
            self.axes.set_yscale("symlog", linthresh=least, linscale=0.4)
            self.axes.yaxis.set_minor_locator(NullLocator())
            self.axes.set_ylim(-0.25 * least, 1.6 * top)
        else:
            self.axes.set_ylim(-0.04 * top, top)
        self.axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        self.axes.axhline(0, color=SOFT, linewidth=0.8, zorder=1)

    def _draw_burden(self, sizes: Sequence[Burden]) -> None:
        # An unknown size breaks line and band.
        at = [self.clock.at(one.scan.day) for one in sizes]
        size = [math.nan if one.size is None else one.size for one in sizes]
        bands = [band_95(y, one.size_sd) for y, one in zip(size, sizes, strict=True)]
        low, high = zip(*bands, strict=True)
        self.axes.fill_between(at, low, high, color=_BURDEN, alpha=0.18, linewidth=0, zorder=2)
        self.axes.vlines(at, low, high, color=_BURDEN, linewidth=1.2, zorder=3)
        self.axes.plot(at, size, color=_BURDEN, linewidth=1.6, marker="o", markersize=5, zorder=4)
        lacking = [self.clock.at(one.scan.day) for one in sizes if one.size is None]
        self.axes.plot(lacking, [0] * len(lacking), color=SOFT, marker="x", linestyle="none", zorder=4)

    def _draw_thresholds(self, series: Series, sizes: Sequence[Burden], limits: Thresholds) -> list[_Line]:
        """Draw them; the names to give them at their ends."""
        if series.baseline is None or series.baseline == len(sizes) - 1:
            return []
        by_scan = {one.scan.id: one.size for one in sizes}
        at, height = [], []
        for place in range(series.baseline + 1, len(sizes)):
            nadir = by_scan.get(self._nadir(sizes[place].scan.id) or "")
            at += [self.clock.at(sizes[place - 1].scan.day), self.clock.at(sizes[place].scan.day)]
            height += [nadir * (100 + limits.progression) / 100 if nadir else math.nan] * 2
        self.axes.plot(at, height, color=_PROGRESSION, linewidth=1.5, linestyle=(0, (5, 2)), zorder=3)
        drawn = [(x, y) for x, y in zip(at, height, strict=True) if not math.isnan(y)]
        lines = [(*end, f"PD: nadir + {limits.progression} %", _PROGRESSION) for end in drawn[-1:]]
        baseline, start = sizes[series.baseline].size, self.clock.at(sizes[series.baseline].scan.day)
        for name, percent, dashes in (("PR", limits.response, (1, 1.5)), ("MR", limits.minor_response, (1, 4))):
            if baseline and percent is not None:
                low = baseline * (100 - percent) / 100
                self.axes.plot(
                    [start, at[-1]], [low] * 2, color=_RESPONSE, linewidth=1.5, linestyle=(0, dashes), zorder=3
                )
                lines.append((at[-1], low, f"{name}: baseline − {percent} %", _RESPONSE))
        return lines

    def _name_lines(self, lines: Sequence[_Line]) -> None:
        """Names at the lines' ends, the lowest one's below it and the highest one's above: they may lie close."""
        for place, (x, y, text, colour) in enumerate(lines):
            side = "top" if place == 0 else "bottom" if place == len(lines) - 1 else "center"
            self.axes.annotate(text, (x, y), (5, 0), textcoords="offset points", va=side, fontsize=8.5, color=colour)

    def _mark_references(self, series: Series, sizes: Sequence[Burden]) -> None:
        nadirs = {self._nadir(one.scan.id) for one in sizes}
        for place, one in enumerate(sizes):
            if one.size is None:
                continue
            at = (self.clock.at(one.scan.day), one.size)
            if place == series.baseline:
                self.axes.plot(*at, marker="s", markersize=11, markerfacecolor="none", color=INK, zorder=5)
                self._name(at, "B")
            elif one.scan.id in nadirs:
                self.axes.plot(*at, marker="v", markersize=11, markerfacecolor="none", color=INK, zorder=5)
                self._name(at, "N")

    def _name(self, at: tuple[float, float], text: str) -> None:
        self.axes.annotate(text, at, (0, -9), textcoords="offset points", ha="center", va="top", fontsize=9)

    def _nadir(self, scan: str) -> str | None:
        """The nadir of this compartment that the scan was called against."""
        return next((call.part(self.compartment).nadir for call in self.evaluation.calls if call.scan == scan), None)


def _draw_events(axes: Axes, timeline: Timeline, criteria: Criteria, clock: Clock, named: bool) -> None:
    """Operations, the end of radiotherapy and the early window; their names in one panel alone."""
    marks = [(at, "surgery", "-") for at in _operations(timeline)]
    if timeline.radiotherapy_end_day is not None:
        marks.append((timeline.radiotherapy_end_day, "end of radiotherapy", "-."))
    window = criteria.early_window
    if window is not None:
        start = timeline.radiotherapy_end_day if window.after_radiotherapy else timeline.immunotherapy_start_day
        if start is not None and clock.left < start + window.days and start < clock.right:
            left, right = (clock.at(min(max(day, clock.left), clock.right)) for day in (start, start + window.days))
            axes.axvspan(left, right, facecolor="#f6f6f6", edgecolor="#c4c4c4", hatch="////", linewidth=0, zorder=0)
            marks.append((start, "", "-.") if window.after_radiotherapy else (start, "start of immunotherapy", "-."))
    for day, text, dashes in marks:
        if clock.left <= day <= clock.right:
            axes.axvline(clock.at(day), color=INK, linewidth=1.1, linestyle=dashes, zorder=1)
            if named and text:
                axes.annotate(
                    text, (clock.at(day), 1), (3, -3), xycoords=("data", "axes fraction"), rotation=90, va="top",
                    textcoords="offset points", fontsize=8.5, color=INK, bbox={"facecolor": "white", "pad": 1,
                    "edgecolor": "none", "alpha": 0.8},
                )  # fmt: skip


def _operations(timeline: Timeline) -> Iterator[float]:
    """Days to draw an operation at: between a pre-operative scan and the next, or at a post-operative one."""
    scans = timeline.scans
    if scans[0].surgery == "post-op":
        yield scans[0].day
    for before, after in pairwise(scans):
        if before.surgery == "pre-op" and after.surgery != "pre-op":
            yield (before.day + after.day) / 2
        elif after.surgery == "post-op" and before.surgery is None:
            yield after.day
