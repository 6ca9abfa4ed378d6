"""One shrunk multinomial regression, its penalty and its temperature, all chosen by cases of held-out patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression

from ranoscope.domain import RESPONSES
from ranoscope.evaluation.calibration import expected_calibration_error
from ranoscope.evaluation.predictions import FloatArray, IntArray
from ranoscope.evaluation.weighting import whole_sample
from ranoscope.scoreboard.models import at_prevalence, case_weights

# Inverse strengths of the penalty, strongest first. Under the first, answers hardly move from the frequencies of the
# classes; under the last, some 250 cases of log-probabilities are weighed almost freely.
PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
# Probabilities below this are not told apart: no cohort of some hundred cases says how rare the rarer are.
FLOOR = 1e-3
# Natural logarithms of the temperatures that are tried: probabilities a quarter to four times as sharp.
_SHARPNESS = (-np.log(4.0), np.log(4.0))


@dataclass(frozen=True)
class Learners:
    """Training cases of a pool: ``features`` (n, k), ``truth`` class index (n,), ``patients``, the inner ``folds`` (n,)
    by patient, and the ``discount`` of ``case_weights``.
    """

    features: FloatArray
    truth: IntArray
    patients: tuple[str, ...]
    folds: IntArray
    discount: float

    def part(self, chosen: np.typing.NDArray[np.bool_]) -> Learners:
        """The chosen cases alone."""
        patients = tuple(np.array(self.patients)[chosen])
        return Learners(self.features[chosen], self.truth[chosen], patients, self.folds[chosen], self.discount)

    @property
    def weights(self) -> FloatArray:
        """Every class counts the same, prolific patients less."""
        return case_weights(self.truth, self.patients, self.discount)


@dataclass(frozen=True)
class Pool:
    """A fitted regression; ``model`` is None where the training cases hold one class.

    ``truth``: class index of those cases. ``calibration``: ECE over them, each called by a regression that did not see
    its patient, before and after the temperature.
    """

    model: LogisticRegression | None
    truth: IntArray
    penalty_c: float
    temperature: float
    calibration: tuple[float, float]

    def answer(self, features: FloatArray) -> FloatArray:
        """Probabilities as if every class were equally frequent, shape (n, 4); 0 for a class the training lacks."""
        answers = np.zeros((len(features), len(RESPONSES)))
        answers[:, np.unique(self.truth)] = 1.0 if self.model is None else self.model.predict_proba(features)
        return answers

    def probabilities(self, features: FloatArray) -> FloatArray:
        """Calibrated probabilities at the frequency of the training's classes, shape (n, 4)."""
        return soften(at_prevalence(self.answer(features), self.truth), self.temperature)


def fit_pool(learners: Learners) -> Pool:
    """Choose penalty and temperature by the inner folds, then fit to all training cases.

    Of several penalties that do equally well the strongest is taken.

    Args:
        learners: training cases of two inner folds or more.
    """
    held_out = [_out_of_fold(learners, penalty_c) for penalty_c in PENALTIES]
    losses = [log_loss(answers, learners.truth, learners.weights) for answers, _ in held_out]
    best = int(np.argmin(losses))
    probabilities = held_out[best][1]
    temperature = fit_temperature(probabilities, learners.truth)
    once = whole_sample(len(learners.truth))
    before, after = (
        float(expected_calibration_error(learners.truth, one, once)[0])
        for one in (probabilities, soften(probabilities, temperature))
    )
    return Pool(_fit(learners, PENALTIES[best]), learners.truth, PENALTIES[best], temperature, (before, after))


def fit_temperature(probabilities: FloatArray, truth: IntArray) -> float:
    """The temperature under which the answers are most probable (Guo et al. 2017), from 1/4 to 4.

    Args:
        probabilities: of cases that the model was not fitted to, shape (n, 4).
        truth: their class index.
    """
    once = np.ones(len(truth))
    found = minimize_scalar(
        lambda sharpness: log_loss(soften(probabilities, float(np.exp(sharpness))), truth, once),
        bounds=_SHARPNESS,
        method="bounded",
    )
    return float(np.exp(found.x))


def soften(probabilities: FloatArray, temperature: float) -> FloatArray:
    """Probabilities to the power of 1 / temperature, rows summing to 1: above 1 less sure, below 1 surer; 0 stays 0."""
    powers = probabilities ** (1 / temperature)
    softened: FloatArray = powers / powers.sum(axis=1, keepdims=True)
    return softened


def log_loss(probabilities: FloatArray, truth: IntArray, weights: FloatArray) -> float:
    """Weighted mean of −log of the true class's probability, which counts as ``FLOOR`` at least."""
    right = probabilities[np.arange(len(truth)), truth].clip(min=FLOOR)
    return float(np.average(-np.log(right), weights=weights))


def _out_of_fold(learners: Learners, penalty_c: float) -> tuple[FloatArray, FloatArray]:
    """Answers at equal frequency, and at the frequency of the classes, of every case by a fit to the other folds."""
    answers = np.zeros((len(learners.truth), len(RESPONSES)))
    probabilities = answers.copy()
    for fold in np.unique(learners.folds):
        test = learners.folds == fold
        rest = learners.part(~test)
        pool = Pool(_fit(rest, penalty_c), rest.truth, penalty_c, 1.0, (np.nan, np.nan))
        answers[test] = pool.answer(learners.features[test])
        probabilities[test] = at_prevalence(answers[test], rest.truth)
    return answers, probabilities


def _fit(learners: Learners, penalty_c: float) -> LogisticRegression | None:
    """None where there is one class, which scikit-learn refuses."""
    if len(np.unique(learners.truth)) == 1:
        return None
    model = LogisticRegression(C=penalty_c, max_iter=2000)
    return model.fit(learners.features, learners.truth, sample_weight=learners.weights)
