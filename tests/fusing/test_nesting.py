"""Nobody who is called was seen: not the outer fold's patients by anything inside, nor a case's own patient."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranoscope.cohort.folds import assign_folds
from ranoscope.config import FoldSettings
from ranoscope.domain import RESPONSES, Case, InformationLevel, Response, Visit
from ranoscope.errors import RanoscopeError
from ranoscope.evaluation.predictions import Predictions
from ranoscope.fusing.nesting import make_nests
from ranoscope.fusing.opinions import at_equal_frequencies, measured_inside
from ranoscope.scoreboard import protocol
from ranoscope.scoreboard.models import at_prevalence
from ranoscope.scoreboard.protocol import Exam, fold_matrix

from .conftest import LOGISTIC


def predictions_of(patients, visits, count, seeds):
    cases = tuple(
        Case(f"P{number:02d}", Visit(place), Visit(place + 1), RESPONSES[(number + place) % 4], 1, Response.SD, False)
        for number in range(patients)
        for place in range(visits)
    )
    seeds, folds = fold_matrix(cases, assign_folds(list(cases), FoldSettings(count=count, seeds=seeds)))
    shape = (len(seeds), len(cases))
    return Predictions(cases, seeds, folds, np.full((*shape, 4), 0.25), np.zeros(shape, np.int64))


@given(patients=st.integers(6, 20), visits=st.integers(1, 4), count=st.integers(2, 3), inner=st.integers(2, 3),
       seed=st.integers(0, 99))  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_nests_hold_the_training_patients_alone_and_part_nobody(patients, visits, count, inner, seed):
    predictions = predictions_of(patients, visits, count, (seed, seed + 1))
    nests = make_nests(predictions, inner, Path("out"))
    assert len({nest.folder for nest in nests}) == len(nests) == 2 * count
    names = np.array(predictions.patients)
    for nest in nests:
        folds = predictions.folds[predictions.seeds.index(nest.seed)]
        assert sorted([*nest.training, *nest.test]) == list(range(len(names)))
        assert set(folds[nest.test]) == {nest.fold}
        assert not set(names[nest.training]) & set(names[nest.test])
        assert [case.patient for case in nest.cases] == list(names[nest.training])
        home = pd.Series(nest.folds).groupby(names[nest.training]).nunique()
        assert (home == 1).all()
        assert set(nest.folds) == set(range(inner))


def test_too_few_training_patients_for_the_inner_folds_are_refused():
    with pytest.raises(RanoscopeError, match="at least 5 patients"):
        make_nests(predictions_of(6, 2, 2, (0,)), 5, Path("out"))


@given(seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_no_measured_model_inside_is_fitted_to_whom_it_calls_or_to_the_outer_fold(seed, tmp_path_factory):
    predictions = predictions_of(8, 2, 2, (seed,))
    table = pd.DataFrame({"row": np.arange(len(predictions.cases), dtype=float)})
    exam = Exam(predictions.cases, predictions.seeds, predictions.folds, {InformationLevel.PAIR: table})
    names, fitted = np.array(predictions.patients), []

    def spy(chosen, training, truth, patients, test, random):
        assert list(names[training["row"].astype(int)]) == list(patients)
        fitted.append((set(patients), set(names[test["row"].astype(int)])))
        return np.full((len(test), 4), 0.25)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "fit_predict", spy)
        for nest in make_nests(predictions, 2, tmp_path_factory.mktemp("nests")):
            fitted.clear()
            measured_inside(LOGISTIC[:1], exam, nest)
            outer = set(names[nest.test])
            assert len(fitted) == 2
            assert all(not known & (called | outer) and not called & outer for known, called in fitted)


def test_equal_frequencies_undo_the_training_prevalence_of_each_fold():
    predictions = predictions_of(9, 3, 3, (0, 5))
    answers = np.random.default_rng(0).dirichlet([1.0] * 4, predictions.calls.shape)
    told = np.zeros_like(answers)
    for place, folds in enumerate(predictions.folds):
        for fold in range(3):
            told[place, folds == fold] = at_prevalence(answers[place, folds == fold], predictions.truth[folds != fold])
    found = at_equal_frequencies(Predictions(predictions.cases, predictions.seeds, predictions.folds, told,
                                             predictions.calls))  # fmt: skip
    np.testing.assert_allclose(found, answers)


def test_inner_networks_saw_neither_the_outer_fold_nor_whom_they_call(fused):
    outer = pd.read_csv(fused.run / "folds.csv")
    assert len(fused.networks) == 2 * 2
    for folder, seen in fused.networks:
        fold, inner = (int(number) for number in re.findall(r"fold-(\d+)", str(folder)))
        called = pd.read_csv(folder.parent / "calls.csv")
        tested = set(outer.loc[outer["fold"] == fold, "patient"])
        assert seen
        assert not seen & tested
        assert not set(called["patient"]) & (seen | tested)
        assert set(called["fold"]) == {inner}
    for fold in (0, 1):
        everybody = pd.read_csv(fused.run / f"fusion/inner/seed-0_fold-{fold}/calls.csv")
        training = outer[outer["fold"] != fold]
        assert sorted(everybody["patient"] + everybody["current"]) == sorted(training["patient"] + training["current"])


def test_stacks_and_models_saw_no_patient_of_the_outer_fold(fused):
    outer = pd.read_csv(fused.run / "folds.csv")
    inside = [set(outer.loc[outer["fold"] != fold, "patient"]) for fold in (0, 1)]
    # A stack per level and fold, fitted to all training patients of the fold and nobody else.
    assert [set(patients) for patients in fused.stacks] == inside * 3
    assert all(any(patients <= training for training in inside) for patients in fused.models)
    assert len(fused.models) == 3 * (2 + 2 * 2)
