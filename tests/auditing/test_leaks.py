"""A planted leak is always found; every share equals a count by brute force."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ranoscope.auditing.leaks import find_leaks
from ranoscope.cohort.folds import assign_folds, assign_folds_as_published
from ranoscope.config import FoldSettings
from ranoscope.domain import Case, Response, Visit


def brute_force(cases, folds):
    """Patient, scan and previous label, by comparing every case with every other."""
    found = np.zeros((3, len(cases)), bool)
    for i, test in enumerate(cases):
        for j, other in enumerate(cases):
            if folds[i] == folds[j] or test.patient != other.patient:
                continue
            found[0, i] = True
            found[1, i] |= bool({test.prior, test.current} & {other.prior, other.current})
            found[2, i] |= other.current == test.prior
    return found


def as_rows(leaks):
    return np.array([leaks.patient, leaks.scan, leaks.previous])


def by_case(cases, table):
    fold = table.set_index(["patient", "current"])["fold"]
    return np.array([fold[case.patient, str(case.current)] for case in cases])


def random_patients(least_visits=1):
    """Responses and how many visits back the prior lies, per patient."""
    visit = st.tuples(st.sampled_from(list(Response)), st.integers(1, 3))
    return st.lists(st.lists(visit, min_size=least_visits, max_size=6), min_size=5, max_size=10)


def build(patients):
    return tuple(
        Case(f"P{n}", Visit(max(place + 1 - back, 0)), Visit(place + 1), response, 1, Response.SD, True)
        for n, visits in enumerate(patients)
        for place, (response, back) in enumerate(visits)
    )


@given(patients=random_patients(), data=st.data())
def test_leaks_equal_a_brute_force_count(patients, data):
    cases = build(patients)
    folds = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(cases), max_size=len(cases))))
    assert (as_rows(find_leaks(cases, folds)) == brute_force(cases, folds)).all()


@given(patients=random_patients(least_visits=2), seed=st.integers(0, 99), data=st.data())
def test_a_planted_leak_is_found_and_patient_level_folds_have_none(patients, seed, data):
    cases = build(patients)
    folds = by_case(cases, assign_folds(list(cases), FoldSettings(count=3, seeds=(seed,))))
    assert not as_rows(find_leaks(cases, folds)).any()
    moved = data.draw(st.integers(0, len(cases) - 1))
    folds[moved] = (folds[moved] + 1) % 3
    leaks = find_leaks(cases, folds)
    of_patient = [case.patient == cases[moved].patient for case in cases]
    assert (leaks.patient == of_patient).all()
    assert (as_rows(leaks) == brute_force(cases, folds)).all()


@given(patients=random_patients(least_visits=4), seed=st.integers(0, 99))
def test_folds_as_published_leak_where_patients_have_several_visits(patients, seed):
    # One class, so that every class has enough cases for the folds.
    cases = build([[(Response.PD, back) for _, back in visits] for visits in patients])
    folds = by_case(cases, assign_folds_as_published(list(cases), FoldSettings(count=5, seeds=(seed,))))
    leaks = find_leaks(cases, folds)
    assert leaks.patient.mean() > 0.5
    assert leaks.scan.any()


def test_each_kind_of_leak_by_hand():
    cases = build([[(Response.PD, 1)] * 4])  # weeks 0>1, 1>2, 2>3, 3>4
    leaks = find_leaks(cases, np.array([0, 1, 1, 0]))
    assert leaks.patient.tolist() == [True] * 4
    assert leaks.scan.tolist() == [True] * 4
    assert leaks.previous.tolist() == [False, True, False, True]
    apart = find_leaks((cases[0], cases[3]), np.array([0, 1]))
    assert (apart.patient.tolist(), apart.scan.tolist()) == ([True] * 2, [False] * 2)


def test_the_same_week_of_another_patient_is_no_leak():
    assert not as_rows(find_leaks(build([[(Response.PD, 1)]] * 3), np.array([0, 1, 2]))).any()
