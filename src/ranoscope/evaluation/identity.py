"""What a patient's name and the week give away when folds are cut by visit: a measure of a split, not of a model.

Consecutive visits of a patient tend to be rated alike, so a model that recognises the patient needs no image. In
patient-level folds a tested patient's name was never seen, and only the week is left.
"""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from ranoscope.domain import Case
from ranoscope.evaluation.out_of_fold import out_of_fold_probabilities
from ranoscope.evaluation.predictions import FloatArray, IntArray

_TREES = 200


def identity_features(cases: tuple[Case, ...]) -> FloatArray:
    """Week of the current study, then one column per patient that is 1 for the patient's own cases: (n, 1 + p)."""
    names, place = np.unique([case.patient for case in cases], return_inverse=True)
    weeks = np.array([[case.current.week] for case in cases], np.float64)
    return np.hstack([weeks, np.eye(len(names))[place]])


def identity_model() -> RandomForestClassifier:
    """A forest of 200 trees with balanced classes, otherwise scikit-learn's defaults.

    Of four simple models (nearest week of the same patient, one tree, extra trees, this one) it found most in the
    paper's folds over LUMIERE's ratings: an audit wants the strongest sign of a leak, not a fair contender.
    """
    return RandomForestClassifier(_TREES, class_weight="balanced", random_state=0)


def identity_probabilities(cases: tuple[Case, ...], folds: IntArray) -> FloatArray:
    """Out-of-fold probabilities, shape (seeds, n, 4), from patient and week, fitted inside the folds as given.

    Args:
        cases: n cases.
        folds: fold of each case, shape (seeds, n).
    """
    truth = np.array([case.response.class_index for case in cases], np.int64)
    return out_of_fold_probabilities(identity_features(cases), truth, folds, identity_model)
