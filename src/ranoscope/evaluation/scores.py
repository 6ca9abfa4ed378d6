"""The scores: pure functions of truth, answers and case weights, vectorised over resamples.

A class that a sample lacks makes a score that needs it NaN, never 0: four-class balanced accuracy and macro-F1 need all
four classes, a recall its own, an AUC both sides. Where only PD was told from the rest, scores are of these two classes
and whatever needs the four responses is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ranoscope.config import Target
from ranoscope.domain import RESPONSES, Response
from ranoscope.evaluation.calibration import brier_score, expected_calibration_error
from ranoscope.evaluation.predictions import REST, BoolArray, FloatArray, IntArray, Predictions
from ranoscope.evaluation.weighting import ratio

BALANCED_ACCURACY = "balanced_accuracy"
MACRO_F1 = "macro_f1"
KAPPA = "quadratic_kappa"
PD_BALANCED_ACCURACY = "pd_balanced_accuracy"
PD_AUC = "pd_auc"
FIRST_PROGRESSION_AUC = "first_progression_auc"

_CLASSES = len(RESPONSES)


@dataclass(frozen=True)
class Metric:
    """A score's name, title and definition. ``chance``: what a model that knows nothing gets, where that is fixed."""

    name: str
    title: str
    definition: str
    higher_is_better: bool = True
    chance: float | None = None


def recall_name(name: str) -> str:
    """The name in scorecards of a class's recall."""
    return f"recall_{name}"


METRICS: tuple[Metric, ...] = (
    Metric(BALANCED_ACCURACY, "Balanced accuracy", "mean of the four recalls", chance=1 / _CLASSES),
    Metric(MACRO_F1, "Macro-F1", "mean of the four F1 scores"),
    Metric("accuracy", "Accuracy", "share of cases called as the expert rated them"),
    Metric(KAPPA, "Quadratic kappa", "agreement beyond chance over PD < SD < PR < CR, quadratic weights", chance=0.0),
    Metric(
        PD_BALANCED_ACCURACY,
        "Balanced accuracy, PD against the rest",
        "mean of the recall of PD and of that of all other responses together",
        chance=0.5,
    ),
    Metric(PD_AUC, "PD AUC", "area under the ROC curve of p(PD) for PD against the rest", chance=0.5),
    Metric(
        FIRST_PROGRESSION_AUC,
        "First-progression AUC",
        "PD AUC over the visits up to and including each patient's first PD, which memory of ratings cannot win",
        chance=0.5,
    ),
    Metric("ece", "ECE", "expected calibration error of the most probable class, 15 equal-width bins", False),
    Metric("brier", "Brier score", "mean squared distance of the four probabilities from the truth, 0 to 2", False),
    *(
        Metric(recall_name(response), f"Recall {response}", f"share of the expert's {response} that is called so")
        for response in reversed(RESPONSES)
    ),
)

# What is left where a model tells PD from the rest alone; the rest counts as one class.
TWO_CLASS_METRICS: tuple[Metric, ...] = (
    *(metric for metric in METRICS if metric.name in (PD_BALANCED_ACCURACY, PD_AUC, FIRST_PROGRESSION_AUC)),
    Metric("accuracy", "Accuracy", "share of cases called PD or not as the expert rated them"),
    Metric("ece", "ECE", "expected calibration error of the more probable of PD and rest, 15 equal-width bins", False),
    Metric(
        "brier", "Brier score", "squared distance of the probabilities of PD and rest from the truth, 0 to 2", False
    ),
    Metric(recall_name(REST), "Recall of the rest", "share of the expert's other responses that is not called PD"),
    *(metric for metric in METRICS if metric.name == recall_name(Response.PD)),
)


def metrics_of(target: Target) -> tuple[Metric, ...]:
    """The scores that mean something for a model of this target."""
    return METRICS if target is Target.FOUR_CLASSES else TWO_CLASS_METRICS


def headline_of(target: Target) -> str:
    """The first score of every table."""
    return BALANCED_ACCURACY if target is Target.FOUR_CLASSES else PD_BALANCED_ACCURACY


def score(predictions: Predictions, weights: FloatArray) -> dict[str, FloatArray]:
    """Every metric in every resample, averaged over the seeds within the resample.

    Args:
        predictions: answers for n cases.
        weights: how often each case counts, shape (r, n).

    Returns:
        Metric name → values of shape (r,), NaN where the resample lacks what the metric needs. Metrics that the target
        gives no meaning are there, too, and NaN.
    """
    per_seed = [_score_seed(predictions, seed, weights) for seed in range(len(predictions.seeds))]
    names = dict.fromkeys(metric.name for metric in (*metrics_of(predictions.target), *METRICS))
    absent = np.full(len(weights), np.nan)
    return {name: np.mean([found.get(name, absent) for found in per_seed], axis=0) for name in names}


def _score_seed(predictions: Predictions, seed: int, weights: FloatArray) -> dict[str, FloatArray]:
    truth, first = predictions.truth, predictions.first_progression
    probabilities = predictions.probabilities[seed]
    progressive, p_progressive = truth == Response.PD.class_index, probabilities[:, Response.PD.class_index]
    matrix = confusion(truth, predictions.calls[seed], weights, len(predictions.classes))
    each = recalls(matrix)
    both = recalls(_merge_rest(matrix))
    found = {
        "accuracy": accuracy(matrix),
        PD_BALANCED_ACCURACY: both.mean(axis=1),
        PD_AUC: roc_auc(progressive, p_progressive, weights),
        FIRST_PROGRESSION_AUC: roc_auc(progressive[first], p_progressive[first], weights[:, first]),
        "ece": expected_calibration_error(truth, probabilities, weights),
        "brier": brier_score(truth, probabilities, weights),
        **{recall_name(name): each[:, place] for place, name in enumerate(predictions.classes)},
    }
    if predictions.target is Target.FOUR_CLASSES:
        found |= {BALANCED_ACCURACY: each.mean(axis=1), MACRO_F1: macro_f1(matrix), KAPPA: quadratic_kappa(matrix)}
    return found


def confusion(truth: IntArray, calls: IntArray, weights: FloatArray, classes: int = _CLASSES) -> FloatArray:
    """Weighted counts, shape (r, c, c): rows the expert's class, columns the call.

    Args:
        truth: class index, shape (n,).
        calls: class index, shape (n,).
        weights: shape (r, n).
        classes: their number c.
    """
    cell = np.eye(classes**2)[truth * classes + calls]
    counts: FloatArray = weights @ cell
    return counts.reshape(len(weights), classes, classes)


def _merge_rest(matrix: FloatArray) -> FloatArray:
    """Counts of PD and of everything else together, shape (r, 2, 2)."""
    rows = np.stack([matrix[:, 0], matrix[:, 1:].sum(axis=1)], axis=1)
    return np.stack([rows[:, :, 0], rows[:, :, 1:].sum(axis=2)], axis=2)


def recalls(matrix: FloatArray) -> FloatArray:
    """Recall per class, shape (r, c); NaN for an absent class, so that their mean, balanced accuracy, is NaN too."""
    return ratio(np.diagonal(matrix, axis1=1, axis2=2), matrix.sum(axis=2))


def macro_f1(matrix: FloatArray) -> FloatArray:
    """Unweighted mean of the four F1 scores, shape (r,); NaN when a class is absent."""
    support = matrix.sum(axis=2)
    f1 = ratio(2 * np.diagonal(matrix, axis1=1, axis2=2), support + matrix.sum(axis=1))
    mean: FloatArray = np.where(support > 0, f1, np.nan).mean(axis=1)
    return mean


def accuracy(matrix: FloatArray) -> FloatArray:
    """Share of cases on the diagonal, shape (r,)."""
    return ratio(np.trace(matrix, axis1=1, axis2=2), matrix.sum(axis=(1, 2)))


def quadratic_kappa(matrix: FloatArray) -> FloatArray:
    """Cohen's kappa with quadratic weights over PD < SD < PR < CR, shape (r,); NaN when all is one class.

    Source: Cohen 1968, "Weighted kappa".
    """
    places = np.arange(_CLASSES)
    distance = (places[:, None] - places[None, :]) ** 2.0
    expected = matrix.sum(axis=2)[:, :, None] * matrix.sum(axis=1)[:, None, :]
    total = matrix.sum(axis=(1, 2))
    return 1 - ratio(total * (matrix * distance).sum(axis=(1, 2)), (expected * distance).sum(axis=(1, 2)))


def roc_auc(positive: BoolArray, values: FloatArray, weights: FloatArray) -> FloatArray:
    """Chance that a positive case has a higher value than a negative one, shape (r,); NaN with one side empty.

    A tie counts a half, so that bare calls give the mean of sensitivity and specificity.

    Args:
        positive: truth, shape (n,).
        values: what is ranked, shape (n,).
        weights: shape (r, n).
    """
    if not len(values):
        return np.full(len(weights), np.nan)
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(values[order]) > 0])
    above = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)
    below = np.add.reduceat(weights[:, order] * ~positive[order], starts, axis=1)
    won = (above * (below.cumsum(axis=1) - below / 2)).sum(axis=1)
    return ratio(won, above.sum(axis=1) * below.sum(axis=1))


def median_of_folds(predictions: Predictions) -> dict[str, Any]:
    """The reference paper's statistic, for comparison only: the median over folds of each fold's balanced accuracy.

    As in scikit-learn a fold's balanced accuracy is over the classes it holds; ``lacking_a_class`` counts the folds for
    which that makes it another quantity. ``estimate``: mean over seeds of each seed's median.
    """
    truth, medians, lacking = predictions.truth, [], 0
    for folds, calls in zip(predictions.folds, predictions.calls, strict=True):
        members = (folds == np.unique(folds)[:, None]).astype(float)
        each = recalls(confusion(truth, calls, members, len(predictions.classes)))
        medians.append(float(np.median(np.nanmean(each, axis=1))))
        lacking += int(np.isnan(each).any(axis=1).sum())
    count = sum(len(np.unique(folds)) for folds in predictions.folds)
    return {"estimate": float(np.mean(medians)), "folds": count, "lacking_a_class": lacking}


def why_undefined(metric: str, predictions: Predictions) -> str:
    """What the sample, or the model, lacks for the metric; meant for a metric whose value is NaN."""
    if metric not in {known.name for known in metrics_of(predictions.target)}:
        return "the model tells PD from the rest alone; only figures of PD against the rest mean something"
    absent = [name for place, name in enumerate(predictions.classes) if place not in predictions.truth]
    if metric in (PD_AUC, FIRST_PROGRESSION_AUC, PD_BALANCED_ACCURACY):
        where = " among the visits up to the first PD" if metric == FIRST_PROGRESSION_AUC else ""
        return f"not both PD and other cases{where}"
    if metric == KAPPA:
        return "truth and calls are all of one class"
    needed = [name for name in absent if metric in (BALANCED_ACCURACY, MACRO_F1, recall_name(name))]
    return f"no case of {', '.join(needed)}"
