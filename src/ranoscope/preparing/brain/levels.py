"""An image on cubes of 2 mm, its brightness in a few steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the library's own abbreviation
from numpy.typing import NDArray
from scipy import ndimage

from ranoscope.imaging.nifti import Volume
from ranoscope.preparing.brain.pieces import largest_piece

EDGE_MM = 2.0
# Steps of brightness: each holds as many voxels as the next, so that a few bright vessels or fat do not use them up.
LEVELS = 24
# Air lies well below half of the threshold between dark and bright; grey matter of a dark T1 lies above.
_AIR = 0.5
# From crown to the base of the brain.
_BRAIN_HEIGHT_MM = 150.0


@dataclass(frozen=True)
class Levels:
    """``level``: 0 in air, 1 to 23 from dark to bright, (i, j, k). ``affine``: voxel to RAS world, mm, cubes of 2 mm.

    ``centre_mm``: of the head's upper 15 cm, in the RAS world.
    """

    level: NDArray[np.int64]
    affine: NDArray[np.float64]
    centre_mm: NDArray[np.float64]


def to_levels(volume: Volume) -> Levels:
    """Smoothed against aliasing where 2 mm are coarser than the image's own voxels, linear where they are finer."""
    step = EDGE_MM / volume.spacing_mm
    shape = tuple(int(size) for size in np.maximum(np.ceil(np.array(volume.data.shape) / step), 1))
    smooth = ndimage.gaussian_filter(volume.data, np.maximum(step - 1, 0) / 2)
    offset = (step - 1) / 2
    data = ndimage.affine_transform(smooth, step, offset, output_shape=shape, order=1, mode="nearest")
    affine = volume.affine @ np.diag([*step, 1.0])
    affine[:3, 3] += volume.affine[:3, :3] @ offset
    air = _AIR * _threshold(data)
    head = data > air
    edges = np.quantile(data[head], np.linspace(0, 1, LEVELS)[1:-1])
    level = np.where(head, 1 + np.searchsorted(edges, data), 0)
    return Levels(level, affine, _centre(head, affine))


def _threshold(data: NDArray[np.float32]) -> float:
    """Otsu's, between background and head; the brightest half percent has no say in it."""
    method = sitk.OtsuThresholdImageFilter()
    method.Execute(sitk.GetImageFromArray(np.clip(data, None, np.percentile(data, 99.5))))
    return float(method.GetThreshold())


def _centre(head: NDArray[np.bool_], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    piece = largest_piece(ndimage.binary_opening(head, iterations=2))
    places = np.argwhere(piece if piece.any() else head)
    upper = places[places[:, 2] > places[:, 2].max() - _BRAIN_HEIGHT_MM / EDGE_MM]
    return np.asarray((affine @ np.append(upper.mean(axis=0), 1.0))[:3], dtype=np.float64)
