"""The rivals: hand vectors of the volume rule, persistence, and that dates never leak from the tested patients."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranoscope.domain import InformationLevel, Response, StudyKey, Visit, VisitState
from ranoscope.evaluation import timing
from ranoscope.evaluation.rivals import RIVALS, Evidence, Unavailable, predict
from ranoscope.evaluation.volumes import VolumeHistory, volume_calls, volume_response

BY_NAME = {rival.name: rival for rival in RIVALS}
VOLUMES = st.integers(0, 100_000)


def make_studies(course, patient="P000"):
    """studies.csv of one patient: (week, rating, enhancing mm³ or None) per visit."""
    rows = [(patient, f"week-{week:03d}", rating, np.nan if mm3 is None else mm3) for week, rating, mm3 in course]
    return pd.DataFrame(rows, columns=["patient", "visit", "rating", "enhancing_mm3"])


def make_evidence(cases, folds=None, studies=None):
    folds = np.zeros((1, len(cases)), np.int64) if folds is None else np.atleast_2d(folds)
    return Evidence(tuple(cases), tuple(range(len(folds))), folds, make_studies([]) if studies is None else studies)


def call_at(course, week):
    """The volume rule's call at one week of a course, through the table of studies."""
    history = VolumeHistory.from_studies(make_studies(course))
    key = StudyKey("P000", Visit(week))
    earlier = history.earlier(key)
    return volume_response(earlier[0], min(earlier), history.volume(key))


@pytest.mark.parametrize(
    ("name", "baseline", "nadir", "now", "expected"),
    [
        ("V01", 10000, 10000, 14000, "PD"),
        ("V02", 10000, 10000, 13999, "SD"),
        ("V03", 20000, 20000, 7000, "PR"),
        ("V04", 20000, 20000, 7001, "SD"),
        ("V05", 30000, 5000, 7000, "PD"),
        ("V06", 30000, 5000, 6999, "PR"),
        ("all gone", 600, 300, 0, "CR"),
        ("still gone", 600, 0, 0, "CR"),
        ("recurrence after CR", 600, 0, 1, "PD"),
        ("never anything", 0, 0, 0, "SD"),
        ("first enhancement", 0, 0, 200, "PD"),
        ("unchanged", 5000, 5000, 5000, "SD"),
        ("below baseline and above nadir", 10000, 2000, 3000, "PD"),
    ],
)
def test_volume_vectors(name, baseline, nadir, now, expected):
    assert volume_response(baseline, nadir, now) == expected


@given(baseline=VOLUMES, nadir=VOLUMES, now=VOLUMES, factor=st.sampled_from([2, 3, 7, 1000]))
def test_the_unit_of_volume_does_not_matter(baseline, nadir, now, factor):
    nadir = min(baseline, nadir)
    scaled = volume_response(factor * baseline, factor * nadir, factor * now)
    assert scaled is volume_response(baseline, nadir, now)


@given(baseline=VOLUMES, nadir=VOLUMES, now=VOLUMES, more=VOLUMES)
def test_more_tumour_is_never_a_better_response(baseline, nadir, now, more):
    nadir = min(baseline, nadir)
    before, after = (volume_response(baseline, nadir, value) for value in (now, now + more))
    # The only step up is from nothing on a clean baseline, which is SD, to something, which is PD.
    assert after.class_index <= before.class_index


@pytest.mark.parametrize(
    ("name", "course", "expected"),
    [
        (
            "S02: slow growth is seen against the nadir",
            [(0, "Post-Op", 1000), (10, "SD", 1150), (20, "SD", 1300), (30, "PD", 1450)],
            {10: "SD", 20: "SD", 30: "PD"},
        ),
        (
            "S06: the pre-operative scan is no baseline",
            [(0, "Pre-Op", 2000), (1, "Post-Op", 300), (20, "SD", 290)],
            {20: "SD"},
        ),
        (
            "S04: an operation begins anew",
            [(0, "Post-Op", 600), (10, "PD", 900), (12, "Post-Op", 0), (20, "SD", 0), (30, "PD", 150)],
            {10: "PD", 20: "SD", 30: "PD"},
        ),
        (
            "an operation after progression begins anew too",
            [(0, "Post-Op", 600), (12, "Post-Op/PD", 100), (20, "SD", 120)],
            {20: "SD"},
        ),
        (
            "a pre-operative scan without its post-operative one ends the series",
            [(0, "SD", 9000), (5, "Pre-Op", 9000), (10, "", 1000), (20, "SD", 1100)],
            {20: "SD"},
        ),
        (
            "response, then recurrence against the nadir",
            [(0, "Post-Op", 10000), (10, "PR", 3000), (20, "PR", 3400), (30, "PD", 4300)],
            {10: "PR", 20: "PR", 30: "PD"},
        ),
    ],
)
def test_courses(name, course, expected):
    assert {week: call_at(course, week) for week in expected} == expected


def test_a_visit_never_is_its_own_nadir_and_later_visits_are_unknown():
    history = VolumeHistory.from_studies(make_studies([(0, "Post-Op", 5), (10, "PD", 1), (20, "PD", 9)]))
    assert history.earlier(StudyKey("P000", Visit(10))) == [5]


def test_volume_fallbacks_are_counted(make_cases):
    cases = make_cases([1, 1, 1, 1], ["P000"] * 4)  # at weeks 24, 36, 48, 60
    course = [(12, "Post-Op", None), (24, "SD", 1000), (36, "SD", None), (48, "SD", 1100), (60, "SD", 300)]
    calls, counts = volume_calls(cases, VolumeHistory.from_studies(make_studies(course)))
    assert calls == ["PD", "PD", "SD", "PR"]
    assert counts == {
        "volume unknown, called PD": 1,
        "no earlier volume since surgery, called PD": 1,
        "some earlier volumes unknown": 2,
    }


def test_volume_rule_is_not_shown_without_volumes(make_cases):
    evidence = make_evidence(make_cases([0]), studies=make_studies([(12, "SD", None), (24, "PD", None)]))
    answer = predict(BY_NAME["volume_rule"], evidence)
    assert isinstance(answer, Unavailable)
    assert "no masks" in answer.reason


def test_persistence_repeats_the_prior_rating(make_cases):
    priors = [*Response, VisitState.POST_OP, VisitState.PRE_OP, VisitState.POST_OP_PD, VisitState.UNRATED]
    cases = make_cases([0] * len(priors), prior_ratings=priors)
    predictions, counts = predict(BY_NAME["persistence"], make_evidence(cases))
    assert [list(Response)[call] for call in predictions.calls[0]] == [*Response, "SD", "PD", "PD", "PD"]
    assert list(counts.values()) == [4, 1, 3]
    assert predictions.are_hard


def test_every_rival_declares_its_level_and_what_it_knew():
    assert {rival.name: rival.level for rival in RIVALS} == {
        "always_pd": InformationLevel.NOTHING,
        "timing": InformationLevel.PAIR,
        "volume_rule": InformationLevel.TIMELINE,
        "persistence": InformationLevel.READER,
    }
    assert all(rival.knew.startswith("Knew ") and rival.knew.endswith(".") for rival in RIVALS)


def test_timing_is_fitted_without_the_tested_patients(make_cohort_predictions, monkeypatch):
    predictions = make_cohort_predictions(seeds=2)
    cases = predictions.cases
    # A week per case that names it, so that what the model was fitted on can be recognised.
    number = {case: place for place, case in enumerate(cases)}
    monkeypatch.setattr(timing, "timing_features", lambda cases: np.array([[number[case], 0.0] for case in cases]))
    fitted = []

    class Spy:
        def fit(self, features, truth):
            fitted.append(set(features[:, 0].astype(int).tolist()))
            return self

        def predict_proba(self, features):
            tested = set(features[:, 0].astype(int).tolist())
            assert not {cases[n].patient for n in tested} & {cases[n].patient for n in fitted[-1]}
            assert tested | fitted[-1] == set(range(len(cases)))
            return np.full((len(features), 4), 0.25)

    monkeypatch.setattr(timing, "timing_model", Spy)
    timing.timing_probabilities(cases, predictions.folds)
    assert len(fitted) == 6


def test_a_patients_own_ratings_do_not_move_its_timing_answers(make_cases):
    patients = [f"P{place // 3:02d}" for place in range(36)]
    truth = np.tile([0, 1, 2, 3, 0, 0], 6)
    folds = np.array([[place // 3 % 3 for place in range(36)]])
    held_out = folds[0] == 1
    other = np.where(held_out, (truth + 1) % 4, truth)
    before, after = (timing.timing_probabilities(make_cases(labels, patients), folds)[0] for labels in (truth, other))
    assert (before[held_out] == after[held_out]).all()
    assert not np.allclose(before[~held_out], after[~held_out])


def test_timing_finds_what_dates_tell(make_cases):
    patients = [f"P{place // 4:02d}" for place in range(48)]  # weeks 24, 36, 48, 60 of each
    cases = make_cases([3, 3, 0, 0] * 12, patients)
    answers = timing.timing_probabilities(cases, np.array([[place // 4 % 4 for place in range(48)]]))[0]
    assert (answers.argmax(axis=1) == [3, 3, 0, 0] * 12).all()
    assert answers.sum(axis=1) == pytest.approx(np.ones(48))
    assert (answers[:, [1, 2]] == 0).all()


def test_timing_with_a_single_class_to_learn_from(make_cases):
    cases = make_cases([0, 0, 1, 1])
    answers = timing.timing_probabilities(cases, np.array([[0, 0, 1, 1]]))[0]
    assert answers.argmax(axis=1).tolist() == [1, 1, 0, 0]
