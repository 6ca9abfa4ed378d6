"""A log-linear pool of opinions: how much each is believed, chosen by cases of held-out patients.

The logit of a class is a sum over the opinions: a weight, the same for every class and never below 0, times the
opinion's log-odds of that class; and a bias of the class. A multinomial regression, which has a weight for every pair
of classes, asks more than a dozen patients of the rarest class can teach: docs/fusion.md has the figures. Weights that
are not negative: Breiman 1996, "Stacked regressions".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax

from ranoscope.domain import RESPONSES
from ranoscope.evaluation.calibration import expected_calibration_error
from ranoscope.evaluation.predictions import BoolArray, FloatArray, IntArray
from ranoscope.evaluation.weighting import whole_sample
from ranoscope.scoreboard.models import at_prevalence, case_weights

# Inverse strengths of the penalty, strongest first: from answers that hardly leave the frequencies of the classes to
# opinions weighed almost freely.
PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
# Probabilities below this are not told apart: no cohort of some hundred cases says how rare the rarer are.
FLOOR = 1e-3
# Natural logarithms of the temperatures that are tried: probabilities a quarter to four times as sharp.
_SHARPNESS = (-np.log(4.0), np.log(4.0))


@dataclass(frozen=True)
class Learners:
    """Training cases: log-odds of b ``opinions`` (n, b, 4), ``truth`` class index (n,), ``patients``, the inner
    ``folds`` (n,) by patient, and the ``discount`` of ``case_weights``.
    """

    opinions: FloatArray
    truth: IntArray
    patients: tuple[str, ...]
    folds: IntArray
    discount: float

    def part(self, chosen: BoolArray) -> Learners:
        """The chosen cases alone."""
        patients = tuple(np.array(self.patients)[chosen])
        return Learners(self.opinions[chosen], self.truth[chosen], patients, self.folds[chosen], self.discount)

    @property
    def scale(self) -> FloatArray:
        """Root mean square of each opinion, shape (b,): so that one penalty asks the same of a model that speaks softly
        and of one that is sure of itself. 1 for an opinion that says nothing.
        """
        spread = np.sqrt((self.opinions**2).mean(axis=(0, 2)))
        return np.where(spread > 0, spread, 1.0)

    @property
    def weights(self) -> FloatArray:
        """Every class counts the same, prolific patients less."""
        return case_weights(self.truth, self.patients, self.discount)


@dataclass(frozen=True)
class Pool:
    """A fitted pool: ``weights`` of the opinions (b,), ``biases`` of the classes (4,), −∞ for those that the training
    cases, whose class indices are ``truth``, lack.

    ``calibration``: ECE over the training cases, each called by a pool that did not see its patient, before and after
    the temperature.
    """

    weights: FloatArray
    biases: FloatArray
    truth: IntArray
    penalty_c: float
    temperature: float = 1.0
    calibration: tuple[float, float] = (np.nan, np.nan)

    def answer(self, opinions: FloatArray) -> FloatArray:
        """Probabilities as if every class were equally frequent, shape (n, 4), of log-odds of shape (n, b, 4)."""
        answers: FloatArray = softmax(np.einsum("nbk,b->nk", opinions, self.weights) + self.biases, axis=1)
        return answers

    def probabilities(self, opinions: FloatArray) -> FloatArray:
        """Calibrated probabilities at the frequency of the training's classes, shape (n, 4)."""
        return soften(at_prevalence(self.answer(opinions), self.truth), self.temperature)

    def spreads(self, opinions: FloatArray) -> FloatArray:
        """By how much each opinion moves the logits of these cases: root mean square, shape (b,)."""
        spreads: FloatArray = self.weights * np.sqrt((opinions**2).mean(axis=(0, 2)))
        return spreads


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
    return replace(_fit(learners, PENALTIES[best]), temperature=temperature, calibration=(before, after))


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
        answers[test] = _fit(rest, penalty_c).answer(learners.opinions[test])
        probabilities[test] = at_prevalence(answers[test], rest.truth)
    return answers, probabilities


def _fit(learners: Learners, penalty_c: float) -> Pool:
    """The pool that makes the training cases most probable, under a penalty on the squares of weights and biases."""
    present = np.unique(learners.truth)
    scaled = learners.opinions[:, :, present] / learners.scale[:, None]
    truth, weights = np.searchsorted(present, learners.truth), learners.weights
    right = np.eye(len(present))[truth]
    count = scaled.shape[1]

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        logs = log_softmax(np.einsum("nbk,b->nk", scaled, parameters[:count]) + parameters[count:], axis=1)
        error = weights[:, None] * (np.exp(logs) - right)
        slope = np.concatenate([np.einsum("nbk,nk->b", scaled, error), error.sum(axis=0)])
        value = -float(weights @ logs[np.arange(len(truth)), truth]) + float(parameters @ parameters) / (2 * penalty_c)
        return value, slope + parameters / penalty_c

    bounds = [(0.0, None)] * count + [(None, None)] * len(present)
    found = minimize(loss, np.zeros(count + len(present)), jac=True, method="L-BFGS-B", bounds=bounds).x
    biases = np.full(len(RESPONSES), -np.inf)
    biases[present] = found[count:]
    return Pool(found[:count] / learners.scale, biases, learners.truth, penalty_c)
