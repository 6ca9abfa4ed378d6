"""Grids: any turn, spacing and order of files gives the volume back; what is no grid is refused by its own name."""

from __future__ import annotations

import tempfile
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ranoscope.errors import ImageError
from ranoscope.preparing.dicom.aside import AsideReason

OBLIQUE = Rotation.from_euler("xyz", [12, -7, 100], degrees=True).as_matrix()
edges = st.floats(0.3, 6.0).map(lambda value: round(value, 4))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    pixel=st.tuples(edges, edges),
    step=edges,
    backwards=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_stack_comes_back_as_it_was_written(scanner, angles, pixel, step, backwards, seed):
    directions = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    rng = np.random.default_rng(seed)
    origin = rng.uniform(-100, 100, 3).round(3)
    slices = scanner.slices(
        5, directions, origin, -step if backwards else step, pixel=pixel,
        RescaleSlope=lambda index: 0.5 + index, RescaleIntercept=-7,
    )  # fmt: skip
    order = rng.permutation(len(slices))
    with tempfile.TemporaryDirectory() as folder:
        scanner.write(Path(folder), [slices[one] for one in order])
        (series,) = scanner.series(Path(folder))
        scanner.require_written(series.load(), slices)
    assert series.where == "series 5"
    assert series.facts.shape == (12, 16, 5)
    assert series.facts.spacing_mm == pytest.approx((pixel[1], pixel[0], step), abs=1e-4)


def refusal(scanner, folder, slices) -> str:
    scanner.write(folder, slices)
    (series,) = scanner.series(folder)
    with pytest.raises(ImageError) as error:
        series.load()
    return str(error.value)


def test_a_missing_slice_is_named_by_its_neighbours(tmp_path, scanner):
    slices = scanner.slices(directions=OBLIQUE)
    message = refusal(scanner, tmp_path, slices[:3] + slices[5:])
    assert "a slice every 3.00 mm, got a gap of 9.00 mm (2 missing)" in message
    assert "between slice 3 (file 3 of the folder) and slice 6 (file 4 of the folder), in series 5;" in message


def test_every_second_slice_missing_is_seen_by_the_spacing_that_the_header_states(tmp_path, scanner):
    said = {"SpacingBetweenSlices": 3, "SliceThickness": 3}
    message = refusal(scanner, tmp_path / "a", scanner.slices(**said)[::2])
    assert "a slice every 3.00 mm as SpacingBetweenSlices says, got one every 6.00 mm" in message
    gap = scanner.slices(step=6.0, SpacingBetweenSlices=1, SliceThickness=5)
    scanner.require_written(scanner.series(scanner.write(tmp_path / "b", gap))[0].load(), gap)


def test_a_gantry_tilt_is_refused_and_rounded_positions_are_not(tmp_path, scanner):
    tilted = scanner.slices()
    for index, one in enumerate(tilted):
        one.ImagePositionPatient = [-10, -20 + index * 3 * np.tan(np.radians(10)), 30 + index * 3]
    assert "gantry tilt or shear of 10.0 degrees" in refusal(scanner, tmp_path / "tilt", tilted)
    rounded = scanner.slices(directions=OBLIQUE)
    for one in rounded:
        one.ImagePositionPatient = [round(float(value), 1) for value in one.ImagePositionPatient]
        one.ImageOrientationPatient = [round(float(value), 4) for value in one.ImageOrientationPatient]
    volume = scanner.series(scanner.write(tmp_path / "rounded", rounded))[0].load()
    scanner.require_written(volume, rounded, tolerance_mm=0.15)
    assert np.allclose(np.linalg.inv(np.diag(volume.spacing_mm)) @ volume.affine[:3, :3].T @ volume.affine[:3, :3],
                       np.diag(volume.spacing_mm), atol=1e-9)  # fmt: skip


def test_irregular_steps_are_refused(tmp_path, scanner):
    slices = scanner.slices()
    slices[4].ImagePositionPatient = [-10, -20, 30 + 4 * 3 + 0.8]
    assert "slices of equal distance, got distances from 2.20 to 3.80 mm" in refusal(scanner, tmp_path, slices)


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_slices_are_refused(tmp_path, scanner, count):
    message = refusal(scanner, tmp_path, scanner.slices(count))
    assert message == f"Expected 3 slices or more, got {count}, in series 5; export all slices, or leave it out."


def test_a_copied_slice_is_dropped_and_counted(tmp_path, scanner):
    slices = scanner.slices()
    scanner.write(tmp_path, slices)
    scanner.write(tmp_path / "again", [slices[2], slices[6]])
    (study,) = scanner.read(tmp_path).studies
    (series,) = study.series
    scanner.require_written(series.load(), slices)
    assert series.facts.volumes == 1
    assert [(one.where, one.reason, one.files) for one in study.aside] == [("series 5", AsideReason.DUPLICATE, 2)]


@pytest.mark.parametrize("change", [{"PixelData": b"\1" * 16 * 12 * 2}, {"RescaleSlope": 2}])
def test_two_different_slices_at_one_place_are_refused(tmp_path, scanner, change):
    slices = scanner.slices()
    twin = deepcopy(slices[2])
    for keyword, value in change.items():
        setattr(twin, keyword, value)
    message = refusal(scanner, tmp_path, [*slices, twin])
    assert "one slice at each place, got slice 3 (file 3 of the folder) and slice 3 (file 9 of the folder)" in message


def test_turned_projections_stay_together_and_are_refused(tmp_path, scanner):
    turned = [
        scanner.slice(index, Rotation.from_euler("z", 10 * index, degrees=True).as_matrix(), (0, 0, 0))
        for index in range(6)
    ]
    message = refusal(scanner, tmp_path, turned)
    assert "slices of one kind, got mixed orientations, e.g. slice 1 (file 1 of the folder) and slice 2" in message


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("ImagePositionPatient", None, "no ImagePositionPatient"),
        ("ImageOrientationPatient", [1, 0, 0, 0.5, 1, 0], "not two perpendicular directions"),
        ("PixelSpacing", [0, 1], "no PixelSpacing"),
        ("Rows", None, "no Rows and Columns"),
    ],
)
@pytest.mark.parametrize("index", [0, 4, 7])
def test_a_slice_without_a_usable_place_spoils_its_series(tmp_path, scanner, index, keyword, value, words):
    slices = scanner.slices()
    if value is None:
        delattr(slices[index], keyword)
    else:
        setattr(slices[index], keyword, value)
    message = refusal(scanner, tmp_path, slices)
    assert words in message
    name = "" if keyword == "Rows" else f"slice {index + 1} "
    assert f"in {name or f'slice {index + 1} '}(file {index + 1} of the folder), in series 5" in message
