"""A brain mask, and what is to be said of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ranoscope.imaging.nifti import Volume
from ranoscope.preparing.brain.fitting import Fit

# Adult brains measure 1.0 to 1.7 l, and masks hold fluid in folds and around the brain as well: beyond these bounds a
# part of the brain is missing or a part of the head was taken for brain.
_VOLUME_ML = (900.0, 1900.0)
# Scans that cut off a slice of crown or brain stem are the rule; more than this may have cut off a tumour.
_MISSED_NOTE, _MISSED_PROBLEM = 0.02, 0.15
# Below this share of the image's information, what was fitted is no head. Real heads had 0.26 to 0.40, noise 0.002.
LEAST_SIMILARITY = 0.1


@dataclass(frozen=True)
class BrainMask:
    """``mask``: True inside, on the volume's own grid (i, j, k).

    ``note``: what a reader may want to know; ``problem``: why a person must look at it; both None where there is
    nothing. ``already_stripped``: the image came without skull. ``fit``: of the atlas's head, where one was needed.
    """

    mask: NDArray[np.bool_]
    note: str | None = None
    problem: str | None = None
    already_stripped: bool = False
    fit: Fit | None = None


def judged(
    mask: NDArray[np.bool_],
    volume: Volume,
    already_stripped: bool = False,
    fit: Fit | None = None,
    missed: float = 0.0,
) -> BrainMask:
    """A mask with what its size and place say.

    Args:
        mask: on the grid of ``volume``.
        volume: the image.
        already_stripped: whether it came without skull.
        fit: as ``BrainMask``.
        missed: share of the brain that lies outside the field of view, 0 to 1.
    """
    notes: list[str] = []
    problems: list[str] = []
    millilitres = np.count_nonzero(mask) * volume.voxel_volume_mm3 / 1000
    whole = millilitres / max(1 - missed, 0.5)
    if fit is not None and fit.similarity < LEAST_SIMILARITY:
        problems.append(f"the image does not look like a head (similarity {fit.similarity:.2f})")
    if not _VOLUME_ML[0] <= whole <= _VOLUME_ML[1]:
        low, high = _VOLUME_ML
        problems.append(f"a brain of {whole:.0f} ml, where {low:.0f} to {high:.0f} are expected")
    if missed > _MISSED_NOTE:
        said = problems if missed > _MISSED_PROBLEM else notes
        said.append(f"{missed:.0%} of the brain lie outside the scan")
    return BrainMask(mask, "; ".join(notes) or None, "; ".join(problems) or None, already_stripped, fit)
