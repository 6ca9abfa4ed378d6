"""The measured-change models: what each is shown, how it is made, and how training cases are weighted.

A model's settings are fixed before a fold is opened, or chosen inside the training patients of each fold. What was
tried on the way to the fixed ones, and on which other folds, is listed in docs/scoreboard.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from itertools import product

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

_TREES = 300
# How much less than the other features these are shrunk: the expert's rating of the prior study is known without error,
# and the volume rule's call is what the ratings are meant to follow.
_RATING_SCALE, _RULE_SCALE = 3.0, 2.0


@dataclass(frozen=True)
class Settings:
    """Settings of a model.

    ``members``: ``logistic``, ``trees`` or both, whose probabilities are then averaged. ``penalty_c``: inverse strength
    of the logistic regression's penalty. ``leaf``: least cases in a tree's leaf. ``discount``: see ``case_weights``.
    """

    members: tuple[str, ...]
    penalty_c: float
    leaf: int
    discount: float


@dataclass(frozen=True)
class Model:
    """A model of the scoreboard. Of several ``candidates`` the best is chosen inside each fold's training patients."""

    name: str
    title: str
    level: InformationLevel
    knew: str
    candidates: tuple[Settings, ...]

    def recipe(self) -> str:
        """All that decides the model's answers besides the features, as text: other text, other model."""
        constants = (_TREES, _RATING_SCALE, _RULE_SCALE, sklearn.__version__)
        return f"{[astuple(one) for one in self.candidates]} {constants}"


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
    settings: Settings, training: pd.DataFrame, truth: IntArray, patients: tuple[str, ...], test: pd.DataFrame,
    seed: int,
) -> FloatArray:  # fmt: skip
    """Probabilities of the test rows, shape (n, 4), as if every class were equally frequent.

    A class that the training cases lack gets probability 0; a single class gets 1.

    Args:
        settings: what to fit.
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
    weights = case_weights(truth, patients, settings.discount)
    for member in settings.members:
        pipeline = _MAKERS[member](settings, seed)
        pipeline.fit(training, truth, **{f"{pipeline.steps[-1][0]}__sample_weight": weights})
        answers[:, classes] += pipeline.predict_proba(test) / len(settings.members)
    return answers


def at_prevalence(answers: FloatArray, truth: IntArray) -> FloatArray:
    """Probabilities at the frequency of the classes among the training cases (Bayes' rule), shape (n, 4).

    Args:
        answers: probabilities as if every class were equally frequent, shape (n, 4).
        truth: class index of the training cases.
    """
    joint = answers * np.bincount(truth, minlength=len(RESPONSES))
    probabilities: FloatArray = joint / joint.sum(axis=1, keepdims=True)
    return probabilities


def at_equal_frequency(probabilities: FloatArray, truth: IntArray) -> FloatArray:
    """Probabilities as if every class were equally frequent: what ``at_prevalence`` did, undone, shape (n, 4).

    Args:
        probabilities: at the frequency of the classes among the training cases, shape (n, 4); 0 for a class they lack.
        truth: class index of the training cases.
    """
    odds = probabilities / np.bincount(truth, minlength=len(RESPONSES)).clip(min=1)
    answers: FloatArray = odds / odds.sum(axis=1, keepdims=True)
    return answers


def _make_logistic(settings: Settings, seed: int) -> Pipeline:
    """Multinomial logistic regression; unknown values take the median and are marked as unknown."""
    prepare = make_column_transformer(
        (_standard(_RATING_SCALE), make_column_selector("^prior_rated_")),
        (_standard(_RULE_SCALE), make_column_selector("^rule_says_")),
        remainder=_standard(1.0),
    )
    return make_pipeline(prepare, LogisticRegression(C=settings.penalty_c, max_iter=2000, random_state=seed))


def _make_trees(settings: Settings, seed: int) -> Pipeline:
    """Extremely randomised trees (Geurts 2006)."""
    trees = ExtraTreesClassifier(_TREES, min_samples_leaf=settings.leaf, random_state=seed)
    return make_pipeline(_known(), trees)


_MAKERS: dict[str, Callable[[Settings, int], Pipeline]] = {"logistic": _make_logistic, "trees": _make_trees}


def _known() -> SimpleImputer:
    # A column that is unknown in all training cases stays, as zeros, so that every fold has the same features.
    return SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)


def _standard(scale: float) -> Pipeline:
    """Standard deviation ``scale``: under one penalty, what is spread wider is shrunk less."""
    return make_pipeline(_known(), StandardScaler(), FunctionTransformer(_multiply, kw_args={"by": scale}))


def _multiply(values: FloatArray, by: float) -> FloatArray:
    return values * by


@dataclass(frozen=True)
class Shown:
    """How a level is named in titles, the sentence on what its models knew, and the discount of their cases."""

    title: str
    knew: str
    discount: float


LEVELS = {
    InformationLevel.PAIR: Shown(
        "two studies",
        "Knew the measured volumes of the two studies, the weeks between them and since the first, age, sex, IDH and "
        "MGMT",
        1.0,
    ),
    InformationLevel.TIMELINE: Shown(
        "timeline",
        "Knew the measured volumes of every study so far, their weeks, when the patient was operated on, age, sex, IDH "
        "and MGMT",
        0.5,
    ),
    InformationLevel.READER: Shown(
        "timeline and ratings",
        "Knew the measured volumes of every study so far, their weeks and operations, age, sex, IDH and MGMT, and "
        "every earlier rating of the expert",
        0.5,
    ),
}
_PENALTY_C, _LEAF = 0.003, 12
_CHOICE = tuple(Settings(("logistic",), c, _LEAF, d) for c, d in product((0.001, 0.003, 0.01, 0.03), (0.0, 0.5, 1.0)))


def _models(level: InformationLevel) -> list[Model]:
    of_level, knew, discount = LEVELS[level].title, LEVELS[level].knew, LEVELS[level].discount
    kinds = {
        "average": ("Average", "mean of a logistic regression and randomised trees", ("logistic", "trees")),
        "logistic": ("Logistic regression", "strongly shrunk logistic regression", ("logistic",)),
        "trees": ("Randomised trees", "extremely randomised trees", ("trees",)),
    }
    fixed = [
        Model(f"{level}_{kind}", f"{title}, {of_level}", level, f"{knew}; {how}.",
              (Settings(members, _PENALTY_C, _LEAF, discount),))
        for kind, (title, how, members) in kinds.items()
    ]  # fmt: skip
    how = "logistic regression, penalty and weights chosen inside each fold's training patients"
    return [*fixed, Model(f"{level}_nested", f"Nested choice, {of_level}", level, f"{knew}; {how}.", _CHOICE)]


MODELS: tuple[Model, ...] = tuple(model for level in LEVELS for model in _models(level))
