"""Figures of the scoreboard that no other room draws."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ranoscope.drawing import STYLE, svg_bytes

_MM3_PER_ML = 1000.0
# Volumes of 0 have no place on a logarithmic axis; they stand at its foot.
_FOOT_ML = 0.03
_BALLS_ML, _MEASURED_ML = (0.2, 400.0), (0.02, 400.0)
_TICKS_ML = (0.1, 1, 10, 100)
_BLUE = "#1b4f8f"


def draw_expert_sizes(expert_sizes: dict[str, Any]) -> bytes | None:
    """Measured enhancing volume over the volume of balls with the expert's products, a panel per source; None without
    any visit that has both.

    Args:
        expert_sizes: as ``compare_with_volumes`` returns it.
    """
    sources = list(expert_sizes["sources"])
    if not sources:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.3 * len(sources), 4.7), layout="constrained")
        panels = figure.subplots(1, len(sources), squeeze=False)[0]
        for axes, source in zip(panels, sources, strict=True):
            _draw_source(axes, expert_sizes, source)
        panels[0].set_ylabel("Measured enhancing volume, ml")
        title = "The expert's diameters and the measured volume"
        figure.suptitle(title, fontsize=11, fontweight="bold", x=0.02, ha="left")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
        return svg_bytes(figure)


def _draw_source(axes: Axes, expert_sizes: dict[str, Any], source: str) -> None:
    axes.plot(_MEASURED_ML, _MEASURED_ML, color="#444444", linestyle="--", linewidth=1, label="equal")
    for complete, face, label in ((True, _BLUE, "no other lesion named"), (False, "none", "further lesions named")):
        points = [one for one in expert_sizes["points"] if source in one and one["complete"] is complete]
        balls = [one["balls_mm3"] / _MM3_PER_ML for one in points]
        volumes = [max(one[source] / _MM3_PER_ML, _FOOT_ML) for one in points]
        axes.scatter(balls, volumes, s=22, facecolor=face, edgecolor=_BLUE, linewidth=0.9, label=label, clip_on=False)
    found = expert_sizes["sources"][source]["all"]
    title = source.removesuffix("_enhancing_mm3")
    if "spearman" in found:
        title += f": Spearman {found['spearman']['estimate']:.2f}, {found['pairs'] + found['zeros']} visits"
    axes.set(xscale="log", yscale="log", xlim=_BALLS_ML, ylim=_MEASURED_ML, xlabel="Balls of the stated products, ml")
    axes.set_xticks(_TICKS_ML[1:], [f"{tick:g}" for tick in _TICKS_ML[1:]])
    axes.set_yticks((_FOOT_ML, *_TICKS_ML), ["0", *(f"{tick:g}" for tick in _TICKS_ML)])
    axes.minorticks_off()
    axes.grid(visible=True)
    axes.set_title(title, fontsize=9.5, fontweight="normal")
