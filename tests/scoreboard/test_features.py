"""What a model is shown: right numbers, unknown kept, and never anything from the future or from a higher level."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranoscope.domain import InformationLevel, Response, StudyKey, Visit, VisitState
from ranoscope.scoreboard.courses import enhancing_source, make_courses
from ranoscope.scoreboard.features import feature_table, log_volume, noise_sd

from .conftest import make_case, make_course

A, B = "a_enhancing_mm3", "b_enhancing_mm3"
PAIR, TIMELINE, READER = InformationLevel.PAIR, InformationLevel.TIMELINE, InformationLevel.READER


def row(course, case, level):
    return feature_table((case,), {case.patient: course}, level).iloc[0]


COURSE = make_course(
    [
        (0, VisitState.PRE_OP, {A: 9000.0}),
        (1, VisitState.POST_OP, {A: 800.0}),
        (12, Response.SD, {A: 400.0}),
        (24, Response.PD, {A: 3000.0}),
        (36, Response.PD, {A: 6000.0}),
    ],
    {"sex": "female", "age_years": "61", "idh": "unknown", "mgmt": "methylated"},
)


def test_pair_knows_the_two_studies_and_the_patient():
    found = row(COURSE, make_case(24, 36), PAIR)
    assert found[f"{A}_now"] == pytest.approx(math.log(61))
    assert found[f"{A}_change"] == pytest.approx(math.log(61 / 31))
    assert found["enhancing_now"] == pytest.approx(found[f"{A}_now"])
    assert (found["weeks_between"], found["week"], found["age"]) == (12, 36, 61)
    assert (found["sex_female"], found["sex_male"]) == (1, 0)
    assert (found["idh_mutant"], found["idh_wild type"]) == (0, 0)


def test_the_timeline_begins_at_the_last_operation():
    found = row(COURSE, make_case(24, 36), TIMELINE)
    assert found[f"{A}_baseline"] == pytest.approx(math.log(9))
    assert found[f"{A}_nadir"] == pytest.approx(math.log(5))
    assert found[f"{A}_change_from_nadir"] == pytest.approx(math.log(61 / 5))
    assert found[f"{A}_weeks_since_nadir"] == 24
    assert (found["surgeries"], found["weeks_since_surgery"], found["studies_since_surgery"]) == (1, 35, 3)
    assert found["rule_says_PD"] == 1
    # Three points, equal steps of 12 weeks: the slope is that of the outer two.
    assert found[f"{A}_slope"] == pytest.approx(math.log(61 / 5) / 2.4)


def test_the_reader_knows_the_earlier_ratings():
    found = row(COURSE, make_case(24, 36), READER)
    assert (found["prior_rated_PD"], found["count_PD"], found["count_SD"], found["run_length"]) == (1, 1, 1, 1)
    assert found["weeks_since_last_PD"] == 12
    assert found[f"{A}_change_since_run_began"] == pytest.approx(math.log(61 / 31))
    found = row(COURSE, make_case(1, 12), READER)
    assert (found["prior_rated_post_op"], found["count_PD"], found["run_length"]) == (1, 0, 0)
    assert np.isnan(found["weeks_since_last_PD"])


def test_an_unmeasured_study_stays_unknown():
    course = make_course([(0, VisitState.POST_OP, {A: 10.0}), (9, Response.SD, {}), (20, Response.SD, {B: 50.0})])
    found = row(course, make_case(9, 20), TIMELINE)
    assert found[[f"{A}_now", f"{A}_prior", "enhancing_prior", "enhancing_change"]].isna().all()
    assert found["enhancing_now"] == pytest.approx(log_volume(50.0))
    assert found["age"] != found["age"]


def test_the_consensus_lies_between_the_segmenters():
    course = make_course([(0, None, {A: 0.0, B: 0.0}), (9, Response.SD, {A: 100.0, B: 400.0})])
    found = row(course, make_case(0, 9), PAIR)
    assert found["enhancing_now"] == pytest.approx((found[f"{A}_now"] + found[f"{B}_now"]) / 2)
    assert found["enhancing_nothing_prior"] == 1


@pytest.mark.parametrize("level", [PAIR, TIMELINE, READER])
def test_the_future_is_never_seen(level):
    case, past = make_case(12, 24), COURSE.until(Visit(24))
    short = make_course([(v.week, COURSE.ratings.get(v), COURSE.volumes[v]) for v in past], COURSE.person)
    pd.testing.assert_series_equal(row(COURSE, case, level), row(short, case, level))


@pytest.mark.parametrize("level", [PAIR, TIMELINE])
def test_ratings_are_seen_by_the_reader_alone(level):
    other = {visit: Response.CR if isinstance(rating, Response) else rating for visit, rating in COURSE.ratings.items()}
    changed = make_course([(v.week, other.get(v), COURSE.volumes[v]) for v in COURSE.visits], COURSE.person)
    case = make_case(24, 36)
    pd.testing.assert_series_equal(row(COURSE, case, level), row(changed, case, level))
    assert not row(COURSE, case, READER).equals(row(changed, case, READER))


def test_the_rating_to_be_called_is_never_seen():
    other = {**COURSE.ratings, Visit(36): Response.CR}
    changed = make_course([(v.week, other[v], COURSE.volumes[v]) for v in COURSE.visits], COURSE.person)
    pd.testing.assert_series_equal(row(COURSE, make_case(24, 36), READER), row(changed, make_case(24, 36), READER))


def test_the_pair_sees_no_third_study():
    steps = [(v.week, COURSE.ratings[v], {A: 1.0} if v.week < 24 else COURSE.volumes[v]) for v in COURSE.visits]
    changed = make_course(steps, COURSE.person)
    pd.testing.assert_series_equal(row(COURSE, make_case(24, 36), PAIR), row(changed, make_case(24, 36), PAIR))


@given(st.floats(0, 2e5), st.floats(0, 2e5))
def test_noise_grows_with_the_lesion_but_less_than_it(one, other):
    small, large = sorted((one, other))
    assert log_volume(small) <= log_volume(large)
    assert noise_sd(small) >= 25
    if small >= 500 and large > 0:
        assert noise_sd(large) / large <= noise_sd(small) / small + 1e-9 or noise_sd(large) == 25


def test_courses_join_rated_and_measured_visits():
    studies = pd.DataFrame({"patient": ["P", "P"], "visit": ["week-000", "week-010"], "rating": ["Post-Op", ""]})
    people = pd.DataFrame(
        {"patient": ["P"], "sex": ["male"], "age_years": ["50"], "idh": ["unknown"], "mgmt": ["unknown"]}
    )
    volumes = {StudyKey("P", Visit(5)): {A: 1.0, B: 2.0}, StudyKey("P", Visit(10)): {B: 3.0}}
    course = make_courses(studies, people, volumes)["P"]
    assert course.visits == (Visit(0), Visit(5), Visit(10))
    assert course.ratings == {Visit(0): VisitState.POST_OP}
    assert enhancing_source({"P": course}) == B
    assert enhancing_source({}) is None
