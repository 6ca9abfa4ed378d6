"""A series that holds more than one volume becomes as many series, each with a name and its own voxels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ranoscope.errors import ImageError

OBLIQUE = Rotation.from_euler("xyz", [12, -7, 100], degrees=True).as_matrix()


def numbered(slices, start):
    """Instance numbers and voxels of their own, so that a mix-up shows."""
    for index, one in enumerate(slices):
        one.InstanceNumber = start + index
        one.PixelData = (np.frombuffer(one.PixelData, np.uint16) + start * 100).tobytes()
    return slices


def private(slices, group, creator, element, value):
    for one in slices:
        block = one.private_block(group, creator, create=True)
        block.add_new(element, "IS", value)
    return slices


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ({"EchoTime": 11, "EchoNumbers": 1}, {"EchoTime": 98, "EchoNumbers": 2}, ["echo 1", "echo 2"]),
        ({"EchoTime": 98}, {"EchoTime": 11}, ["echo 2", "echo 1"]),
        ({"DiffusionBValue": 0.0}, {"DiffusionBValue": 1000.0}, ["b 0", "b 1000"]),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M"]}, {"ImageType": ["ORIGINAL", "PRIMARY", "P"]},
         ["image type 1", "image type 2"]),
        ({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}, ["time 1", "time 2"]),
        ({"AcquisitionNumber": 3}, {"AcquisitionNumber": 4}, ["acquisition 1", "acquisition 2"]),
        ({"directions": np.eye(3)}, {"directions": OBLIQUE}, ["orientation 1", "orientation 2"]),
        ({"pixel": (1.5, 2.0)}, {"pixel": (1.0, 1.0)}, ["matrix 2", "matrix 1"]),
    ],
)  # fmt: skip
def test_each_part_is_a_series_of_its_own(tmp_path, scanner, first, second, names):
    both = [numbered(scanner.slices(5, **first), 1), numbered(scanner.slices(5, **second), 101)]
    scanner.write(tmp_path, [one for pair in zip(*both, strict=True) for one in pair])
    by_name = {series.where: series for series in scanner.series(tmp_path)}
    assert sorted(by_name) == sorted(f"series 5, {name}" for name in names)
    over_time = "time" in names[0] or "acquisition" in names[0]
    for name, slices in zip(names, both, strict=True):
        series = by_name[f"series 5, {name}"]
        assert series.facts.volumes == (2 if over_time else 1)
        scanner.require_written(series.load(), slices)
    if "EchoTime" in first:
        assert by_name[f"series 5, {names[0]}"].facts.echo_time_ms == first["EchoTime"]


@pytest.mark.parametrize(
    ("group", "creator", "element", "offset"),
    [(0x0043, "GEMS_PARM_01", 0x39, 1_000_000_000), (0x0019, "SIEMENS MR HEADER", 0x0C, 0)],
)
def test_vendors_own_b_values(tmp_path, scanner, group, creator, element, offset):
    low = private(scanner.slices(4), group, creator, element, 0)
    high = private(numbered(scanner.slices(4), 51), group, creator, element, 800 + offset)
    found = scanner.series(scanner.write(tmp_path, low + high))
    assert [(one.where, one.facts.diffusion_b) for one in found] == [("series 5, b 0", 0), ("series 5, b 800", 800)]
    stranger = private(scanner.slices(4), group, "SOMEBODY ELSE", element, 800)
    (plain,) = scanner.series(scanner.write(tmp_path / "other", stranger))
    assert plain.facts.diffusion_b is None


def test_a_b_value_of_0_alone_says_nothing(tmp_path, scanner):
    (series,) = scanner.series(scanner.write(tmp_path, scanner.slices(DiffusionBValue=0.0)))
    assert series.facts.diffusion_b is None


def test_echo_and_time_are_named_together_and_volumes_are_counted_over_time(tmp_path, scanner):
    slices = [
        one
        for echo in (1, 2)
        for time in (1, 2, 3)
        for one in numbered(
            scanner.slices(3, EchoTime=20 * echo, TemporalPositionIdentifier=time), echo * 30 + time * 5
        )
    ]
    found = scanner.series(scanner.write(tmp_path, slices))
    assert [one.where for one in found] == [f"series 5, echo {e}, time {t}" for e in (1, 2) for t in (1, 2, 3)]
    assert {one.facts.volumes for one in found} == {3}


def test_directions_of_diffusion_under_one_number_are_one_series_that_is_refused(tmp_path, scanner):
    slices = [one for turn in range(6) for one in numbered(scanner.slices(4, DiffusionBValue=1000.0), 10 * turn)]
    (series,) = scanner.series(scanner.write(tmp_path, slices))
    assert series.facts.volumes == 6
    assert series.facts.shape == (12, 16, 4)
    with pytest.raises(ImageError, match="one slice at each place"):
        series.load()


def test_interleaved_slices_with_acquisition_numbers_of_their_own_are_one_volume(tmp_path, scanner):
    slices = scanner.slices(AcquisitionNumber=lambda index: 1 + index % 2)
    (series,) = scanner.series(scanner.write(tmp_path, slices))
    scanner.require_written(series.load(), slices)


def test_an_incomplete_second_acquisition_is_not_a_volume_of_every_second_slice(tmp_path, scanner):
    first = scanner.slices(8, AcquisitionNumber=lambda index: 1 + index % 2)
    second = numbered(scanner.slices(8, AcquisitionNumber=lambda index: 3 + index % 2), 51)
    (series,) = scanner.series(scanner.write(tmp_path, first + second))
    assert series.facts.volumes == 2
    with pytest.raises(ImageError, match="one slice at each place"):
        series.load()


def test_settings_written_with_rounding_and_silent_slices_do_not_split(tmp_path, scanner):
    slices = scanner.slices(EchoTime=lambda index: 90 + 0.01 * (index % 2))
    for one in slices[3:5]:
        del one.EchoTime, one.ImageType
    (series,) = scanner.series(scanner.write(tmp_path, slices))
    scanner.require_written(series.load(), slices)
