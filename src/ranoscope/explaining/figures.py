"""The figure of an explained case: per explained class prior above current, and a column per method."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from ranoscope.domain import RESEARCH_USE_ONLY, Response, Sequence, Tissue
from ranoscope.drawing import png_bytes
from ranoscope.explaining.cases import STUDIES, CalledCase
from ranoscope.explaining.maps import SALIENCY_TOP, Maps
from ranoscope.explaining.methods import METHODS
from ranoscope.explaining.record import MapFile
from ranoscope.explaining.slices import AXIAL_EDGES, RADIOLOGICAL, SliceChoice, axial, brain_box, window

_COLOURS = mpl.colormaps["inferno"]
_ENHANCING, _TUMOUR = "#35e0ff", "#ffffff"
_PANEL, _GAP, _MARGIN = 2.25, 0.08, 0.18
_HEAD, _FOOT, _ROW_HEAD, _ROW_FOOT, _LINE = 0.82, 0.36, 0.5, 0.5, 0.155
_LETTERS_PER_INCH = 14
# The title's two halves stand side by side.
_LEAST_WIDTH = 9.5
_READING = (
    "Colour and opacity rise together with what speaks for the class, up to a value taken over the whole brain: the "
    f"{SALIENCY_TOP}th percentile of maps by voxel, the maximum of maps by cell. {RADIOLOGICAL}"
)
_DOTS_PER_INCH = 120


@dataclass(frozen=True)
class Scene:
    """What is drawn of a case, all on one grid (i, j, k towards R, A, S).

    ``volumes`` float (study, i, j, k) of ``sequence``, study 0 = prior; ``brains`` bool and ``tumours`` ``Tissue``
    alike; ``maps``: a map's record with its values (i, j, k); ``affine``: voxel to RAS world, mm.
    """

    called: CalledCase
    sequence: Sequence
    volumes: NDArray[np.floating]
    brains: NDArray[np.bool_]
    tumours: NDArray[np.uint8]
    maps: Maps
    place: SliceChoice
    affine: NDArray[np.float64]
    sentences: tuple[str, ...]

    @property
    def box(self) -> tuple[slice, slice]:
        """What is shown along i and j: both brains with a margin of 6 mm."""
        box = brain_box(self.brains[0] | self.brains[1], margin=max(1, round(6 / self.voxel_mm)))
        return box[0], box[1]

    @property
    def voxel_mm(self) -> float:
        """Edge of a voxel along i, mm."""
        return float(np.linalg.norm(self.affine[:3, 0]))

    @property
    def z_mm(self) -> float:
        """World height of the slice, mm."""
        return float((self.affine @ (0, 0, self.place.index, 1))[2])


def draw(scene: Scene) -> Figure:
    """Draw the figure; nothing of pyplot's global state is touched."""
    rows, columns = _cut(scene, scene.brains[0]).shape
    panel = (_PANEL, _PANEL * rows / columns)
    explained = scene.called.explained
    width = 2 * _MARGIN + (1 + len(_methods(scene))) * (panel[0] + _GAP) - _GAP
    width = max(width, _LEAST_WIDTH)
    notes = [line for text in (*scene.sentences, _READING) for line in wrap(text, int(_LETTERS_PER_INCH * width))]
    block = _ROW_HEAD + 2 * panel[1] + _GAP + _ROW_FOOT
    height = _HEAD + len(explained) * block + _LINE * len(notes) + _FOOT
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    page = _Page(figure, width, height)
    _title(page, scene)
    top = _HEAD
    for response in explained:
        _block(page, scene, response, top, panel)
        top += block
    _foot(page, notes, top)
    return figure


def as_png(figure: Figure) -> bytes:
    """The figure as PNG, the same bytes for the same figure."""
    return png_bytes(figure, _DOTS_PER_INCH)


@dataclass(frozen=True)
class _Page:
    """A figure addressed in inches from its top left corner."""

    figure: Figure
    width: float
    height: float

    def axes(self, left: float, top: float, size: tuple[float, float]) -> Axes:
        w, h = size
        place = (left / self.width, 1 - (top + h) / self.height, w / self.width, h / self.height)
        axes: Axes = self.figure.add_axes(place, xticks=[], yticks=[])
        return axes

    def text(self, left: float, top: float, text: str, **style: Any) -> None:
        style = {"va": "top", "color": "#1a1a1a", **style}
        self.figure.text(left / self.width, 1 - top / self.height, text, **style)


def _methods(scene: Scene) -> list[str]:
    """The methods of the scene's maps, in the order of their list."""
    return list(dict.fromkeys(entry.method for entry, _ in scene.maps))


def _of(scene: Scene, response: Response, method: str) -> dict[str | None, tuple[MapFile, NDArray[np.float32]]]:
    """Study → a method's map for a class; None stands for both studies together."""
    return {
        entry.study: (entry, values)
        for entry, values in scene.maps
        if entry.response is response and entry.method == method
    }


def _title(page: _Page, scene: Scene) -> None:
    called, case = scene.called, scene.called.case
    verdict = "agrees" if called.is_correct else "differs"
    page.text(
        _MARGIN, 0.14, f"{case.patient}:  {case.prior} → {case.current}", fontsize=14, fontweight="bold"
    )  # fmt: skip
    page.text(
        page.width - _MARGIN, 0.15, f"expert {case.response}   ·   call {called.call} ({verdict})",
        fontsize=13, fontweight="bold", ha="right", color="#1a1a1a" if called.is_correct else "#b3261e",
    )  # fmt: skip
    chances = "   ".join(f"{name} {value:.2f}" for name, value in reversed(called.probabilities.items()))
    page.text(page.width - _MARGIN, 0.45, f"probabilities   {chances}", fontsize=9.5, ha="right")
    weeks = f"{case.weeks_between} week{'' if case.weeks_between == 1 else 's'} between the studies"
    place = f"axial slice k = {scene.place.index}, z = {_signed(scene.z_mm)} mm ({scene.place.because})"
    page.text(_MARGIN, 0.46, f"{weeks}   ·   {place}", fontsize=9.5, color="#444444")


def _block(page: _Page, scene: Scene, response: Response, top: float, panel: tuple[float, float]) -> None:
    """One explained class: prior above current, anatomy first, then a column per method with its colour bar."""
    called = scene.called
    roles = "the call and the expert's response" if called.is_correct else (
        "the call" if response is called.call else "the expert's response"
    )  # fmt: skip
    page.text(_MARGIN, top + 0.02, f"Maps explain class {response}: {roles}", fontsize=10, fontweight="bold")
    grey = window(scene.volumes, scene.brains)
    tops = (top + _ROW_HEAD, top + _ROW_HEAD + panel[1] + _GAP)
    _heading(page, _MARGIN, top, f"{scene.sequence}")
    for study, name in enumerate(STUDIES):
        visit = called.case.prior if study == 0 else called.case.current
        axes = page.axes(_MARGIN, tops[study], panel)
        _anatomy(axes, scene, study, grey)
        _caption(axes, f"{name.capitalize()}\n{visit}")
        if study == 0:
            _scale_bar(axes, scene.voxel_mm)
    for place, method in enumerate(_methods(scene), start=1):
        left = _MARGIN + place * (panel[0] + _GAP)
        maps = _of(scene, response, method)
        _heading(page, left, top, METHODS[method].title)
        for study, name in enumerate(STUDIES):
            entry, values = maps[None if None in maps else name]
            axes = page.axes(left, tops[study], panel)
            _anatomy(axes, scene, study, grey)
            _overlay(axes, _cut(scene, values), entry)
        _colour_bar(page, left, tops[1] + panel[1] + 0.07, panel[0], entry)


def _caption(axes: Axes, text: str) -> None:
    axes.text(0.03, 0.97, text, transform=axes.transAxes, color="white", fontsize=8, va="top", zorder=5)


def _heading(page: _Page, left: float, top: float, text: str) -> None:
    page.text(left + 0.02, top + 0.29, text, fontsize=9, color="#333333")


def _cut(scene: Scene, volume: NDArray[Any]) -> NDArray[Any]:
    """The scene's slice of a volume (i, j, k), cropped to the brain, as a picture."""
    return axial(volume[scene.box], scene.place.index)


def _anatomy(axes: Axes, scene: Scene, study: int, grey: tuple[float, float]) -> None:
    """One study's slice with its tumour's outlines and the letters of the four edges."""
    outside = ~_cut(scene, scene.brains[study])
    picture = np.ma.masked_array(_cut(scene, scene.volumes[study]).astype(np.float32), outside).filled(grey[0])
    axes.set_facecolor("black")
    axes.imshow(picture, cmap="gray", vmin=grey[0], vmax=grey[1], interpolation="bilinear", zorder=0)
    tumour = _cut(scene, scene.tumours[study])
    for mask, colour, style in (
        (tumour != Tissue.BACKGROUND, _TUMOUR, (0, (3, 2))),
        (tumour == Tissue.ENHANCING, _ENHANCING, "solid"),
    ):
        if mask.any() and not mask.all():
            axes.contour(mask, levels=[0.5], colors=[colour], linewidths=0.8, linestyles=[style], zorder=3)
    places = {"left": (0.03, 0.5), "right": (0.97, 0.5), "top": (0.5, 0.975), "bottom": (0.5, 0.025)}
    for edge, (x, y) in places.items():
        axes.text(
            x, y, AXIAL_EDGES[edge], transform=axes.transAxes, color="#ffd54a", fontsize=8, fontweight="bold",
            ha=edge if edge in ("left", "right") else "center", va=edge if edge in ("top", "bottom") else "center",
            zorder=4,
        )  # fmt: skip


def _overlay(axes: Axes, values: NDArray[np.float32], entry: MapFile) -> None:
    """Colour and opacity both rise with the value."""
    if entry.shown_up_to <= 0:
        axes.text(
            0.5, 0.1, "no place in the brain stands out", transform=axes.transAxes, color="white", fontsize=8,
            ha="center", zorder=4,
        )  # fmt: skip
        return
    share = np.clip(values / entry.shown_up_to, 0, 1)
    axes.imshow(share, cmap=_COLOURS, vmin=0, vmax=1, alpha=_opacity(share), interpolation="bilinear", zorder=2)


def _opacity(share: NDArray[np.float32]) -> NDArray[np.float32]:
    return 0.85 * share


def _colour_bar(page: _Page, left: float, top: float, width: float, entry: MapFile) -> None:
    if entry.shown_up_to <= 0:
        return
    ramp = np.linspace(0, 1, 128, dtype=np.float32)[None]
    axes = page.axes(left, top, (width, 0.09))
    axes.set_facecolor("black")
    axes.imshow(ramp, cmap=_COLOURS, vmin=0, vmax=1, alpha=_opacity(ramp), aspect="auto")
    page.text(left, top + 0.12, "0", fontsize=7.5)
    page.text(left + width, top + 0.12, f"≥ {entry.shown_up_to:.2g}", fontsize=7.5, ha="right")
    page.text(left + width / 2, top + 0.12, METHODS[entry.method].unit, fontsize=7, ha="center", color="#444444")


def _scale_bar(axes: Axes, voxel_mm: float) -> None:
    low, high = axes.get_xlim()
    left, bottom = low + 0.04 * (high - low), axes.get_ylim()[0]
    y = bottom + 0.035 * (axes.get_ylim()[1] - bottom)
    axes.plot([left, left + 50 / voxel_mm], [y, y], color="white", linewidth=2, solid_capstyle="butt", zorder=4)
    axes.text(left, y - 1.5 / voxel_mm, "50 mm", color="white", fontsize=7, va="bottom", zorder=4)


def _foot(page: _Page, notes: list[str], top: float) -> None:
    keys = [
        Line2D([], [], color=_ENHANCING, linewidth=1.4, label="enhancing"),
        Line2D([], [], color="#777777", linewidth=1.2, linestyle=(0, (3, 2)), label="whole tumour"),
    ]
    page.figure.legend(
        handles=keys, loc="upper right", bbox_to_anchor=(1 - _MARGIN / page.width, 1 - (top - 0.02) / page.height),
        ncols=2, frameon=False, fontsize=8, borderpad=0, borderaxespad=0, handlelength=2.2,
    )  # fmt: skip
    for place, line in enumerate(notes):
        page.text(_MARGIN, top + place * _LINE, line, fontsize=8, color="#444444")
    page.text(_MARGIN, page.height - 0.1, RESEARCH_USE_ONLY, fontsize=7.5, color="#777777", va="bottom")


def _signed(number: float) -> str:
    return f"{number:+.0f}".replace("-", "−")
