"""The sequences of one study in one space: bias corrected, and each where the best one says the head was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from ranoscope.domain import SEQUENCES, Sequence
from ranoscope.imaging.nifti import Volume
from ranoscope.preparing.bias import correct_bias
from ranoscope.preparing.brain import BrainMask, extract_brain
from ranoscope.preparing.registration import Registration, register
from ranoscope.preparing.settings import PrepareSettings

Affine = NDArray[np.float64]


@dataclass(frozen=True)
class Within:
    """``images``: on their own grids, bias corrected. ``reference``: the sequence whose world is the study's.

    ``registrations``: of every other sequence, its points to the reference's, mm. ``found``: the reference's brain.
    """

    images: Mapping[Sequence, Volume]
    reference: Sequence
    registrations: Mapping[Sequence, Registration]
    found: BrainMask

    @property
    def brain(self) -> Volume:
        """1 inside the brain, 0 outside, on the grid of the reference."""
        return replace(self.images[self.reference], data=self.found.mask.astype(np.float32))

    def to_study(self, sequence: Sequence) -> Affine:
        """4 x 4, rigid: points of the sequence's own RAS world to the study's, mm."""
        return np.eye(4) if sequence == self.reference else self.registrations[sequence].to_fixed


def align_within(images: Mapping[Sequence, Volume], settings: PrepareSettings, processes: int = 1) -> Within:
    """Correct every image's bias, register it to the reference and find the brain there.

    Args:
        images: at least one.
        settings: of bias, registration and brain.
        processes: for one study's steps that do not wait for each other.

    Raises:
        ImageError: an image without a head.
    """
    reference = choose_reference(images)
    others = [sequence for sequence in images if sequence != reference]
    side_by_side = Parallel(n_jobs=processes)
    even = side_by_side(delayed(correct_bias)(volume, settings.bias) for volume in images.values())
    corrected = dict(zip(images, even, strict=True))
    # The longest first: nothing is then left to wait for alone.
    found, *registrations = side_by_side(
        [delayed(extract_brain)(corrected[reference], settings.brain)]
        + [delayed(register)(corrected[reference], corrected[one], settings.registration) for one in others]
    )
    return Within(corrected, reference, dict(zip(others, registrations, strict=True)), found)


def choose_reference(images: Mapping[Sequence, Volume]) -> Sequence:
    """The image with the smallest longest voxel edge, then the smallest voxel; ties go by CT1, T1, T2, FLAIR.

    The longest edge is what blurs an image once it is turned, and where registration errs most. Edges are compared to
    a tenth of a millimetre, so that rounding in a header does not choose.
    """

    def coarseness(sequence: Sequence) -> tuple[float, float, int]:
        volume = images[sequence]
        return round(float(volume.spacing_mm.max()), 1), round(volume.voxel_volume_mm3, 1), SEQUENCES.index(sequence)

    return min(images, key=coarseness)
