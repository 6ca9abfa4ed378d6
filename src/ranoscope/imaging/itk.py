"""Volumes as ITK has them: axes reversed in memory, world coordinates towards Left, Posterior, Superior."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the library's own abbreviation
from numpy.typing import NDArray

# RAS to LPS and back.
_TURN = np.diag([-1.0, -1.0, 1.0, 1.0])


def to_itk(data: NDArray[np.generic], affine: NDArray[np.float64]) -> sitk.Image:
    """An image of ``data`` (i, j, k) on the grid of ``affine`` (voxel to RAS world, mm; axes at right angles)."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(data.transpose(2, 1, 0)))
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    lps = _TURN @ affine
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image


def from_itk(image: sitk.Image) -> NDArray[np.generic]:
    """The voxels of an image, (i, j, k)."""
    return np.ascontiguousarray(sitk.GetArrayFromImage(image).transpose(2, 1, 0))


def rigid_to_itk(matrix: NDArray[np.float64]) -> sitk.Euler3DTransform:
    """A rigid 4 x 4 of RAS world points, mm, as ITK's transform of LPS points."""
    lps = _TURN @ matrix @ _TURN
    transform = sitk.Euler3DTransform()
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    return transform


def itk_to_rigid(transform: sitk.Transform) -> NDArray[np.float64]:
    """An affine ITK transform of LPS points as a 4 x 4 of RAS world points, mm."""
    corners = np.vstack([np.zeros(3), np.eye(3)])
    ends = np.array([transform.TransformPoint(corner.tolist()) for corner in corners])
    lps = np.eye(4)
    lps[:3, :3] = (ends[1:] - ends[0]).T
    lps[:3, 3] = ends[0]
    return np.asarray(_TURN @ lps @ _TURN, dtype=np.float64)
