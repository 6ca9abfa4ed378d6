"""The charts of an explained run: scores beside chance, their spread, what volumes are worth, random networks."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ranoscope.domain import RESPONSES
from ranoscope.drawing import STYLE, svg_bytes
from ranoscope.explaining.methods import METHODS
from ranoscope.explaining.opened import BOTH
from ranoscope.explaining.scoring import CALLED, DROP, EVERY, VOLUMES
from ranoscope.explaining.tables import WHOLE, find, methods_of

_SCORES = {"pointing": "Pointing game", "mass": "Relevance mass", "rank": "Relevance rank", "auc": "Localisation AUC"}
_PATHS = {"deletion": "Deletion, lower is better", "insertion": "Insertion, higher is better"}
_INK, _CHANCE, _CEILING = "#1b4f8f", "#b3261e", "#0b6e7f"
_COLOURS = ("#1b4f8f", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")


def draw_charts(content: dict[str, Any], table: pd.DataFrame) -> dict[str, bytes]:
    """Name → SVG. Content as in scores.json, table as in scores.csv; a chart without data is left out."""
    with mpl.rc_context(STYLE):
        figures = {
            "localisation": _draw_scores(content, _SCORES, WHOLE),
            "paths": _draw_scores(content, _PATHS, ""),
            "spread": _draw_spread(table),
            "volumes": _draw_volumes(content),
            "randomisation": _draw_similarity(content["randomisation"], content["other_run"]),
        }
        return {name: svg_bytes(figure) for name, figure in figures.items() if figure is not None}


def _draw_scores(content: dict[str, Any], titles: dict[str, str], mask: str) -> Figure:
    """One panel per score: a method a row, its mean with interval, chance and ceiling as marks."""
    methods = methods_of(content)
    figure = Figure(figsize=(3.1 * len(titles) + 1.6, 1.3 + 0.42 * len(methods)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(titles), sharey=True))
    for axes, (score, title) in zip(panels, titles.items(), strict=True):
        for place, method in enumerate(methods):
            found = find(content, method=method, mask=mask, score=score)
            if found is not None:
                _draw_one(axes, found, place)
        axes.set(xlim=(-0.02, 1.02), ylim=(len(methods) - 0.5, -0.5))
        axes.set_title(title)
        axes.grid(visible=True)
    panels[0].set_yticks(range(len(methods)), [METHODS[method].title for method in methods])
    _explain_marks(figure, with_ceiling=mask != "")
    return figure


def _draw_one(axes: Axes, found: dict[str, Any], place: int) -> None:
    mean = found["mean"]
    if mean["low"] is not None:
        axes.plot([mean["low"], mean["high"]], [place, place], color=_INK, linewidth=2, zorder=2)
    if mean["estimate"] is not None:
        axes.plot(mean["estimate"], place, "o", color=_INK, markersize=6, zorder=3)
    for value, marker, colour in ((found["chance"], "|", _CHANCE), (found["ceiling"], "d", _CEILING)):
        if value is not None and value == value:
            axes.plot(value, place, marker, color=colour, markersize=12 if marker == "|" else 5, markeredgewidth=2)


def _explain_marks(figure: Figure, with_ceiling: bool) -> None:
    text = "● mean over cases with its interval over patients    | what chance scores"
    figure.supxlabel(
        text + ("    ◆ what the layer's cells allow (1 for maps by voxel)" if with_ceiling else ""), fontsize=8.5
    )


def _draw_spread(table: pd.DataFrame) -> Figure | None:
    """Localisation AUC of every case, a column per method and expert's class, so that no case hides behind a mean."""
    rows = table[
        (table["explained"] == CALLED) & (table["view"] == BOTH) & (table["mask"] == WHOLE) & (table["score"] == "auc")
    ]  # fmt: skip
    methods = [str(method) for method in METHODS if (rows["method"] == method).any()]
    if rows["value"].notna().sum() == 0:
        return None
    figure = Figure(figsize=(1.5 * len(methods) + 1.4, 3.4), layout="constrained")
    axes = figure.subplots()
    generator = np.random.default_rng(0)
    for place, method in enumerate(methods):
        for number, response in enumerate(RESPONSES):
            mine = rows[(rows["method"] == method) & (rows["response"] == str(response))]["value"].dropna().to_numpy()
            middle = place + 0.2 * (number - 1.5)
            axes.plot(middle + generator.uniform(-0.07, 0.07, len(mine)), mine, ".", color=_COLOURS[number], alpha=0.6,
                      markersize=5, label=str(response) if place == 0 else None)  # fmt: skip
            if len(mine):
                axes.plot([middle - 0.08, middle + 0.08], [np.median(mine)] * 2, color="black", linewidth=1.6)
    axes.axhline(0.5, color=_CHANCE, linewidth=1, linestyle="--")
    axes.set(ylim=(-0.02, 1.02), ylabel="Localisation AUC, whole tumour")
    axes.set_xticks(
        range(len(methods)), [METHODS[method].title.replace(", ", ",\n").replace(" ", "\n", 1) for method in methods]
    )
    axes.grid(visible=True, axis="y")
    axes.legend(title="Expert", ncols=4, fontsize=8, loc="lower left")
    axes.set_title("Every scored case; black: median; dashed: chance")
    return figure


def _draw_volumes(content: dict[str, Any]) -> Figure:
    """What the called class's logit loses when a study or a sequence is replaced by its mean."""
    sequences = [*map(str, content["sequences"]), EVERY]
    figure = Figure(figsize=(1.2 + 0.9 * len(sequences) + 2.2, 2.9), layout="constrained")
    axes = figure.subplots()
    for number, view in enumerate(("prior", "current", BOTH)):
        for place, sequence in enumerate(sequences):
            found = find(content, method=VOLUMES, view=view, mask=sequence, score=DROP)
            if found is None or found["mean"]["estimate"] is None:
                continue
            x = place + 0.25 * (number - 1)
            mean = found["mean"]
            axes.bar(x, mean["estimate"], width=0.22, color=_COLOURS[number], label=view if place == 0 else None)
            if mean["low"] is not None:
                axes.plot([x, x], [mean["low"], mean["high"]], color="black", linewidth=1.3)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(sequences)), [*sequences[:-1], "all sequences"])
    axes.set(ylabel="Drop of the logit")
    axes.set_title("What each volume is worth to the call")
    axes.grid(visible=True, axis="y")
    axes.legend(title="Replaced study", fontsize=8)
    return figure


def _draw_similarity(rows: list[dict[str, Any]], other: dict[str, Any] | None) -> Figure | None:
    """Spearman correlation with the trained network's maps: of random networks, from the output down, and others."""
    others = {row["method"]: row["spearman"] for row in other["rows"]} if other else {}
    methods = [str(name) for name in METHODS if name in others or any(row["method"] == name for row in rows)]
    if not methods:
        return None
    figure = Figure(figsize=(6.8, 3.2), layout="constrained")
    axes = figure.subplots()
    steps = max((row["step"] for row in rows), default=0)
    for place, (method, colour) in enumerate(zip(methods, _COLOURS, strict=False)):
        mine = [row for row in rows if row["method"] == method]
        values = [1.0, *(_or_nan(row["spearman"]) for row in mine)]
        places = [0, *(row["step"] for row in mine)]
        axes.plot(places, values, "o-", color=colour, markersize=4, label=METHODS[method].title)
        if method in others:
            axes.plot(steps + 0.75 + 0.06 * place, _or_nan(others[method]), "D", color=colour, markersize=6)
    axes.axhline(0, color="#444444", linewidth=0.8)
    ticks: dict[float, str] = {step: f"{100 * step / max(steps, 1):.0f} %" for step in range(steps + 1)}
    if other:
        ticks[steps + 0.75 + 0.03 * (len(methods) - 1)] = f"other run,\n{other['labels']} labels"
    axes.set(xlim=(-0.1, max(ticks) + 0.35), ylim=(-0.6, 1.05), ylabel="Rank correlation")
    axes.set(xlabel="Share of layers randomised, from the output down")
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.grid(visible=True, axis="y")
    axes.legend(fontsize=8)
    axes.set_title("Maps of networks that forget, or learnt otherwise" if other else "Maps of networks that forget")
    return figure


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value
