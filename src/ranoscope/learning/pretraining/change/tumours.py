"""Do: a study's own tumour taken out, or made larger or smaller."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ranoscope.domain import Tissue
from ranoscope.imaging.store import Box
from ranoscope.learning.pretraining.change.fields import Image

Mask = NDArray[np.bool_]
Labels = NDArray[np.uint8]
# The tumour's surroundings that are replaced with it, and the width over which both tissues are mixed.
_RIM_MM, _MIXED_MM = 3.0, 4.0
# Where the other side has no healthy tissue either: the mean over a Gaussian of this width.
_BLUR_MM = 10.0
# A warp ends at this multiple of the larger of both radii.
_WARP_REACH = 1.8


def take_out(volumes: Image, brain: Mask, tumour: Labels, voxel_mm: float) -> Image:
    """The study without its tumour: tissue of the other side in its place.

    The midline is taken to be the middle of the brain's box, as it is in an atlas.

    Args:
        volumes: float32 (sequence, i, j, k) in the brain's box.
        brain: bool (i, j, k).
        tumour: ``Tissue`` of each voxel.
        voxel_mm: voxel edge.
    """
    if not tumour.any():
        return volumes
    sick = ndimage.binary_dilation(tumour > 0, iterations=max(round(_RIM_MM / voxel_mm), 1))
    box = _around(sick, round(2 * _MIXED_MM / voxel_mm))
    weight = _softened(sick[box], brain[box], voxel_mm)
    mirror = (slice(None, None, -1), slice(None), slice(None))
    healthy = (brain & ~sick).astype(np.float32)
    usable = healthy[mirror][box]
    result = volumes.copy()
    blurred: Image | None = None
    if not usable[weight > 0].all():
        blurred = _mean_of_healthy(volumes, healthy, box, voxel_mm)
    for channel, image in enumerate(volumes):
        fill = image[mirror][box]
        if blurred is not None:
            fill = fill * usable + blurred[channel] * (1 - usable)
        result[channel][box] += weight * (fill - image[box])
    return result


def resize(volumes: Image, brain: Mask, tumour: Labels, part: Mask, factor: float) -> tuple[Image, Image, Labels]:
    """The study with a part of its tumour scaled about its centre, what is around it moved along.

    Distances from the centre are scaled up to the part's edge and then, ever less, to the end of the warp's reach.

    Args:
        volumes: float32 (sequence, i, j, k) in the brain's box.
        brain: bool (i, j, k).
        tumour: ``Tissue`` of each voxel.
        part: which voxels are scaled, at least one.
        factor: of its volume, above 0.

    Returns:
        The images, the share of enhancing tumour in each voxel, warped as they are, and the labels.
    """
    box, where = _warp(part, factor)
    inside = brain.astype(np.float32)
    images, shares, labels = volumes.copy(), enhancing_shares(tumour), tumour.copy()
    weight = ndimage.map_coordinates(inside, where, order=1, prefilter=False)
    for image in images:
        moved = ndimage.map_coordinates(image, where, order=1, prefilter=False)
        image[box] = np.where(weight > 0.5, moved / np.maximum(weight, 0.5), image[box]) * inside[box]
    shares[box] = ndimage.map_coordinates(shares, where, order=1, prefilter=False) * inside[box]
    labels[box] = ndimage.map_coordinates(tumour, where, order=0, prefilter=False) * brain[box]
    return images, shares, labels


def enhancing_shares(tumour: Labels) -> Image:
    """1 where a study's own tumour enhances, else 0."""
    return np.asarray(tumour == Tissue.ENHANCING, dtype=np.float32)


def _warp(part: Mask, factor: float) -> tuple[Box, NDArray[np.float64]]:
    """The box that a warp reaches, and the voxel (3, i, j, k) that each of its voxels is taken from."""
    grown = factor ** (1 / 3)
    places = np.argwhere(part)
    centre = places.mean(axis=0)
    radius = float(np.linalg.norm(places - centre, axis=1).max()) + 1
    reach = _WARP_REACH * radius * max(grown, 1)
    box = _clipped(centre, reach, part.shape)
    axes = np.meshgrid(*(np.arange(side.start, side.stop) for side in box), indexing="ij")
    offset = [axis - middle for axis, middle in zip(axes, centre, strict=True)]
    distance = np.sqrt(sum(along**2 for along in offset))
    edge = grown * radius
    outside = radius + (distance - edge) * (reach - radius) / (reach - edge)
    source = np.where(distance < edge, distance / grown, np.where(distance < reach, outside, distance))
    scale = source / np.maximum(distance, 1e-6)
    return box, np.stack([middle + along * scale for along, middle in zip(offset, centre, strict=True)])


def _softened(sick: Mask, brain: Mask, voxel_mm: float) -> Image:
    """1 on the tumour, falling to 0 around it."""
    away = ndimage.distance_transform_edt(~sick, sampling=voxel_mm)
    return np.asarray((1 - away / _MIXED_MM).clip(0, 1) * brain, dtype=np.float32)


def _mean_of_healthy(volumes: Image, healthy: Image, box: Box, voxel_mm: float) -> Image:
    """Gaussian mean of healthy tissue, (sequence, i, j, k) of the box."""
    wide = _grown(box, round(2 * _BLUR_MM / voxel_mm), healthy.shape)
    inner = tuple(
        slice(side.start - outer.start, side.stop - outer.start) for side, outer in zip(box, wide, strict=True)
    )
    sigma = _BLUR_MM / voxel_mm
    weight = ndimage.gaussian_filter(healthy[wide], sigma, truncate=2)[inner]
    means = [ndimage.gaussian_filter(image[wide] * healthy[wide], sigma, truncate=2)[inner] for image in volumes]
    return np.asarray(np.stack(means) / np.maximum(weight, 1e-3), dtype=np.float32)


def _around(mask: Mask, margin: int) -> Box:
    return _grown(ndimage.find_objects(mask.astype(np.uint8))[0], margin, mask.shape)


def _grown(box: Box, margin: int, size: tuple[int, ...]) -> Box:
    i, j, k = (
        slice(max(side.start - margin, 0), min(side.stop + margin, edge)) for side, edge in zip(box, size, strict=True)
    )
    return i, j, k


def _clipped(centre: NDArray[np.floating], reach: float, size: tuple[int, ...]) -> Box:
    i, j, k = (
        slice(max(int(middle - reach), 0), min(int(middle + reach) + 2, edge))
        for middle, edge in zip(centre, size, strict=True)
    )
    return i, j, k
