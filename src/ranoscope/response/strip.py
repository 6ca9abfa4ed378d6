"""Above a timeline's burden: the strip of calls in letters, on the clock that both share, and what the marks mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from ranoscope.domain import RESEARCH_USE_ONLY
from ranoscope.response.calls import Call, Category, Stage
from ranoscope.response.timeline import Timeline

INK, SOFT, GRID = "#1a1a1a", "#666666", "#dddddd"
# Okabe and Ito's colours tell apart under every common colour vision; the letters on them in print.
_BOXES = {
    Category.CR: "#009e73", Category.PR: "#56b4e9", Category.MR: "#b8def5", Category.SD: "#e3e3e3",
    Category.PD: "#d55e00", Category.NE: "#ffffff",
}  # fmt: skip
_LIGHT_ON = frozenset({Category.CR, Category.PD})
_STAGES = {Stage.PRE_OP: "pre-op", Stage.POST_OP: "post-op", Stage.BASELINE: "base", Stage.BEFORE_BASELINE: "–"}
_WEEKS_FROM_DAYS = 140
# Share of the width that a call's letters take.
_LETTERS = 0.052
LANE = 0.24


class Clock:
    """Days of scans → the horizontal axis, in weeks where the follow-up is long."""

    def __init__(self, timeline: Timeline) -> None:
        days = [scan.day for scan in timeline.scans]
        self.origin = days[0]
        span = max(days[-1] - days[0], 14)
        self.unit, self.step = ("weeks", 7) if span >= _WEEKS_FROM_DAYS else ("days", 1)
        self.left, self.right = days[0] - 0.05 * span, days[-1] + 0.2 * span

    def at(self, day: float) -> float:
        """Place on the axis."""
        return (day - self.origin) / self.step

    @property
    def limits(self) -> tuple[float, float]:
        """The axis from end to end."""
        return self.at(self.left), self.at(self.right)

    def share(self, day: float) -> float:
        """Place as a share of the width."""
        return (day - self.left) / (self.right - self.left)


def draw_calls(axes: Axes, calls: Sequence[Call], lanes: Sequence[int], clock: Clock) -> None:
    """Write each call's letters in its lane, with a line down to the panels."""
    axes.set(xlim=clock.limits, ylim=(max(lanes) + 0.8, -0.6))
    axes.spines[:].set_visible(False)
    axes.tick_params(bottom=False, left=False, labelleft=False, labelbottom=False)
    for call, lane in zip(calls, lanes, strict=True):
        at = clock.at(call.day)
        axes.plot([at, at], [lane + 0.35, max(lanes) + 0.8], color=GRID, linewidth=0.8, zorder=0)
        text, category = _letters(call), call.category
        box: dict[str, Any] = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none"}
        if category is not None:
            box |= {"facecolor": _BOXES[category], "edgecolor": INK, "linewidth": 0.7}
        axes.text(
            at, lane, text, ha="center", va="center", fontsize=8.5 if category else 7.5, bbox=box,
            fontweight="bold" if category else "normal",
            color=SOFT if category is None else "white" if category in _LIGHT_ON else INK,
        )  # fmt: skip


def _letters(call: Call) -> str:
    if call.category is None:
        return _STAGES.get(call.stage, "–")
    waiting = f" ({call.preliminary}?)" if call.preliminary is not None else ""
    return f"{call.category}{'*' if call.provisional else ''}{waiting}"


def arrange(calls: Sequence[Call], clock: Clock) -> list[int]:
    """A row for each call's letters, the uppermost in which they touch no earlier ones."""
    ends: list[float] = []
    lanes = []
    for call in calls:
        half = _LETTERS * (0.5 if len(_letters(call)) <= len("post-op") - 1 else 0.85)
        centre = clock.share(call.day)
        lane = next((lane for lane, end in enumerate(ends) if end <= centre - half), len(ends))
        ends[lane : lane + 1] = [centre + half]
        lanes.append(lane)
    return lanes


def explain(calls: Sequence[Call]) -> list[str]:
    """The lines under the figure: what its marks mean, and the notice that a figure on its own needs."""
    lines = [
        "Band: 95 % range of a repeated measurement.   B: baseline   N: nadir   ×: no size known   "
        "hatched: early window"
    ]
    marks = ["(PD?), (PR?) …: waits for confirmation"] if any(call.preliminary for call in calls) else []
    marks += ["*: provisional, something unknown may change it"] if any(call.provisional for call in calls) else []
    back = [f"{call.scan} dated back to {call.progression_scan}" for call in calls
            if call.progression_scan not in (None, call.scan)]  # fmt: skip
    lines += ["   ".join(marks)] if marks else []
    lines += [f"Progression at {'; '.join(back)}"] if back else []
    return [*lines, RESEARCH_USE_ONLY]
