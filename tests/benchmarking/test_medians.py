"""The paper's figures against scikit-learn, fold by fold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from ranoscope.benchmarking.medians import fold_scores, paper_figures
from ranoscope.config import Target
from ranoscope.domain import RESPONSES, Case, Response, Visit
from ranoscope.evaluation.predictions import Predictions, against_the_rest


@st.composite
def answers(draw) -> Predictions:
    size, seeds = draw(st.integers(8, 40)), draw(st.integers(1, 2))
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    truth = [RESPONSES[place] for place in generator.integers(0, 4, size)]
    cases = tuple(
        Case(f"P-{n}", Visit(1), Visit(2 + n), response, 1, Response.SD, False) for n, response in enumerate(truth)
    )
    probabilities = generator.dirichlet(np.ones(4), (seeds, size)).round(draw(st.sampled_from((1, 6))))
    probabilities /= probabilities.sum(axis=2, keepdims=True)
    folds = np.stack([generator.permutation(np.arange(size) % 3) for _ in range(seeds)])
    return Predictions(cases, tuple(range(seeds)), folds, probabilities, probabilities.argmax(axis=2))


def by_scikit_learn(truth, calls, probabilities) -> dict[str, float]:
    classes = range(probabilities.shape[1])
    if set(truth) != set(classes):
        names = ("balanced_accuracy", "f1_macro", "precision_macro", "recall_macro", "roc_auc_ovr")
        return {"accuracy": metrics.accuracy_score(truth, calls), **dict.fromkeys(names, np.nan)}
    macro = {"average": "macro", "zero_division": 0}
    binary = probabilities.shape[1] == 2
    auc = metrics.roc_auc_score(truth == 0, probabilities[:, 0]) if binary else metrics.roc_auc_score(
        truth, probabilities, multi_class="ovr", average="macro")  # fmt: skip
    return {
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, calls),
        "accuracy": metrics.accuracy_score(truth, calls),
        "f1_macro": metrics.f1_score(truth, calls, **macro),
        "precision_macro": metrics.precision_score(truth, calls, **macro),
        "recall_macro": metrics.recall_score(truth, calls, **macro),
        "roc_auc_ovr": auc,
    }


@settings(max_examples=60, deadline=None)
@given(four=answers(), binary=st.booleans())
def test_every_fold_and_its_median_are_scikit_learns(four, binary):
    predictions = against_the_rest(four) if binary else four
    medians, undefined = [], 0
    for seed in range(len(predictions.seeds)):
        found, expected = fold_scores(predictions, seed), []
        for fold in np.unique(predictions.folds[seed]):
            inside = predictions.folds[seed] == fold
            answer = predictions.calls[seed][inside], predictions.probabilities[seed][inside]
            expected.append(by_scikit_learn(predictions.truth[inside], *answer))
        for name, values in found.items():
            theirs = [one[name] for one in expected]
            np.testing.assert_allclose(values, theirs, atol=1e-9, err_msg=name)
        known = [one["f1_macro"] for one in expected if not np.isnan(one["f1_macro"])]
        undefined += len(expected) - len(known)
        medians.append(np.median(known) if known else None)
    figure = paper_figures(predictions)["f1_macro"]
    assert figure["undefined"] == undefined
    assert bool(figure["reason"]) == (undefined > 0)
    if None in medians:
        assert figure["estimate"] is None
    else:
        assert figure["estimate"] == pytest.approx(np.mean(medians))


def test_a_fold_without_a_class_has_no_value_and_is_named():
    truth = [Response.PD, Response.SD, Response.PR, Response.CR, Response.PD, Response.SD]
    cases = tuple(Case(f"P-{n}", Visit(1), Visit(2), r, 1, Response.SD, False) for n, r in enumerate(truth))
    folds = np.array([[0, 0, 0, 0, 1, 1]])
    calls = np.array([[r.class_index for r in truth]])
    figures = paper_figures(Predictions(cases, (0,), folds, np.eye(4)[calls], calls))
    assert figures["balanced_accuracy"] == {
        "estimate": 1.0, "folds": 2, "undefined": 1, "reason": "fold 2 has no PR, CR"
    }  # fmt: skip
    assert figures["accuracy"] == {"estimate": 1.0, "folds": 2, "undefined": 0, "reason": None}
    assert against_the_rest(Predictions(cases, (0,), folds, np.eye(4)[calls], calls)).target is Target.PD_VERSUS_REST
