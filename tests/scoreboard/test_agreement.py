"""Agreement statistics against a published example, other formulas and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ranoscope.config import EvaluationSettings
from ranoscope.scoreboard.agreement import (
    describe_agreement,
    describe_changes,
    intraclass_correlation,
    limits_of_agreement,
    log_log_slope,
    rank_correlation,
)

SETTINGS = EvaluationSettings(bootstrap=200)
# Shrout & Fleiss 1979, table 2: six subjects, four judges; table 4 gives ICC(2,1) = .29.
SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)

sizes = st.lists(st.tuples(st.floats(1, 1000), st.floats(1, 1000)), min_size=4, max_size=12)


def test_published_example():
    assert intraclass_correlation(SHROUT_FLEISS) == pytest.approx(0.290, abs=0.0005)


def by_variance_components(values):
    """Subjects' share of the variance of subjects, raters and rest, each from residuals of regressions on dummies."""
    subjects, raters = values.shape
    y = values.ravel()
    s, r = np.repeat(np.arange(subjects), raters), np.tile(np.arange(raters), subjects)

    def residual(*groups):
        design = np.column_stack([np.ones(len(y)), *(np.eye(max(g) + 1)[g] for g in groups)])
        fit = design @ np.linalg.lstsq(design, y, rcond=None)[0]
        return ((y - fit) ** 2).sum()

    rest = residual(s, r) / ((subjects - 1) * (raters - 1))
    of_subjects = ((residual(r) - residual(s, r)) / (subjects - 1) - rest) / raters
    of_raters = ((residual(s) - residual(s, r)) / (raters - 1) - rest) / subjects
    return of_subjects / (of_subjects + of_raters + rest)


@given(sizes)
def test_as_a_share_of_variance(pairs):
    values = np.array(pairs)
    if len(np.unique(values.round(3))) < 4:
        return
    assert intraclass_correlation(values) == pytest.approx(by_variance_components(values), rel=1e-6, abs=1e-9)


def test_known_answers():
    a = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    assert intraclass_correlation(np.stack([a, a], axis=1)) == pytest.approx(1)
    assert np.isnan(intraclass_correlation(np.ones((4, 2))))
    # A constant factor is a bias without spread: perfect rank and slope, yet no perfect agreement.
    assert limits_of_agreement(a, 3 * a) == pytest.approx((3, 3, 3))
    assert rank_correlation(a, 3 * a) == pytest.approx(1)
    assert log_log_slope(a, a**1.5) == pytest.approx(1.5)
    assert intraclass_correlation(np.stack([a, 3 * a], axis=1)) < 0.8
    assert np.isnan(rank_correlation(a, np.ones(5)))
    assert np.isnan(log_log_slope(np.ones(5), a))


@given(sizes)
def test_rank_and_slope_against_scipy(pairs):
    x, y = np.array(pairs).T
    if len(np.unique(x.round(3))) < 2 or len(np.unique(y.round(3))) < 2:
        return
    assert rank_correlation(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)
    assert log_log_slope(x, y) == pytest.approx(stats.linregress(np.log(x), np.log(y)).slope, rel=1e-6, abs=1e-9)


def test_limits_against_the_definition():
    generator = np.random.default_rng(1)
    x = generator.lognormal(6, 1, 40)
    y = x * generator.lognormal(0.2, 0.5, 40)
    d = np.log(y / x)
    sd = np.sqrt(((d - d.mean()) ** 2).sum() / 39)
    expected = np.exp([d.mean(), d.mean() - 1.96 * sd, d.mean() + 1.96 * sd])
    assert limits_of_agreement(x, y) == pytest.approx(tuple(expected))


def test_a_known_reliability_is_inside_its_interval():
    """True log sizes of variance 1, two readers' errors of variance 0.25: ICC 0.8."""
    generator = np.random.default_rng(2)
    true = generator.normal(6, 1, 300)
    x, y = np.exp(true + generator.normal(0, 0.5, (2, 300)))
    patients = tuple(f"P{number // 2}" for number in range(300))
    found = describe_agreement(x, y, patients, SETTINGS)
    assert (found["pairs"], found["patients"], found["zeros"]) == (300, 150, 0)
    assert found["icc_log"]["low"] < 0.8 < found["icc_log"]["high"]
    assert found["icc_log"]["high"] - found["icc_log"]["low"] < 0.15
    assert found["ratio"]["low"] < 1 < found["ratio"]["high"]


def test_copies_of_a_patient_add_no_certainty():
    """Each visit repeated five times under its patient's name: intervals stay, where a naive one would shrink."""
    generator = np.random.default_rng(3)
    true = generator.normal(6, 1, 30)
    x, y = np.exp(true + generator.normal(0, 0.5, (2, 30)))
    names = tuple(f"P{number}" for number in range(30))
    once = describe_agreement(x, y, names, SETTINGS)["spearman"]
    copied = describe_agreement(np.tile(x, 5), np.tile(y, 5), names * 5, SETTINGS)["spearman"]
    assert copied["high"] - copied["low"] == pytest.approx(once["high"] - once["low"], rel=0.1)


def test_zeros_are_counted_and_few_pairs_refused():
    found = describe_agreement(np.array([0.0, 1, 2]), np.array([1.0, 0, 2]), ("a", "b", "c"), SETTINGS)
    assert found == {"pairs": 1, "patients": 1, "zeros": 2, "reason": "fewer than 3 pairs"}
    assert "reason" in describe_changes(np.zeros(2), np.zeros(2), ("a", "b"), SETTINGS)


@settings(max_examples=8, deadline=None)
@given(sizes)
def test_no_order_of_visits_matters(pairs):
    x, y = np.array(pairs).T
    names = tuple(f"P{number % 3}" for number in range(len(x)))
    order = np.random.default_rng(0).permutation(len(x))
    a = describe_agreement(x, y, names, SETTINGS)
    b = describe_agreement(x[order], y[order], tuple(np.array(names)[order]), SETTINGS)
    for name in ("spearman", "icc", "ratio"):
        if a[name]["estimate"] is not None:
            assert a[name]["estimate"] == pytest.approx(b[name]["estimate"], abs=1e-9)
