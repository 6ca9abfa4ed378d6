from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ranoscope.measuring.diameters import measure_piece, outside_share

_BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "diameters.py"
_OUTSIDE = 0.05


@pytest.fixture(scope="module")
def brute():
    """The benchmark's brute force: the definition, written plainly."""
    spec = importlib.util.spec_from_file_location("diameters_benchmark", _BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ellipse(long_mm, short_mm, degrees, spacing_mm, centre=(0.0, 0.0)):
    """A digital ellipse by its diameters, turned, its centre off the grid by a part of a voxel."""
    reach = int(long_mm / min(spacing_mm)) + 3
    u, v = (axis - reach for axis in np.indices((2 * reach + 1,) * 2))
    x, y = (u - centre[0]) * spacing_mm[0], (v - centre[1]) * spacing_mm[1]
    turn = math.radians(degrees)
    along, across = x * math.cos(turn) + y * math.sin(turn), -x * math.sin(turn) + y * math.cos(turn)
    return (along / long_mm) ** 2 + (across / short_mm) ** 2 <= 0.25


def rectangle(width, height):
    return np.pad(np.ones((width, height), dtype=bool), 2)


@pytest.mark.parametrize(
    ("width", "height", "product"), [(10, 10, 200.0), (20, 10, 250.0), (30, 20, 30 * 20 / 30 * (30**2 + 20**2) / 30)]
)
def test_a_rectangle_is_measured_along_its_diagonal_exactly(width, height, product):
    found = measure_piece(rectangle(width, height), (1.0, 1.0), _OUTSIDE)
    assert found.longest_mm == pytest.approx(math.hypot(width, height), abs=1e-9)
    assert found.perpendicular_mm == pytest.approx(height * math.hypot(width, height) / width, abs=1e-4)
    assert found.product_mm2 == pytest.approx(product, abs=1e-2)


@settings(max_examples=120, deadline=None)
@given(
    short_mm=st.floats(10, 30), ratio=st.floats(1, 2), degrees=st.floats(0, 180), anisotropy=st.floats(1, 2.5),
    centre=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
)  # fmt: skip
def test_ellipses_at_any_rotation_and_spacing_within_half_a_voxel_an_end(short_mm, ratio, degrees, anisotropy, centre):
    spacing = (1.0, anisotropy)
    short = short_mm * anisotropy
    found = measure_piece(ellipse(short * ratio, short, degrees, spacing, centre), spacing, _OUTSIDE)
    # Half a voxel at either end, of the coarser axis; on average far less, as the next test holds.
    assert abs(found.longest_mm - short * ratio) <= anisotropy
    assert abs(found.perpendicular_mm - short) <= anisotropy


@pytest.mark.parametrize("ratio", [1.0, 1.5])
def test_diameters_of_ellipses_are_within_half_a_voxel_nearly_always(ratio):
    generator = np.random.default_rng(3)
    errors = []
    for _ in range(250):
        short = generator.uniform(10, 40)
        shape = ellipse(
            ratio * short, short, generator.choice([0, 45, generator.uniform(0, 180)]), (1, 1),
            generator.uniform(-0.5, 0.5, 2),
        )  # fmt: skip
        found = measure_piece(shape, (1.0, 1.0), _OUTSIDE)
        errors.append((found.longest_mm - ratio * short, found.perpendicular_mm - short))
    beyond = (np.abs(errors) > 0.5).mean(axis=0)
    assert (beyond <= 0.05).all(), beyond
    assert np.abs(errors).max() <= 0.8
    assert np.sqrt(np.square(errors).mean(axis=0)).max() <= 0.35


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(3, 22), anisotropy=st.sampled_from([1.0, 0.45, 3.0]))
def test_random_blobs_are_measured_as_by_brute_force(brute, seed, size, anisotropy):
    filled = brute.random_blob(np.random.default_rng(seed), size)
    found = measure_piece(filled, (1.0, anisotropy), _OUTSIDE)
    expected = brute.brute_diameters(filled, (1.0, anisotropy), _OUTSIDE)
    assert brute.agree((found.longest_mm, found.perpendicular_mm), expected)


def test_the_perpendicular_is_perpendicular_in_millimetres_and_crosses_the_longest():
    spacing = (0.45, 1.7)
    found = measure_piece(ellipse(30, 18, 30, spacing), spacing, _OUTSIDE)
    long, short = (ends * np.array(spacing) for ends in (found.longest, found.perpendicular))
    cosine = np.dot(long[1] - long[0], short[1] - short[0]) / (found.longest_mm * found.perpendicular_mm)
    assert abs(cosine) < 1e-9
    sides = [np.cross([*(long[1] - long[0]), 0], [*(end - long[0]), 0])[2] for end in short]
    assert min(sides) < 0 < max(sides)


def test_an_l_is_measured_inside_its_arm_and_not_across_the_gap():
    shape = np.zeros((24, 24), dtype=bool)
    shape[2:22, 2:7] = shape[2:7, 2:22] = True
    found = measure_piece(shape, (1.0, 1.0), _OUTSIDE)
    across_the_gap = math.hypot(20 - 5, 20 - 5)
    assert found.longest_mm < across_the_gap
    assert found.longest_mm == pytest.approx(math.hypot(20, 5), abs=0.01)
    assert outside_share(shape, found.longest[:1], found.longest[1:])[0] <= _OUTSIDE


def test_a_c_is_never_bridged():
    ring = ellipse(30, 30, 0, (1, 1)) & ~np.pad(ellipse(16, 16, 0, (1, 1)), 14)
    u, v = np.indices(ring.shape) - ring.shape[0] // 2
    opened = ring & ~((np.abs(v) < 4) & (u > 0))
    found = measure_piece(opened, (1.0, 1.0), _OUTSIDE)
    assert outside_share(opened, found.longest[:1], found.longest[1:])[0] <= _OUTSIDE
    assert found.longest_mm < 30


def test_the_share_outside_is_exact():
    shape = np.zeros((10, 3), dtype=bool)
    shape[[0, 1, 2, 3, 6, 7, 8, 9]] = True
    share = outside_share(shape, np.array([[-0.5, 1.0], [0.0, 1.0]]), np.array([[9.5, 1.0], [3.0, 1.0]]))
    assert share == pytest.approx([0.2, 0.0])


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (2, 2)])
def test_the_smallest_shapes_have_diameters(shape):
    found = measure_piece(np.ones(shape, dtype=bool), (2.0, 3.0), _OUTSIDE)
    assert found.longest_mm > 0
    assert found.longest_mm <= math.hypot(2 * shape[0], 3 * shape[1]) + 1e-9
    if 1 in shape and shape != (1, 1):
        assert found.longest_mm == pytest.approx(max(2 * shape[0], 3 * shape[1]))


def test_the_perpendicular_stays_in_tissue_and_is_no_longer_than_the_longest():
    """Two slabs joined by a corner: their outline cuts the bays between them, where a chord of 12 mm would run."""
    text = [
        "#####.....",
        "#####.....",
        "#####.####",
        ".....#####",
        ".....#####",
        "......####",
        "......####",
        "......####",
    ]
    shape = np.array([[letter == "#" for letter in row] for row in text])
    found = measure_piece(shape, (1.0, 1.0), _OUTSIDE)
    assert found.perpendicular_mm <= found.longest_mm
    start, end = found.perpendicular
    places = start + np.linspace(0.5 / abs(end - start).max(), 1 - 0.5 / abs(end - start).max(), 4001)[:, None] * (
        end - start
    )
    index = np.rint(places).astype(int)
    assert (~shape[tuple(index.T)]).mean() <= _OUTSIDE + 1e-3


@pytest.mark.parametrize("size", [5, 7, 9, 10])
@pytest.mark.parametrize("centre", [(0.0, 0.0), (0.0, 0.5), (0.5, 0.0)])
def test_small_discs_are_not_refused_for_the_half_voxel_their_outline_bulges(size, centre):
    found = measure_piece(ellipse(size, size, 0, (1.0, 1.0), centre), (1.0, 1.0), _OUTSIDE)
    assert found.longest_mm == pytest.approx(size, abs=1.0)
    assert found.perpendicular_mm == pytest.approx(size, abs=1.0)


def test_a_shape_that_cannot_reach_a_length_is_passed_over_and_one_that_does_is_not():
    shape = rectangle(6, 8)
    assert measure_piece(shape, (1.0, 1.0), _OUTSIDE, 10.0).longest_mm == pytest.approx(10)
    assert measure_piece(shape, (1.0, 1.0), _OUTSIDE, 10.001) is None


def test_vertices_of_an_outline_that_coincide_are_no_diameter():
    """Voxels that touch by corners bring two vertices of the outline to one place."""
    rng = np.random.default_rng(3)
    for _ in range(300):
        shape = ndimage.binary_fill_holes(rng.random((6, 6)) < 0.45)
        labels, count = ndimage.label(shape, np.ones((3, 3)))
        for number in range(1, count + 1):
            found = measure_piece(labels == number, (1.0, 1.0), _OUTSIDE)
            assert 0 < found.longest_mm < 9
            assert found.perpendicular_mm <= found.longest_mm + 1e-6
