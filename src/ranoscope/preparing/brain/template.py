"""A head in the atlas's world, made at run time from the MNI152 brain that ships with nilearn, which has no skull."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from nilearn.datasets import load_mni152_template
from numpy.typing import NDArray
from scipy import ndimage

EDGE_MM = 2.0
# Room for skull, scalp and air around the brain.
_AROUND_MM = 40
# Brightness of the template, 0 to 1, between fluid, grey matter (two halves) and white matter.
_TISSUES = (0.45, 0.62, 0.75)
# The brain's outer millimetres are a place of their own: folds and the fluid between them.
_RIM_MM = 6.0
# Shells around the brain, 2 mm each, as far as the scalp of a thick skull; what is beyond is air.
_SHELLS_MM = np.arange(0, 22, 2)
# A plane from the brow to the occiput (z = -22 + 0.23 y, mm in MNI space): below it the brain has no shells of skull
# and scalp around itself but orbits, face and neck.
_BASE_MM, _BASE_SLOPE = -22.0, 0.23


@dataclass(frozen=True)
class HeadTemplate:
    """``place``: the number of each voxel's tissue or shell, (i, j, k). ``depth_mm``: distance to the brain's surface,
    negative inside. ``below``: 1 outside the brain and below the skull's base. ``affine``: voxel to MNI RAS world, mm.
    """

    place: NDArray[np.int64]
    depth_mm: NDArray[np.float32]
    below: NDArray[np.float32]
    affine: NDArray[np.float64]


@cache
def head_template() -> HeadTemplate:
    """The template; nothing of it says how bright a tissue or shell is, so that it fits every sequence."""
    image = load_mni152_template(resolution=1)
    affine = np.array(image.affine, dtype=np.float64)
    step = int(EDGE_MM)
    affine[:3, 3] -= affine[:3, :3] @ np.full(3, _AROUND_MM)
    padded = np.pad(np.asarray(image.dataobj, dtype=np.float32), _AROUND_MM)
    brightness = ndimage.gaussian_filter(padded, (step - 1) / 2)[::step, ::step, ::step]
    affine = affine @ np.diag([EDGE_MM, EDGE_MM, EDGE_MM, 1.0])
    brain = ndimage.binary_fill_holes(brightness > 0.02)
    depth = signed_distance(brain, EDGE_MM)
    j, k = np.indices(brain.shape, dtype=np.float32)[1:]
    y, z = j * affine[1, 1] + affine[1, 3], k * affine[2, 2] + affine[2, 3]
    below = ~brain & (z < _BASE_MM + _BASE_SLOPE * y)
    kinds = len(_TISSUES) + 1
    inside = np.digitize(brightness, _TISSUES) + kinds * (depth > -_RIM_MM)
    outside = 2 * kinds + np.where(below, len(_SHELLS_MM), np.digitize(depth, _SHELLS_MM) - 1)
    return HeadTemplate(np.where(brain, inside, outside), depth, below.astype(np.float32), affine)


def signed_distance(mask: NDArray[np.bool_], edge_mm: float) -> NDArray[np.float32]:
    """Distance to the mask's surface on a grid of cubes, mm; negative inside."""
    if not mask.any() or mask.all():
        return np.full(mask.shape, np.float32(-1e3 if mask.any() else 1e3))
    outside = ndimage.distance_transform_edt(~mask) - 0.5
    inside = ndimage.distance_transform_edt(mask) - 0.5
    return np.asarray(np.where(mask, -inside, outside) * edge_mm, dtype=np.float32)


def carried(
    field: NDArray[np.float32], there: NDArray[np.float64], shape: tuple[int, ...], beyond: float | None
) -> NDArray[np.float32]:
    """A field on another grid, linearly. ``there``: that grid's voxels to the field's. ``beyond``: value outside the
    field, None for the nearest one's.
    """
    mode = "nearest" if beyond is None else "constant"
    moved = ndimage.affine_transform(
        field, there[:3, :3], there[:3, 3], output_shape=shape, order=1, mode=mode, cval=beyond or 0.0
    )
    return np.asarray(moved, dtype=np.float32)
