"""The common grid: a fixed box around the atlas brain, one voxel size, axes RAS."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ranoscope.config import GridSettings
from ranoscope.imaging.nifti import Volume


@dataclass(frozen=True)
class Grid:
    """Shape (i, j, k towards R, A, S) and voxel-to-RAS-world affine in millimetres."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    @classmethod
    def of(cls, volume: Volume) -> Grid:
        """The grid a volume lies on."""
        i, j, k = volume.data.shape
        return cls((i, j, k), volume.affine)

    @classmethod
    def around_brain(cls, settings: GridSettings, source: Volume) -> Grid:
        """The box of ``settings``; its origin snaps to the source's voxel centres where both share a voxel size.

        A snapped grid makes bringing a study over a plain crop, without interpolation.
        """
        size = np.asarray(settings.shape)
        origin = np.asarray(settings.centre_mm) - (size - 1) * settings.voxel_mm / 2
        aligned = np.allclose(source.affine[:3, :3], np.eye(3) * settings.voxel_mm, atol=1e-3)
        if aligned:
            origin = source.affine[:3, 3] + np.rint((origin - source.affine[:3, 3]) / settings.voxel_mm) * (
                settings.voxel_mm
            )
        affine = np.diag([settings.voxel_mm] * 3 + [1.0])
        affine[:3, 3] = origin
        return cls(settings.shape, affine)

    def bring(self, data: NDArray[np.float32], source: Volume, labels: bool = False) -> NDArray[np.float32]:
        """Resample ``data`` (on the grid of ``source``) to this grid; outside the source is 0.

        Images: linear, after a Gaussian of sigma (ratio - 1) / 2 voxels per axis against aliasing where this grid is
        coarser. Labels: nearest neighbour.
        """
        mapping = np.linalg.inv(source.affine) @ self.affine
        if np.allclose(mapping[:3, :3], np.eye(3), atol=1e-4) and np.allclose(
            mapping[:3, 3], np.rint(mapping[:3, 3]), atol=1e-3
        ):
            return self._crop(data, np.rint(mapping[:3, 3]).astype(int))
        ratio = np.sqrt((mapping[:3, :3] ** 2).sum(axis=0))
        if not labels and (ratio > 1.01).any():
            data = ndimage.gaussian_filter(data, np.maximum(ratio - 1, 0) / 2)
        return np.asarray(
            ndimage.affine_transform(
                data, mapping[:3, :3], mapping[:3, 3], output_shape=self.shape, order=0 if labels else 1
            ),
            dtype=np.float32,
        )

    def _crop(self, data: NDArray[np.float32], start: NDArray[np.int_]) -> NDArray[np.float32]:
        """Copy the overlapping part; ``start`` is this grid's first voxel in source indices and may be negative."""
        out = np.zeros(self.shape, dtype=np.float32)
        take, put = [], []
        for axis in range(3):
            low = max(int(start[axis]), 0)
            high = max(low, min(int(start[axis]) + self.shape[axis], data.shape[axis]))
            take.append(slice(low, high))
            put.append(slice(low - int(start[axis]), high - int(start[axis])))
        out[tuple(put)] = data[tuple(take)]
        return out
