"""Where a study lies in the atlas: the patient's first by the atlas's head, later ones by the first. All rigid.

Volumes and diameters stay as they are. Heads are compared without skull: scalp and neck move, and the field of view
differs from scan to scan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ranoscope.domain import SEQUENCES, Sequence
from ranoscope.imaging.grid import Grid
from ranoscope.imaging.nifti import Volume
from ranoscope.preparing.brain import LEAST_SIMILARITY, fit_atlas
from ranoscope.preparing.registration import RegistrationSettings, register
from ranoscope.preparing.within import Within

Affine = NDArray[np.float64]


@dataclass(frozen=True)
class FirstStudy:
    """The patient's first study, as later ones need it: images without skull, and where each lies in the atlas."""

    images: Mapping[Sequence, Volume]
    to_atlas: Mapping[Sequence, Affine]
    reference: Sequence
    brain_on_atlas: NDArray[np.bool_]


@dataclass(frozen=True)
class Placed:
    """``to_atlas``: points of the study's RAS world to the atlas, rigid 4 x 4, mm.

    ``moved``: what of it is this study's own: its motion to the first study, or of the first to the atlas.
    ``disagreement_mm``, ``problem``: as of ``Registration``; a first study has no disagreement.
    """

    to_atlas: Affine
    moved: Affine
    disagreement_mm: float | None
    problem: str | None


def place(within: Within, first: FirstStudy | None, settings: RegistrationSettings) -> Placed:
    """Register a study to the patient's first, or find where the first lies in the MNI152 atlas.

    Args:
        within: the study's images in one space.
        first: None for the first study.

    Raises:
        ImageError: an image without a head.
    """
    if first is None:
        return _place_first(within)
    other = _shared(within, first)
    chosen = other if other in within.images else within.reference
    found = register(first.images[other], _stripped(within, chosen), settings)
    to_atlas = first.to_atlas[other] @ found.to_fixed @ np.linalg.inv(within.to_study(chosen))
    return Placed(np.asarray(to_atlas, dtype=np.float64), found.to_fixed, found.disagreement_mm, found.problem)


def _place_first(within: Within) -> Placed:
    """By the head that was fitted to find the brain, or by the brain where another way found it."""
    fit = within.found.fit or fit_atlas(_stripped(within, within.reference))
    unlike = f"it does not look like a head (similarity {fit.similarity:.2f})"
    return Placed(fit.to_atlas, fit.to_atlas, None, unlike if fit.similarity < LEAST_SIMILARITY else None)


def _shared(within: Within, first: FirstStudy) -> Sequence:
    """The first study's sequence to compare with: its reference if both have it, else any both have, else its own."""
    candidates = [first.reference, *(sequence for sequence in SEQUENCES if sequence in first.images)]
    return next((sequence for sequence in candidates if sequence in within.images), first.reference)


def _stripped(within: Within, sequence: Sequence) -> Volume:
    """One of the study's images, 0 outside the brain, on its own grid."""
    volume, brain = within.images[sequence], within.brain
    inside = Grid.of(volume).bring(brain.data, brain.moved(np.linalg.inv(within.to_study(sequence)))) > 0.5
    return replace(volume, data=np.where(inside, volume.data, 0).astype(np.float32))
