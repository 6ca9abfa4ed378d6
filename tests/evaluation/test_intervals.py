"""The patient bootstrap against one that literally repeats patients, and its coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import recall_score

from ranoscope.evaluation.intervals import difference, estimate
from ranoscope.evaluation.scores import score
from ranoscope.evaluation.weighting import patient_resamples


def balanced_accuracy(truth, calls):
    """By scikit-learn; NaN when a class is absent."""
    if set(truth.tolist()) != {0, 1, 2, 3}:
        return float("nan")
    return recall_score(truth, calls, labels=range(4), average="macro")


def repeated(predictions, times):
    """Balanced accuracy of a cohort in which each patient's cases are copied as often as the patient was drawn."""
    patients = np.array(predictions.patients)
    drawn = {name: int(times[patients == name][0]) for name in predictions.patients}
    rows = [n for name, count in drawn.items() for _ in range(count) for n in np.flatnonzero(patients == name)]
    return balanced_accuracy(predictions.truth[rows], predictions.calls[0][rows])


@settings(max_examples=30, deadline=None)
@given(counts=st.lists(st.integers(1, 5), min_size=2, max_size=8), seed=st.integers(0, 99))
def test_resamples_draw_whole_patients(counts, seed):
    patients = tuple(f"P{place}" for place, count in enumerate(counts) for _ in range(count))
    weights = patient_resamples(patients, 120, seed)
    starts = np.cumsum([0, *counts[:-1]])
    for start, count in zip(starts, counts, strict=True):
        assert (weights[:, start : start + count] == weights[:, [start]]).all()
    assert (weights[:, starts].sum(axis=1) == len(counts)).all()
    assert (weights == patient_resamples(patients, 120, seed)).all()


def test_resamples_are_independent_draws_with_replacement():
    times = patient_resamples(tuple("ABCDE"), 20_000, 0)
    assert times.mean(axis=0) == pytest.approx(np.ones(5), abs=0.03)
    assert times.var(axis=0) == pytest.approx(np.full(5, 1 - 1 / 5), abs=0.03)


def test_resamples_do_not_depend_on_the_order_of_cases():
    forth, back = (patient_resamples(names, 50, 1) for names in (tuple("AABC"), tuple("CBAA")))
    assert (forth == back[:, ::-1]).all()


def test_interval_equals_literally_repeated_patients(make_cohort_predictions):
    predictions = make_cohort_predictions(patients=10, visits=3)
    weights = patient_resamples(predictions.patients, 300, 5)
    slow = np.array([repeated(predictions, times) for times in weights])
    fast = score(predictions, weights)["balanced_accuracy"]
    assert fast == pytest.approx(slow, nan_ok=True)
    found = estimate(0.5, fast, 0.9, "")
    defined = slow[~np.isnan(slow)]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(defined, [0.05, 0.95])))
    assert 0 < found.left_out == 300 - len(defined)


def test_difference_is_paired_on_the_same_resamples(make_cohort_predictions):
    model, rival = make_cohort_predictions(noise=0.8), make_cohort_predictions(noise=1.6)
    weights = patient_resamples(model.patients, 200, 2)
    slow = np.array([repeated(model, times) - repeated(rival, times) for times in weights])
    resampled = tuple(score(one, weights)["balanced_accuracy"] for one in (model, rival))
    found = difference((0.7, 0.6), resampled, 0.95, True, "")
    assert found.estimate == pytest.approx(0.1)
    assert (found.low, found.high) == pytest.approx(tuple(np.nanquantile(slow, [0.025, 0.975])))
    assert found.better == pytest.approx(np.mean(slow[~np.isnan(slow)] > 1e-9))


def test_lower_is_better_for_errors_and_equal_is_not_better():
    low, high = np.array([0.1, 0.2, 0.3, 0.3]), np.array([0.2, 0.2, 0.2, 0.4])
    error = difference((0.2, 0.25), (low, high), 0.9, False, "")
    assert (error.better, error.equal) == (0.5, 0.25)
    gain = difference((0.2, 0.25), (low, high), 0.9, True, "")
    assert (gain.better, gain.equal) == (0.25, 0.25)
    same = difference((0.2, 0.2), (low, low), 0.9, True, "")
    assert (same.better, same.equal, same.low, same.high) == (0.0, 1.0, 0.0, 0.0)


def test_an_undefined_value_gives_its_reason():
    found = estimate(float("nan"), np.array([0.5, np.nan]), 0.95, "no case of CR").as_dict()
    assert found == {
        "estimate": None, "low": None, "high": None, "left_out": 1, "resamples": 2, "reason": "no case of CR",
    }  # fmt: skip


def test_no_interval_from_a_minority_of_resamples():
    values = np.full(100, np.nan)
    values[:49] = 0.5
    found = estimate(0.5, values, 0.95, "")
    assert found.estimate == 0.5
    assert np.isnan([found.low, found.high]).all()
    assert "only 49 of 100 resamples" in found.reason
    values[49] = 0.5
    assert estimate(0.5, values, 0.95, "").reason is None


def test_intervals_cover_at_their_nominal_rate_where_a_bootstrap_of_cases_does_not():
    """Patients differ in how hard they are; the share right over all possible patients is 0.6."""
    generator = np.random.default_rng(0)
    covered = {"patients": 0, "cases": 0}
    runs = 300
    for run in range(runs):
        visits = generator.integers(2, 9, size=50)
        right = generator.random(visits.sum()) < np.repeat(generator.beta(0.9, 0.6, size=50), visits)
        patient = np.repeat(np.arange(50), visits).astype(str)
        for unit, names in (("patients", patient), ("cases", np.arange(len(patient)).astype(str))):
            weights = patient_resamples(tuple(names), 300, run)
            found = estimate(0.0, (weights @ right) / weights.sum(axis=1), 0.9, "")
            covered[unit] += found.low <= 0.6 <= found.high
    # Three binomial standard errors at 0.90 and 300 runs are 0.05; percentile intervals run a little short.
    assert 0.84 <= covered["patients"] / runs <= 0.95
    assert covered["cases"] / runs < 0.75
