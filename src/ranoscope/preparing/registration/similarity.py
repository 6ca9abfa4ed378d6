"""How alike two heads are where they lie: normalised mutual information over both, and how much of them overlaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ranoscope.preparing.registration.heads import Head
from ranoscope.preparing.registration.rigid import Matrix, inverse, moved

# Few enough that 10 000 places fill their squares: a head on voxels of 4 mm has 20 000 to 50 000.
_BINS = 24
# With less of the smaller head than this in the other's field, likeness is that of a few slices, and says nothing.
LEAST_OVERLAP = 0.3


@dataclass(frozen=True)
class Likeness:
    """``nmi``: (H(a) + H(b)) / H(a, b), 1 for images that say nothing of one another, 2 for the same values twice.

    It is the measure of Studholme et al., Pattern Recognition 1999, 32:71-86; of contrasts that differ a brain's is 1.1
    to 1.2. ``overlap``: share of the smaller head that lies in the other image's field, 0 to 1.
    """

    nmi: float
    overlap: float

    @property
    def score(self) -> float:
        """The likeness where there is enough to compare, as 1 otherwise."""
        return self.nmi if self.overlap >= LEAST_OVERLAP else 1.0


def compare(fixed: Head, moving: Head, to_fixed: Matrix) -> Likeness:
    """Each head's voxels beside what the other image holds there, half of the weight each: the order is indifferent."""
    there, seen_there = _beside(fixed, moving, to_fixed)
    here, seen_here = _beside(moving, fixed, inverse(to_fixed))
    volumes = [head.head.sum() * abs(np.linalg.det(head.affine[:3, :3])) for head in (fixed, moving)]
    overlap = float((seen_there, seen_here)[int(np.argmin(volumes))].mean())
    if not (seen_there.any() and seen_here.any()):
        return Likeness(1.0, overlap)
    counted = _counted(fixed.data[fixed.head][seen_there], there) + _counted(here, moving.data[moving.head][seen_here])
    return Likeness(_normalised(counted / 2), overlap)


def _beside(head: Head, other: Head, to_head: Matrix) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """What ``other``, moved to ``head``, holds at the head's points inside its field; and which points those are."""
    points = moved(head.points, inverse(to_head))
    places = moved(points, other.to_field)
    seen = ((places >= -0.5) & (places <= other.field_shape - 0.5)).all(axis=1)
    voxels = moved(points[seen], np.asarray(np.linalg.inv(other.affine), dtype=np.float64))
    held = ndimage.map_coordinates(other.data, voxels.T, order=1, mode="nearest")
    return np.asarray(held, dtype=np.float32), np.asarray(seen)


def _counted(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """The joint histogram of intensities from 0 to 1, as shares."""
    counts, _, _ = np.histogram2d(one, other, bins=_BINS, range=((0, 1), (0, 1)))
    return np.asarray(counts / counts.sum())


def _normalised(joint: NDArray[np.float64]) -> float:
    both = _entropy(joint)
    return float((_entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))) / both) if both > 0 else 1.0


def _entropy(shares: NDArray[np.float64]) -> float:
    held = shares[shares > 0]
    return float(-(held * np.log(held)).sum())
