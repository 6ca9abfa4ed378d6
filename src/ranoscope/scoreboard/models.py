"""The measured-change models: what each is shown, how it is made, and how training cases are weighted.

All are fixed before a fold is opened: no threshold, penalty or choice of features is tuned on anything. What was tried
on the way to these settings, and on which other folds, is listed in docs/scoreboard.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import sklearn
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from ranoscope.domain import RESPONSES, InformationLevel
from ranoscope.evaluation.predictions import FloatArray, IntArray

_PENALTY_C = 0.003
_TREES, _LEAF = 300, 12
# To what power a patient's number of cases of a class is discounted, see `case_weights`.
_DISCOUNT = 0.5
# How much less than the other features the expert's rating of the prior study is shrunk: it is known without error.
_RATING_SCALE = 3.0
_LEVEL_NAMES = {
    InformationLevel.PAIR: "two studies",
    InformationLevel.TIMELINE: "timeline",
    InformationLevel.READER: "timeline and ratings",
}
_KNEW = {
    InformationLevel.PAIR: (
        "Knew the measured volumes of the two studies, the weeks between them and since the first, age, sex, IDH and "
        "MGMT"
    ),
    InformationLevel.TIMELINE: (
        "Knew the measured volumes of every study so far, their weeks, when the patient was operated on, age, sex, IDH "
        "and MGMT"
    ),
    InformationLevel.READER: (
        "Knew all that, the volumes of every study so far, and every earlier rating of the expert"
    ),
}


@dataclass(frozen=True)
class Model:
    """A model of the scoreboard.

    ``members``: makers of unfitted classifiers whose probabilities are averaged; ``discount``: see ``case_weights``.
    """

    name: str
    title: str
    level: InformationLevel
    knew: str
    members: tuple[Callable[[int], Pipeline], ...]
    discount: float

    def recipe(self) -> str:
        """All that decides the model's answers besides the features, as text: other text, other model."""
        makers = ", ".join(make.__name__ for make in self.members)
        return (
            f"{makers}; {self.discount, _PENALTY_C, _TREES, _LEAF, _RATING_SCALE}; scikit-learn {sklearn.__version__}"
        )


def case_weights(truth: IntArray, patients: tuple[str, ...], discount: float) -> FloatArray:
    """Weights under which every class counts the same, and within it prolific patients less; mean 1, shape (n,).

    A case of a patient with m cases of its class weighs m to the power of minus ``discount``: visits of one patient are
    no independent evidence, and LUMIERE's 27 CR are of 8 patients.

    Args:
        truth: class index, shape (n,).
        patients: the patient of each case.
        discount: 0 (every case counts the same) to 1 (every patient counts the same).
    """
    groups = pd.Series(1, index=pd.MultiIndex.from_arrays([truth, np.array(patients)]))
    size = groups.groupby(level=[0, 1]).transform("sum").to_numpy(np.float64)
    weights: FloatArray = size**-discount
    for label in np.unique(truth):
        weights[truth == label] /= weights[truth == label].sum()
    mean_1: FloatArray = weights / weights.mean()
    return mean_1


def fit_predict(
    model: Model, training: pd.DataFrame, truth: IntArray, patients: tuple[str, ...], test: pd.DataFrame, seed: int
) -> FloatArray:
    """Probabilities of the test rows, shape (n, 4), as if every class were equally frequent.

    A class that the training cases lack gets probability 0; a single class gets 1.

    Args:
        model: what to fit.
        training: features of the training cases.
        truth: their class index.
        patients: their patients.
        test: features of the cases to call.
        seed: drives the trees' randomness.
    """
    classes = np.unique(truth)
    answers = np.zeros((len(test), len(RESPONSES)))
    if len(classes) == 1:
        answers[:, classes] = 1.0
        return answers
    weights = case_weights(truth, patients, model.discount)
    for make in model.members:
        pipeline = make(seed)
        pipeline.fit(training, truth, **{f"{pipeline.steps[-1][0]}__sample_weight": weights})
        answers[:, classes] += pipeline.predict_proba(test) / len(model.members)
    return answers


def make_logistic(seed: int) -> Pipeline:
    """Multinomial logistic regression, strongly shrunk; unknown values take the median and are marked as unknown."""
    scale_up = FunctionTransformer(_scale_up)
    prepare = make_column_transformer(
        (make_pipeline(_known(), StandardScaler(), scale_up), make_column_selector("^prior_rated_")),
        remainder=make_pipeline(_known(), StandardScaler()),
    )
    return make_pipeline(prepare, LogisticRegression(C=_PENALTY_C, max_iter=2000, random_state=seed))


def make_trees(seed: int) -> Pipeline:
    """Extremely randomised trees with leaves of 12 cases and more (Geurts 2006)."""
    return make_pipeline(_known(), ExtraTreesClassifier(_TREES, min_samples_leaf=_LEAF, random_state=seed))


def _known() -> SimpleImputer:
    # A column that is unknown in all training cases stays, as zeros, so that every fold has the same features.
    return SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)


def _scale_up(values: FloatArray) -> FloatArray:
    return values * _RATING_SCALE


_KINDS: dict[str, tuple[str, str, tuple[Callable[[int], Pipeline], ...]]] = {
    "average": ("Average", "the mean of the two models below", (make_logistic, make_trees)),
    "logistic": ("Logistic regression", "strongly shrunk logistic regression", (make_logistic,)),
    "trees": ("Randomised trees", "extremely randomised trees", (make_trees,)),
}

MODELS: tuple[Model, ...] = tuple(
    Model(
        name=f"{level}_{kind}",
        title=f"{title}, {level_name}",
        level=level,
        knew=f"{_KNEW[level]}; {how}.",
        members=members,
        discount=_DISCOUNT,
    )
    for level, level_name in _LEVEL_NAMES.items()
    for kind, (title, how, members) in _KINDS.items()
)
