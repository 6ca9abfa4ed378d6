"""No patient on both sides, every case once, the same folds whatever the order of rows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranoscope.cohort.folds import assign_folds, first_cases, fold_warnings, inner_split, read_folds, write_folds
from ranoscope.config import FoldSettings
from ranoscope.domain import RESPONSES, Case, Response, Visit
from ranoscope.errors import RanoscopeError


def make_cases(patients: list[list[Response]]) -> list[Case]:
    return [
        Case(f"Patient-{number:03d}", Visit(place), Visit(place + 1), response, 1, Response.SD, True)
        for number, responses in enumerate(patients)
        for place, response in enumerate(responses)
    ]


# The class mix of the published ratings: most patients only ever progress.
responses = st.sampled_from([Response.PD] * 6 + [Response.SD] * 3 + [Response.PR, Response.CR])
cohorts = st.lists(st.lists(responses, min_size=1, max_size=6), min_size=5, max_size=40).map(make_cases)


def rarest_class(cases: list[Case]) -> dict[str, Response]:
    held = {patient: {c.response for c in cases if c.patient == patient} for patient in {c.patient for c in cases}}
    shared = Counter(response for classes in held.values() for response in classes)
    by_rarity = sorted(RESPONSES, key=lambda response: (shared[response], -response.class_index))
    return {patient: next(r for r in by_rarity if r in classes) for patient, classes in held.items()}


@given(cases=cohorts, count=st.integers(2, 5), seed=st.integers(0, 99), shuffle=st.randoms(use_true_random=False))
def test_folds_keep_patients_together_and_balance_strata(cases, count, seed, shuffle):
    settings = FoldSettings(count=count, seeds=(seed, seed + 1))
    folds = assign_folds(cases, settings)
    assert list(folds.columns) == ["seed", "patient", "current", "response", "fold"]
    assert len(folds) == 2 * len(cases)
    assert not folds.duplicated(["seed", "patient", "current"]).any()
    shuffled = list(cases)
    shuffle.shuffle(shuffled)
    pd.testing.assert_frame_equal(assign_folds(shuffled, settings), folds)
    strata = rarest_class(cases)
    for _, of_seed in folds.groupby("seed"):
        assert (of_seed.groupby("patient")["fold"].nunique() == 1).all()
        fold_of = of_seed.drop_duplicates("patient").set_index("patient")["fold"]
        for group in (list(strata), *([p for p in strata if strata[p] is r] for r in RESPONSES)):
            sizes = np.bincount(fold_of[group].to_numpy(dtype=int), minlength=count)
            assert sizes.max() - sizes.min() <= 1


def test_seeds_give_different_folds_and_one_seed_the_same_alone():
    cases = make_cases([[Response.PD, Response.SD]] * 30)
    both = assign_folds(cases, FoldSettings(seeds=(3, 4)))
    alone = assign_folds(cases, FoldSettings(seeds=(4,)))
    pd.testing.assert_frame_equal(both[both["seed"] == 4].reset_index(drop=True), alone)
    assert (both.loc[both["seed"] == 3, "fold"].to_numpy() != alone["fold"].to_numpy()).any()


def test_patients_with_many_rare_cases_are_spread():
    cr = [[Response.CR] * size for size in (7, 6, 1, 1)]
    cases = make_cases([*cr, *([[Response.PD] * 3] * 6)])
    folds = assign_folds(cases, FoldSettings(count=2, seeds=tuple(range(10))))
    sizes = folds[folds["response"] == "CR"].groupby(["seed", "fold"]).size()
    assert set(sizes) == {7, 8}


def test_too_few_patients_for_the_folds():
    with pytest.raises(RanoscopeError, match="at least 5 patients, got 4"):
        assign_folds(make_cases([[Response.PD]] * 4), FoldSettings(count=5))


def test_rare_classes_are_warned_of():
    cases = make_cases([[Response.PD, Response.SD]] * 5 + [[Response.CR, Response.CR]])
    assert [warning[:28] for warning in fold_warnings(cases, FoldSettings(count=5))] == [
        "PR occurs in 0 patients for ", "CR occurs in 1 patient for 5",
    ]  # fmt: skip
    assert not fold_warnings(make_cases([list(RESPONSES)] * 5), FoldSettings(count=5))


@given(
    cases=cohorts, fraction=st.floats(0.05, 0.49), seed=st.integers(0, 99), shuffle=st.randoms(use_true_random=False)
)
def test_inner_split_keeps_patients_together_and_no_stratum_is_lost(cases, fraction, seed, shuffle):
    training, validation = inner_split(cases, fraction, seed)
    assert sorted(map(str, training + validation)) == sorted(map(str, cases))
    ours, theirs = {c.patient for c in training}, {c.patient for c in validation}
    assert not ours & theirs
    assert 1 <= len(theirs) <= max(1, round(fraction * (len(ours) + len(theirs))))
    shuffled = list(cases)
    shuffle.shuffle(shuffled)
    assert {c.patient for c in inner_split(shuffled, fraction, seed)[1]} == theirs
    strata = rarest_class(cases)
    if max(Counter(strata.values()).values()) > 1:
        assert {strata[patient] for patient in ours} == set(strata.values())


def test_inner_split_is_stratified_and_seeded():
    cases = make_cases([[Response.PD]] * 20 + [[Response.SD]] * 10 + [[Response.CR]] * 5)
    chosen = [{c.patient for c in inner_split(cases, 0.2, seed)[1]} for seed in range(8)]
    for patients in chosen:
        drawn = Counter(case.response for case in cases if case.patient in patients)
        assert drawn == {Response.PD: 4, Response.SD: 2, Response.CR: 1}
    assert len(set(map(frozenset, chosen))) > 1


def test_inner_split_needs_two_patients():
    with pytest.raises(RanoscopeError, match="at least 2 patients, got 1"):
        inner_split(make_cases([[Response.PD, Response.CR]]), 0.2, 0)


@given(cases=cohorts, counts=st.tuples(st.integers(2, 90), st.integers(2, 90)), seed=st.integers(0, 99))
def test_fewer_training_cases_are_among_more_of_them(cases, counts, seed):
    fewer, more = (first_cases(cases, count, seed) for count in sorted(counts))
    assert (len(fewer), len(more)) == tuple(min(count, len(cases)) for count in sorted(counts))
    assert set(fewer) <= set(more)
    assert fewer == [case for case in cases if case in set(fewer)]
    assert first_cases(cases[::-1], min(counts), seed)[::-1] == fewer
    assert first_cases(cases, None, seed) == cases
    cut_short = [
        p for p in {c.patient for c in fewer} if sum(c.patient == p for c in cases) > sum(c.patient == p for c in fewer)
    ]
    assert len(cut_short) <= 1


def test_training_cases_are_drawn_from_every_stratum_and_seeded():
    cases = make_cases([[Response.PD]] * 40 + [[Response.SD]] * 20 + [[Response.CR]] * 10)
    drawn = [first_cases(cases, 14, seed) for seed in range(8)]
    for some in drawn:
        counts = Counter(case.response for case in some)
        wanted = {Response.PD: 8, Response.SD: 4, Response.CR: 2}
        assert max(abs(counts[response] - number) for response, number in wanted.items()) <= 1
    assert len(set(map(frozenset, drawn))) > 1


def test_folds_file_comes_back(tmp_path):
    folds = assign_folds(make_cases([[Response.PD]] * 6), FoldSettings(count=3))
    write_folds(tmp_path, folds)
    pd.testing.assert_frame_equal(read_folds(tmp_path), folds, check_dtype=False)
