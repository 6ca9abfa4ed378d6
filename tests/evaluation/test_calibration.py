"""Reliability against a plain loop over the rows."""

from __future__ import annotations

import numpy as np
import pytest

from ranoscope.evaluation.calibration import confidence_bins, expected_calibration_error, reliability
from ranoscope.evaluation.weighting import patient_resamples


def test_certainty_falls_into_the_last_bin():
    confidence, bins = confidence_bins(np.array([[1.0, 0, 0, 0], [0.95, 0.05, 0, 0], [0.25] * 4]))
    assert confidence.tolist() == [1.0, 0.95, 0.25]
    assert bins.tolist() == [14, 14, 3]


def test_error_of_bare_calls_is_the_error_rate():
    truth = np.array([0, 1, 2, 3, 0])
    calls = np.eye(4)[[0, 0, 2, 0, 0]]
    assert expected_calibration_error(truth, calls, np.ones((1, 5)))[0] == pytest.approx(2 / 5)


def test_reliability_equals_a_loop_over_the_rows(make_cohort_predictions):
    predictions = make_cohort_predictions(seeds=2)
    weights = patient_resamples(predictions.patients, 200, 0)
    bins: dict[int, list[tuple[float, bool]]] = {}
    for answers in predictions.probabilities:
        for row, label in zip(answers, predictions.truth, strict=True):
            bins.setdefault(int(row.max() * 15), []).append((row.max(), row.argmax() == label))
    found = reliability(predictions, weights, 0.95)
    assert [row["low_edge"] for row in found] == pytest.approx([place / 15 for place in sorted(bins)])
    for row, place in zip(found, sorted(bins), strict=True):
        confidence, right = zip(*bins[place], strict=True)
        assert row["cases"] == len(confidence) / 2
        assert row["confidence"] == pytest.approx(np.mean(confidence))
        assert row["accuracy"] == pytest.approx(np.mean(right))
        assert row["low"] <= row["accuracy"] <= row["high"]
    assert sum(row["cases"] for row in found) == pytest.approx(len(predictions.cases))


def test_reliability_intervals_equal_repeated_patients(make_cohort_predictions):
    predictions = make_cohort_predictions()
    weights = patient_resamples(predictions.patients, 150, 4)
    row = max(reliability(predictions, weights, 0.9), key=lambda one: one["cases"])
    answers = predictions.probabilities[0]
    inside = (answers.max(axis=1) >= row["low_edge"]) & (answers.max(axis=1) < row["high_edge"])
    right = answers.argmax(axis=1) == predictions.truth
    shares = [np.repeat(right[inside], times[inside].astype(int)) for times in weights]
    low, high = np.quantile([share.mean() for share in shares if len(share)], [0.05, 0.95])
    assert (row["low"], row["high"]) == pytest.approx((low, high))
