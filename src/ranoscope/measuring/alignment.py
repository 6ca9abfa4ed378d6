"""Where a later scan's head lies in the first scan's world: rigid, so that no volume and no diameter changes.

It serves the tracking of lesions alone. Diameters and volumes are measured on each visit's own mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the library's own abbreviation
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from ranoscope.config import Settings
from ranoscope.imaging.nifti import Volume

Affine = NDArray[np.float64]
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Both images are compared on a grid this coarse: a head is moved by far more than is read off there.
_COMPARED_MM = 4.0
_SAME_SIMILARITY = 0.005
# Lesions are tracked on voxels of 1 mm where the scans' own grids differ.
_TRACKED = np.eye(4)
_SAME_VOXEL = 1e-3
_BINS = 32
_ITERATIONS = 200
# The step shrinks so slowly because turns show less in the similarity than shifts do: with the usual 0.5 it was used up
# before the turn was found (5 mm on a smooth head, 0.3 mm with 0.85).
_RELAXATION = 0.85
# One voxel of background around the head is compared too: the edge of the head says where it is.
_RIM = 1


class AlignmentSettings(Settings):
    """Registration of a later CT1 to the first.

    ``levels_mm``: voxel edges of the pyramid, coarse to fine. ``samples``: how many places of the head are compared at
    most, drawn with ``seed``.
    """

    levels_mm: tuple[Annotated[float, Field(gt=0)], ...] = (8.0, 4.0, 2.0)
    samples: Annotated[int, Field(ge=1000)] = 30_000
    seed: Annotated[int, Field(ge=1)] = 1


@dataclass(frozen=True)
class Alignment:
    """``to_first``: 4 x 4, rigid, points of the scan's RAS world to the first scan's, mm.

    ``similarity_before``, ``similarity_after``: correlation of both images over both heads, unmoved and as ``to_first``
    says; None where there was nothing to compare. ``note``: what a reader should know; None where all went well.
    """

    to_first: Affine
    similarity_before: float | None = None
    similarity_after: float | None = None
    note: str | None = None


def align(first: Volume, later: Volume, settings: AlignmentSettings) -> Alignment:
    """Register the later image to the first by mutual information of the intensities inside the first's head.

    The head is what is not 0: both images are best without skull. Where the result compares no better than leaving the
    image where it is, it is left there; where it is clearly worse, a note says so.
    """
    before = similarity(first, later, np.eye(4))
    if not (first.data.any() and later.data.any()):
        return _unmoved(before, f"no head in {later.where if first.data.any() else first.where}")
    start = max((np.eye(4), _centres(first, later)), key=lambda matrix: similarity(first, later, matrix))
    try:
        found = _register(_clipped(first), _clipped(later), start, settings)
    except RuntimeError as error:
        return _unmoved(before, f"registration failed ({str(error).strip().splitlines()[-1]})")
    after = similarity(first, later, found)
    if after <= before - _SAME_SIMILARITY:
        return _unmoved(before, f"registration made it worse (similarity {before:.3f} before, {after:.3f} after)")
    if after <= before:
        return Alignment(np.eye(4), before, before)
    return Alignment(found, before, after)


def _unmoved(similarity_before: float, why: str) -> Alignment:
    return Alignment(np.eye(4), similarity_before, similarity_before, f"{why}; taken as it lies")


def similarity(first: Volume, later: Volume, to_first: Affine) -> float:
    """Correlation of intensities over the union of both heads, with the later image moved by ``to_first``.

    Sampled every 4 mm; a head that is missed counts with its background. -1 where an image is empty or of one value.
    """
    step = _steps(first, _COMPARED_MM)
    grid = first.affine @ np.diag([*step, 1.0])
    shape = tuple(-(-size // edge) for size, edge in zip(first.data.shape, step, strict=True))
    one = _thin(first.data, step)
    mapping = np.linalg.inv(later.affine) @ np.linalg.inv(to_first) @ grid
    other = ndimage.affine_transform(later.data, mapping[:3, :3], mapping[:3, 3], output_shape=shape, order=1)
    head = (one != 0) | (other != 0)
    if one[head].std() == 0 or other[head].std() == 0 or not head.any():
        return -1.0
    return float(np.corrcoef(one[head], other[head])[0, 1])


def _centres(first: Volume, later: Volume) -> Affine:
    """The shift that brings the later head's centre to the first's."""
    shift = np.eye(4)
    shift[:3, 3] = _centre(first) - _centre(later)
    return shift


def _centre(volume: Volume) -> NDArray[np.float64]:
    places = np.argwhere(volume.data != 0)
    middle = places.mean(axis=0) if len(places) else (np.array(volume.data.shape) - 1) / 2
    return np.asarray((volume.affine @ np.append(middle, 1.0))[:3])


def _clipped(volume: Volume) -> Volume:
    """Without the brightest and darkest half percent of the head: a few bright vessels would coarsen the histogram."""
    low, high = np.percentile(volume.data[volume.data != 0], (0.5, 99.5))
    return replace(volume, data=np.where(volume.data != 0, np.clip(volume.data, low, high), 0).astype(np.float32))


def _register(first: Volume, later: Volume, start: Affine, settings: AlignmentSettings) -> Affine:
    """From ``start`` (later to first) to where mutual information is greatest, level by level."""
    transform = _as_transform(np.asarray(np.linalg.inv(start), dtype=np.float64), first)
    for edge in settings.levels_mm:
        (fixed, head), (moving, _) = _level(first, edge), _level(later, edge)
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(_BINS)
        method.SetMetricFixedMask(head)
        share = settings.samples / max(int(sitk.GetArrayViewFromImage(head).sum()), 1)
        if share < 1:
            method.SetMetricSamplingStrategy(method.RANDOM)
            method.SetMetricSamplingPercentage(share, settings.seed)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(edge / 4, edge / 400, _ITERATIONS, _RELAXATION, 0.0)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetInitialTransform(transform, inPlace=True)
        with _one_thread():
            method.Execute(fixed, moving)
    return np.asarray(np.linalg.inv(_as_matrix(transform)), dtype=np.float64)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums over threads differ in their last digits from run to run; the metric knows no other switch than this one."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _level(volume: Volume, edge_mm: float) -> tuple[sitk.Image, sitk.Image]:
    """The image and its head with voxels of about ``edge_mm``, smoothed before it is thinned out, axis by axis."""
    step = _steps(volume, edge_mm)
    smooth = ndimage.gaussian_filter(volume.data, (step - 1) / 2)
    head = ndimage.binary_dilation(_thin(volume.data, step) != 0, iterations=_RIM)
    return _as_image(_thin(smooth, step), volume, step), _as_image(head.astype(np.uint8), volume, step)


def _steps(volume: Volume, edge_mm: float) -> NDArray[np.int_]:
    return np.maximum(np.rint(edge_mm / volume.spacing_mm), 1).astype(int)


def _thin(data: NDArray[np.float32], step: NDArray[np.int_]) -> NDArray[np.float32]:
    """Every ``step``-th voxel, the first of each axis among them."""
    return data[:: step[0], :: step[1], :: step[2]]


def _as_image(thin: NDArray[np.generic], volume: Volume, step: NDArray[np.int_]) -> sitk.Image:
    """Every ``step``-th voxel of a volume as ITK has it: axes reversed, world LPS."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(thin.transpose(2, 1, 0)))
    lps = _LPS @ volume.affine
    image.SetSpacing((volume.spacing_mm * step).tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / volume.spacing_mm).ravel().tolist())
    return image


def _as_transform(matrix: Affine, first: Volume) -> sitk.Euler3DTransform:
    """A rigid RAS matrix as ITK's transform (LPS) that turns about the first head's centre."""
    lps = _LPS @ matrix @ _LPS
    centre = (_LPS @ np.append(_centre(first), 1.0))[:3]
    transform = sitk.Euler3DTransform()
    transform.SetCenter(centre.tolist())
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation((lps[:3, 3] + lps[:3, :3] @ centre - centre).tolist())
    return transform


def _as_matrix(transform: sitk.Euler3DTransform) -> Affine:
    """The transform as a RAS matrix."""
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    centre = np.asarray(transform.GetCenter())
    lps[:3, 3] = np.asarray(transform.GetTranslation()) + centre - lps[:3, :3] @ centre
    return _LPS @ lps @ _LPS


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
