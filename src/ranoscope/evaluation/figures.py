"""The scorecard's figures: SVG with real text, the same bytes for the same scorecard."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from ranoscope.drawing import STYLE, svg_bytes
from ranoscope.evaluation.scores import METRICS, recall_name

_MODEL = "#1b4f8f"
# The first model is a dark blue disc; further ones, on scoreboards with several, other blues and shapes.
_MODELS = (_MODEL, "#3f88d1", "#0b6e7f")
_MODEL_MARKERS = "oph"
# Okabe and Ito's colours tell apart under every common colour vision; markers tell apart in print.
_RIVALS = ("#7f7f7f", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")
_MARKERS = "sD^vPX*"
_GRID = "#dddddd"
_WARNING = "#b3261e"
_LETTERS_PER_INCH = 14
# Five titles of this many letters fit side by side under a figure.
_SHORT_TITLE = 16


def draw_scoreboard(scorecard: dict[str, Any], title: str = "Balanced accuracy beside the rivals") -> bytes:
    """Forest plot: balanced accuracy with its interval, models above rivals, chance as a dashed line."""
    contenders, headline = scorecard["contenders"], scorecard["headline"]
    metric = next(metric for metric in METRICS if metric.name == headline)
    chance = float(metric.chance or 0)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 1.5 + 0.52 * len(contenders)), layout="constrained")
        axes = figure.subplots()
        for place, (contender, colour, marker) in enumerate(_styled(contenders)):
            found = contender["metrics"][headline]
            _draw_interval(axes, found, place, colour, marker)
            axes.text(1.02, place, _percent_with_interval(found), va="center", transform=axes.get_yaxis_transform())
        axes.axvline(chance, color="#444444", linestyle="--", linewidth=1)
        axes.text(chance + 0.01, -0.62, f"chance {100 * chance:.0f} %", fontsize=8.5, color="#444444")
        axes.set(xlim=(0, 1), ylim=(len(contenders) - 0.4, -0.8), xlabel=f"{metric.title}, {_interval(scorecard)}")
        axes.set_yticks(range(len(contenders)), [f"{c['title']}\n({c['level'] or 'undeclared'})" for c in contenders])
        axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes.grid(visible=True)
        axes.set_title(title)
        stamp(figure, scorecard["watermark"])
        return svg_bytes(figure)


def draw_confusion(scorecard: dict[str, Any]) -> bytes:
    """The first model's confusion matrix: rows the expert's class, each summing to 100 %, with counts."""
    model = scorecard["contenders"][0]
    # Best response first, as clinicians list them.
    counts = np.array(model["confusion"])[::-1, ::-1]
    classes = scorecard["classes"][::-1]
    support = counts.sum(axis=1)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6, 5.2), layout="constrained")
        axes = figure.subplots()
        for row, column in np.ndindex(counts.shape):
            share = counts[row, column] / support[row] if support[row] else np.nan
            shade = "#f2f2f2" if np.isnan(share) else mpl.colormaps["Blues"](0.05 + 0.85 * share)
            axes.add_patch(Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=shade))
            text = "no case" if np.isnan(share) else f"{share:.0%}\n({counts[row, column]:.4g})".replace("%", " %")
            axes.text(column, row, text, ha="center", va="center", color="white" if share > 0.65 else "black")
        edge = len(classes) - 0.45
        axes.set(xlim=(-0.55, edge), ylim=(edge, -0.55), xlabel="Call", ylabel="Expert")
        axes.set_xticks(range(len(classes)), classes)
        axes.set_yticks(
            range(len(classes)), [f"{name}\n(n={number:.4g})" for name, number in zip(classes, support, strict=True)]
        )
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_aspect("equal")
        axes.set_title(f"Calls of {model['title']}, per expert rating")
        stamp(figure, scorecard["watermark"])
        return svg_bytes(figure)


def draw_calibration(scorecard: dict[str, Any]) -> bytes:
    """The first model's reliability curve, and below it how many cases each bin holds."""
    model = scorecard["contenders"][0]
    bins = model["reliability"]
    most = max(row["cases"] for row in bins)
    confidence, accuracy = ([row[name] for row in bins] for name in ("confidence", "accuracy"))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6, 5.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot((0, 1), (0, 1), color="#444444", linestyle="--", linewidth=1, label="perfectly calibrated")
        upper.vlines(confidence, [row["low"] for row in bins], [row["high"] for row in bins], color=_MODEL, alpha=0.45)
        upper.plot(confidence, accuracy, color=_MODEL, linewidth=0.8)
        size = [12 + 90 * row["cases"] / most for row in bins]
        upper.scatter(confidence, accuracy, s=size, color=_MODEL, zorder=3, label=model["title"], clip_on=False)
        upper.set(ylim=(-0.02, 1.02), ylabel="Share that is right")
        upper.legend(frameon=False, loc="upper left")
        upper.set_title(
            f"Calibration: ECE {_number(model['metrics']['ece'])}, Brier {_number(model['metrics']['brier'])}"
        )
        lower.bar(
            [row["low_edge"] for row in bins], [row["cases"] for row in bins], align="edge", color=_MODEL, alpha=0.6,
            width=[row["high_edge"] - row["low_edge"] - 0.004 for row in bins],
        )  # fmt: skip
        for row in bins:
            middle = (row["low_edge"] + row["high_edge"]) / 2
            lower.text(middle, row["cases"], f"{row['cases']:.3g}", ha="center", va="bottom", fontsize=8.5)
        lower.margins(y=0.25)
        lower.set(xlim=(0, 1), ylabel="Cases", xlabel="Probability of the most probable class")
        for axes in (upper, lower):
            axes.yaxis.grid(visible=True)
        for axis in (upper.yaxis, lower.xaxis):
            axis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        stamp(figure, scorecard["watermark"])
        return svg_bytes(figure)


def draw_recall(scorecard: dict[str, Any]) -> bytes:
    """Recall per class with intervals, models beside rivals."""
    contenders, classes = scorecard["contenders"], scorecard["classes"][::-1]
    support = scorecard["cohort"]["cases_per_class"]
    step = 0.72 / len(contenders)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 4.6), layout="constrained")
        axes = figure.subplots()
        for place, (contender, colour, marker) in enumerate(_styled(contenders)):
            at = [column + (place - (len(contenders) - 1) / 2) * step for column in range(len(classes))]
            found = [contender["metrics"][recall_name(name)] for name in classes]
            low, high, value = ([_nan(one[key]) for one in found] for key in ("low", "high", "estimate"))
            axes.vlines(at, low, high, color=colour, linewidth=2)
            axes.plot(at, value, color=colour, marker=marker, linestyle="none", label=contender["title"], clip_on=False)
        for edge in range(1, len(classes)):
            axes.axvline(edge - 0.5, color=_GRID, linewidth=0.8)
        axes.set(xlim=(-0.5, len(classes) - 0.5), ylim=(-0.03, 1.03), ylabel=f"Recall, {_interval(scorecard)}")
        axes.set_xticks(range(len(classes)), [f"{name}\n(n={support[name]})" for name in classes])
        axes.tick_params(axis="x", length=0)
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes.yaxis.grid(visible=True)
        axes.set_title("Recall of each response", pad=10)
        longest = max(len(contender["title"]) for contender in contenders)
        columns = 5 if longest <= _SHORT_TITLE else 3
        figure.legend(loc="outside lower center", ncols=columns, columnspacing=1.2, handletextpad=0.2, frameon=False)
        stamp(figure, scorecard["watermark"])
        return svg_bytes(figure)


FIGURES: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "scoreboard.svg": draw_scoreboard,
    "confusion.svg": draw_confusion,
    "calibration.svg": draw_calibration,
    "recall.svg": draw_recall,
}


def _styled(contenders: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str, str]]:
    """Each contender with colour and marker: models blue, the first a disc, rivals each their own."""
    styled, models, rivals = [], 0, 0
    for contender in contenders:
        if contender["kind"] == "model":
            styled.append((contender, _MODELS[models % len(_MODELS)], _MODEL_MARKERS[models % len(_MODEL_MARKERS)]))
            models += 1
        else:
            styled.append((contender, _RIVALS[rivals % len(_RIVALS)], _MARKERS[rivals % len(_MARKERS)]))
            rivals += 1
    return styled


def _draw_interval(axes: Axes, found: dict[str, Any], place: float, colour: str, marker: str) -> None:
    if found["low"] is not None:
        axes.hlines(place, found["low"], found["high"], color=colour, linewidth=2.4)
    if found["estimate"] is not None:
        axes.plot(found["estimate"], place, color=colour, marker=marker, markersize=8, clip_on=False)


def _percent_with_interval(found: dict[str, Any]) -> str:
    if found["estimate"] is None:
        return "undefined"
    between = "" if found["low"] is None else f" ({100 * found['low']:.0f}–{100 * found['high']:.0f})"
    return f"{100 * found['estimate']:.1f} %{between}"


def _interval(scorecard: dict[str, Any]) -> str:
    return f"{100 * scorecard['protocol']['coverage']:.4g} % interval over patients"


def _number(found: dict[str, Any]) -> str:
    return "undefined" if found["estimate"] is None else f"{found['estimate']:.3f}"


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value


def stamp(figure: Figure, mark: str | None) -> None:
    """Put a watermark over a figure and its words above it; nothing for None."""
    if mark is None:
        return
    head = mark.split(":")[0]
    figure.text(
        0.5, 0.5, head.upper(), fontsize=34, fontweight="bold", color=_WARNING, alpha=0.16, rotation=25, ha="center",
        va="center", zorder=10,
    )  # fmt: skip
    figure.suptitle(fill(mark, int(_LETTERS_PER_INCH * figure.get_figwidth())), fontsize=8.5, color=_WARNING)
