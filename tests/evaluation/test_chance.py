"""The protocol's guarantee on random cohorts: what cannot be known scores at chance, what can be known scores above."""

from __future__ import annotations

import numpy as np
import pytest

from ranoscope.cohort.folds import assign_folds
from ranoscope.config import FoldSettings
from ranoscope.domain import Case, Response, Visit
from ranoscope.evaluation.identity import identity_probabilities
from ranoscope.evaluation.predictions import Predictions
from ranoscope.evaluation.scores import BALANCED_ACCURACY, score
from ranoscope.evaluation.timing import timing_probabilities
from ranoscope.evaluation.weighting import whole_sample

NAMES = np.array(["PD", "SD", "PR", "CR"])
COHORTS = 25


def random_cohort(generator, shuffled):
    """Patients with several visits whose response is often that of the visit before and grows worse with the weeks.

    ``shuffled``: the responses are then dealt anew over all cases, so that nothing tells them.
    """
    rows = []
    for patient in range(40):
        response = "SD"
        for place in range(generator.integers(2, 8)):
            week = 12 * (place + 1)
            if generator.random() < 0.5:
                late = min(week / 84, 1.0)
                response = generator.choice(
                    NAMES, p=(0.1 + 0.6 * late, 0.3 - 0.2 * late, 0.3 - 0.2 * late, 0.3 - 0.2 * late)
                )
            rows.append((f"P{patient:02d}", week, response))
    responses = np.array([row[2] for row in rows])
    if shuffled:
        generator.shuffle(responses)
    return tuple(
        Case(patient, Visit(week - 12), Visit(week), Response(response), 12, Response.SD, True)
        for (patient, week, _), response in zip(rows, responses, strict=True)
    )


def patient_folds(cases, seed):
    table = assign_folds(list(cases), FoldSettings(count=5, seeds=(seed,)))
    fold = table.set_index(["patient", "current"])["fold"]
    return np.array([[fold[case.patient, str(case.current)] for case in cases]])


def visit_folds(cases, seed):
    return np.random.default_rng(seed).permutation(len(cases))[None] % 5


def mean_balanced_accuracy(rival, make_folds, shuffled):
    """Over random cohorts; with its standard error."""
    generator, found = np.random.default_rng(7), []
    for seed in range(COHORTS):
        cases = random_cohort(generator, shuffled)
        folds = make_folds(cases, seed)
        answers = rival(cases, folds)
        predictions = Predictions(cases, (0,), folds, answers, answers.argmax(axis=2))
        found.append(score(predictions, whole_sample(len(cases)))[BALANCED_ACCURACY][0])
    return np.mean(found), np.std(found) / np.sqrt(COHORTS)


@pytest.fixture(autouse=True)
def small_forests(monkeypatch):
    monkeypatch.setattr("ranoscope.evaluation.identity._TREES", 20)


@pytest.mark.parametrize("rival", [timing_probabilities, identity_probabilities])
def test_shuffled_responses_score_at_chance(rival):
    mean, error = mean_balanced_accuracy(rival, patient_folds, shuffled=True)
    assert error < 0.012
    assert mean == pytest.approx(0.25, abs=3 * error)


def test_what_weeks_tell_scores_above_chance():
    mean, error = mean_balanced_accuracy(timing_probabilities, patient_folds, shuffled=False)
    assert mean > 0.25 + 5 * error


def test_the_patients_name_helps_only_where_folds_are_cut_by_visit():
    by_patient, error = mean_balanced_accuracy(identity_probabilities, patient_folds, shuffled=False)
    by_visit, _ = mean_balanced_accuracy(identity_probabilities, visit_folds, shuffled=False)
    assert by_visit > by_patient + 5 * error
