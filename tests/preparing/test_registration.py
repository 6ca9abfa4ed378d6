"""Heads brought together by rigid motions that are known, and pairs that no motion brings together."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ranoscope.errors import ImageError
from ranoscope.imaging.nifti import Volume
from ranoscope.preparing.registration import Registration, RegistrationSettings, register
from ranoscope.preparing.registration.rigid import about, inverse, mean_distance, midway, moved, rigid, turned_deg

COARSE = RegistrationSettings(rough_mm=9.0, fine_mm=5.0, rough_levels=(30,), fine_levels=(20, 10))
RADII_MM = np.array([64.0, 78.0, 60.0])
# Outlines of brain, skull and scalp, in the brain's radii.
SKULL, SCALP = 1.08, 1.25
GENERATOR = np.random.default_rng(7)
SPOTS = GENERATOR.uniform(-60, 60, (20, 3))
WIDTHS = GENERATOR.uniform(10, 20, 20)
HEIGHTS = GENERATOR.uniform(-1, 1, 20)
CUBES = ((44, 48, 44), (5.0, 5.0, 5.0))
SLICES = ((56, 62, 40), (4.0, 4.0, 5.5))


def tissue(points: np.ndarray) -> np.ndarray:
    """0 to 1 at points (n, 3) of the head's own millimetres: soft spots."""
    value = np.zeros(len(points))
    for spot, width, height in zip(SPOTS, WIDTHS, HEIGHTS, strict=True):
        value += height * np.exp(-((points - spot) ** 2).sum(axis=1) / (2 * width**2))
    return 1 / (1 + np.exp(-3 * value))


def t1(value: np.ndarray) -> np.ndarray:
    return 300 + 500 * value


def flair(value: np.ndarray) -> np.ndarray:
    """Another scanner's scale, and bright where T1 is neither dark nor bright."""
    return 40 + 200 * np.exp(-(((value - 0.4) / 0.25) ** 2))


def scan(pose=None, grid=CUBES, contrast=t1, skull=True, noise=0.0, start_mm=None) -> Volume:
    """The head, moved by ``pose`` (head to world), seen by a grid about the world's middle or from ``start_mm`` on."""
    shape, edges = grid
    affine = np.diag([*edges, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) * edges / 2 if start_mm is None else start_mm
    world = moved(np.indices(shape).reshape(3, -1).T, affine)
    head = world if pose is None else moved(world, inverse(pose))
    depth = np.sqrt(((head / RADII_MM) ** 2).sum(axis=1))
    data = np.where(depth < 1, contrast(tissue(head)), 0.0)
    if skull:
        data += np.where((depth > SKULL) & (depth < SCALP), 900.0, 0) + np.where((depth >= 1) & (depth <= SKULL), 30, 0)
    data = ndimage.gaussian_filter(data.reshape(shape), 0.5)
    data = data + noise * np.random.default_rng(0).rayleigh(size=shape)
    return Volume(data.astype(np.float32), affine, "Patient-001, week 0")


def pose(degrees, shift) -> np.ndarray:
    return rigid(Rotation.from_euler("xyz", degrees, degrees=True), np.array(shift, float))


def brain_points() -> np.ndarray:
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 11)] * 3), axis=-1).reshape(-1, 3)
    return grid[(grid**2).sum(axis=1) < 1] * RADII_MM


def errors_mm(found: Registration, truth: np.ndarray) -> np.ndarray:
    """Distances over the brain from where it should be; ``truth``: first to the moving image's world."""
    points = brain_points()
    return np.linalg.norm(moved(moved(points, truth), found.to_fixed) - points, axis=1)


motions = st.builds(
    pose, st.tuples(*[st.floats(-20, 20)] * 3), st.tuples(*[st.floats(-30, 30)] * 3)
)  # fmt: skip


@pytest.fixture(scope="module")
def first() -> Volume:
    return scan()


@settings(max_examples=5, deadline=None)
@given(truth=motions)
def test_random_motions_are_recovered(first, truth):
    found = register(first, scan(truth, SLICES, noise=15), COARSE)
    assert found.problem is None
    assert errors_mm(found, truth).max() < 1
    assert found.similarity > found.similarity_before - 0.01


def test_the_other_order_gives_exactly_the_inverse(first):
    other = scan(pose((3, -6, 4), (5, 8, -7)), SLICES)
    there, back = register(first, other, COARSE), register(other, first, COARSE)
    assert np.abs(there.to_fixed @ back.to_fixed - np.eye(4)).max() < 1e-12
    assert there == replace(back, to_fixed=there.to_fixed)
    again = register(first, other, COARSE)
    assert np.array_equal(again.to_fixed, there.to_fixed)
    assert np.linalg.det(there.to_fixed[:3, :3]) == pytest.approx(1, abs=1e-12)
    assert there.disagreement_mm < 0.5


@pytest.mark.parametrize("skull", [True, False])
def test_contrasts_may_differ_and_a_skull_be_there_or_not(first, skull):
    truth = pose((4, 5, -6), (-6, 9, 4))
    found = register(scan(skull=skull), scan(truth, SLICES, flair, skull=skull, noise=4), COARSE)
    assert found.problem is None
    assert errors_mm(found, truth).mean() < 1


def test_a_field_that_shows_a_part_of_the_head_is_enough(first):
    truth = pose((4, -3, 6), (5, -8, 4))
    part = scan(truth, ((56, 62, 18), (4.0, 4.0, 5.5)), start_mm=(-112.0, -122.0, -20.0))
    found = register(first, part, COARSE)
    assert found.problem is None
    assert errors_mm(found, truth).mean() < 1.5


def test_an_image_brought_to_itself_stays(first):
    found = register(first, first, COARSE)
    assert found.problem is None
    assert errors_mm(found, np.eye(4)).max() < 0.2


def test_images_without_anything_in_common_are_reported(first):
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=first.data.shape), 2.0)
    found = register(first, replace(first, data=(100 + 1000 * noise).astype(np.float32)), COARSE)
    assert "nothing in common" in found.problem


def test_where_all_that_was_found_is_worse_the_headers_are_believed(first, monkeypatch):
    wild = pose((0, 0, 80), (60, 0, 0))
    there_and_back = cycle([wild, inverse(wild)])
    module = sys.modules["ranoscope.preparing.registration.register"]  # its name is the function's in the package
    monkeypatch.setattr(module, "refine", lambda *_: next(there_and_back))
    found = register(first, scan(pose((1, 0, 0), (2, 0, 0)), SLICES), COARSE)
    assert np.array_equal(found.to_fixed, np.eye(4))
    assert found.similarity == found.similarity_before
    assert "less alike" in found.problem


def test_a_head_that_turned_too_far_is_reported(first):
    turned = scan(pose((0, 0, 12), (0, 0, 0)))
    found = register(first, turned, COARSE.model_copy(update={"turned_deg": 8.0}))
    assert "turned by 12 degrees" in found.problem


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.zeros(CUBES[0]), "a head"),
        (np.full(CUBES[0], np.nan), "finite"),
        (np.pad(np.ones((20, 20, 20)), ((12, 12), (14, 14), (12, 12))), "one value in all of it"),
    ],
)
def test_an_image_without_a_head_is_refused(first, data, words):
    empty = replace(first, data=data.astype(np.float32), where="Patient-001, T2")
    with pytest.raises(ImageError, match=f"{words}.*Patient-001, T2"):
        register(first, empty, COARSE)


@given(one=motions, other=motions)
def test_midway_is_as_far_from_one_as_from_the_other(one, other):
    middle = midway(one, other)
    assert np.allclose(middle, midway(other, one), atol=1e-9)
    assert np.allclose(inverse(one) @ middle, inverse(middle) @ other, atol=1e-9)
    assert np.linalg.det(middle[:3, :3]) == pytest.approx(1)
    points = brain_points()
    ends = mean_distance(one, middle, points), mean_distance(middle, other, points)
    assert ends[0] == pytest.approx(ends[1], rel=0.5, abs=1e-6)


@given(motion=motions)
def test_a_motion_and_its_inverse_cancel(motion):
    assert np.allclose(inverse(motion) @ motion, np.eye(4), atol=1e-12)
    assert turned_deg(motion) == pytest.approx(turned_deg(inverse(motion)))


def test_a_turn_about_a_place_leaves_it(first):
    centre, to = np.array([3.0, -8, 20]), np.array([1.0, 2, 3])
    assert np.allclose(moved(centre, about(Rotation.from_euler("z", 30, degrees=True), centre, to)), to)
