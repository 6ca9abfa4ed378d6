"""A brain mask, and what is to be said of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ranoscope.imaging.nifti import Volume

# Adult brains measure 1.0 to 1.7 l, and masks hold fluid in folds and around the brain as well: beyond these bounds a
# part of the brain is missing or a part of the head was taken for brain.
_VOLUME_ML = (900.0, 1900.0)
# Scans that cut off a slice of crown or brain stem are the rule; more than this may have cut off a tumour.
_MISSED_NOTE, _MISSED_PROBLEM = 0.02, 0.15
# Below this share of the image's information, what was fitted is no head. Real heads had 0.26 to 0.40, noise 0.002.
_LEAST_SIMILARITY = 0.1


@dataclass(frozen=True)
class BrainMask:
    """``mask``: True inside, on the volume's own grid (i, j, k).

    ``note``: what a reader may want to know; ``problem``: why a person must look at it; both None where there is
    nothing. ``already_stripped``: the image came without skull. ``similarity``: the share of the image's information
    (entropy of its brightness) that a head in this place explains, 0 to 1; None where none was fitted.
    """

    mask: NDArray[np.bool_]
    note: str | None = None
    problem: str | None = None
    already_stripped: bool = False
    similarity: float | None = None


def judged(
    mask: NDArray[np.bool_],
    volume: Volume,
    already_stripped: bool = False,
    similarity: float | None = None,
    missed: float = 0.0,
) -> BrainMask:
    """A mask with what its size and place say.

    Args:
        mask: on the grid of ``volume``.
        volume: the image.
        already_stripped: whether it came without skull.
        similarity: as ``BrainMask``.
        missed: share of the brain that lies outside the field of view, 0 to 1.
    """
    notes: list[str] = []
    problems: list[str] = []
    millilitres = np.count_nonzero(mask) * volume.voxel_volume_mm3 / 1000
    whole = millilitres / max(1 - missed, 0.5)
    if similarity is not None and similarity < _LEAST_SIMILARITY:
        problems.append(f"the image does not look like a head (similarity {similarity:.2f})")
    if not _VOLUME_ML[0] <= whole <= _VOLUME_ML[1]:
        low, high = _VOLUME_ML
        problems.append(f"a brain of {whole:.0f} ml, where {low:.0f} to {high:.0f} are expected")
    if missed > _MISSED_NOTE:
        said = problems if missed > _MISSED_PROBLEM else notes
        said.append(f"{missed:.0%} of the brain lie outside the scan")
    return BrainMask(mask, "; ".join(notes) or None, "; ".join(problems) or None, already_stripped, similarity)


def largest_piece(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest piece that hangs together by faces; all of a mask that is empty."""
    pieces, count = ndimage.label(mask)
    if count < 2:
        return mask
    return np.asarray(pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:]))
