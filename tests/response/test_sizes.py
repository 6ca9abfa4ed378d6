"""Sizes against their references: thresholds by exact fractions, measurement error by simulation."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranoscope.response.calls import Category
from ranoscope.response.criteria import RANO_HGG, Thresholds
from ranoscope.response.engine import evaluate
from ranoscope.response.repeatability import product_sd
from ranoscope.response.sizes import Comparison, Size, describe, has_grown, has_shrunk, probability_other
from ranoscope.response.timeline import Compartment, Measure, Scan, Sizes, Timeline

AREA = Thresholds(progression=25, response=50)
VOLUME = Thresholds(progression=40, response=65)
MINOR = Thresholds(progression=25, response=50, minor_response=25)
TENTHS = st.integers(min_value=1, max_value=1500)
PERCENT = st.sampled_from([25, 40, 50, 65])


def rate(standing):
    """The published order without anything but sizes."""
    if standing.recurred or standing.grown:
        return Category.PD
    if standing.gone:
        return Category.CR
    if standing.responded:
        return Category.PR
    return Category.MR if standing.minor_response else Category.SD


def compare(now, nadir, baseline, limits=AREA, nadir_scan=1):
    """Sizes as (value, sd)."""
    return Comparison(Size(*now, 2), Size(*nadir, nadir_scan), Size(*baseline, 0), limits)


@given(TENTHS, TENTHS, TENTHS, TENTHS, PERCENT)
def test_products_of_tenths_of_a_millimetre_meet_thresholds_exactly(a, b, c, d, percent):
    now, reference = (a / 10) * (b / 10), (c / 10) * (d / 10)
    exact_now, exact_reference = Fraction(a * b, 100), Fraction(c * d, 100)
    assert has_grown(now, reference, percent) == (100 * exact_now >= (100 + percent) * exact_reference)
    assert has_shrunk(now, reference, percent) == (100 * exact_now <= (100 - percent) * exact_reference)


@given(st.integers(1, 10**6), PERCENT, st.floats(1e-6, 1e6))
def test_a_size_on_the_threshold_is_beyond_it_at_every_scale(reference, percent, scale):
    unit = scale * reference
    assert has_grown(unit * (100 + percent) / 100, unit, percent)
    assert has_shrunk(unit * (100 - percent) / 100, unit, percent)
    assert not has_grown(unit * (100 + percent) / 100 * (1 - 1e-7), unit, percent)
    assert not has_shrunk(unit * (100 - percent) / 100 * (1 + 1e-7), unit, percent)


def test_rounding_does_not_fall_off_a_threshold():
    assert has_grown(499.999999999, 400, 25)
    assert has_grown(math.sqrt(500) ** 2, 400, 25)
    assert not has_grown(22.36 * 22.36, 400, 25)  # 499.97
    assert has_shrunk(400.0000000001, 800, 50)


def test_no_percentage_of_nothing():
    assert not has_grown(5, 0, 25)
    assert not has_shrunk(0, 0, 50)
    standing = compare((144, 0.1), (0, 0), (600, 0.1)).standing()
    assert (standing.recurred, standing.grown) == (True, False)


CASES = {
    "near PD": compare((560, 0.06), (440, 0.07), (1000, 0.05)),
    "near PR": compare((480, 0.1), (900, 0.05), (1000, 0.05)),
    "near both": compare((620, 0.15), (520, 0.2), (1250, 0.1)),
    "nadir is baseline": compare((480, 0.2), (400, 0.2), (400, 0.2), nadir_scan=0),
    "nadir is baseline, response": compare((210, 0.3), (400, 0.3), (400, 0.3), nadir_scan=0),
    "nadir is baseline, poorly measured": compare((400, 0.6), (400, 0.6), (400, 0.6), nadir_scan=0),
    "now alone varies": compare((245, 0.1), (200, 0), (480, 0)),
    "references alone vary": compare((245, 0), (200, 0.1), (500, 0.1)),
    "now is steady, both near": compare((250, 0.001), (205, 0.3), (490, 0.3)),
    "now dominates": compare((250, 0.4), (205, 0.001), (490, 0.001)),
    "volume": compare((7000, 0.2), (5200, 0.2), (21000, 0.1), VOLUME),
    "minor": compare((1400, 0.2), (1300, 0.15), (2000, 0.1), MINOR),
    "minor or response": compare((1020, 0.1), (2000, 0.1), (2000, 0.1), MINOR, nadir_scan=0),
    "nothing at the nadir": compare((144, 0.3), (0, 0), (600, 0.1)),
    "nothing at baseline": compare((0, 0), (0, 0), (0, 0), nadir_scan=0),
    "all gone": compare((0, 0), (300, 0.1), (600, 0.1)),
}


def simulated(comparison, draws=400_000):
    """Share of repeated measurements with another category, by drawing them."""
    rng = np.random.default_rng(20240611)

    def again(size):
        return size.value * np.exp(size.sd * rng.standard_normal(draws))

    now, nadir = again(comparison.now), again(comparison.nadir)
    baseline = nadir if comparison.nadir.scan == comparison.baseline.scan else again(comparison.baseline)
    limits = comparison.limits
    grown = np.where(nadir > 0, now >= nadir * (1 + limits.progression / 100), now > 0)
    names = np.full(draws, Category.SD.value, dtype=object)
    if limits.minor_response is not None:
        names[(baseline > 0) & (now <= baseline * (1 - limits.minor_response / 100))] = "MR"
    names[(baseline > 0) & (now <= baseline * (1 - limits.response / 100))] = "PR"
    names[now == 0] = "CR"
    names[grown] = "PD"
    return float(np.mean(names != rate(comparison.standing()).value))


@pytest.mark.parametrize("comparison", CASES.values(), ids=CASES)
def test_probability_of_another_category_is_that_of_simulated_measurements(comparison):
    assert probability_other(comparison, rate) == pytest.approx(simulated(comparison), abs=0.004)


def test_without_error_nothing_changes_even_on_a_threshold():
    for now in (249, 250, 251):
        for nadir in (200, 400):
            assert probability_other(compare((now, 0), (nadir, 0), (500, 0)), rate) == pytest.approx(0, abs=1e-12)


def test_on_a_threshold_it_is_a_toss():
    assert probability_other(compare((500, 0.05), (400, 0.05), (400, 0.05), nadir_scan=0), rate) == pytest.approx(0.5)


def test_the_nearest_threshold_that_changes_the_category_is_named():
    def nearest(*sizes, **more):
        found = describe(compare(*sizes, **more), Compartment.ENHANCING, Measure.AREA, rate)
        return found.threshold_name, found.threshold, found.distance_percent

    assert nearest((300, 0.1), (200, 0.1), (1000, 0.1)) == ("PD: 25 % above nadir", 250, 20)
    assert nearest((520, 0.1), (900, 0.1), (1000, 0.1)) == ("PR: 50 % below baseline", 500, pytest.approx(4))
    assert nearest((1480, 0.1), (1300, 0.1), (2000, 0.1), limits=MINOR)[:2] == ("MR: 25 % below baseline", 1500)
    assert nearest((0, 0), (300, 0.1), (600, 0.1)) == ("CR: no tumour left", 0, None)
    assert nearest((5, 0.1), (0, 0), (600, 0.1)) == ("PD: any tumour after none", 0, None)
    assert nearest((0, 0), (0, 0), (0, 0)) == ("PD: any tumour after none", 0, None)


def test_distance_in_errors_combines_those_of_both_scans():
    found = describe(compare((560, 0.03), (440, 0.04), (1000, 0.2)), Compartment.ENHANCING, Measure.AREA, rate)
    assert found.distance_sd == pytest.approx(math.log(560 / 550) / 0.05)


def test_other_facts_stay_as_they_are_when_sizes_are_measured_again():
    """On more steroids than at baseline no size is a response: only growth is left to change the call."""
    facts = {"new_lesion": "none", "non_measurable": "absent", "t2_flair": "stable", "clinical": "stable"}
    scans = tuple(
        Scan(id=f"s{n}", day=40 * n, enhancing=Sizes(spd_mm2=size), steroids=dose, **facts)
        for n, (size, dose) in enumerate([(600, "stable"), (310, "stable"), (300, "higher")])
    )
    call = evaluate(Timeline(patient="P", scans=scans, radiotherapy_end_day=-500), RANO_HGG).calls[-1]
    rng = np.random.default_rng(1)
    now, nadir = (size * np.exp(product_sd(size) * rng.standard_normal(400_000)) for size in (300, 310))
    assert (call.category, call.size.threshold_name) == ("SD", "PD: 25 % above nadir")
    assert call.size.probability_other == pytest.approx(float(np.mean(now >= 1.25 * nadir)), abs=0.004)
