"""Every score equals an independent implementation on the rows that the weights stand for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    recall_score,
    roc_auc_score,
)
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_cohen_kappa

from ranoscope.evaluation.predictions import against_the_rest
from ranoscope.evaluation.scores import (
    METRICS,
    TWO_CLASS_METRICS,
    confusion,
    median_of_folds,
    metrics_of,
    roc_auc,
    score,
    why_undefined,
)

CLASSES = range(4)
SETTINGS = settings(max_examples=50, deadline=None)


@st.composite
def samples(draw, every_class=True):
    """Truth, calls, probabilities (n, 4), first-progression flags and integer weights of a few cases.

    The eight first cases hold every class twice, once as first progression, when ``every_class``.
    """
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, 3), st.integers(0, 3), st.lists(st.integers(1, 9), min_size=4, max_size=4),
                st.booleans(), st.integers(0, 3),
            ),
            min_size=8, max_size=24,
        )
    )  # fmt: skip
    truth, calls, parts, first, weights = (np.array(column) for column in zip(*rows, strict=True))
    if every_class:
        truth[:8], first[:4], weights[:8] = [0, 1, 2, 3] * 2, True, np.maximum(weights[:8], 1)
    # An irrational shift keeps every probability off the edges of bins, where rounding decides differently per library.
    parts = parts + np.pi / 100
    return truth, calls, parts / parts.sum(axis=1, keepdims=True), first, weights


def reference(truth, calls, probabilities, first, weights):
    """The scores by scikit-learn and (ECE, in single precision) torchmetrics, each case repeated as it counts."""
    truth, calls, first = (np.repeat(part, weights) for part in (truth, calls, first))
    probabilities = np.repeat(probabilities, weights, axis=0)
    progressive = truth == 0
    return {
        "balanced_accuracy": balanced_accuracy_score(truth, calls),
        "macro_f1": f1_score(truth, calls, labels=CLASSES, average="macro"),
        "accuracy": accuracy_score(truth, calls),
        "quadratic_kappa": cohen_kappa_score(truth, calls, labels=CLASSES, weights="quadratic"),
        "pd_balanced_accuracy": balanced_accuracy_score(progressive, calls == 0),
        "pd_auc": roc_auc_score(progressive, probabilities[:, 0]),
        "first_progression_auc": roc_auc_score(progressive[first], probabilities[first, 0]),
        "ece": float(
            multiclass_calibration_error(
                torch.from_numpy(probabilities), torch.from_numpy(truth), num_classes=4, n_bins=15, norm="l1"
            )
        ),
        "brier": brier_score_loss(truth, probabilities, labels=CLASSES, scale_by_half=False),
        **{
            f"recall_{name}": value
            for name, value in zip(
                ("PD", "SD", "PR", "CR"), recall_score(truth, calls, labels=CLASSES, average=None), strict=True
            )
        },
    }


@SETTINGS
@given(sample=samples())
def test_every_score_equals_scikit_learn_and_torchmetrics(sample, make_cases, make_predictions):
    truth, calls, probabilities, first, weights = sample
    predictions = make_predictions(make_cases(truth, first=first), probabilities, calls)
    found = score(predictions, np.array([weights, np.ones_like(weights)], float))
    for place, times in enumerate((weights, np.ones_like(weights))):
        expected = reference(truth, calls, probabilities, first, times)
        assert {name: values[place] for name, values in found.items()} == pytest.approx(expected, abs=1e-6)


def reference_of_pd(truth, calls, probabilities, first, weights):
    """What is left of PD against the rest, by the same libraries on two classes."""
    truth, calls, first = (np.repeat(part, weights) for part in (truth, calls, first))
    p_pd = np.repeat(probabilities[:, 0], weights)
    progressive, two = truth == 0, np.stack([p_pd, 1 - p_pd], axis=1)
    sensitivity, specificity = recall_score(progressive, calls == 0, labels=[True, False], average=None)
    return {
        "pd_balanced_accuracy": balanced_accuracy_score(progressive, calls == 0),
        "accuracy": accuracy_score(progressive, calls == 0),
        "pd_auc": roc_auc_score(progressive, p_pd),
        "first_progression_auc": roc_auc_score(progressive[first], p_pd[first]),
        "recall_PD": sensitivity,
        "recall_rest": specificity,
        "brier": 2 * brier_score_loss(progressive, p_pd),
        "ece": float(
            multiclass_calibration_error(
                torch.from_numpy(two),
                torch.from_numpy(1 - progressive.astype(int)),
                num_classes=2,
                n_bins=15,
                norm="l1",
            )
        ),
    }


@SETTINGS
@given(sample=samples())
def test_of_pd_against_the_rest_only_two_class_scores_are_left(sample, make_cases, make_predictions):
    truth, calls, probabilities, first, weights = sample
    four = make_predictions(make_cases(truth, first=first), probabilities, calls)
    two = against_the_rest(four)
    found = {name: values[0] for name, values in score(two, weights[None].astype(float)).items()}
    expected = reference_of_pd(truth, calls, probabilities, first, weights)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    others = set(found) - set(expected)
    assert others == {"balanced_accuracy", "macro_f1", "quadratic_kappa", "recall_SD", "recall_PR", "recall_CR"}
    assert all(np.isnan(found[name]) and "PD from the rest" in why_undefined(name, two) for name in others)
    assert [metric.name for metric in metrics_of(two.target)] == list(dict.fromkeys(m.name for m in TWO_CLASS_METRICS))
    assert set(expected) == {metric.name for metric in TWO_CLASS_METRICS}


@SETTINGS
@given(sample=samples())
def test_kappa_also_equals_torchmetrics(sample, make_cases, make_predictions):
    truth, calls, probabilities, first, _ = sample
    predictions = make_predictions(make_cases(truth, first=first), probabilities, calls)
    expected = multiclass_cohen_kappa(torch.from_numpy(calls), torch.from_numpy(truth), 4, weights="quadratic")
    found = score(predictions, np.ones((1, len(truth))))["quadratic_kappa"][0]
    assert found == pytest.approx(float(expected), abs=1e-6)


@SETTINGS
@given(sample=samples(every_class=False))
def test_what_a_sample_lacks_has_no_score(sample, make_cases, make_predictions):
    truth, calls, probabilities, first, weights = sample
    assume(weights.any())
    predictions = make_predictions(make_cases(truth, first=first), probabilities, calls)
    found = {name: values[0] for name, values in score(predictions, weights[None].astype(float)).items()}
    held, held_first = (set(truth[keep].tolist()) for keep in (weights > 0, (weights > 0) & first))
    undefined = {f"recall_{name}" for index, name in enumerate(("PD", "SD", "PR", "CR")) if index not in held}
    undefined |= {"balanced_accuracy", "macro_f1"} if len(held) < 4 else set()
    undefined |= {"pd_auc", "pd_balanced_accuracy"} if 0 not in held or held == {0} else set()
    undefined |= {"first_progression_auc"} if 0 not in held_first or held_first == {0} else set()
    undefined |= {"quadratic_kappa"} if held == set(calls[weights > 0].tolist()) and len(held) == 1 else set()
    assert {name for name, value in found.items() if np.isnan(value)} == undefined


def test_an_undefined_score_says_what_is_lacking(make_cases, make_predictions):
    cases = make_cases([0, 0, 1], first=[True, True, False])
    predictions = make_predictions(cases, np.eye(4)[[0, 0, 1]])
    assert why_undefined("balanced_accuracy", predictions) == "no case of PR, CR"
    assert why_undefined("macro_f1", predictions) == "no case of PR, CR"
    assert why_undefined("recall_CR", predictions) == "no case of CR"
    assert "up to the first PD" in why_undefined("first_progression_auc", predictions)
    assert np.isnan(score(predictions, np.ones((1, 3)))["first_progression_auc"][0])


def test_seeds_are_averaged_within_each_resample(make_cases, make_predictions):
    generator = np.random.default_rng(1)
    cases = make_cases([0, 1, 2, 3] * 5)
    probabilities = generator.dirichlet(np.ones(4), size=(3, 20))
    weights = generator.integers(1, 3, size=(6, 20)).astype(float)
    together = score(make_predictions(cases, probabilities), weights)
    apart = [score(make_predictions(cases, part), weights) for part in probabilities]
    for metric in METRICS:
        assert together[metric.name] == pytest.approx(np.mean([one[metric.name] for one in apart], axis=0))


def test_confusion_has_the_expert_in_rows():
    truth, calls = np.array([0, 0, 1, 3]), np.array([0, 1, 1, 0])
    weights = np.array([[1.0, 2, 3, 4]])
    expected = confusion_matrix(truth, calls, labels=CLASSES, sample_weight=weights[0])
    assert (confusion(truth, calls, weights)[0] == expected).all()
    assert confusion(truth, calls, weights)[0, 3, 0] == 4


def test_auc_of_bare_calls_is_the_mean_of_sensitivity_and_specificity():
    positive = np.array([True] * 10 + [False] * 4)
    called = np.array([1.0] * 7 + [0.0] * 3 + [1.0] + [0.0] * 3)
    assert roc_auc(positive, called, np.ones((1, 14)))[0] == pytest.approx((7 / 10 + 3 / 4) / 2)


def test_median_of_folds_equals_scikit_learn(make_cohort_predictions):
    predictions = make_cohort_predictions(seeds=2)
    medians, lacking = [], 0
    for folds, calls in zip(predictions.folds, predictions.calls, strict=True):
        per_fold = []
        for fold in set(folds.tolist()):
            truth = predictions.truth[folds == fold]
            present = sorted(set(truth.tolist()))
            per_fold.append(recall_score(truth, calls[folds == fold], labels=present, average="macro"))
            lacking += len(present) < 4
        medians.append(np.median(per_fold))
    found = median_of_folds(predictions)
    assert found["estimate"] == pytest.approx(np.mean(medians))
    assert (found["folds"], found["lacking_a_class"]) == (6, lacking)


def test_median_of_folds_counts_folds_that_lack_a_class(make_cases, make_predictions):
    cases = make_cases([0, 1, 2, 3, 0, 1])
    predictions = make_predictions(cases, np.eye(4)[[0, 1, 2, 0, 0, 0]], folds=[[0, 0, 0, 0, 1, 1]])
    assert median_of_folds(predictions) == {"estimate": (3 / 4 + 1 / 2) / 2, "folds": 2, "lacking_a_class": 1}
