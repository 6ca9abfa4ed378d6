"""NIfTI files as series: what is believed, what is refused and why, and no other way out for broken bytes."""

from __future__ import annotations

import gzip
import json

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranoscope.errors import ImageError
from ranoscope.preparing.nifti import load_nifti, read_nifti_series

SHAPE = (40, 44, 12)
WHERE = "Patient-001/week-000/T1.nii.gz"


def affine(spacing=(1.0, 1.0, 5.0), tilt=0.0) -> np.ndarray:
    """Axes towards Left, Anterior, Superior; ``tilt`` degrees between slice axis and slice normal."""
    matrix = np.diag([-spacing[0], spacing[1], spacing[2], 1.0])
    matrix[1, 2] = spacing[2] * np.sin(np.radians(tilt))
    matrix[2, 2] = spacing[2] * np.cos(np.radians(tilt))
    matrix[:3, 3] = (20, -22, -30)
    return matrix


def image(data=None, matrix=None) -> nib.Nifti1Image:
    data = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE) if data is None else data
    return nib.Nifti1Image(data, affine() if matrix is None else matrix)


def write(folder, made, name="T1.nii.gz"):
    nib.save(made, folder / name)
    return folder / name


def test_a_sound_file_is_read_in_ras_axes(tmp_path):
    path = write(tmp_path, image())
    series = read_nifti_series(path, WHERE)
    volume = series.load()
    assert (series.facts.file_name, series.facts.shape, series.facts.volumes) == ("T1", SHAPE, 1)
    assert series.facts.spacing_mm == pytest.approx((1, 1, 5))
    assert volume.where == series.where == WHERE
    # A voxel's place in the patient, worked out from the file's own axes.
    voxel = (3, 7, 9)
    world = np.array([20 - 3, -22 + 7, -30 + 5 * 9, 1.0])
    there = np.rint(np.linalg.inv(volume.affine) @ world)[:3].astype(int)
    assert volume.data[tuple(there)] == np.ravel_multi_index(voxel, SHAPE)
    assert nib.aff2axcodes(volume.affine) == ("R", "A", "S")


def test_a_fourth_axis_of_one_is_no_time(tmp_path):
    flat = np.asarray(image().dataobj)
    path = write(tmp_path, image(flat[..., None]))
    assert read_nifti_series(path, WHERE).facts.volumes == 1
    expected = load_nifti(write(tmp_path, image(), "other.nii"), WHERE)
    assert np.array_equal(load_nifti(path, WHERE).data, expected.data)


def test_what_is_not_finite_is_nothing(tmp_path):
    data = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    data[0, 0, 0], data[1, 1, 1] = np.nan, np.inf
    volume = load_nifti(write(tmp_path, image(data)), WHERE)
    assert np.isfinite(volume.data).all()
    assert (volume.data == 0).sum() == 2


def without_forms():
    made = image()
    made.header.set_qform(None, 0)
    made.header.set_sform(None, 0)
    made.set_qform(None, 0)
    made.set_sform(None, 0)
    return made


def with_forms_apart(mm):
    made, other = image(), affine()
    other[2, 3] += mm
    made.set_sform(affine(), 1)
    made.set_qform(other, 1)
    return made


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (without_forms(), "an orientation, got none"),
        (with_forms_apart(3.0), r"one orientation, got two that are up to 3\.0 mm apart"),
        (image(matrix=affine((0.05, 0.05, 5))), "voxel edges of 0.1 to 15 mm"),
        (image(matrix=affine((1, 1, 120.0))), "voxel edges of 0.1 to 15 mm"),
        (image(matrix=affine((0.2, 0.2, 5))), "a field of view of 30 to 700 mm"),
        (image(matrix=affine(tilt=8.0)), "axes at right angles, got axes 8.0 degrees off"),
        (image(np.random.default_rng(0).random((40, 44, 2), np.float32)), "at least 3 slices"),
        (image(np.zeros((*SHAPE, 5), np.float32)), "a 3-D image"),
        (image(np.full(SHAPE, 7, np.float32)), "intensities that vary"),
        (image(np.full(SHAPE, np.nan, np.float32)), "finite intensities"),
    ],
)
def test_what_no_head_scan_is_gets_a_reason(tmp_path, made, words):
    path = write(tmp_path, made)
    with pytest.raises(ImageError, match=words) as caught:
        read_nifti_series(path, WHERE).load()
    assert WHERE in str(caught.value)


def test_an_axis_beside_which_others_vanish_is_refused(tmp_path):
    raw = bytearray(image().to_bytes())
    raw[287] = 89  # the exponent of srow_x[1]: 2e15 mm
    path = tmp_path / "T1.nii"
    path.write_bytes(bytes(raw))
    with pytest.raises(ImageError, match="an invertible affine"):
        load_nifti(path, WHERE)


def test_forms_that_differ_by_rounding_are_one(tmp_path):
    assert load_nifti(write(tmp_path, with_forms_apart(0.3)), WHERE).data.shape == SHAPE


@pytest.mark.parametrize(("payload", "words"), [(b"", "NIfTI image"), (b"\x1f\x8b\x08", "whole gzip"), (None, "none")])
def test_files_that_are_none(tmp_path, payload, words):
    path = tmp_path / "T1.nii.gz"
    if payload is not None:
        path.write_bytes(payload)
    with pytest.raises(ImageError, match=words):
        read_nifti_series(path, WHERE)


def test_a_sidecar_says_how_it_was_acquired(tmp_path):
    path = write(tmp_path, image())
    said = {
        "SeriesDescription": "AX T1 POST", "EchoTime": 0.0102, "RepetitionTime": 0.6, "FlipAngle": 90,
        "ScanningSequence": "SE", "SequenceVariant": "SK_SP", "MRAcquisitionType": "2D", "SeriesNumber": 12,
        "ImageType": ["ORIGINAL", "PRIMARY", "M"], "ContrastBolusIngredient": "GADOLINIUM", "InversionTime": "n/a",
    }  # fmt: skip
    (tmp_path / "T1.json").write_text(json.dumps(said))
    facts = read_nifti_series(path, WHERE).facts
    assert (facts.description, facts.number, facts.acquisition, facts.contrast) == ("AX T1 POST", 12, "2D", True)
    assert (facts.echo_time_ms, facts.repetition_time_ms) == pytest.approx((10.2, 600))
    assert (facts.scanning_sequence, facts.sequence_variant) == (("SE",), ("SK", "SP"))
    assert facts.image_type == ("ORIGINAL", "PRIMARY", "M")
    assert facts.inversion_time_ms is None


@pytest.mark.parametrize("text", ["{", "[1]", "\xff"])
def test_a_broken_sidecar_is_named(tmp_path, text):
    path = write(tmp_path, image())
    (tmp_path / "T1.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ImageError, match=r"sidecar T1\.json"):
        read_nifti_series(path, WHERE)


@pytest.fixture(scope="module")
def sound() -> bytes:
    return image().to_bytes()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 347), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.none() | st.integers(0, 4000),
    packed=st.booleans(),
)
def test_broken_bytes_are_refused_or_leave_the_grid_as_the_header_says(tmp_path, sound, changes, cut, packed):
    raw = bytearray(sound)
    for place, value in changes:
        raw[place] = value
    payload = bytes(raw) if cut is None else bytes(raw[:cut])
    path = tmp_path / ("T1.nii.gz" if packed else "T1.nii")
    path.write_bytes(gzip.compress(payload, 1) if packed else payload)
    try:
        volume = read_nifti_series(path, WHERE).load()
    except ImageError:
        return
    with np.errstate(all="ignore"):
        said = nib.as_closest_canonical(nib.Nifti1Image.from_bytes(payload))
    np.testing.assert_allclose(volume.affine, said.affine)
    assert volume.data.shape == said.shape[:3]
