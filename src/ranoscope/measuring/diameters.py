"""The longest diameter of a shape in one slice, and the longest one perpendicular to it that crosses it.

Definition, in this order (RANO: the longest diameter first):

1. Holes enclosed by the shape are filled: a ring with a necrotic core is measured by its outer contour.
2. The longest diameter joins two vertices of ``outline`` and runs inside the shape, but for a share of its length of at
   most ``outside`` (the last half voxel at either end apart); if the longest pair does not, the next longest is taken,
   so that an L or a C is measured in tissue.
3. The perpendicular diameter is exactly perpendicular to it, reaches from border to border without leaving the outline,
   crosses it, runs inside the shape as the longest one does, and is not longer than it. It is the longest of those that
   stand at a vertex of the outline: between two vertices the length changes linearly along the longest diameter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ranoscope.measuring.outline import Points, outline

# Candidate chords whose course through the voxels is looked at together: most often the very first runs inside.
_FEW, _MANY = 4, 128
# Perpendiculars are laid this share of the longest diameter beside each vertex, where no line meets a vertex.
BESIDE = 1e-9
# Added to the share that may lie outside: on a grid a share is often exactly the limit, and rounding must not decide.
SLACK = 1e-6
# A border is known to half a voxel, and the outline may lie beyond the voxels there: a chord is judged in between.
END = 0.5


@dataclass(frozen=True)
class Diameters:
    """Both diameters of one shape: end points (2, 2) in voxel indices (start, end), lengths in mm."""

    longest: Points
    longest_mm: float
    perpendicular: Points
    perpendicular_mm: float

    @property
    def product_mm2(self) -> float:
        """Bidimensional product, mm²."""
        return self.longest_mm * self.perpendicular_mm


def measure_piece(
    filled: NDArray[np.bool_], spacing_mm: tuple[float, float], outside: float, least_mm: float = 0.0
) -> Diameters | None:
    """Both diameters of one 8-connected shape without holes.

    Args:
        filled: bool (u, v), not empty.
        spacing_mm: voxel edges along u and v.
        outside: the largest share of either diameter that may lie outside the shape's voxels.
        least_mm: no shorter longest diameter is looked for; None where the shape has none that reaches it.
    """
    spacing = np.array(spacing_mm)
    vertices = outline(filled)
    longest = _longest(filled, vertices, spacing, (outside, least_mm))
    if longest is None:
        return None
    stretches = _perpendiculars(vertices * spacing, longest * spacing) / spacing
    perpendicular = _first_inside(filled, stretches, outside)
    if perpendicular is None:
        perpendicular = np.tile(longest.mean(axis=0), (2, 1))
    return Diameters(longest, _length(longest * spacing), perpendicular, _length(perpendicular * spacing))


def outside_share(filled: NDArray[np.bool_], starts: Points, ends: Points) -> NDArray[np.float64]:
    """Share of each chord's length that runs outside the shape's voxels, exactly, (n,).

    Args:
        filled: bool (u, v).
        starts, ends: (n, 2) in voxel indices.
    """
    run = ends - starts
    cuts = [np.zeros((len(starts), 1)), np.ones((len(starts), 1))]
    for axis, size in enumerate(filled.shape):
        borders = np.arange(size + 1) - 0.5
        step = np.where(np.abs(run[:, axis]) < 1e-12, np.inf, run[:, axis])
        cuts.append(np.clip((borders[None] - starts[:, axis, None]) / step[:, None], 0, 1))
    places = np.sort(np.concatenate(cuts, axis=1), axis=1)
    middles = (places[:, 1:] + places[:, :-1]) / 2
    points = starts[:, None] + middles[..., None] * run[:, None]
    # Exactly between two voxels a chord is inside if either is: it runs along the shape's own border.
    inside = np.zeros(middles.shape, dtype=bool)
    padded = np.pad(filled, 1)
    for nudge in ((-1e-9, -1e-9), (1e-9, 1e-9), (-1e-9, 1e-9), (1e-9, -1e-9)):
        index = np.rint(points + np.array(nudge)).astype(int) + 1
        u = np.clip(index[..., 0], 0, padded.shape[0] - 1)
        v = np.clip(index[..., 1], 0, padded.shape[1] - 1)
        inside |= padded[u, v]
    share: NDArray[np.float64] = ((places[:, 1:] - places[:, :-1]) * ~inside).sum(axis=1)
    return share


def _run_inside(filled: NDArray[np.bool_], starts: Points, ends: Points, outside: float) -> NDArray[np.bool_]:
    """Which chords run inside the shape between their ends, (n,)."""
    run = ends - starts
    trimmed = (END / np.maximum(np.abs(run).max(axis=1), 2 * END))[:, None] * run
    return outside_share(filled, starts + trimmed, ends - trimmed) <= outside + SLACK


def _longest(
    filled: NDArray[np.bool_], vertices: Points, spacing: NDArray[np.float64], limits: tuple[float, float]
) -> Points | None:
    outside, least_mm = limits
    scaled = vertices * spacing
    first, second = np.triu_indices(len(vertices), 1)
    lengths = ((scaled[first] - scaled[second]) ** 2).sum(axis=1)
    begin, size = 0, _FEW
    order = _longest_first(lengths, first, second, _FEW + _MANY)
    while begin < len(lengths):
        if begin + size > len(order):
            order = _longest_first(lengths, first, second, len(lengths))
        batch = order[begin : begin + size]
        batch = batch[lengths[batch] >= least_mm**2 - SLACK]
        if not len(batch):
            break
        fits = _run_inside(filled, vertices[first[batch]], vertices[second[batch]], outside)
        if fits.any():
            pair = batch[int(fits.argmax())]
            return np.stack([vertices[first[pair]], vertices[second[pair]]])
        begin, size = begin + size, _MANY
    return None


def _longest_first(
    lengths: NDArray[np.float64], first: NDArray[np.intp], second: NDArray[np.intp], wanted: int
) -> NDArray[np.intp]:
    """Places of the ``wanted`` longest pairs in order; of equally long ones the first vertices."""
    chosen = np.arange(len(lengths))
    if wanted < len(lengths):
        chosen = np.argpartition(-lengths, wanted - 1)[:wanted]
    ordered: NDArray[np.intp] = chosen[np.lexsort((second[chosen], first[chosen], -lengths[chosen]))]
    return ordered


def _perpendiculars(vertices_mm: Points, longest_mm: Points) -> Points:
    """Stretches (n, 2, 2) in mm at the vertices across the longest diameter (2, 2), longest first, none longer."""
    run = longest_mm[1] - longest_mm[0]
    length = float(np.hypot(*run))
    along, across = run / length, np.array([-run[1], run[0]]) / length
    place = (vertices_mm - longest_mm[0]) @ along
    height = (vertices_mm - longest_mm[0]) @ across
    beside = BESIDE * length
    lines = np.concatenate([place - beside, place + beside])
    lines = np.unique(lines[(lines > 0) & (lines < length)])
    low, high = _crossing_interval(lines, place, height)
    # The two diameters of a square are equally long but for rounding.
    kept = np.flatnonzero((high - low > 0) & (high - low <= length + SLACK))
    kept = kept[np.argsort(low[kept] - high[kept], kind="stable")]
    ends = np.stack([low[kept], high[kept]], axis=1)
    stretches: Points = longest_mm[0] + lines[kept, None, None] * along + ends[..., None] * across
    return stretches


def _first_inside(filled: NDArray[np.bool_], chords: Points, outside: float) -> Points | None:
    """The first of the chords (n, 2, 2), in voxel indices, that runs inside the shape."""
    begin, size = 0, _FEW
    while begin < len(chords):
        batch = chords[begin : begin + size]
        fits = _run_inside(filled, batch[:, 0], batch[:, 1], outside)
        if fits.any():
            found: Points = batch[int(fits.argmax())]
            return found
        begin, size = begin + size, _MANY
    return None


def _crossing_interval(
    lines: NDArray[np.float64], place: NDArray[np.float64], height: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each line across the diameter, the stretch of it inside the outline that holds the diameter, else (0, 0).

    A diameter may run along the outline itself: the stretches just below and just above it count, the longer one wins.
    """
    ahead, tall = np.roll(place, -1), np.roll(height, -1)
    cut = (place[None] < lines[:, None]) != (ahead[None] < lines[:, None])
    rise = (tall - height) / np.where(ahead == place, 1.0, ahead - place)
    heights = np.where(cut, height[None] + (lines[:, None] - place[None]) * rise[None], np.inf)
    heights.sort(axis=1)
    below, above = (_around(heights, beside) for beside in (-BESIDE, BESIDE))
    longer = (above[1] - above[0] >= below[1] - below[0])[:, None]
    low, high = np.where(longer, np.stack(above, axis=1), np.stack(below, axis=1)).T
    return low, high


def _around(heights: NDArray[np.float64], level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The stretch between crossings (line, crossing, in order) that holds ``level``; (0, 0) where that is outside."""
    under = (heights <= level).sum(axis=1)  # an odd number of crossings under a place: it is inside
    rows = np.arange(len(heights))
    inside = (under % 2 == 1) & (under < heights.shape[1])
    low = np.where(inside, heights[rows, np.maximum(under - 1, 0)], 0.0)
    high = np.where(inside, heights[rows, np.minimum(under, heights.shape[1] - 1)], 0.0)
    return low, high


def _length(chord_mm: Points) -> float:
    return float(np.hypot(*(chord_mm[1] - chord_mm[0])))
