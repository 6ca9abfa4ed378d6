"""Who and when, from features: against loops, against scikit-learn, and with nothing to be found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import r2_score

from ranoscope.domain import Case, Response, Visit
from ranoscope.probing.decoding import Decoded, decode_weeks, recognise_patients


def case(patient: int, prior: int, current: int) -> Case:
    name = f"Patient-{patient:03d}"
    return Case(name, Visit(prior), Visit(current), Response.SD, current - prior, Response.SD, True)


def nearest_by_loops(features, cases):
    """The share of eligible cases whose nearest neighbour is the patient's own."""
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    hits = []
    for place, mine in enumerate(cases):
        others = [
            (float(((scaled[place] - scaled[other]) ** 2).sum()), cases[other].patient == mine.patient)
            for other in range(len(cases))
            if not {mine.prior_study, mine.current_study} & {cases[other].prior_study, cases[other].current_study}
        ]
        if any(own for _, own in others):
            hits.append(min(others)[1])
    return hits


def cohort(patients: int) -> list[Case]:
    """A chain of three cases each: the first and the last share no study, the middle one shares with both."""
    return [case(number, 10 * turn, 10 * turn + 10) for number in range(patients) for turn in range(3)]


def test_neighbours_are_found_as_by_loops():
    rng = np.random.default_rng(1)
    cases = cohort(8)
    features = rng.normal(size=(24, 3)) + np.repeat(rng.normal(size=(8, 3)), 3, axis=0)
    found = recognise_patients([features], [cases], seed=0)
    assert found.eligible.sum() == 16  # never the middle one
    assert found.hits[found.eligible].tolist() == nearest_by_loops(features, cases)


def test_a_shared_study_is_no_recognition():
    """Two cases of each patient that share a study, and are alike, are not compared at all."""
    cases = [case(number, 10 * turn, 10 * turn + 10) for number in range(6) for turn in range(2)]
    features = np.repeat(np.arange(6.0), 2)[:, None]
    found = recognise_patients([features], [cases], seed=0)
    assert not found.eligible.any()
    assert np.isnan(found.p)


def test_random_features_are_at_chance_and_p_is_no_smaller_than_it_may_be():
    rng = np.random.default_rng(0)
    cases = [case(number, 30 * turn, 30 * turn + 10) for number in range(10) for turn in range(2)]
    trials = [recognise_patients([rng.normal(size=(20, 4))], [cases], seed=n) for n in range(40)]
    assert np.mean([one.p < 0.1 for one in trials]) < 0.25
    assert np.mean([one.chance.mean() for one in trials]) == pytest.approx(1 / 19, abs=0.005)
    knowing = recognise_patients([np.repeat(np.arange(10.0), 2)[:, None]], [cases], seed=0)
    assert knowing.hits.all()
    assert knowing.p == pytest.approx(1 / 1001)


def test_networks_are_not_compared():
    """What tells patients apart in one fold need not be the same in another."""
    fold = [case(number, 30 * turn, 30 * turn + 10) for number in range(5) for turn in range(2)]
    other = [case(10 + number, 30 * turn, 30 * turn + 10) for number in range(5) for turn in range(2)]
    code = np.repeat(np.arange(5.0), 2)[:, None]
    found = recognise_patients([code, 7 - code], [fold, other], seed=0)
    assert found.hits.all()


def test_weeks_are_decoded_from_patients_that_were_not_fitted_to():
    rng = np.random.default_rng(0)
    cases = [case(number, 0, 5 + turn) for number in range(20) for turn in range(4)]
    weeks = rng.uniform(5, 50, size=80)
    told = np.stack([weeks, rng.normal(size=80)], axis=1)
    found = decode_weeks([told], [cases], [weeks])
    once = np.ones((1, 80))
    assert found.explained(once)[0] > 0.99
    assert found.rank_correlation == pytest.approx(spearmanr(weeks, found.found).statistic)
    # A patient's code alone says nothing of patients that were not fitted to.
    by_patient = np.repeat(rng.uniform(5, 50, size=20), 4)
    codes = np.repeat(np.eye(20), 4, axis=0)
    assert decode_weeks([codes], [cases], [by_patient]).explained(once)[0] < 0.1


def test_r2_is_scikit_learns_where_the_mean_is_the_samples_own():
    rng = np.random.default_rng(0)
    values = rng.normal(size=30)
    found = values + rng.normal(size=30)
    decoded = Decoded(values, found, np.full(30, values.mean()))
    assert decoded.explained(np.ones((1, 30)))[0] == pytest.approx(r2_score(values, found))


def test_too_few_patients_leave_nothing():
    decoded = decode_weeks([np.zeros((2, 3))], [[case(1, 0, 5), case(1, 5, 9)]], [np.array([5.0, 4.0])])
    assert not decoded.known.any()
    assert np.isnan(decoded.explained(np.ones((1, 2)))[0])
    assert np.isnan(decoded.rank_correlation)
