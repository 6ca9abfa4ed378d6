"""What a scene is decided by: where lesions may lie in a study, how much tumour it has of its own, how that looks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ranoscope.domain import Sequence, Tissue
from ranoscope.imaging.store import AlignedStudy
from ranoscope.learning.pretraining.change.fields import Image
from ranoscope.learning.pretraining.change.lesions import LESION_TISSUES

# Centres of lesions lie this deep in the brain, and this far from the study's own tumour where that stays.
_DEPTH_MM, _APART_MM = 8.0, 6.0
_MOST_SITES = 2000
# Fewer voxels than this say little of how a tissue looks.
_LEAST_VOXELS = 10


@dataclass(frozen=True)
class StudyFacts:
    """Of one study, in its brain's box.

    ``sites``: int (n, 3), voxels where a lesion may be centred; ``apart``: bool (n,), those away from the own tumour.
    ``voxel_mm``: voxel edge. ``enhancing_mm3``: own enhancing tumour; ``largest_mm3``: that of its ``largest_part``.
    ``look``: float32 (tissue, sequence), mean intensities of the own tumour, NaN where there is too little of it.
    """

    sites: NDArray[np.int_]
    apart: NDArray[np.bool_]
    voxel_mm: float
    enhancing_mm3: float
    largest_mm3: float
    look: Image


def find_facts(study: AlignedStudy, sequences: tuple[Sequence, ...]) -> StudyFacts:
    """The facts of a study, its look in these sequences."""
    box, voxel_mm = study.brain_box, float(study.affine[0, 0])
    brain, tumour = np.asarray(study.brain[box]), np.asarray(study.tumour[box])
    deep = _eroded(brain, _DEPTH_MM / voxel_mm)
    places = np.argwhere(deep if deep.any() else brain)
    places = places[:: -(-len(places) // _MOST_SITES)]
    near = ndimage.binary_dilation(tumour > 0, iterations=max(round(_APART_MM / voxel_mm), 1))
    enhancing = tumour == Tissue.ENHANCING
    volume = voxel_mm**3
    return StudyFacts(
        sites=places,
        apart=~near[tuple(places.T)],
        voxel_mm=voxel_mm,
        enhancing_mm3=float(enhancing.sum()) * volume,
        largest_mm3=float((largest_part(tumour) & enhancing).sum()) * volume,
        look=_look(study, tumour, sequences),
    )


def _eroded(brain: NDArray[np.bool_], voxels: float) -> NDArray[np.bool_]:
    """The brain without a shell; what lies at the box's own faces counts as outside."""
    return np.asarray(ndimage.binary_erosion(brain, iterations=max(round(voxels), 1)), dtype=bool)


def largest_part(tumour: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The largest connected part of a mask's enhancing tumour and necrosis, bool (i, j, k)."""
    mask = (tumour == Tissue.ENHANCING) | (tumour == Tissue.NECROSIS_NONENHANCING)
    labels, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    if not count:
        return np.zeros(mask.shape, bool)
    sizes = np.bincount(labels.ravel())
    return np.asarray(labels == 1 + int(sizes[1:].argmax()), dtype=bool)


def _look(study: AlignedStudy, tumour: NDArray[np.uint8], sequences: tuple[Sequence, ...]) -> Image:
    look = np.full((len(LESION_TISSUES), len(sequences)), np.nan, np.float32)
    for row, tissue in zip(look, LESION_TISSUES, strict=True):
        inside = tumour == tissue
        if inside.sum() >= _LEAST_VOXELS:
            row[:] = [study.volume(one)[study.brain_box][inside].astype(np.float32).mean() for one in sequences]
    return look
