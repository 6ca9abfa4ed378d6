"""Where a study lies in the atlas: the patient's first by the atlas brain, later ones by the first. All rigid.

Volumes and diameters stay as they are. Heads are compared without skull: scalp and neck move, and the field of view
differs from scan to scan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
from numpy.typing import NDArray

from ranoscope.domain import SEQUENCES, Sequence
from ranoscope.imaging.grid import Grid
from ranoscope.imaging.nifti import Volume
from ranoscope.preparing.registration import Registration, RegistrationSettings, register
from ranoscope.preparing.within import Within

Affine = NDArray[np.float64]
_ATLAS_MM = 2
# The template is T1-weighted; the nearer a sequence's contrast, the better it is compared.
_LIKE_THE_ATLAS = (Sequence.T1, Sequence.CT1, Sequence.FLAIR, Sequence.T2)


@dataclass(frozen=True)
class FirstStudy:
    """The patient's first study, as later ones need it: images without skull, and where each lies in the atlas."""

    images: Mapping[Sequence, Volume]
    to_atlas: Mapping[Sequence, Affine]
    reference: Sequence
    brain_on_atlas: NDArray[np.bool_]


@dataclass(frozen=True)
class Placed:
    """``to_atlas``: points of the study's RAS world to the atlas, rigid 4 x 4, mm; ``registration`` behind it."""

    to_atlas: Affine
    registration: Registration


def place(within: Within, first: FirstStudy | None, settings: RegistrationSettings) -> Placed:
    """Register a study to the patient's first, or, being the first, to the MNI152 brain.

    Args:
        within: the study's images in one space.
        first: None for the first study.

    Raises:
        ImageError: an image without a head.
    """
    if first is None:
        chosen = next(sequence for sequence in _LIKE_THE_ATLAS if sequence in within.images)
        found = register(_atlas_brain(), _stripped(within, chosen), settings)
        return Placed(_of_study(found.to_fixed, within, chosen), found)
    other = _shared(within, first)
    chosen = other if other in within.images else within.reference
    found = register(first.images[other], _stripped(within, chosen), settings)
    return Placed(_of_study(first.to_atlas[other] @ found.to_fixed, within, chosen), found)


def _of_study(of_sequence: Affine, within: Within, sequence: Sequence) -> Affine:
    return np.asarray(of_sequence @ np.linalg.inv(within.to_study(sequence)), dtype=np.float64)


def _shared(within: Within, first: FirstStudy) -> Sequence:
    """The first study's sequence to compare with: its reference if both have it, else any both have, else its own."""
    candidates = [first.reference, *(sequence for sequence in SEQUENCES if sequence in first.images)]
    return next((sequence for sequence in candidates if sequence in within.images), first.reference)


def _stripped(within: Within, sequence: Sequence) -> Volume:
    """One of the study's images, 0 outside the brain, on its own grid."""
    volume, brain = within.images[sequence], within.brain
    to_own = np.linalg.inv(within.to_study(sequence))
    i, j, k = volume.data.shape
    inside = Grid((i, j, k), volume.affine).bring(brain.data, replace(brain, affine=to_own @ brain.affine)) > 0.5
    return replace(volume, data=np.where(inside, volume.data, 0).astype(np.float32))


@cache
def _atlas_brain() -> Volume:
    """The MNI152 T1 template inside its brain mask; both are part of nilearn, nothing is downloaded."""
    image = load_mni152_template(resolution=_ATLAS_MM)
    mask = load_mni152_brain_mask(resolution=_ATLAS_MM)
    data = np.where(np.asarray(mask.dataobj) > 0, np.asarray(image.dataobj, np.float32), 0)
    return Volume(data.astype(np.float32), np.asarray(image.affine, np.float64), "the MNI152 template")
