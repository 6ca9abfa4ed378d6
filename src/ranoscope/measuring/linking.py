"""Which lesion of a scan continues which earlier one, by overlap, and by nearness where outlines miss each other.

Two lesions are linked where they overlap by at least ``minimum_share`` of the smaller one and ``minimum_overlap_mm3``.
Continuity goes before change: lesions are first paired one to one so that the sum of the squared overlaps is greatest
(squared, so that one large overlap outweighs several slight ones, as a lesion that touches its neighbour has them). An
earlier lesion left over whose partner is taken has merged; a later one left over has split off. Small lesions may miss
each other by what alignment leaves, so lesions left over are first paired by the distance of their centres.

Engine's choices, no publication states them: the floor and the tolerance.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import linear_sum_assignment

from ranoscope.config import Settings

Floats = NDArray[np.float64]


class TrackingSettings(Settings):
    """When two lesions of consecutive scans are one.

    ``minimum_share``: overlap as a share of the smaller lesion. ``minimum_overlap_mm3``: the same in mm³ (half of the
    smaller lesion where that is less). ``tolerance_mm``: how far apart the centres of a lesion's two outlines may lie
    that do not overlap; visits that were brought to an atlas one by one miss each other by a few millimetres.
    """

    minimum_share: Annotated[float, Field(gt=0, le=1)] = 0.1
    minimum_overlap_mm3: Annotated[float, Field(ge=0)] = 5.0
    tolerance_mm: Annotated[float, Field(ge=0)] = 5.0


@dataclass(frozen=True)
class Placed:
    """``voxels``: flat indices, ascending; ``label``: its number in the array it came from; ``column``: its place in
    the frame; ``centre_mm``: (3,).
    """

    label: int
    column: int
    voxels: NDArray[np.intp]
    volume_mm3: float
    centre_mm: Floats

    @property
    def rank(self) -> tuple[float, int]:
        """Largest first; of equals the one that begins first. Never by label, which is arbitrary."""
        return -self.volume_mm3, int(self.voxels[0])


@dataclass(frozen=True)
class Frame:
    """One scan: its lesions, largest first, and per voxel the lesion's column, -1 outside."""

    lesions: tuple[Placed, ...]
    columns: NDArray[np.int32]
    voxel_mm3: float

    @classmethod
    def of(cls, labels: NDArray[np.generic], spacing_mm: Floats) -> Frame:
        """The scan of a label array (i, j, k), 0 background."""
        flat = labels.ravel()
        places = np.flatnonzero(flat)
        order = np.argsort(flat[places], kind="stable")
        names, starts = np.unique(flat[places][order], return_index=True)
        voxel_mm3 = float(np.prod(spacing_mm))
        found = []
        for name, voxels in zip(names, np.split(places[order], starts[1:]), strict=False):
            centre = np.array([axis.mean() for axis in np.unravel_index(voxels, labels.shape)]) * spacing_mm
            found.append(Placed(int(name), 0, voxels, len(voxels) * voxel_mm3, centre))
        lesions = tuple(replace(one, column=n) for n, one in enumerate(sorted(found, key=lambda one: one.rank)))
        columns = np.full(flat.shape, -1, dtype=np.int32)
        for one in lesions:
            columns[one.voxels] = one.column
        return cls(lesions, columns, voxel_mm3)

    def overlap_mm3(self, lesion: Placed) -> Floats:
        """Overlap of another scan's lesion with every lesion of this one, in order."""
        hits = self.columns[lesion.voxels]
        voxels = np.bincount(hits[hits >= 0], minlength=len(self.lesions))
        return voxels.astype(np.float64) * self.voxel_mm3


@dataclass(frozen=True)
class Star:
    """Earlier lesions (``before``: ids) that became later ones (``now``); both largest first, neither empty."""

    before: tuple[str, ...]
    now: tuple[Placed, ...]


def link(
    earlier: Mapping[str, Placed], later: Sequence[Placed], frame: Frame, settings: TrackingSettings
) -> list[Star]:
    """Which earlier lesions became which later ones; lesions without a link are in no star."""
    names = sorted(earlier, key=lambda name: earlier[name].rank)
    if not names or not later:
        return []
    before = [earlier[name] for name in names]
    overlap = np.array([frame.overlap_mm3(one)[[other.column for other in later]] for one in before])
    smaller = np.minimum.outer([one.volume_mm3 for one in before], [one.volume_mm3 for one in later])
    floor = np.maximum(settings.minimum_share * smaller, np.minimum(settings.minimum_overlap_mm3, smaller / 2))
    links = np.where(overlap >= floor, overlap, 0.0)
    owner = _pair(links**2)
    owner |= _nearby(before, later, owner, settings.tolerance_mm)
    joined = {n: [b] for b, n in owner.items()}
    parted = {b: [n] for b, n in owner.items()}
    for b in _left(len(before), owner.keys()):
        if links[b].any():
            joined[int(links[b].argmax())].append(b)
    for n in _left(len(later), owner.values()):
        if links[:, n].any():
            parted[int(links[:, n].argmax())].append(n)
    return [
        Star(tuple(names[one] for one in sorted(joined[n])), tuple(later[one] for one in sorted(parted[b])))
        for b, n in owner.items()
    ]


def _nearby(
    before: Sequence[Placed], later: Sequence[Placed], owner: Mapping[int, int], tolerance_mm: float
) -> dict[int, int]:
    """Pairs of lesions that have no partner yet and whose centres lie within the tolerance, nearest first.

    One that lies a few millimetres beside its place may touch its neighbour instead, so a link does not keep it out: to
    have moved is likelier than to have merged while another appeared there.
    """
    weight = np.zeros((len(before), len(later)))
    for b in _left(len(before), owner.keys()):
        for n in _left(len(later), owner.values()):
            apart = distance_mm(before[b], later[n])
            if apart <= tolerance_mm:
                # The small constant keeps a pair that is exactly as far apart as the tolerance.
                weight[b, n] = tolerance_mm**2 - apart**2 + 1e-9
    return _pair(weight)


def _left(size: int, taken: Collection[int]) -> list[int]:
    return [place for place in range(size) if place not in taken]


def _pair(weight: Floats) -> dict[int, int]:
    """Row → column so that the sum of weights is greatest; pairs of weight 0 are none."""
    rows, columns = linear_sum_assignment(weight, maximize=True)
    return {int(row): int(column) for row, column in zip(rows, columns, strict=True) if weight[row, column] > 0}


def distance_mm(one: Placed, other: Placed) -> float:
    """Distance between both centres."""
    return float(np.linalg.norm(one.centre_mm - other.centre_mm))
