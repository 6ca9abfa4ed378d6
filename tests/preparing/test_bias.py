"""Bias correction: what is slow goes, what is tissue stays."""

from __future__ import annotations

import numpy as np
import pytest

from ranoscope.errors import ImageError
from ranoscope.imaging.nifti import Volume
from ranoscope.preparing.bias import BiasSettings, correct_bias

SHAPE, EDGE_MM = (44, 48, 40), 4.0
TISSUES = (300.0, 500.0, 800.0)


@pytest.fixture(scope="module")
def head():
    """Tissue values in shells of a ball; 0 outside. And the places, -1 to 1 over the head."""
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in SHAPE), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    data = np.zeros(SHAPE, np.float32)
    for outer, value in zip((0.9, 0.7, 0.4), TISSUES, strict=True):
        data[radius < outer] = value
    noise = np.random.default_rng(0).normal(1, 0.02, SHAPE)
    return (data * noise).astype(np.float32), data, axes


def volume(data):
    return Volume(data.astype(np.float32), np.diag([EDGE_MM, EDGE_MM, EDGE_MM, 1.0]), "Patient-001/week-000/T1")


def unevenness(data, truth):
    """Mean over the tissues of standard deviation by mean."""
    return np.mean([data[truth == tissue].std() / data[truth == tissue].mean() for tissue in TISSUES])


def test_a_slow_field_is_taken_out(head):
    data, truth, axes = head
    field = np.exp(0.35 * axes[0] + 0.2 * axes[1] * axes[2])
    corrected = correct_bias(volume(data * field), BiasSettings()).data
    assert unevenness(data * field, truth) > 0.11
    assert unevenness(corrected, truth) < 0.04
    inside = truth > 0
    assert corrected[inside].mean() == pytest.approx((data * field)[inside].mean(), rel=0.02)


def test_an_even_image_stays_as_it_is(head):
    data, truth, _ = head
    corrected = correct_bias(volume(data), BiasSettings()).data
    means = [corrected[truth == tissue].mean() for tissue in TISSUES]
    assert means == pytest.approx(TISSUES, rel=0.05)


def test_the_same_image_gives_the_same_bytes(head):
    data, _, axes = head
    image = volume(data * np.exp(0.3 * axes[2]))
    assert np.array_equal(correct_bias(image, BiasSettings()).data, correct_bias(image, BiasSettings()).data)


@pytest.mark.parametrize("data", [np.zeros(SHAPE), np.full(SHAPE, -3.0)])
def test_an_image_without_a_head_is_refused(data):
    with pytest.raises(ImageError, match="Expected a head brighter than its background"):
        correct_bias(volume(data), BiasSettings())
