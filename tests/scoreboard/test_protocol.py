"""The protocol's guarantees: no patient across folds, chance for shuffled labels, one weight per class, parts kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranoscope.cohort.folds import assign_folds
from ranoscope.config import FoldSettings
from ranoscope.domain import Case, InformationLevel, Response, Visit, VisitState
from ranoscope.scoreboard import protocol
from ranoscope.scoreboard.models import MODELS, Model, Settings, at_prevalence, case_weights, fit_predict
from ranoscope.scoreboard.protocol import Exam, choose, examine, fold_matrix

from .conftest import NAMES

LOGISTIC = Settings(("logistic",), 0.01, 5, 0.5)
TREES = Settings(("trees",), 0.01, 5, 0.5)


def cohort(patients, visits, seed, informative=True):
    """Cases whose one feature tells the class apart, or not."""
    generator = np.random.default_rng(seed)
    cases, values = [], []
    for number in range(patients):
        for visit in range(visits):
            label = int(generator.integers(4))
            cases.append(
                Case(f"P{number:02d}", Visit(10 * visit), Visit(10 * visit + 10), Response(NAMES[label]), 10,
                     VisitState.UNRATED, True)
            )  # fmt: skip
            values.append(generator.normal(3 * label if informative else 0))
    return tuple(cases), pd.DataFrame({"volume": values, "noise": generator.normal(size=len(values))})


def exam_of(cases, features, seeds=(0,)):
    seeds, folds = fold_matrix(cases, assign_folds(list(cases), FoldSettings(count=3, seeds=seeds)))
    return Exam(cases, seeds, folds, {InformationLevel.PAIR: features})


def model_of(*candidates, name="m"):
    return Model(name, "M", InformationLevel.PAIR, "Knew.", candidates)


def silent(*_):
    pass


def test_folds_that_part_a_patient_are_refused():
    cases, features = cohort(4, 3, 0)
    folds = np.arange(len(cases))[None] % 2
    with pytest.raises(ValueError, match="P00 in two of seed 0"):
        Exam(cases, (0,), folds, {InformationLevel.PAIR: features})


@given(st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_no_model_is_fitted_to_a_patient_it_calls(seed):
    cases, features = cohort(7, 2, seed)
    exam = exam_of(cases, features, (seed,))
    names = np.array([case.patient for case in cases])
    fitted = []

    def spy(chosen, training, truth, patients, test, random):
        fitted.append((set(patients), set(names[test.index])))
        return np.full((len(test), 4), 0.25)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "fit_predict", spy)
        protocol._of_seed(model_of(LOGISTIC, TREES), exam, 0)
    # Inner and outer fits alike, and the outer ones together call everybody.
    assert all(not known & called for known, called in fitted)
    assert set().union(*(called for _, called in fitted)) == set(names)


def test_shuffled_labels_give_chance_and_true_ones_do_not(tmp_path):
    scores, model = {}, model_of(replace(LOGISTIC, penalty_c=1.0))
    for informative in (True, False):
        cases, features = cohort(40, 5, 3, informative)
        answer = examine((model,), exam_of(cases, features), tmp_path / str(informative), silent)["m"]
        scores[informative] = np.mean([(answer.calls[0][answer.truth == k] == k).mean() for k in range(4)])
    # 200 cases: the standard error of a chance score is 3 points.
    assert scores[False] == pytest.approx(0.25, abs=0.1)
    assert scores[True] > 0.7


def test_parts_are_kept_and_other_inputs_make_others(tmp_path, monkeypatch):
    cases, features = cohort(6, 2, 1)
    exam, model = exam_of(cases, features, (4, 7)), model_of(LOGISTIC)
    first = examine((model,), exam, tmp_path, silent)["m"]
    parts = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()}
    assert len(parts) == 2

    def fail(*_):
        raise AssertionError("a finished part was made again")

    with monkeypatch.context() as patch:
        patch.setattr(protocol, "fit_predict", fail)
        again = examine((model,), exam, tmp_path, silent)["m"]
    np.testing.assert_array_equal(again.probabilities, first.probabilities)
    np.testing.assert_array_equal(again.calls, first.calls)
    for other in (
        (model_of(replace(LOGISTIC, penalty_c=1.0)), exam),
        (model, exam_of(cases, features + 1, (4, 7))),
        (model, exam_of((replace(cases[0], response=Response.CR), *cases[1:]), features, (4, 7))),
    ):
        before = len(list((tmp_path / "parts").iterdir()))
        examine((other[0],), other[1], tmp_path, silent)
        assert len(list((tmp_path / "parts").iterdir())) > before
    assert parts.items() <= {p.name: p.stat().st_mtime_ns for p in (tmp_path / "parts").iterdir()}.items()


def test_choice_is_by_the_training_cases_alone():
    cases, features = cohort(20, 4, 5)
    useless = replace(LOGISTIC, penalty_c=1e-9)
    assert choose((LOGISTIC,), cases, features, 0) is LOGISTIC
    # Nothing left of the signal under this penalty: every candidate that sees it is better.
    assert choose((useless, replace(LOGISTIC, penalty_c=1.0)), cases, features, 0).penalty_c == 1.0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=2, max_size=40), st.floats(0, 1))
def test_classes_weigh_the_same_and_patients_at_full_discount(pairs, discount):
    truth, patients = np.array([t for t, _ in pairs]), tuple(f"P{p}" for _, p in pairs)
    weights = case_weights(truth, patients, discount)
    assert weights.mean() == pytest.approx(1)
    totals = [weights[truth == label].sum() for label in np.unique(truth)]
    assert totals == pytest.approx([len(pairs) / len(totals)] * len(totals))
    full = case_weights(truth, patients, 1.0)
    for label in np.unique(truth):
        of_patient = {p: full[(truth == label) & (np.array(patients) == p)].sum() for p in set(patients)}
        shares = [share for share in of_patient.values() if share > 0]
        assert shares == pytest.approx([shares[0]] * len(shares))


@pytest.mark.parametrize("chosen", [LOGISTIC, TREES, Settings(("logistic", "trees"), 0.01, 5, 0.0)])
def test_answers_are_probabilities_and_absent_classes_get_none(chosen):
    cases, features = cohort(10, 3, 2)
    truth = np.array([min(case.response.class_index, 2) for case in cases])
    answers = fit_predict(chosen, features, truth, tuple(case.patient for case in cases), features[:4], 0)
    np.testing.assert_allclose(answers.sum(axis=1), 1)
    assert (answers[:, 3] == 0).all()
    alone = fit_predict(chosen, features, truth * 0 + 2, ("P",) * len(truth), features[:4], 0)
    np.testing.assert_array_equal(alone, np.eye(4)[[2] * 4])


def test_prevalence_is_bayes_rule():
    answers = np.array([[0.25, 0.25, 0.25, 0.25], [0.1, 0.6, 0.3, 0.0]])
    found = at_prevalence(answers, np.array([0] * 6 + [1] * 3 + [2]))
    np.testing.assert_allclose(found[0], [0.6, 0.3, 0.1, 0])
    np.testing.assert_allclose(found[1], np.array([0.6, 1.8, 0.3, 0]) / 2.7)


def test_unknown_values_are_lived_with():
    cases, features = cohort(10, 3, 2)
    features.loc[::2, "noise"] = np.nan
    features["never"] = np.nan
    truth = np.array([case.response.class_index for case in cases])
    answers = fit_predict(
        Settings(("logistic", "trees"), 0.01, 5, 0.0), features, truth, ("P",) * len(truth), features, 0
    )
    assert np.isfinite(answers).all()


def test_every_model_says_what_it_knew_and_names_are_unique():
    assert len({model.name for model in MODELS}) == len(MODELS) == 12
    assert all(model.knew.startswith("Knew ") and model.knew.endswith(".") for model in MODELS)
