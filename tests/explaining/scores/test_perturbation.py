"""Deletion and insertion against the linear example, and what chance is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ranoscope.config import PerturbationSettings
from ranoscope.explaining.scores.perturbation import Perturbation

WEIGHTS = torch.tensor([4.0, 3, 2, 1])


def linear(pairs) -> np.ndarray:
    """One class whose output is the weighted sum over ten of the first study's only sequence."""
    return np.array([[float((pair[0, 0].ravel() * WEIGHTS).sum()) / 10] for pair in pairs])


def row_case(predict=linear, steps: int = 4, orders: int = 3, seed: int = 0) -> Perturbation:
    """Four voxels of brain in the prior study, none in the current one."""
    pair = torch.ones(2, 1, 4, 1, 1)
    brains = torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0]], dtype=torch.bool).reshape(2, 4, 1, 1)
    settings = PerturbationSettings(steps=steps, orders=orders)
    return Perturbation(predict, pair, torch.zeros_like(pair), brains, settings, seed)


def as_map(values) -> np.ndarray:
    return np.array([values, [9, 9, 9, 9]], float).reshape(2, 4, 1, 1)


def test_the_linear_example():
    descending = row_case().curves(as_map([4, 3, 2, 1]))
    assert descending.deletion[:, 0] == pytest.approx([1, 0.6, 0.3, 0.1, 0])
    assert descending.insertion[:, 0] == pytest.approx([0, 0.4, 0.7, 0.9, 1])
    assert descending.areas(0) == pytest.approx((0.375, 0.625))
    assert row_case().curves(as_map([1, 2, 3, 4])).areas(0) == pytest.approx((0.625, 0.375))


def test_chance_is_the_mean_over_random_orders():
    """Over many orders of a linear output every voxel goes at a random time: a straight line, area a half."""
    chance = row_case(orders=400).by_chance(2)
    assert chance.areas(0) == pytest.approx((0.5, 0.5), abs=0.02)
    again = row_case(orders=400).by_chance(2)
    np.testing.assert_array_equal(chance.deletion, again.deletion)
    assert not np.array_equal(
        row_case(orders=1, seed=1).by_chance(2).deletion, row_case(orders=1).by_chance(2).deletion
    )


def test_equal_voxels_go_in_a_random_but_fixed_order():
    first = row_case().curves(as_map([0, 0, 0, 0])).deletion
    np.testing.assert_array_equal(first, row_case().curves(as_map([-3, -1, 0, -2])).deletion)
    others = [row_case(seed=seed).curves(as_map([0, 0, 0, 0])).deletion for seed in range(1, 8)]
    assert any(not np.array_equal(first, other) for other in others)


def test_an_output_that_never_moves_has_no_area():
    still = row_case(predict=lambda pairs: np.array([[0.25] for _ in pairs])).curves(as_map([4, 3, 2, 1]))
    assert np.isnan(still.areas(0)).all()


def test_a_map_of_both_studies_takes_a_place_away_from_both():
    seen = []

    def watch(pairs) -> np.ndarray:
        seen.extend(pair.clone() for pair in pairs)
        return np.zeros((5, 1))

    pair = torch.arange(1.0, 17).reshape(2, 2, 4, 1, 1)
    brains = torch.ones(2, 4, 1, 1, dtype=torch.bool)
    case = Perturbation(watch, pair, torch.zeros_like(pair), brains, PerturbationSettings(steps=4))
    case.curves(np.array([1.0, 4, 3, 2]).reshape(1, 4, 1, 1))
    first = seen[1]
    assert (first[:, :, 1] == 0).all()
    assert torch.equal(first[:, :, [0, 2, 3]], pair[:, :, [0, 2, 3]])
    assert torch.equal(seen[0], pair)
    assert torch.equal(seen[5 + 4], pair)
