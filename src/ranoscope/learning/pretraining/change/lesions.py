"""Do: a decided lesion to the share of each tissue in each voxel, exact in the volume of its enhancing part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ranoscope.domain import Tissue
from ranoscope.imaging.store import Box
from ranoscope.learning.pretraining.change.fields import Field, Image, axes_of

# Tissues of a lesion, in the order of every array over them.
LESION_TISSUES = (Tissue.ENHANCING, Tissue.NECROSIS_NONENHANCING, Tissue.EDEMA)
ENHANCING, CORE, OEDEMA = range(3)
# Borders are ramps of this width, at least a voxel; that of oedema is wider.
_RAMP_MM, _OEDEMA_RAMP_MM = 2.0, 9.0
# A lesion at the edge of the brain may grow to this multiple of the radius that it would have as a ball.
_MOST_RADIUS = 1.5
# The most that roughness changes a distance from the centre, in standard deviations of the field.
_MOST_SD = 2.0
_BISECTIONS = 18


@dataclass(frozen=True)
class Shape:
    """How a lesion lies in one study. ``centre``: voxel in the brain's box; ``drift_mm``: (3,) from there.

    ``stretch``: (3,) factors per axis; ``roughness``: by how much ``edge`` (and, with weight ``change``, ``other``)
    changes distances, as a logarithm.
    """

    centre: tuple[int, int, int]
    drift_mm: tuple[float, float, float]
    stretch: tuple[float, float, float]
    roughness: float
    edge: Field
    other: Field
    change: float


@dataclass(frozen=True)
class Extent:
    """How much of it there is in one study. ``enhancing_mm3``: volume of enhancing tumour, 0 for none.

    ``core``: radius of the necrosis as a share of the tumour's; ``halo_mm``: width of the oedema around the tumour, or
    its radius where there is none.
    """

    enhancing_mm3: float
    core: float
    halo_mm: float


@dataclass(frozen=True)
class Laid:
    """Shares 0..1 of each tissue, float32 (tissue, i, j, k), in ``box`` of the brain's box; together at most 1."""

    box: Box
    shares: Image


def radius_mm(extent: Extent) -> float:
    """Radius of a ball of this extent: tumour without oedema."""
    shell = 1 - extent.core**3
    return float((3 * extent.enhancing_mm3 / (4 * np.pi * shell)) ** (1 / 3))


def lay(shape: Shape, extent: Extent, free: Image, voxel_mm: float) -> Laid:
    """Lay a lesion into the brain.

    The enhancing shares add up to the wanted volume, or to what there is room for.

    Args:
        shape: where, and how irregular.
        extent: how much.
        free: float32 (i, j, k): share of each voxel of the brain's box that it may take.
        voxel_mm: voxel edge.
    """
    box = _reach(shape, extent, free.shape, voxel_mm)
    room = free[box]
    distance = _distance(shape, box, voxel_mm)
    ramp = max(_RAMP_MM, voxel_mm)
    level = _solve(distance, room, extent, ramp, voxel_mm)
    shares = np.zeros((3, *room.shape), np.float32)
    whole = _inside(distance, level, ramp) * room if extent.enhancing_mm3 else shares[OEDEMA]
    if extent.enhancing_mm3:
        shares[CORE] = _core(distance, level, extent, ramp) * room
        shares[ENHANCING] = whole - shares[CORE]
    if extent.halo_mm:
        shares[OEDEMA] = _inside(distance, level + extent.halo_mm, max(_OEDEMA_RAMP_MM, ramp)) * room * (1 - whole)
    return Laid(box, shares)


def _reach(shape: Shape, extent: Extent, size: tuple[int, ...], voxel_mm: float) -> Box:
    """The box that holds it, whatever its roughness."""
    furthest = np.exp(_MOST_SD * shape.roughness) * (
        _MOST_RADIUS * radius_mm(extent) + extent.halo_mm + _OEDEMA_RAMP_MM
    )
    sides = []
    for place, drift, stretch, edge in zip(shape.centre, shape.drift_mm, shape.stretch, size, strict=True):
        middle, half = place + drift / voxel_mm, furthest * stretch / voxel_mm + 1
        low = min(max(int(middle - half), 0), edge - 1)
        sides.append(slice(low, max(min(int(middle + half) + 2, edge), low + 1)))
    i, j, k = sides
    return i, j, k


def _distance(shape: Shape, box: Box, voxel_mm: float) -> Image:
    """Distance from the centre in mm, made irregular."""
    start = tuple(side.start for side in box)
    axes = axes_of(tuple(side.stop - side.start for side in box), voxel_mm, start)
    squares = np.zeros((1, 1, 1), np.float32)
    for axis, places in enumerate(axes):
        middle = shape.centre[axis] * voxel_mm + shape.drift_mm[axis]
        wide = [1, 1, 1]
        wide[axis] = -1
        squares = squares + (((places - np.float32(middle)) / np.float32(shape.stretch[axis])) ** 2).reshape(wide)
    rough = shape.edge.on(axes)
    if shape.change:
        weight = np.float32(shape.change)
        rough = np.sqrt(1 - weight**2) * rough + weight * shape.other.on(axes)
    return np.asarray(np.sqrt(squares) * np.exp(shape.roughness * rough.clip(-_MOST_SD, _MOST_SD)), dtype=np.float32)


def _inside(distance: Image, level: float, ramp: float) -> Image:
    """1 well below the level, 0 well above it, a ramp between."""
    share: Image = np.clip((np.float32(level) - distance) * np.float32(1 / ramp) + np.float32(0.5), 0, 1)
    return share


def _core(distance: Image, level: float, extent: Extent, ramp: float) -> Image | float:
    """Shares of the necrosis; a tumour that is all ramp has none."""
    return _inside(distance, extent.core * level, ramp) if extent.core and level > 0 else 0.0


def _solve(distance: Image, room: Image, extent: Extent, ramp: float, voxel_mm: float) -> float:
    """The level at which the enhancing shares have the wanted volume; 0 where none is wanted."""
    if not extent.enhancing_mm3:
        return 0.0
    wanted = extent.enhancing_mm3 / voxel_mm**3
    low, high = -ramp, _MOST_RADIUS * radius_mm(extent) + ramp
    for _ in range(_BISECTIONS):
        level = (low + high) / 2
        shares = _inside(distance, level, ramp) - _core(distance, level, extent, ramp)
        low, high = (level, high) if float((shares * room).sum()) < wanted else (low, level)
    return (low + high) / 2
