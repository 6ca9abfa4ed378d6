"""The picture by which a person checks a prepared study: every sequence on the atlas grid, with outlines.

Radiological convention: the patient's right is at the picture's left; anterior (axial) or superior is at the top.
"""

from __future__ import annotations

from collections.abc import Sequence as Sequential
from dataclasses import dataclass
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from ranoscope.domain import RESEARCH_USE_ONLY, SEQUENCES
from ranoscope.drawing import png_bytes
from ranoscope.preparing.output import OnAtlas

_OWN, _FIRST, _TUMOUR = "#35e0ff", "#ffb347", "#ff5d8f"
_PANEL, _HEAD, _FOOT, _EDGE = 2.1, 0.62, 0.5, 0.06
_DOTS_PER_INCH = 90


@dataclass(frozen=True)
class Told:
    """What the picture says in words. ``problems``: none where all is well."""

    title: str
    problems: tuple[str, ...]


def draw(atlas: OnAtlas, first_brain: NDArray[np.bool_] | None, told: Told) -> bytes:
    """A PNG with a row per sequence and a column per view, through the middle of tumour, or else of brain.

    Args:
        atlas: the study on the atlas grid.
        first_brain: the brain of the patient's first study there, outlined as well; None for the first itself.
        told: title and problems.
    """
    rows = [sequence for sequence in SEQUENCES if sequence in atlas.images]
    width = 3 * _PANEL + 4 * _EDGE
    height = len(rows) * (_PANEL + _EDGE) + _HEAD + _FOOT
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    middle = _middle(atlas)
    outlines = [(atlas.brain, _OWN)]
    outlines += [] if first_brain is None else [(first_brain, _FIRST)]
    outlines += [] if atlas.tumour is None else [(atlas.tumour > 0, _TUMOUR)]
    for row, sequence in enumerate(rows):
        image = atlas.images[sequence]
        bright = float(np.percentile(image[atlas.brain], 99.5)) if atlas.brain.any() else 1.0
        for column, axis in enumerate((2, 1, 0)):
            left = _EDGE + column * (_PANEL + _EDGE)
            below = _FOOT + (len(rows) - 1 - row) * (_PANEL + _EDGE)
            frame = (left / width, below / height, _PANEL / width, _PANEL / height)
            axes = figure.add_axes(frame, xticks=[], yticks=[], facecolor="black")
            _panel(axes, image, (axis, middle[axis], max(bright, 1e-6)), outlines)
            if column == 0:
                axes.text(0.03, 0.95, sequence, color="white", transform=axes.transAxes, va="top", fontsize=9)
    _words(figure, told, first_brain is not None, atlas.tumour is not None)
    return png_bytes(figure, _DOTS_PER_INCH)


def _middle(atlas: OnAtlas) -> tuple[int, int, int]:
    shown = atlas.brain if atlas.tumour is None or not atlas.tumour.any() else atlas.tumour > 0
    places = np.argwhere(shown)
    middle = np.rint(places.mean(axis=0)) if len(places) else np.array(shown.shape) // 2
    return int(middle[0]), int(middle[1]), int(middle[2])


def _panel(
    axes: Axes,
    image: NDArray[np.float32],
    cut: tuple[int, int, float],
    outlines: Sequential[tuple[NDArray[np.bool_], str]],
) -> None:
    """One slice; ``cut``: axis, index and the intensity that is shown white."""
    axis, index, bright = cut
    axes.imshow(np.take(image, index, axis).T, cmap="gray", vmin=0, vmax=bright, origin="lower", aspect="equal")
    axes.set_adjustable("datalim")  # black to the panel's edge
    for inside, colour in outlines:
        flat = np.take(inside, index, axis).T
        if flat.any() and not flat.all():
            axes.contour(flat.astype(float), levels=[0.5], colors=[colour], linewidths=0.8)


def _words(figure: Figure, told: Told, compared: bool, tumour: bool) -> None:
    height = figure.get_figheight()
    figure.text(0.01, 1 - 0.06 / height, told.title, va="top", fontsize=10, fontweight="bold")
    said = "; ".join(told.problems) if told.problems else "No problem found."
    colour = "#b00020" if told.problems else "#2e7d32"
    figure.text(0.01, 1 - 0.27 / height, fill(said, 110)[:330], va="top", fontsize=7, color=colour)
    lines = [Line2D([], [], color=_OWN, label="brain")]
    lines += [Line2D([], [], color=_FIRST, label="brain, first study")] if compared else []
    lines += [Line2D([], [], color=_TUMOUR, label="tumour mask")] if tumour else []
    anchor = (0.0, 0.16 / height)
    figure.legend(handles=lines, loc="lower left", ncols=3, fontsize=7, frameon=False, bbox_to_anchor=anchor)
    reading = f"Axial, coronal, sagittal; the patient's right is at the left. {RESEARCH_USE_ONLY}"
    figure.text(0.01, 0.04 / height, reading, fontsize=6, va="bottom")
