"""A picture per lesion: its slice, its outline voxel by voxel, and both diameters with their lengths.

Radiological convention: the patient's right is at the picture's left; anterior (axial) or superior is at the top.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap
from typing import Any, NamedTuple

import matplotlib.patheffects as pe
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from ranoscope.domain import RESEARCH_USE_ONLY
from ranoscope.drawing import png_bytes
from ranoscope.imaging.nifti import Volume
from ranoscope.measuring.lesions import Chord, MeasuredLesion
from ranoscope.response.repeatability import band_95
from ranoscope.response.timeline import Compartment


class _View(NamedTuple):
    """How slices across one axis are shown. ``edges``: letters at the left, right, top and bottom."""

    name: str
    axis: str
    edges: str
    side: str


_RIGHT = "The patient's right is at the left."
_VIEWS = {
    0: _View("sagittal", "i", "APSI", "Anterior is at the left."),
    1: _View("coronal", "j", "RLSI", _RIGHT),
    2: _View("axial", "k", "RLAP", _RIGHT),
}
_COMPARTMENTS = {Compartment.ENHANCING: "enhancing", Compartment.NONENHANCING: "non-enhancing (T2/FLAIR)"}
_LESION, _OTHER, _LONGEST, _PERPENDICULAR, _LETTER = "#35e0ff", "#c9c9c9", "#ffe14d", "#ff7ab8", "#ffd54a"
_INK, _SOFT = "#1a1a1a", "#555555"
_NO_IMAGE = "#1c1c1c"
_READING = "In brackets: 95 % of repeated measurements. Diameters end at the border as it runs between voxels. "
_DARK_RIM = [pe.withStroke(linewidth=2.4, foreground="black")]
# The enlarged part is at least this wide, and leaves this share of the lesion free on every side.
_LEAST_MM, _MARGIN_SHARE = 44.0, 0.3
_PANEL, _EDGE, _HEAD, _FOOT = 4.1, 0.18, 0.98, 0.74
_DOTS_PER_INCH = 100


@dataclass(frozen=True)
class LesionPicture:
    """What is drawn.

    ``labels``: int32 (u, v), all lesions of the compartment in the lesion's slice, the two in-plane axes in ascending
    order. ``image``: CT1 on the mask's grid; None: the mask alone is shown. ``affine``: voxel to RAS world, mm.
    """

    patient: str
    scan: str
    name: str
    compartment: Compartment
    lesion: MeasuredLesion
    labels: NDArray[np.int32]
    affine: NDArray[np.float64]
    slice_axis: int
    image: Volume | None

    @property
    def plane(self) -> list[int]:
        """The two axes of the picture: across, up."""
        return [axis for axis in range(3) if axis != self.slice_axis]

    @property
    def edges_mm(self) -> NDArray[np.float64]:
        """Voxel edges across and up, mm."""
        return np.asarray(np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))[self.plane])

    def in_plane_mm(self, chord: Chord) -> NDArray[np.float64]:
        """Both ends (2, 2) of a chord in the picture's own millimetres, voxel 0 at 0."""
        world = np.c_[np.stack([chord.start_mm, chord.end_mm]), np.ones(2)]
        voxels = world @ np.linalg.inv(self.affine).T
        return np.asarray(voxels[:, self.plane] * self.edges_mm)


def draw(picture: LesionPicture) -> Figure:
    """Draw the whole slice and the lesion enlarged; nothing of pyplot's global state is touched."""
    width = 2 * _PANEL + 3 * _EDGE
    height = _HEAD + _PANEL + _FOOT
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    near = _near(picture)
    for place, box in enumerate((_whole(picture), near)):
        left = _EDGE + place * (_PANEL + _EDGE)
        frame = (left / width, _FOOT / height, _PANEL / width, _PANEL / height)
        axes = figure.add_axes(frame, xticks=[], yticks=[], facecolor="black")
        _slice(axes, picture, box)
        _letters(axes, picture.slice_axis)
        _scale_bar(axes, box)
        if place == 0:
            size = near[1] - near[0]
            axes.add_patch(Rectangle(tuple(near[0]), *size, fill=False, color="white", linewidth=0.9, alpha=0.8))
        else:
            _diameter(axes, picture.in_plane_mm(picture.lesion.longest), picture.lesion.longest, _LONGEST)
            _diameter(
                axes, picture.in_plane_mm(picture.lesion.perpendicular), picture.lesion.perpendicular, _PERPENDICULAR
            )
    _words(figure, picture)
    return figure


def as_png(figure: Figure) -> bytes:
    """The figure as PNG, the same bytes for the same figure."""
    return png_bytes(figure, _DOTS_PER_INCH)


Box = NDArray[np.float64]
"""Lower and upper corner (2, 2), picture's mm."""


def _square(low: NDArray[np.float64], high: NDArray[np.float64], side: float) -> Box:
    middle = (low + high) / 2
    return np.stack([middle - side / 2, middle + side / 2])


def _whole(picture: LesionPicture) -> Box:
    """A square around the head, or around the whole slice where there is no image."""
    shown = picture.labels > 0 if picture.image is None else _cut(picture, picture.image.data) != 0
    if picture.image is None or not shown.any():
        low, high = np.zeros(2), np.array(shown.shape) - 1.0
    else:
        low, high = (np.argwhere(shown).min(axis=0) - 2.0, np.argwhere(shown).max(axis=0) + 2.0)
    low, high = (low - 0.5) * picture.edges_mm, (high + 0.5) * picture.edges_mm
    return _square(low, high, float((high - low).max()))


def _near(picture: LesionPicture) -> Box:
    """A square around the lesion in its slice."""
    places = np.argwhere(picture.labels == picture.lesion.label)
    low = (places.min(axis=0) - 0.5) * picture.edges_mm
    high = (places.max(axis=0) + 0.5) * picture.edges_mm
    return _square(low, high, max(_LEAST_MM, float((high - low).max()) * (1 + 2 * _MARGIN_SHARE)))


def _cut(picture: LesionPicture, data: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.moveaxis(data, picture.slice_axis, 0)[picture.lesion.slice_index])


def _slice(axes: Axes, picture: LesionPicture, box: Box) -> None:
    edges = picture.edges_mm
    u, v = (np.array(picture.labels.shape) - 0.5) * edges
    extent = (-0.5 * edges[0], u, -0.5 * edges[1], v)
    if picture.image is not None:
        data = _cut(picture, picture.image.data)
        inside = picture.image.data[picture.image.data != 0]
        low, high = np.percentile(inside, (1, 99.8)) if inside.size else (0.0, 1.0)
        shown = np.where(data != 0, data, low)
        axes.imshow(
            shown.T,
            cmap="gray",
            vmin=low,
            vmax=max(high, low + 1e-6),
            extent=extent,
            origin="lower",
            interpolation="bilinear",
        )
    else:
        axes.add_patch(Rectangle(extent[::2], u + edges[0] / 2, v + edges[1] / 2, color=_NO_IMAGE))
    own = picture.labels == picture.lesion.label
    others = (picture.labels > 0) & ~own
    for mask, colour, style in ((others, _OTHER, (0, (2, 1.5))), (own, _LESION, "solid")):
        lines = LineCollection(
            list(_outline(mask) * edges), colors=colour, linewidths=1.1, linestyles=[style], zorder=3
        )
        axes.add_collection(lines, autolim=False)
    axes.set_xlim(box[1][0], box[0][0])
    axes.set_ylim(box[0][1], box[1][1])
    axes.set_aspect("equal")


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Edges (n, 2, 2) in voxels between voxels inside and outside."""
    padded = np.pad(mask, 1)
    found = []
    for axis, (corner, along) in enumerate((((0.5, 1.5), (0, 1)), ((1.5, 0.5), (1, 0)))):
        starts = np.argwhere(np.diff(padded, axis=axis)) - np.array(corner)
        found.append(np.stack([starts, starts + np.array(along)], axis=1))
    return np.concatenate(found)


def _diameter(axes: Axes, ends: NDArray[np.float64], chord: Chord, colour: str) -> None:
    """The chord, and its length beyond the end that lies higher."""
    axes.plot(*ends.T, color="black", linewidth=3.0, solid_capstyle="butt", zorder=4)
    axes.plot(*ends.T, color=colour, linewidth=1.7, solid_capstyle="butt", marker="o", markersize=2.6, zorder=5)
    top, other = sorted(ends, key=lambda point: (-point[1], point[0]))
    away = (top - other) / max(float(np.linalg.norm(top - other)), 1e-9)
    # The picture's first axis runs to the left.
    offset = np.array([-away[0], away[1]]) * 9
    side = "left" if offset[0] > 2 else "right" if offset[0] < -2 else "center"
    axes.annotate(
        f"{chord.length_mm:.1f} mm", tuple(top), tuple(offset), textcoords="offset points", color=colour, fontsize=10,
        fontweight="bold", ha=side, va="bottom" if offset[1] > 2 else "center", path_effects=_DARK_RIM, zorder=6,
    )  # fmt: skip


def _letters(axes: Axes, slice_axis: int) -> None:
    places = ((0.025, 0.5, "left", "center"), (0.975, 0.5, "right", "center"),
              (0.5, 0.98, "center", "top"), (0.5, 0.02, "center", "bottom"))  # fmt: skip
    for letter, (x, y, across, up) in zip(_VIEWS[slice_axis].edges, places, strict=True):
        axes.text(x, y, letter, transform=axes.transAxes, color=_LETTER, fontsize=10, fontweight="bold", ha=across,
                  va=up, path_effects=_DARK_RIM, zorder=7)  # fmt: skip


def _scale_bar(axes: Axes, box: Box) -> None:
    """10, 20 or 50 mm, as the picture is wide, at the lower left."""
    wide = float(box[1][0] - box[0][0])
    length = 50 if wide > 150 else 20 if wide > 75 else 10
    left, height = box[1][0] - 0.04 * wide, box[0][1] + 0.045 * wide
    axes.plot([left, left - length], [height, height], color="white", linewidth=2.5, solid_capstyle="butt", zorder=7,
              path_effects=_DARK_RIM)  # fmt: skip
    axes.text(left, height + 0.012 * wide, f"{length} mm", color="white", fontsize=8, va="bottom", zorder=7,
              path_effects=_DARK_RIM)  # fmt: skip


def _words(figure: Figure, picture: LesionPicture) -> None:
    width, height = figure.get_size_inches()

    def text(left: float, top: float, words: str, **style: Any) -> None:
        figure.text(left / width, 1 - top / height, words, **{"va": "top", "color": _INK, **style})

    lesion = picture.lesion
    text(_EDGE, 0.12, f"{picture.patient}   {picture.scan}   lesion {picture.name}", fontsize=13, fontweight="bold")
    text(
        width - _EDGE,
        0.15,
        f"{_COMPARTMENTS[picture.compartment]} · {_place(picture)}",
        fontsize=9.5,
        color=_SOFT,
        ha="right",
    )
    text(_EDGE, 0.42, _sizes(lesion), fontsize=10)
    status = "Measurable." if lesion.measurable else f"Not measurable: {'; '.join(lesion.why_not)}."
    if lesion.touches_edge:
        status += " It reaches the border of the volume and may be cut."
    text(_EDGE, 0.66, "\n".join(wrap(status, 118)[:1]), fontsize=9.5, color=_SOFT if lesion.measurable else "#9a3b00")
    keys = [Line2D([], [], color="#0aa5c4", linewidth=1.6, label="lesion"),
            Line2D([], [], color="#a8a8a8", linewidth=1.6, label="other lesions"),
            Line2D([], [], color="#d8b400", linewidth=2, label="longest diameter"),
            Line2D([], [], color="#e0559a", linewidth=2, label="longest perpendicular")]  # fmt: skip
    figure.legend(
        handles=keys, loc="upper left", bbox_to_anchor=(_EDGE / width, (_FOOT - 0.06) / height), ncols=4, frameon=False,
        fontsize=8.5, borderpad=0, borderaxespad=0, handlelength=1.8, columnspacing=1.6,
    )  # fmt: skip
    text(_EDGE, height - _FOOT + 0.32, _READING + _VIEWS[picture.slice_axis].side, fontsize=8, color=_SOFT)
    text(_EDGE, height - 0.08, RESEARCH_USE_ONLY, fontsize=7.5, color="#777777", va="bottom")


def _place(picture: LesionPicture) -> str:
    view = _VIEWS[picture.slice_axis]
    height = float(picture.lesion.longest.start_mm[picture.slice_axis])
    return f"{view.name} slice {view.axis} = {picture.lesion.slice_index} ({height:+.0f} mm)".replace("-", "−")


def _sizes(lesion: MeasuredLesion) -> str:
    product, volume = lesion.product_mm2, lesion.volume_mm3
    products, volumes = band_95(product, lesion.product_sd), band_95(volume, lesion.volume_sd)
    return (
        f"{lesion.longest.length_mm:.1f} × {lesion.perpendicular.length_mm:.1f} mm = {product:,.0f} mm² "
        f"({products[0]:,.0f} to {products[1]:,.0f})   ·   "
        f"volume {volume:,.0f} mm³ ({volumes[0]:,.0f} to {volumes[1]:,.0f})"
    )
