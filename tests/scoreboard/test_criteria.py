"""The response engine over courses: what it is told, what it is not, and that nothing later is ever seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranoscope.domain import InformationLevel, Response, Visit, VisitState
from ranoscope.evaluation.rivals import Evidence, Unavailable, predict
from ranoscope.evaluation.volumes import volume_response
from ranoscope.response.calls import Call, Category, Stage
from ranoscope.response.criteria import CRITERIA
from ranoscope.response.timeline import Compartment, Surgery
from ranoscope.scoreboard.courses import Course
from ranoscope.scoreboard.criteria import (
    RULE_SETS,
    as_response,
    criteria_rivals,
    engine_calls,
    find_sources,
    make_timeline,
)

from .conftest import make_case, make_course

ENHANCING, OTHER = "hdglio_enhancing_mm3", "deepbratumia_enhancing_mm3"
T2 = "hdglio_nonenhancing_mm3"
SOURCES = {Compartment.ENHANCING: ENHANCING, Compartment.NONENHANCING: T2}
BY_NAME = {rules.name: rules for rules in RULE_SETS}
PRE, POST = VisitState.PRE_OP, VisitState.POST_OP


def course_of(*steps, person=None):
    """Steps of (week, rating, enhancing mm³ or None)."""
    return make_course([(week, rating, {} if mm3 is None else {ENHANCING: mm3}) for week, rating, mm3 in steps], person)


def call(name, course, week):
    case = make_case(0, week) if week else None
    return engine_calls(BY_NAME[name], (case,), {"P1": course})[0]


def test_a_course_as_the_engine_reads_it():
    volumes = {ENHANCING: 500.0, OTHER: 700.0, T2: 9000.0}
    course = Course(
        (Visit(0, 1), Visit(0, 2), Visit(12), Visit(24)),
        {Visit(0, 1): PRE, Visit(0, 2): POST, Visit(12): Response.PD},
        {Visit(0, 1): volumes, Visit(12): {OTHER: 700.0}, Visit(24): volumes},
        {"idh": "wild type"},
    )
    timeline = make_timeline("P1", course, Visit(12), SOURCES)
    assert [(scan.id, scan.day, scan.surgery) for scan in timeline.scans] == [
        ("week-000-1", 1, Surgery.PRE_OP), ("week-000-2", 2, Surgery.POST_OP), ("week-012", 84, None),
    ]  # fmt: skip
    assert [scan.enhancing.volume_mm3 for scan in timeline.scans] == [500, None, None]
    assert [scan.nonenhancing.volume_mm3 for scan in timeline.scans] == [9000, None, None]
    assert timeline.radiotherapy_end_day == 70
    assert timeline.idh_mutant is False
    # Not in LUMIERE, and not to be taken for "no".
    for scan in timeline.scans:
        unknown = (scan.steroids, scan.clinical, scan.new_lesion, scan.non_measurable, scan.t2_flair, scan.lesions)
        assert unknown == (None,) * 6


def test_each_compartment_has_one_source_for_everybody():
    courses = {
        "P1": make_course([(0, None, {OTHER: 1.0, ENHANCING: 1.0}), (9, None, {ENHANCING: 1.0})]),
        "P2": make_course([(0, None, {OTHER: 1.0, "x_nonenhancing_mm3": 1.0})]),
        "P3": make_course([(0, None, {ENHANCING: 1.0, "x_edema_mm3": 1.0})]),
    }
    assert find_sources(courses) == {Compartment.ENHANCING: ENHANCING, Compartment.NONENHANCING: "x_nonenhancing_mm3"}
    assert find_sources({}) == {Compartment.ENHANCING: None, Compartment.NONENHANCING: None}


def test_the_assumed_end_of_radiotherapy_follows_the_first_operation():
    course = course_of((0, PRE, 9000), (3, POST, 100), (40, POST, 100), (60, None, 100))
    assert make_timeline("P1", course, Visit(60), SOURCES).radiotherapy_end_day == 7 * 13
    assert make_timeline("P1", course_of((5, None, 1.0)), Visit(5), SOURCES).radiotherapy_end_day == 70


def test_one_rival_per_criteria_set_and_reading():
    rivals = criteria_rivals({"P1": course_of((0, POST, 1.0))})
    assert len(rivals) == 2 * len(CRITERIA) == len({rival.name for rival in rivals})
    assert all(rival.level is InformationLevel.TIMELINE for rival in rivals)


@pytest.mark.parametrize(
    ("volumes", "published", "single"),
    [
        ((10_000, 10_000, 13_999), "SD", "SD"),
        ((10_000, 10_000, 14_000), "PD", "PD"),
        ((20_000, 20_000, 7_000), "SD", "PR"),
        ((20_000, 7_000, 7_000), "PR", "PR"),
        ((30_000, 5_000, 7_000), "PD", "PD"),
        ((600, 300, 0), "SD", "CR"),
        ((600, 0, 0), "CR", "CR"),
    ],
)
def test_macdonald_by_volume_against_nadir_and_baseline(volumes, published, single):
    course = course_of((0, POST, volumes[0]), (40, None, volumes[1]), (60, None, volumes[2]))
    assert call("macdonald", course, 60).category == published
    assert call("macdonald_single", course, 60).category == single


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 30).map(lambda n: 100.0 * n), min_size=2, max_size=5))
def test_measured_courses_follow_the_volume_rule(volumes):
    """Two implementations of one rule: the engine under Macdonald, single visit, and the rival of every scorecard."""
    course = course_of(*((12 * place, POST if not place else None, mm3) for place, mm3 in enumerate(volumes)))
    found = as_response(call("macdonald_single", course, 12 * (len(volumes) - 1)))
    assert found == (volume_response(volumes[0], min(volumes[:-1]), volumes[-1]), None)


def test_an_operation_is_no_reference():
    course = course_of((0, PRE, 20_000), (1, POST, 300), (40, None, 290), (60, PRE, 50), (61, POST, 30), (80, None, 31))
    assert call("rano_hgg_single", course, 40).category is Category.SD
    # Far below all that was before the second operation, and hardly above what was left.
    assert call("rano_hgg_single", course, 80).category is Category.SD


def test_growth_soon_after_radiotherapy_is_not_believed():
    early = course_of((0, POST, 10_000), (20, None, 20_000))
    assert call("rano_hgg_single", early, 20).category is Category.SD
    assert call("macdonald_single", early, 20).category is Category.PD
    late = course_of((0, POST, 10_000), (15, None, 10_000), (22, None, 20_000))
    assert call("rano_hgg_single", late, 22).category is Category.PD


def test_what_is_unknown_makes_a_call_provisional():
    course = course_of((0, POST, 10_000), (15, None, 10_000), (40, None, 10_000), (60, None, 20_000), (70, None, 0))
    stable, grown = (call("rano_hgg_single", course, week) for week in (40, 60))
    assert stable.provisional
    assert {"new lesion", "clinical state"} <= set(stable.unknown)
    # A lowered dose of steroids would excuse the growth, unless something else that is unknown were progression.
    assert (grown.category, grown.provisional) == (Category.PD, True)
    assert "steroid dose" in grown.unknown
    recurrence = call("rano_hgg_single", course_of((0, POST, 0), (15, None, 0), (60, None, 500)), 60)
    assert recurrence.category is Category.PD
    assert not recurrence.provisional


@pytest.mark.parametrize(
    ("category", "stage", "response", "fallback"),
    [
        ("MR", Stage.ASSESSED, Response.SD, "MR, called SD"),
        ("NE", Stage.ASSESSED, Response.PD, "not evaluable, called PD"),
        (None, Stage.BASELINE, Response.PD, "baseline, called PD"),
        ("PR", Stage.ASSESSED, Response.PR, None),
    ],
)
def test_among_four_responses(category, stage, response, fallback):
    one = Call(scan="week-001", day=7, stage=stage, category=category and Category(category))
    assert as_response(one) == (response, fallback)


def evidence(cases):
    table = pd.DataFrame(columns=["patient", "visit", "rating", "enhancing_mm3"])
    return Evidence(cases, (0,), np.zeros((1, len(cases)), np.int64), table)


def test_fallbacks_are_counted():
    courses = {
        "P1": course_of((0, POST, 10_000), (15, None, 10_000), (40, None, 3_000)),
        "P2": course_of((0, POST, 10_000), (15, None, 10_000), (40, None, None)),
    }
    cases = (make_case(15, 40), make_case(15, 40, patient="P2"))
    rival = next(one for one in criteria_rivals(courses) if one.name == "macdonald")
    predictions, counts = predict(rival, evidence(cases))
    assert predictions.calls.tolist() == [[1, 0]]
    assert counts["not evaluable, called PD"] == 1
    assert counts["waiting for confirmation, called SD"] == 1
    assert counts["provisional, not PD"] == 1
    assert counts["provisional PD"] == 0


def test_without_the_volume_a_set_needs_it_is_not_shown():
    courses = {"P1": course_of((0, POST, 10_000), (40, None, 3_000))}
    answers = {one.name: predict(one, evidence((make_case(0, 40),))) for one in criteria_rivals(courses)}
    assert {name for name, one in answers.items() if isinstance(one, Unavailable)} == {"rano_lgg", "rano_lgg_single"}
    courses = {"P1": make_course([(0, POST, {"a_edema_mm3": 1.0})])}
    assert all(isinstance(predict(one, evidence(())), Unavailable) for one in criteria_rivals(courses))


volumes = st.one_of(st.none(), st.just(0.0), st.floats(1, 100_000))
states = st.sampled_from([None, None, None, POST, PRE])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(states, volumes), min_size=2, max_size=6), st.lists(st.tuples(states, volumes), max_size=4))
def test_nothing_later_is_seen(past, future):
    steps = [(12 * place, *step) for place, step in enumerate([*past, *future])]
    now = 12 * (len(past) - 1)
    for rules in RULE_SETS:
        case = (make_case(0, now),)
        whole, known = ({"P1": course_of(*part)} for part in (steps, steps[: len(past)]))
        # A future that holds the only volume at all would decide whether a source exists.
        if any(mm3 is not None for _, _, mm3 in steps[: len(past)]):
            assert engine_calls(rules, case, whole) == engine_calls(rules, case, known)
