"""A useless opinion weighs next to nothing, a good one decides, absent classes get 0, temperatures come back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import softmax

from ranoscope.fusing import pooling
from ranoscope.fusing.pooling import PENALTIES, Learners, fit_pool, fit_temperature, soften
from ranoscope.fusing.stacking import fit_stack, log_odds, plain_mean

from .conftest import cohort, people


def accuracy(calls, truth):
    return np.mean([(calls[truth == label] == label).mean() for label in np.unique(truth)])


@pytest.mark.parametrize(("network", "measured", "good", "bad"), [(0, 4, "measured", "network"),
                                                                 (4, 0, "network", "measured")])  # fmt: skip
def test_the_useless_one_weighs_next_to_nothing_and_the_good_one_decides(network, measured, good, bad):
    stack = fit_stack(*cohort(network, measured, rule=0.0), 0.5)
    assert stack.shares[bad] < 0.06
    assert stack.shares[good] > 0.85
    opinions, truth, *_ = cohort(network, measured, rule=0.0, seed=1)
    probabilities, calls = stack.answer(opinions)
    alone = getattr(opinions, good).argmax(axis=1)
    assert accuracy(calls, truth) > accuracy(alone, truth) - 0.03 > 0.8
    # The plain mean lets the useless one speak.
    assert accuracy(calls, truth) > accuracy(plain_mean(opinions, truth)[1], truth) + 0.05
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_a_rule_that_is_right_is_believed():
    opinions, truth, names, folds = cohort(0.3, 0.3, rule=0.9)
    assert fit_stack(opinions, truth, names, folds, 0.5).shares["rule"] > 0.6


def test_together_they_know_more_than_each():
    stack = fit_stack(*cohort(1.5, 1.5, rule=0.0, count=80), 0.5)
    opinions, truth, *_ = cohort(1.5, 1.5, rule=0.0, count=80, seed=1)
    best = max(accuracy(one.argmax(axis=1), truth) for one in (opinions.network, opinions.measured))
    assert accuracy(stack.answer(opinions)[1], truth) > best + 0.08


def test_of_noise_the_strongest_penalty_is_chosen():
    generator = np.random.default_rng(3)
    names, folds = people(40)
    truth = generator.integers(0, 4, len(names))
    pool = fit_pool(Learners(generator.normal(size=(len(names), 3, 4)), truth, names, folds, 0.5))
    assert pool.penalty_c == PENALTIES[0]
    assert (pool.weights >= 0).all()


def test_no_penalty_is_tried_on_a_patient_it_was_fitted_to(monkeypatch):
    opinions, truth, names, folds = cohort(1, 1)
    fitted, called = [], []
    honest = pooling._fit

    def spy(learners, penalty_c):
        fitted.append(set(learners.patients))
        return honest(learners, penalty_c)

    def answer(pool, shown):
        called.append((fitted[-1], {names[int(row)] for row in shown[:, 0, 0]}))
        return np.full((len(shown), 4), 0.25)

    monkeypatch.setattr(pooling, "_fit", spy)
    monkeypatch.setattr(pooling.Pool, "answer", answer)
    numbered = opinions.log_odds
    numbered[:, 0, 0] = np.arange(len(names))
    fit_pool(Learners(numbered, truth, names, folds, 0.5))
    assert len(called) == 3 * len(PENALTIES)
    assert not any(known & asked for known, asked in called)
    assert fitted[-1] == set(names)


@given(lacking=st.sets(st.integers(0, 3), max_size=4), seed=st.integers(0, 50))
@settings(max_examples=12, deadline=None)
def test_classes_that_the_training_lacks_get_probability_0(lacking, seed):
    opinions, truth, names, folds = cohort(1, 1, count=9, seed=seed)
    kept = ~np.isin(truth, list(lacking - {0}))
    stack = fit_stack(opinions.part(kept), truth[kept], tuple(np.array(names)[kept]), folds[kept], 1.0)
    probabilities, calls = stack.answer(opinions)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    absent = sorted(set(range(4)) - set(truth[kept]))
    assert (probabilities[:, absent] == 0).all()
    assert not set(calls) & set(absent)


def test_a_class_of_one_inner_fold_alone_is_still_learnt():
    opinions, truth, names, folds = cohort(3, 3)
    truth = np.where((truth == 1) & (folds != 0), 0, truth)
    assert set(truth[folds != 0]) == {0, 2, 3}
    probabilities, _ = fit_stack(opinions, truth, names, folds, 0.5).answer(opinions)
    assert np.isfinite(probabilities).all()
    assert (probabilities[:, 1] > 0).all()


def test_the_temperature_undoes_a_sharpening():
    generator = np.random.default_rng(0)
    honest = generator.dirichlet([0.7] * 4, 4000)
    truth = (honest.cumsum(axis=1) > generator.random((4000, 1))).argmax(axis=1)
    assert fit_temperature(honest, truth) == pytest.approx(1, abs=0.08)
    assert fit_temperature(soften(honest, 0.5), truth) == pytest.approx(2, abs=0.15)
    assert fit_temperature(soften(honest, 2.0), truth) == pytest.approx(0.5, abs=0.05)


def test_overconfidence_is_seen_and_put_right():
    opinions, truth, names, folds = cohort(1, 1)
    pool = fit_pool(Learners(opinions.log_odds, truth, names, folds, 0.5))
    before, after = pool.calibration
    assert after <= before + 0.02
    assert 0.25 <= pool.temperature <= 4


@given(st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4).filter(lambda row: sum(row) > 0.1), min_size=1),
       st.floats(0.25, 4))  # fmt: skip
def test_softening_keeps_order_zeros_and_sums(rows, temperature):
    probabilities = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    found = soften(probabilities, temperature)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found[probabilities == 0] == 0).all()
    assert (
        np.take_along_axis(found, probabilities.argmax(axis=1)[:, None], 1)[:, 0] >= found.max(axis=1) - 1e-12
    ).all()


def test_log_odds_are_centred_and_bounded():
    found = log_odds(np.array([[1.0, 0, 0, 0], [0.25] * 4]))
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(found[0, 0] - found[0, 1], np.log(1000))
    np.testing.assert_allclose(found[1], 0)


def test_a_pool_is_the_most_probable_one_under_its_penalty():
    """Against a search without gradients."""
    opinions, truth, names, folds = cohort(1, 1, count=10)
    learners = Learners(opinions.log_odds, truth, names, folds, 0.5)
    pool = pooling._fit(learners, 0.1)
    scaled = learners.opinions / learners.scale[:, None]

    def loss(parameters):
        logits = np.einsum("nbk,b->nk", scaled, parameters[:3]) + parameters[3:]
        right = softmax(logits, axis=1)[np.arange(len(truth)), truth]
        return -(learners.weights * np.log(right)).sum() + (parameters**2).sum() / 0.2

    found = minimize(loss, np.full(7, 0.1), bounds=[(0, None)] * 3 + [(None, None)] * 4, method="Powell", tol=1e-10).x
    np.testing.assert_allclose(pool.weights * learners.scale, found[:3], atol=1e-3)
    np.testing.assert_allclose(pool.biases, found[3:], atol=1e-3)
