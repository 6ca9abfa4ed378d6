"""Sampling error against exact distributions: every outcome of the binomials enumerated."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from ranoscope.auditing.sampling import sampling_error


def exact_fold_score(counts, recall):
    """Every possible balanced accuracy of a fold with its probability, sorted."""
    held = [count for count in counts if count]
    outcomes = itertools.product(*(range(count + 1) for count in held))
    found = [
        (
            np.mean([hits / count for hits, count in zip(outcome, held, strict=True)]),
            np.prod([binom.pmf(hits, count, recall) for hits, count in zip(outcome, held, strict=True)]),
        )
        for outcome in outcomes
    ]
    values, chances = map(np.array, zip(*sorted(found), strict=True))
    return values, chances


def at_most(values, chances, score):
    """Probability of a score up to and including ``score``."""
    return chances[values <= score + 1e-9].sum()


def below(values, chances, score):
    return chances[values < score - 1e-9].sum()


def assert_central(found, low_tail, high_tail):
    """2.5 % quantiles of a discrete score: no more than that lies strictly outside, no less up to the bound."""
    assert low_tail(found.low)[0] <= 0.025 + 0.004 and low_tail(found.low)[1] >= 0.025 - 0.004  # noqa: PT018
    assert high_tail(found.high)[0] <= 0.975 + 0.004 and high_tail(found.high)[1] >= 0.975 - 0.004  # noqa: PT018


@settings(max_examples=15, deadline=None)
@given(
    counts=st.lists(st.integers(0, 6), min_size=4, max_size=4).filter(any),
    recall=st.sampled_from([0.3, 0.5, 0.8]),
)
def test_a_folds_range_is_the_exact_one(counts, recall):
    values, chances = exact_fold_score(counts, recall)
    found = sampling_error(np.array([[counts]]), recall, draws=40_000)

    def tail(score):
        return below(values, chances, score), at_most(values, chances, score)

    assert_central(found.fold, tail, tail)
    # One fold: its score, the median over folds and the pooled score are one thing.
    assert found.median_of_folds == found.fold == found.pooled


def test_the_median_of_five_folds_has_its_exact_range():
    counts = [8, 4, 2, 3]
    values, chances = exact_fold_score(counts, 0.5)
    found = sampling_error(np.array([[counts] * 5]), 0.5, draws=40_000)

    def tail(score):
        # The median of five is at most x when three or more of them are.
        return binom.sf(2, 5, below(values, chances, score)), binom.sf(2, 5, at_most(values, chances, score))

    assert_central(found.median_of_folds, tail, tail)
    assert found.fold.low < found.median_of_folds.low < found.median_of_folds.high < found.fold.high


def test_pooled_is_the_score_of_the_summed_counts():
    counts = np.array([[[10, 3, 0, 2], [5, 4, 2, 1]]])
    pooled = sampling_error(counts, draws=40_000).pooled
    summed = sampling_error(counts.sum(axis=1, keepdims=True), draws=40_000).fold
    assert (pooled.low, pooled.high) == pytest.approx((summed.low, summed.high), abs=0.01)


@pytest.mark.parametrize(("recall", "expected"), [(0.0, 0.0), (1.0, 1.0)])
def test_certain_outcomes_have_no_spread(recall, expected):
    found = sampling_error(np.array([[[5, 3, 1, 0], [4, 0, 2, 2]]]), recall, draws=50)
    assert {found.fold.low, found.fold.high, found.median_of_folds.low, found.pooled.high} == {expected}


def test_a_fold_that_is_empty_under_one_seed_is_left_out():
    two = np.array([[[8, 4, 2, 3], [8, 4, 2, 3]]])
    three = np.concatenate([two, np.zeros((1, 1, 4), int)], axis=1)
    assert sampling_error(two) == sampling_error(three)


def test_one_visit_moves_the_smallest_class_most():
    # Four classes and 2 PR in the first fold; two classes and 3 SD in the second.
    assert sampling_error(np.array([[[9, 5, 2, 4], [9, 5, 4, 4]]])).one_visit == pytest.approx(1 / (4 * 2))
    assert sampling_error(np.array([[[9, 5, 2, 4], [9, 3, 0, 0]]])).one_visit == pytest.approx(1 / (2 * 3))
