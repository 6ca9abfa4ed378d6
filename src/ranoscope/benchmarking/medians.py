"""The reference paper's figures: each fold scored on its own, the median over folds reported.

For comparison alone: a fold holds a handful of CR and PR. Unlike scikit-learn, which leaves a class out that a fold's
truth lacks, a figure that needs every class is undefined for such a fold, and the fold is counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ranoscope.evaluation.predictions import FloatArray, IntArray, Predictions
from ranoscope.evaluation.scores import accuracy, confusion, macro_f1, recalls, roc_auc

PAPER_METRICS: dict[str, str] = {
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
    "f1_macro": "F1, macro",
    "precision_macro": "Precision, macro",
    "recall_macro": "Recall, macro",
    "roc_auc_ovr": "ROC AUC, one against the rest, macro",
}
DEFINITION = (
    "Median over the folds of each fold's figure, averaged over seeds, as in the reference paper; a fold that lacks a "
    "class has none but accuracy. A class that is never called has precision 0."
)


def fold_scores(predictions: Predictions, seed: int) -> dict[str, FloatArray]:
    """Each of the paper's metrics per fold of one seed (its place), shape (folds,); NaN where the fold lacks a class.

    For two classes, PD and the rest, the same figures over these two.
    """
    truth, calls, folds = predictions.truth, predictions.calls[seed], predictions.folds[seed]
    members = (folds == np.unique(folds)[:, None]).astype(float)
    matrix = confusion(truth, calls, members, len(predictions.classes))
    recall = recalls(matrix).mean(axis=1)
    return {
        "balanced_accuracy": recall,
        "accuracy": accuracy(matrix),
        "f1_macro": macro_f1(matrix),
        "precision_macro": _macro_precision(matrix),
        "recall_macro": recall,
        "roc_auc_ovr": _one_against_the_rest(truth, predictions.probabilities[seed], members),
    }


def paper_figures(predictions: Predictions) -> dict[str, dict[str, Any]]:
    """The paper's metrics: metric → ``estimate`` (mean over seeds of the median over folds; None where no fold of a
    seed has a value), ``folds``, ``undefined`` (folds without a value) and ``reason``.
    """
    per_seed = [fold_scores(predictions, seed) for seed in range(len(predictions.seeds))]
    reason = _lacking(predictions)
    figures = {}
    for name in PAPER_METRICS:
        values = [found[name] for found in per_seed]
        undefined = int(sum(np.isnan(one).sum() for one in values))
        known = [one[~np.isnan(one)] for one in values]
        estimate = float(np.mean([np.median(one) for one in known])) if all(map(len, known)) else None
        figures[name] = {
            "estimate": estimate,
            "folds": sum(map(len, values)),
            "undefined": undefined,
            "reason": reason if undefined else None,
        }
    return figures


def _macro_precision(matrix: FloatArray) -> FloatArray:
    support, called = matrix.sum(axis=2), matrix.sum(axis=1)
    precision = np.diagonal(matrix, axis1=1, axis2=2) / np.maximum(called, 1)
    mean: FloatArray = np.where(support > 0, precision, np.nan).mean(axis=1)
    return mean


def _one_against_the_rest(truth: IntArray, probabilities: FloatArray, members: FloatArray) -> FloatArray:
    # Of two classes both sides are the same figure, but for ties that rounding makes or breaks.
    places = range(probabilities.shape[1]) if probabilities.shape[1] > 2 else (0,)
    each = [roc_auc(truth == place, probabilities[:, place], members) for place in places]
    mean: FloatArray = np.mean(each, axis=0)
    return mean


def _lacking(predictions: Predictions) -> str:
    """Which folds lack which class."""
    several = len(predictions.seeds) > 1
    found = []
    for seed, folds in zip(predictions.seeds, predictions.folds, strict=True):
        for fold in np.unique(folds):
            held = predictions.truth[folds == fold]
            absent = [name for place, name in enumerate(predictions.classes) if place not in held]
            if absent:
                found.append(f"fold {fold + 1}{f' of seed {seed}' if several else ''} has no {', '.join(absent)}")
    return "; ".join(found)
