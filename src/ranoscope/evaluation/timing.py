"""What the dates alone give away: the probability of each response from the weeks, without a look at any image."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ranoscope.domain import Case
from ranoscope.evaluation.out_of_fold import out_of_fold_probabilities
from ranoscope.evaluation.predictions import FloatArray, IntArray


def timing_features(cases: tuple[Case, ...]) -> FloatArray:
    """Weeks between the studies and week of the current study (counted from the first MRI), shape (n, 2)."""
    return np.array([(case.weeks_between, case.current.week) for case in cases], np.float64).reshape(-1, 2)


def timing_model() -> Pipeline:
    """Multinomial logistic regression, classes weighted to count the same; nothing is tuned (C = 1)."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000))


def timing_probabilities(cases: tuple[Case, ...], folds: IntArray) -> FloatArray:
    """Out-of-fold probabilities, shape (seeds, n, 4): each fold by a model fitted to the other folds' patients.

    Args:
        cases: n cases.
        folds: fold of each case, shape (seeds, n).
    """
    truth = np.array([case.response.class_index for case in cases], np.int64)
    return out_of_fold_probabilities(timing_features(cases), truth, folds, timing_model)
