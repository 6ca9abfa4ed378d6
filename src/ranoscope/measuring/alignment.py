"""Where a later scan's head lies in the first scan's world: rigid, so that no volume and no diameter changes.

It serves the tracking of lesions alone. Diameters and volumes are measured on each visit's own mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ranoscope.errors import ImageError
from ranoscope.imaging.nifti import Volume
from ranoscope.preparing.registration import RegistrationSettings, register

Affine = NDArray[np.float64]
# Lesions are tracked on voxels of 1 mm where the scans' own grids differ.
_TRACKED = np.eye(4)
_SAME_VOXEL = 1e-3


@dataclass(frozen=True)
class Alignment:
    """``to_first``: 4 x 4, rigid, points of the scan's RAS world to the first scan's, mm.

    ``similarity_before``, ``similarity_after``: normalised mutual information of both heads, unmoved and as
    ``to_first`` says; None where there was nothing to compare. ``note``: what a reader should know; None where all went
    well.
    """

    to_first: Affine
    similarity_before: float | None = None
    similarity_after: float | None = None
    note: str | None = None


def align(first: Volume, later: Volume, settings: RegistrationSettings) -> Alignment:
    """Register the later image to the first; where the result is not to be trusted, it is left as it lies.

    Where it compares no better than leaving the image where it is, it is left there without a note: nothing is
    resampled then.
    """
    try:
        found = register(first, later, settings)
    except ImageError as error:
        return Alignment(np.eye(4), note=f"{error} It is taken as it lies.")
    before = found.similarity_before
    if found.problem is not None:
        return Alignment(np.eye(4), before, before, f"registration failed ({found.problem}); taken as it lies")
    if found.similarity <= before:
        return Alignment(np.eye(4), before, before)
    return Alignment(found.to_fixed, before, found.similarity)


@dataclass(frozen=True)
class Outlined:
    """One scan's lesions: ``labels`` (i, j, k), of the whole scan or cut out, ``affine`` voxel to its RAS world, mm."""

    labels: NDArray[np.int32]
    affine: Affine
    to_first: Affine


def on_one_grid(scans: Sequence[Outlined]) -> tuple[list[NDArray[np.int32]], tuple[float, float, float]]:
    """Every scan's labels on one grid in the first scan's world, for tracking alone.

    The grid holds all lesions of all scans, so that none is lost at an edge. Its voxels are the scans' own where they
    share them and none was moved, and nothing is resampled then; otherwise they are cubes of 1 mm, nearest neighbour,
    and a lesion so thin that it falls between them keeps one.

    Returns:
        Label arrays of one shape, and their voxel edges in mm.
    """
    base = scans[0].affine if all(_share_voxels(scans[0], scan) for scan in scans) else _TRACKED
    corners = [_corners(scan, base) for scan in scans if scan.labels.any()]
    points = np.concatenate(corners) if corners else np.zeros((1, 3))
    low = np.floor(points.min(axis=0))
    shape = (np.ceil(points.max(axis=0)) - low + 1).astype(int)
    grid = base.copy()
    grid[:3, 3] += base[:3, :3] @ low
    edges = np.sqrt((base[:3, :3] ** 2).sum(axis=0))
    return [_brought(scan, grid, shape) for scan in scans], (float(edges[0]), float(edges[1]), float(edges[2]))


def _share_voxels(first: Outlined, scan: Outlined) -> bool:
    """Whether both lie on one lattice of voxels, unmoved."""
    steps = np.linalg.inv(first.affine) @ scan.affine
    turned = np.abs(steps[:3, :3] - np.eye(3)).max() > _SAME_VOXEL
    return not turned and np.abs(steps - np.rint(steps)).max() <= _SAME_VOXEL and np.array_equal(
        first.to_first, scan.to_first
    )  # fmt: skip


def _corners(scan: Outlined, base: Affine) -> NDArray[np.float64]:
    """The eight corners of the box around all lesions, (8, 3), in voxels of ``base``, a grid of the first's world."""
    places = np.argwhere(scan.labels)
    ends = np.stack([places.min(axis=0) - 0.5, places.max(axis=0) + 0.5])
    picked = np.array([[ends[pick, axis] for axis, pick in enumerate(picks)] for picks in np.ndindex(2, 2, 2)])
    mapping = np.linalg.inv(base) @ scan.to_first @ scan.affine
    return np.asarray(picked @ mapping[:3, :3].T + mapping[:3, 3])


def _brought(scan: Outlined, grid: Affine, shape: NDArray[np.int_]) -> NDArray[np.int32]:
    mapping = np.linalg.inv(scan.to_first @ scan.affine) @ grid
    brought = ndimage.affine_transform(
        scan.labels, mapping[:3, :3], mapping[:3, 3], output_shape=tuple(shape), order=0, mode="grid-constant"
    )
    for label in np.setdiff1d(scan.labels[scan.labels > 0], brought):
        middle = np.argwhere(scan.labels == label).mean(axis=0)
        place = np.rint((np.linalg.inv(mapping) @ np.append(middle, 1.0))[:3]).astype(int)
        brought[tuple(np.clip(place, 0, shape - 1))] = label
    return np.asarray(brought, dtype=np.int32)
