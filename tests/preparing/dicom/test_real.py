"""Real files: one series converted as another program did it, two that must be refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ranoscope.errors import ImageError
from ranoscope.imaging.nifti import decode

REAL = Path(__file__).parents[4] / "shared" / "data" / "dicom_series"
pytestmark = pytest.mark.skipif(
    not REAL.is_dir(), reason="the real DICOM series (shared/data beside the checkout) are not here"
)


def test_a_real_series_equals_its_reference_conversion(scanner):
    (series,) = scanner.series(REAL / "ge_t1")
    volume = series.load()
    reference = decode((REAL / "ge_t1_reference.nii.gz").read_bytes(), "reference")
    assert np.array_equal(volume.data, reference.data)
    # The reference holds four decimals of a direction: 1e-4 mm on the first voxel.
    assert np.allclose(volume.affine, reference.affine, atol=5e-4)
    facts = series.facts
    assert (facts.modality, facts.acquisition, facts.echo_time_ms, facts.inversion_time_ms) == ("MR", "3D", 3.164, 900)
    assert facts.scanning_sequence == ("GR",)
    assert facts.shape == (256, 256, 4)


@pytest.mark.parametrize(
    ("name", "words"), [("bad_gantry_tilt", "gantry tilt or shear of 14.0 degrees"), ("bad_two_slices", "got 2")]
)
def test_real_series_that_are_no_volumes_are_refused(scanner, name, words):
    (series,) = scanner.series(REAL / name)
    with pytest.raises(ImageError, match=words):
        series.load()


def test_a_folder_of_all_three_is_refused_for_its_patients(scanner):
    with pytest.raises(ImageError, match="2 patients"):
        scanner.read(REAL)
