"""Localisation against examples worked out by hand, scikit-learn, and what must not matter."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import roc_auc_score

from ranoscope.explaining.scores.localisation import (
    EMPTY_MASK,
    FULL_MASK,
    NAMES,
    NO_BRAIN,
    ZERO_MAP,
    localise,
)

SHAPE = (3, 2, 2)
BRAIN = np.ones(SHAPE, bool)
relevances = hnp.arrays(np.float64, SHAPE, elements=st.integers(-2, 4).map(float))
masks = hnp.arrays(np.bool_, SHAPE)


def row(values, dtype=float) -> np.ndarray:
    return np.array(values, dtype).reshape(-1, 1, 1)


def test_the_row_of_ten_voxels():
    mask = row([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], bool)
    found = localise(row([4, 3, 0, 0, 2, 1, 0, 0, 0, 0]), mask, np.ones_like(mask))
    assert (found.mass, found.rank, found.pointing) == (pytest.approx(0.7), pytest.approx(0.5), 1)
    assert found.chance == {"pointing": 0.4, "mass": 0.4, "rank": 0.4, "auc": 0.5}


def scores(found) -> list[float]:
    return [getattr(found, name) for name in NAMES]


def test_the_mask_itself_everything_but_it_and_a_uniform_map():
    mask = row([1, 1, 1, 0, 0, 0, 0, 0], bool)
    brain = np.ones_like(mask)
    assert scores(localise(mask.astype(float), mask, brain)) == [1, 1, 1, 1]
    assert scores(localise(1.0 - mask, mask, brain)) == [0, 0, 0, 0]
    assert scores(localise(np.ones(mask.shape), mask, brain)) == pytest.approx([3 / 8, 3 / 8, 3 / 8, 0.5])


@pytest.mark.parametrize(
    ("relevance", "mask", "brain", "reason"),
    [
        ([1, 2], [0, 0], [1, 1], EMPTY_MASK),
        ([1, 2], [0, 1], [1, 0], EMPTY_MASK),
        ([1, 2], [1, 1], [1, 1], FULL_MASK),
        ([1, 2], [1, 0], [0, 0], NO_BRAIN),
        ([0, 0], [1, 0], [1, 1], ZERO_MAP),
        ([-1, -2], [1, 0], [1, 1], ZERO_MAP),
    ],
)
def test_what_has_no_score_says_why(relevance, mask, brain, reason):
    found = localise(row(relevance), row(mask, bool), row(brain, bool))
    assert found.reason == reason
    assert np.isnan(scores(found)).all()


def test_what_is_outside_the_brain_counts_nowhere():
    inside = localise(row([3, 1, 2]), row([1, 0, 0], bool), row([1, 1, 1], bool))
    more = localise(row([3, 1, 2, 99]), row([1, 0, 0, 1], bool), row([1, 1, 1, 0], bool))
    assert more == inside


def test_the_highest_voxel_may_miss_by_the_tolerance():
    mask, brain = row([1, 1, 0, 0, 0], bool), row([1, 1, 1, 1, 1], bool)
    for tolerance, hit, near in ((0, 0, 0.4), (1, 1, 0.6), (2, 1, 0.8)):
        found = localise(row([0, 0, 5, 0, 0]), mask, brain, tolerance)
        assert (found.pointing, found.chance["pointing"], found.chance["mass"]) == (hit, near, 0.4)


@given(hnp.arrays(np.bool_, (5, 4, 3)), st.sampled_from([0.5, 1, 1.5, 2, 9]))
def test_near_is_within_the_tolerance_of_some_voxel_of_the_mask(mask, tolerance):
    assume(0 < mask.sum() < mask.size)
    places = np.argwhere(np.ones_like(mask))
    distances = np.linalg.norm(places[:, None] - np.argwhere(mask)[None], axis=-1).min(axis=1)
    relevance = np.random.default_rng(0).random(mask.shape)
    found = localise(relevance, mask, np.ones_like(mask), tolerance)
    assert found.near == pytest.approx((distances <= tolerance).mean())
    assert found.pointing == (distances <= tolerance)[relevance.argmax()]


@given(relevances, masks)
def test_rank_and_pointing_are_means_over_all_orders_of_equals(relevance, mask):
    """The brute force: every order that sorts the voxels, on the first six of them."""
    values, target = np.clip(relevance, 0, None).ravel()[:6], mask.ravel()[:6]
    assume(0 < target.sum() < 6 and values.any())
    found = localise(row(values), row(target, bool), np.ones((6, 1, 1), bool))
    orders = [
        order
        for order in itertools.permutations(range(6))
        if all(values[a] >= values[b] for a, b in itertools.pairwise(order))
    ]
    size = target.sum()
    assert found.rank == pytest.approx(np.mean([target[list(order[:size])].mean() for order in orders]))
    assert found.pointing == pytest.approx(np.mean([target[order[0]] for order in orders]))


@given(relevances, masks)
def test_auc_is_scikit_learns_and_mass_a_quotient(relevance, mask):
    positive = np.clip(relevance, 0, None)
    assume(0 < mask.sum() < mask.size and positive.any())
    found = localise(relevance, mask, BRAIN)
    assert found.auc == pytest.approx(roc_auc_score(mask.ravel(), positive.ravel()))
    assert found.mass == pytest.approx(positive[mask].sum() / positive.sum())


@given(relevances, masks, st.permutations(range(12)))
def test_scale_order_and_what_speaks_against_do_not_matter(relevance, mask, order):
    assume(0 < mask.sum() < mask.size and (relevance > 0).any())
    found = scores(localise(relevance, mask, BRAIN))
    assert scores(localise(7 * relevance, mask, BRAIN)) == pytest.approx(found)
    shuffled = [part.ravel()[list(order)].reshape(SHAPE) for part in (relevance, mask)]
    assert scores(localise(*shuffled, BRAIN)) == pytest.approx(found)
    bent = np.where(relevance > 0, relevance**3, 5 * relevance)
    assert np.delete(scores(localise(bent, mask, BRAIN)), 1) == pytest.approx(np.delete(found, 1))
