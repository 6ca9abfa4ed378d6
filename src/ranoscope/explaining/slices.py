"""Pictures of volumes: which slice, which way round, and how bright. Pure functions, shared with the report.

Volumes are (i, j, k) with i, j, k towards Right, Anterior, Superior, as everywhere behind the store. Pictures follow
the radiological convention: the viewer looks from the patient's feet, so the patient's left is at the picture's right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ranoscope.domain import Tissue

# Letters for the edges of an axial picture: patient's right and left, anterior and posterior.
AXIAL_EDGES = {"left": "R", "right": "L", "top": "A", "bottom": "P"}
RADIOLOGICAL = "Radiological convention: the patient's left is at the right of the picture."


@dataclass(frozen=True)
class SliceChoice:
    """An axial slice, k = ``index``, and in words why this one."""

    index: int
    because: str


def axial(data: NDArray[Any], k: int) -> NDArray[Any]:
    """The axial slice ``k`` of a volume (i, j, k) as a picture (row, column) in radiological convention.

    First row = anterior, first column = patient's right. Further axes behind k stay behind.

    Raises:
        IndexError: the volume has no slice ``k``.
    """
    return data[::-1, ::-1, k].swapaxes(0, 1)


def window(volume: NDArray[np.floating], brain: NDArray[np.bool_]) -> tuple[float, float]:
    """Intensities to show as black and white: the 1st and 99.5th percentiles inside the brain.

    An empty brain, or one of a single intensity, gives a window of width 1 that starts at its value (0 if empty), so
    that dividing by the width is always safe.
    """
    inside = np.asarray(volume[brain], dtype=np.float32)
    if inside.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(inside, (1, 99.5)))
    return (low, high) if high > low else (low, low + 1.0)


def tumour_slice(tumours: NDArray[np.uint8], brain: NDArray[np.bool_]) -> SliceChoice:
    """The axial slice to show of a case.

    The one with the largest enhancing area in the union of all visits; without any enhancement the one with the
    largest tumour area; without any tumour the one through the brain's centre; of equals the lowest.

    Args:
        tumours: ``Tissue`` labels (visit, i, j, k).
        brain: (i, j, k).
    """
    for mask, name in (
        (tumours == Tissue.ENHANCING, "largest enhancing area, both visits together"),
        (tumours != Tissue.BACKGROUND, "no enhancement; largest tumour area, both visits together"),
    ):
        areas = mask.any(axis=0).sum(axis=(0, 1))
        if areas.any():
            return SliceChoice(int(areas.argmax()), name)
    places = np.nonzero(brain.any(axis=(0, 1)))[0]
    middle = (int(places[0]) + int(places[-1])) // 2 if len(places) else brain.shape[2] // 2
    return SliceChoice(middle, "no tumour mask; middle of the brain")


def brain_box(brain: NDArray[np.bool_], margin: int) -> tuple[slice, slice, slice]:
    """The smallest box (i, j, k) around the brain with ``margin`` voxels on every side, inside the volume.

    An empty brain gives the whole volume.
    """
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        places = np.nonzero(brain.any(axis=others))[0]
        low, high = (int(places[0]), int(places[-1])) if len(places) else (0, brain.shape[axis] - 1)
        box.append(slice(max(low - margin, 0), min(high + margin + 1, brain.shape[axis])))
    return box[0], box[1], box[2]
