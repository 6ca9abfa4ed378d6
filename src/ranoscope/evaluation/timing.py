"""What the dates alone give away: the probability of each response from the weeks, without a look at any image."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ranoscope.domain import RESPONSES, Case
from ranoscope.evaluation.predictions import FloatArray, IntArray


def timing_features(cases: tuple[Case, ...]) -> FloatArray:
    """Weeks between the studies and week of the current study (counted from the first MRI), shape (n, 2)."""
    return np.array([(case.weeks_between, case.current.week) for case in cases], np.float64).reshape(-1, 2)


def timing_model() -> Pipeline:
    """Multinomial logistic regression, classes weighted to count the same; nothing is tuned (C = 1)."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000))


def timing_probabilities(cases: tuple[Case, ...], folds: IntArray) -> FloatArray:
    """Out-of-fold probabilities, shape (seeds, n, 4): each fold by a model fitted to the other folds' patients.

    A class that a fold's training patients lack gets probability 0; a single class gets 1.

    Args:
        cases: n cases.
        folds: fold of each case, shape (seeds, n).
    """
    truth = np.array([case.response.class_index for case in cases], np.int64)
    features = timing_features(cases)
    answers = np.zeros((*folds.shape, len(RESPONSES)))
    for seed, of_seed in enumerate(folds):
        for fold in np.unique(of_seed):
            test = of_seed == fold
            answers[seed, test] = _fit_predict(features[~test], truth[~test], features[test])
    return answers


def _fit_predict(training: FloatArray, truth: IntArray, test: FloatArray) -> FloatArray:
    classes = np.unique(truth)
    answers = np.zeros((len(test), len(RESPONSES)))
    # Scikit-learn refuses to fit a single class.
    answers[:, classes] = 1.0 if len(classes) == 1 else timing_model().fit(training, truth).predict_proba(test)
    return answers
