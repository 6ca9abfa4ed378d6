"""Two scans of one head: standardised, a little misaligned, never the same twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ranoscope.learning.pretraining.change import scanning
from ranoscope.learning.pretraining.change.scanning import draw_scan, scan

SHAPE = (20, 26, 23)


@pytest.fixture
def brain():
    mask = np.zeros(SHAPE, bool)
    mask[2:18, 3:24, 2:20] = True
    return mask


def quiet(made):
    """Without all but the misalignment."""
    nothing = np.zeros_like(made.bias)
    return replace(made, bias=nothing, curve=nothing, noise=nothing)


def test_it_turns_and_shifts_as_was_decided():
    """Coordinates are moved: what is then read in a voxel is where its value comes from."""
    turn = Rotation.from_euler("xyz", [3, -2, 4], degrees=True).as_matrix()
    made = replace(draw_scan(3, np.random.default_rng(0)), turn=turn, shift_mm=np.array([2.0, -3.0, 1.0]))
    places = np.indices(SHAPE).astype(np.float32)
    seen = scanning._move(places, made, 4.0)
    middle = (np.array(SHAPE) - 1)[:, None] / 2
    expected = turn @ (places.reshape(3, -1) - middle) + middle + np.array([[0.5], [-0.75], [0.25]])
    inner = (slice(None), *(slice(3, size - 3) for size in SHAPE))
    assert np.allclose(seen[inner], expected.reshape(places.shape)[inner], atol=1e-3)


def test_misalignment_is_at_most_about_two_millimetres_seven_centimetres_from_the_middle():
    generator = np.random.default_rng(1)
    places = generator.normal(0, 1, (200, 3))
    places *= 70 / np.linalg.norm(places, axis=1, keepdims=True)
    scans = [draw_scan(4, generator) for _ in range(200)]
    gaps = [np.linalg.norm(places @ one.turn.T + one.shift_mm - places, axis=1).max() for one in scans]
    assert 1.5 < max(gaps) < 2.2
    assert 0.3 < np.mean([one.moved for one in scans]) < 0.7


def test_what_comes_out_is_as_the_store_has_it(brain):
    generator = np.random.default_rng(2)
    volumes = generator.normal(0, 1, (4, *SHAPE)).astype(np.float32) * brain
    before = volumes.copy()
    for _ in range(6):
        seen = scan(volumes, brain, draw_scan(4, generator), 4.0)
        assert not seen[:, ~brain].any()
        for image in seen:
            low, high = np.percentile(image[brain], (0.5, 99.5))
            core = image[brain][(image[brain] >= low) & (image[brain] <= high)]
            assert core.mean() == pytest.approx(0, abs=0.02)
            assert core.std() == pytest.approx(1, abs=0.02)
    assert np.array_equal(volumes, before)


def test_scans_differ_and_the_same_decision_gives_the_same_scan(brain):
    generator = np.random.default_rng(3)
    volumes = generator.normal(0, 1, (2, *SHAPE)).astype(np.float32) * brain
    one, other = (draw_scan(2, generator) for _ in range(2))
    first = scan(volumes, brain, one, 4.0)
    assert np.array_equal(first, scan(volumes, brain, one, 4.0))
    second = scan(volumes, brain, other, 4.0)
    assert not np.allclose(first, second, atol=0.05)
    ranks = [np.corrcoef(first[channel][brain], volumes[channel][brain])[0, 1] for channel in range(2)]
    assert min(ranks) > 0.3, "still the same head"


def test_contrast_curves_keep_the_order_of_intensities(brain):
    volumes = np.sort(np.random.default_rng(4).normal(0, 2, brain.sum())).astype(np.float32)
    image = np.zeros((1, *SHAPE), np.float32)
    image[0][brain] = volumes
    for seed in range(10):
        made = draw_scan(1, np.random.default_rng(seed))
        made = replace(quiet(made), moved=False, curve=made.curve)
        seen = scan(image, brain, made, 4.0)[0][brain]
        assert (np.diff(seen) >= -1e-5).all()
