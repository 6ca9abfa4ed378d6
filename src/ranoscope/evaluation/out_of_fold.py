"""Fitting inside given folds: every case is answered by a model that was fitted to the other folds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ranoscope.domain import RESPONSES
from ranoscope.evaluation.predictions import FloatArray, IntArray


def out_of_fold_probabilities(
    features: FloatArray, truth: IntArray, folds: IntArray, make_model: Callable[[], Any]
) -> FloatArray:
    """Out-of-fold probabilities, shape (seeds, n, 4): each fold by a fresh model fitted to the other folds.

    A class that a fold's training cases lack gets probability 0; a single class gets 1.

    Args:
        features: shape (n, k).
        truth: class index, shape (n,).
        folds: fold of each case, shape (seeds, n).
        make_model: gives an unfitted classifier of scikit-learn's kind.
    """
    answers = np.zeros((*folds.shape, len(RESPONSES)))
    for seed, of_seed in enumerate(folds):
        for fold in np.unique(of_seed):
            test = of_seed == fold
            answers[seed, test] = _fit_predict(features[~test], truth[~test], features[test], make_model)
    return answers


def _fit_predict(training: FloatArray, truth: IntArray, test: FloatArray, make_model: Callable[[], Any]) -> FloatArray:
    classes = np.unique(truth)
    answers = np.zeros((len(test), len(RESPONSES)))
    # Scikit-learn refuses to fit a single class.
    answers[:, classes] = 1.0 if len(classes) == 1 else make_model().fit(training, truth).predict_proba(test)
    return answers
