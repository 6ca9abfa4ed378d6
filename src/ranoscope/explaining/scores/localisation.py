"""Does a map lie on the tumour? Four scores of a map against a mask, each with what chance would score.

Only what speaks for the class counts, the positive part of a map, and only inside the brain. Where voxels have equal
relevance the expected value over all their orders is given, so that no score depends on where a volume begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

BoolVolume = NDArray[np.bool_]
NAMES = ("pointing", "mass", "rank", "auc")
NO_BRAIN = "no brain"
EMPTY_MASK = "no such tissue in the mask"
FULL_MASK = "the mask fills the whole brain"
ZERO_MAP = "nothing in the map speaks for the class"


@dataclass(frozen=True)
class Localisation:
    """Scores of one map against one mask; all NaN where ``reason`` says why.

    ``pointing``: whether the highest voxel lies in the mask (Zhang 2018); of several highest ones the share that does.
    ``mass``: share of the positive relevance that lies in the mask (relevance mass accuracy, Arras 2022). ``rank``:
    share of the K highest voxels that lie in the mask, K being the mask's size (relevance rank accuracy, Arras 2022).
    ``auc``: area under the ROC curve of relevance as a voxel's score for being in the mask. ``fraction``: the mask's
    share of the brain, which is what chance scores in the first three; an AUC by chance is 0.5. ``near``: the same for
    the mask with the tolerance that ``pointing`` allows.
    """

    pointing: float
    mass: float
    rank: float
    auc: float
    fraction: float
    near: float
    reason: str | None = None

    @property
    def chance(self) -> dict[str, float]:
        """Score name → what a map that knows nothing scores on average."""
        return {"pointing": self.near, "mass": self.fraction, "rank": self.fraction, "auc": 0.5}


def localise(
    relevance: NDArray[np.floating], mask: BoolVolume, brain: BoolVolume, tolerance: float = 0
) -> Localisation:
    """Score a map against a mask.

    Args:
        relevance: (i, j, k); values below 0 speak against the class and count as 0.
        mask: (i, j, k); what lies outside the brain is left out.
        brain: (i, j, k).
        tolerance: voxels by which the highest voxel may miss the mask in the pointing game.
    """
    inside = mask & brain
    size, total = int(inside.sum()), int(brain.sum())
    reason = _undefined(size, total)
    if reason is not None:
        return _nothing(reason, size / total if total else np.nan)
    values = np.clip(np.asarray(relevance[brain], dtype=np.float64), 0, None)
    target = inside[brain]
    near = _near(inside, tolerance)[brain] if tolerance else target
    if not values.any():
        return _nothing(ZERO_MAP, size / total)
    highest = values == values.max()
    return Localisation(
        pointing=float(near[highest].mean()),
        mass=float(values[target].sum() / values.sum()),
        rank=_rank_accuracy(values, target),
        auc=_auc(values, target),
        fraction=size / total,
        near=float(near.mean()),
    )


def _undefined(size: int, total: int) -> str | None:
    if total == 0:
        return NO_BRAIN
    if size == 0:
        return EMPTY_MASK
    return FULL_MASK if size == total else None


def _nothing(reason: str, fraction: float) -> Localisation:
    return Localisation(np.nan, np.nan, np.nan, np.nan, fraction, fraction, reason)


def _near(inside: BoolVolume, tolerance: float) -> BoolVolume:
    """Voxels no farther from the mask than the tolerance, looked for only around it."""
    (box,) = ndimage.find_objects(inside.astype(np.uint8))
    reach = ceil(tolerance)
    around = tuple(slice(max(0, side.start - reach), side.stop + reach) for side in box)
    near = np.zeros_like(inside)
    near[around] = ndimage.distance_transform_edt(~inside[around]) <= tolerance
    return near


def _rank_accuracy(values: NDArray[np.float64], target: BoolVolume) -> float:
    """Share of the K highest that are in the target of K; of those equal to the K-th the expected number counts."""
    size = int(target.sum())
    last = np.partition(values, len(values) - size)[len(values) - size]
    above, equal = values > last, values == last
    places = size - int(above.sum())
    return float((target[above].sum() + places * target[equal].mean()) / size)


def _auc(values: NDArray[np.float64], target: BoolVolume) -> float:
    """Mann and Whitney's statistic, equal values counting half."""
    ranks = stats.rankdata(values)
    size = int(target.sum())
    wins = ranks[target].sum() - size * (size + 1) / 2
    return float(wins / (size * (len(values) - size)))
