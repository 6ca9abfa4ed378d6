"""A mask → its lesions, each with volume, both diameters, and whether it is measurable.

Lesions are 3-D components over 26 neighbours. Measurability is RANO's: both diameters long enough for the slice
thickness, and visible on enough consecutive slices (Wen et al. 2010).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ranoscope.errors import ImageError, problem
from ranoscope.measuring.diameters import Diameters, measure_piece
from ranoscope.response.criteria import RANO_HGG, Part
from ranoscope.response.repeatability import product_sd, volume_sd
from ranoscope.response.targets import least_diameter_mm
from ranoscope.response.timeline import Compartment

# Smaller components are noise of the segmentation more often than lesions; they are counted apart.
MINIMUM_MM3 = 20.0
# An outline bulges by a quarter of a voxel at most, on either side of the piece's box.
_BULGES = 0.5
# Diameters carry rounding errors; one of 10 mm may read 9.9999999.
_SAME_MM = 1e-6
# Cosine of the angle between a slice's axes from which lengths along them no longer are lengths in the world.
_SHEARED = 1e-3
_NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)
_NEIGHBOURS_IN_SLICE = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class DiameterSettings:
    """How diameters are taken.

    ``largest_product``: in the slice with the largest product, instead of the one with the longest diameter (RANO's
    wording). ``outside``: share of the longest diameter that may lie outside the lesion. ``part``: what is measurable.
    """

    largest_product: bool = False
    outside: float = 0.05
    part: Part = RANO_HGG.parts[Compartment.ENHANCING]


@dataclass(frozen=True)
class LabelledLesions:
    """Components of a mask.

    ``labels``: int32 (i, j, k), 0 outside, then 1 to n by decreasing volume (of equals the first in the array).
    ``dropped_mm3``: volumes of the components below the floor.
    """

    labels: NDArray[np.int32]
    dropped_mm3: tuple[float, ...]


@dataclass(frozen=True)
class Chord:
    """A diameter: end points (3,) in world millimetres (RAS), and its length."""

    start_mm: NDArray[np.float64]
    end_mm: NDArray[np.float64]
    length_mm: float


@dataclass(frozen=True)
class MeasuredLesion:
    """One lesion.

    ``label``: its value in the array. ``centre_mm``: centre of mass (3,), RAS. ``slice_index``: the slice of both
    diameters. ``slices``: longest run of consecutive slices that show it. ``why_not``: each rule by which it is not
    measurable, in words. ``touches_edge``: it reaches the border of the volume and may be cut. ``product_sd``,
    ``volume_sd``: standard deviation of a repeated measurement as a fraction.
    """

    label: int
    voxels: int
    volume_mm3: float
    centre_mm: NDArray[np.float64]
    slice_index: int
    slices: int
    longest: Chord
    perpendicular: Chord
    why_not: tuple[str, ...]
    touches_edge: bool

    @property
    def product_mm2(self) -> float:
        """Longest diameter times longest perpendicular diameter, mm²."""
        return self.longest.length_mm * self.perpendicular.length_mm

    @property
    def measurable(self) -> bool:
        """Whether every rule of measurable disease holds."""
        return not self.why_not

    @property
    def product_sd(self) -> float:
        """Standard deviation of the product measured again, as a fraction."""
        return product_sd(self.product_mm2)

    @property
    def volume_sd(self) -> float:
        """Standard deviation of the volume measured again, as a fraction."""
        return volume_sd(self.volume_mm3)


def label_lesions(
    mask: NDArray[np.bool_], spacing_mm: NDArray[np.float64], minimum_mm3: float = MINIMUM_MM3
) -> LabelledLesions:
    """Number the components of a mask.

    Args:
        mask: bool (i, j, k); empty is allowed and has no lesion.
        spacing_mm: voxel edges (3,).
        minimum_mm3: smaller components are left out and reported apart.
    """
    found, count = ndimage.label(mask, _NEIGHBOURS)
    voxels = np.bincount(found.ravel(), minlength=count + 1)[1:]
    volumes = voxels * float(np.prod(spacing_mm))
    kept = [place for place in np.argsort(-voxels, kind="stable") if volumes[place] >= minimum_mm3]
    table = np.zeros(count + 1, dtype=np.int32)
    for number, place in enumerate(kept, start=1):
        table[place + 1] = number
    dropped = tuple(sorted((float(volume) for volume in volumes if volume < minimum_mm3), reverse=True))
    return LabelledLesions(table[found], dropped)


def measure_lesions(
    labels: NDArray[np.int32], affine: NDArray[np.float64], slice_axis: int, slice_thickness_mm: float,
    settings: DiameterSettings,
) -> tuple[MeasuredLesion, ...]:  # fmt: skip
    """Measure every lesion of an array of labels, in the order of their numbers.

    Args:
        labels: int32 (i, j, k), 0 outside lesions; axes as the affine says.
        affine: (4, 4), voxel indices to world millimetres (RAS).
        slice_axis: the array axis across the slices that were acquired or are read: 2 for axial in RAS arrays.
        slice_thickness_mm: thickness plus gap of the slices.
        settings: how diameters are taken.

    Raises:
        ImageError: the axes within a slice are not perpendicular, so that no diameter is measured by voxel edges.
    """
    _require_square(affine, slice_axis)
    measure = partial(_measure, affine=affine, axis=slice_axis, thickness_mm=slice_thickness_mm, settings=settings)
    boxes = ndimage.find_objects(labels)
    return tuple(
        measure(labels[box] == number, number, np.array([side.start for side in box]), labels.shape)
        for number, box in enumerate(boxes, start=1)
        if box is not None
    )


def _require_square(affine: NDArray[np.float64], slice_axis: int) -> None:
    one, other = (affine[:3, axis] / np.linalg.norm(affine[:3, axis]) for axis in range(3) if axis != slice_axis)
    cosine = abs(float(one @ other))
    if not cosine <= _SHEARED:
        raise ImageError(
            problem(
                "perpendicular axes within a slice",
                f"axes {math.degrees(math.acos(min(cosine, 1.0))):.1f} degrees apart",
                "the mask's affine",
                "resample mask and image to a grid without shear",
            )
        )


def _measure(
    lesion: NDArray[np.bool_], number: int, corner: NDArray[np.int64], shape: tuple[int, ...],
    *, affine: NDArray[np.float64], axis: int, thickness_mm: float, settings: DiameterSettings,
) -> MeasuredLesion:  # fmt: skip
    edges = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    plane = [one for one in range(3) if one != axis]
    place, diameters = _best_slice(np.moveaxis(lesion, axis, 0), (edges[plane[0]], edges[plane[1]]), settings)

    def chord(ends: NDArray[np.float64], length_mm: float) -> Chord:
        voxels = np.empty((2, 3))
        voxels[:, plane] = ends + corner[plane]
        voxels[:, axis] = place + corner[axis]
        world = voxels @ affine[:3, :3].T + affine[:3, 3]
        return Chord(world[0], world[1], length_mm)

    shown = np.asarray(lesion.any(axis=tuple(plane)))
    slices = _longest_run(shown)
    centre = np.argwhere(lesion).mean(axis=0) + corner
    voxels = int(lesion.sum())
    return MeasuredLesion(
        label=number,
        voxels=voxels,
        volume_mm3=voxels * float(abs(np.linalg.det(affine[:3, :3]))),
        centre_mm=affine[:3, :3] @ centre + affine[:3, 3],
        slice_index=int(place + corner[axis]),
        slices=slices,
        longest=chord(diameters.longest, diameters.longest_mm),
        perpendicular=chord(diameters.perpendicular, diameters.perpendicular_mm),
        why_not=_why_not(diameters, slices, thickness_mm, settings.part),
        touches_edge=bool((corner == 0).any() or (corner + lesion.shape == shape).any()),
    )


def _best_slice(
    slices: NDArray[np.bool_], spacing_mm: tuple[float, float], settings: DiameterSettings
) -> tuple[int, Diameters]:
    """The slice and diameters that the settings choose, over all pieces of the slices (slice, u, v)."""
    pieces = sorted(_pieces(slices, spacing_mm), key=lambda piece: -piece[0])
    best: tuple[float, int, Diameters] | None = None
    for reach_mm, place, (row, column), filled in pieces:
        # Neither a diameter nor (as a square) a product exceeds what the piece's box allows.
        if best is not None and best[0] > (reach_mm**2 if settings.largest_product else reach_mm):
            break
        # A product is at most the square of the longest diameter.
        least = 0.0 if best is None else math.sqrt(best[0]) if settings.largest_product else best[0]
        found = measure_piece(filled, spacing_mm, settings.outside, least)
        if found is None:
            continue
        score = found.product_mm2 if settings.largest_product else found.longest_mm
        if best is None or (score, -place) > (best[0], -best[1]):
            offset = np.array([row, column])
            moved = Diameters(
                found.longest + offset, found.longest_mm, found.perpendicular + offset, found.perpendicular_mm
            )
            best = (score, place, moved)
    assert best is not None  # a lesion has a voxel
    return best[1], best[2]


def _pieces(
    slices: NDArray[np.bool_], spacing_mm: tuple[float, float]
) -> Iterator[tuple[float, int, tuple[int, int], NDArray[np.bool_]]]:
    """Every piece of every slice: how far it reaches at most (mm), slice, corner of its box, and it without holes."""
    for place, plane in enumerate(slices):
        pieces, _ = ndimage.label(plane, _NEIGHBOURS_IN_SLICE)
        for number, (rows, columns) in enumerate(ndimage.find_objects(pieces), start=1):
            filled = ndimage.binary_fill_holes(pieces[rows, columns] == number)
            reach = math.hypot(*((size + _BULGES) * edge for size, edge in zip(filled.shape, spacing_mm, strict=True)))
            yield reach, place, (rows.start, columns.start), filled


def _longest_run(shown: NDArray[np.bool_]) -> int:
    padded = np.concatenate([[False], shown, [False]]).astype(int)
    starts, ends = np.flatnonzero(np.diff(padded) == 1), np.flatnonzero(np.diff(padded) == -1)
    return int((ends - starts).max(initial=0))


def _why_not(diameters: Diameters, slices: int, thickness_mm: float, part: Part) -> tuple[str, ...]:
    least = least_diameter_mm(part, thickness_mm)
    reasons = [
        f"{name} diameter {length:.1f} mm is below {least:g} mm"
        for name, length in (("longest", diameters.longest_mm), ("perpendicular", diameters.perpendicular_mm))
        if length < least - _SAME_MM
    ]
    if slices < part.minimum_slices:
        reasons.append(f"seen on {slices} consecutive slice{'' if slices == 1 else 's'}, not {part.minimum_slices}")
    return tuple(reasons)
