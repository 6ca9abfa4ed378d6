"""A patient scanned twice: heads land where the published transforms say (issue's bounds over the brain)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ranoscope.imaging.nifti import decode
from ranoscope.preparing.registration import RegistrationSettings, register
from ranoscope.preparing.registration.rigid import moved

MS = Path(__file__).parents[3] / "shared" / "data" / "ms_two_timepoints"
pytestmark = pytest.mark.skipif(
    not MS.is_dir(), reason="the two-visit MRI of Lesjak et al. (shared/data beside the checkout) is not here"
)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def published(study: str) -> np.ndarray:
    """Points of the common space to the world of a study's FLAIR: ITK's parameters as a RAS matrix."""
    lines = (MS / f"{study}_FLAIR_to_common_space.txt").read_text().splitlines()
    values, centre = (np.array([float(one) for one in line.split()[1:]]) for line in lines[3:5])
    lps = np.eye(4)
    lps[:3, :3] = values[:9].reshape(3, 3)
    lps[:3, 3] = values[9:] + centre - lps[:3, :3] @ centre
    return LPS @ lps @ LPS


def test_visit_to_visit_agrees_with_the_published_transforms():
    """Measured: 0.15 mm on average, 0.40 mm at most."""
    brain = decode((MS / "brainmask.nii.gz").read_bytes(), "brain mask")
    common = moved(np.argwhere(brain.data > 0)[::200], brain.affine)
    first, second = (decode((MS / f"{study}_FLAIR.nii.gz").read_bytes(), study) for study in ("study1", "study2"))
    here, there = moved(common, published("study1")), moved(common, published("study2"))
    assert np.linalg.norm(there - here, axis=1).mean() > 10
    found = register(first, second, RegistrationSettings())
    off = np.linalg.norm(moved(there, found.to_fixed) - here, axis=1)
    assert found.problem is None
    assert off.mean() <= 0.4
    assert off.max() <= 1.2
    assert found.disagreement_mm <= 0.3
    assert found.similarity > found.similarity_before
