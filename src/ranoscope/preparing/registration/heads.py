"""What registration sees of a volume: its head on cubes of one size, without extremes of intensity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ranoscope.errors import ImageError, problem
from ranoscope.imaging.nifti import Volume
from ranoscope.preparing.registration.rigid import Points, moved

# A head is brighter than the air by a tenth of the robust range, 2nd to 98th percentile (Smith, Human Brain Mapping
# 2002, 17:143-155: the rule BET starts from).
_ROBUST, _BRIGHTER = (2.0, 98.0), 0.1
# A stripped or masked image has one value on most of its field; the noise of whole numbers repeats less often.
_ONE_VALUE = 0.2
# Fat, vessels and artefacts, some of them ten times as bright as brain, would leave a histogram few bins for tissue.
_CLIPPED = (0.5, 99.5)
# Air around the head says where it ends; more of it than this says nothing.
_AIR_MM = 12.0
# Less than this is no head: a newborn's brain has 300 ml and more.
_LEAST_ML = 200.0
# No brain has 2 litres: a larger head has scalp and skull. There fat, which the chemical shift moves against water and
# which shines in one contrast and not in the other, pulls T1 away from FLAIR by 0.2 mm, and muscle moves against bone.
# Both together are 12 mm thick or more nearly everywhere.
_WITH_SKULL_ML, _SCALP_MM = 2000.0, 12.0


@dataclass(frozen=True)
class Head:
    """``data`` (i, j, k), 0 to 1 over the head's intensities, and ``affine`` voxel to RAS world, mm, of its cubes.

    ``head``: where the head is among them; ``inner``: the same without scalp and skull, where it has them.
    ``to_field``: RAS world to voxels of the image it was seen in, which has ``field_shape`` of them.
    """

    data: NDArray[np.float32]
    affine: NDArray[np.float64]
    head: NDArray[np.bool_]
    inner: NDArray[np.bool_]
    to_field: NDArray[np.float64]
    field_shape: NDArray[np.int_]

    @property
    def points(self) -> Points:
        """Where the head's voxels lie, (n, 3), RAS world, mm."""
        return moved(np.argwhere(self.head).astype(float), self.affine)

    @property
    def centre(self) -> NDArray[np.float64]:
        """Middle of the head, RAS world, mm."""
        return np.asarray(self.points.mean(axis=0))


def find_head(volume: Volume, edge_mm: float, turned: Rotation) -> Head:
    """The head of a volume, with or without skull, on cubes of ``edge_mm`` whose axes are the world's, ``turned``.

    Finer voxels are averaged in whole numbers first, each axis for itself; what lies between slices is interpolated by
    cubic splines, for a straight line would dim it.

    Raises:
        ImageError: a value that is not finite, or nothing in the volume that could be a head.
    """
    if not np.isfinite(volume.data).all():
        raise ImageError(problem("finite intensities", "NaN or infinity", volume.where, "export the image again"))
    data, affine = _averaged(volume, edge_mm)
    head = _mask(data)
    millilitres = head.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000
    if millilitres < _LEAST_ML:
        got = f"nothing brighter than the air of more than {millilitres:.0f} ml"
        raise ImageError(problem("a head", got, volume.where, "check that the file is a scan of one"))
    low, high = np.percentile(data[head], _CLIPPED)
    if not high > low:
        raise ImageError(problem("a head", "one value in all of it", volume.where, "give the scan, not its mask"))
    scaled = np.clip((data - low) / (high - low), 0, 1)
    cubes, shape = _cubes(moved(np.argwhere(head).astype(float), affine), turned.as_matrix() * edge_mm)
    mapping = np.linalg.inv(affine) @ cubes
    brought, place = (_brought(one, mapping, shape, order) for one, order in ((scaled, 3), (head, 1)))
    deep = _SCALP_MM if millilitres > _WITH_SKULL_ML else 0.0
    inner = ndimage.distance_transform_edt(place > 0.5) * edge_mm > deep
    to_field = np.asarray(np.linalg.inv(affine), dtype=np.float64)
    return Head(np.clip(brought, 0, 1), cubes, place > 0.5, inner, to_field, np.array(data.shape))


def _averaged(volume: Volume, edge_mm: float) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Means over boxes of whole voxels, and their affine; what is left at the far end of an axis is dropped."""
    step = np.clip(np.rint(edge_mm / volume.spacing_mm), 1, volume.data.shape).astype(int)
    shape = np.array(volume.data.shape) // step
    whole = volume.data[tuple(slice(size) for size in shape * step)]
    boxes = whole.reshape(shape[0], step[0], shape[1], step[1], shape[2], step[2])
    to_voxel = np.diag([*step.astype(float), 1.0])
    to_voxel[:3, 3] = (step - 1) / 2
    return boxes.mean(axis=(1, 3, 5), dtype=np.float32), volume.affine @ to_voxel


def _mask(data: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The largest thing that is not air, with what it encloses."""
    values, counts = np.unique(data, return_counts=True)
    if counts.max() >= _ONE_VALUE * data.size:
        head = data != values[counts.argmax()]
    else:
        low, high = np.percentile(data, _ROBUST)
        head = ndimage.gaussian_filter(data, 1.0) > low + _BRIGHTER * (high - low)
    pieces, count = ndimage.label(head)
    if not count:
        return np.zeros(data.shape, dtype=np.bool_)
    largest = pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()
    return np.asarray(ndimage.binary_fill_holes(largest), dtype=np.bool_)


def _cubes(points: Points, axes: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[int, ...]]:
    """Affine and shape of the grid with these axes (columns, mm) that holds the points and the air beside them."""
    along = points @ np.linalg.inv(axes).T
    margin = _AIR_MM / np.sqrt((axes**2).sum(axis=0))
    first = np.floor(along.min(axis=0) - margin)
    last = np.ceil(along.max(axis=0) + margin)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes, axes @ first
    return affine, tuple(int(size) for size in last - first + 1)


def _brought(
    data: NDArray[np.generic], mapping: NDArray[np.float64], shape: tuple[int, ...], order: int
) -> NDArray[np.float32]:
    """``data`` at the voxels of another grid, ``mapping`` from its voxels to those of ``data``."""
    floats = np.asarray(data, dtype=np.float32)
    matrix, offset = mapping[:3, :3], mapping[:3, 3]
    brought = ndimage.affine_transform(floats, matrix, offset, output_shape=shape, order=order, mode="nearest")
    return np.asarray(brought, dtype=np.float32)
