"""How much to believe network, measurement and rule: a pool of their log-probabilities for cases that are measured, and
one of the network alone for cases that are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ranoscope.evaluation.predictions import BoolArray, FloatArray, IntArray
from ranoscope.fusing.pooling import FLOOR, Learners, Pool, fit_pool
from ranoscope.scoreboard.models import at_prevalence

BLOCKS = ("network", "measured", "rule")


@dataclass(frozen=True)
class Opinions:
    """What is said of n cases.

    ``network``: its probabilities, (n, 4). ``measured``: the measured-change model's, as if every class were equally
    frequent, (n, 4). ``rule``: one-hot calls of the response criteria, (n, 4), a row of zeros where they cannot say.
    ``known``: whether both studies are measured, (n,).
    """

    network: FloatArray
    measured: FloatArray
    rule: FloatArray
    known: BoolArray

    def part(self, chosen: BoolArray | IntArray) -> Opinions:
        """The chosen cases alone, in the given order."""
        return Opinions(self.network[chosen], self.measured[chosen], self.rule[chosen], self.known[chosen])

    @property
    def log_odds(self) -> FloatArray:
        """All three, each centred over the classes: 0 says nothing, shape (n, 3, 4)."""
        rule = self.rule - self.rule.mean(axis=1, keepdims=True)
        return np.stack([log_odds(self.network), log_odds(self.measured), rule], axis=1)

    @property
    def images_alone(self) -> FloatArray:
        """The network's, shape (n, 1, 4)."""
        return log_odds(self.network)[:, None]


@dataclass(frozen=True)
class Stack:
    """What weighs the opinions: ``whole`` those of measured cases, None where too few are; ``alone`` the network's."""

    whole: Pool | None
    alone: Pool
    shares: dict[str, float]

    def answer(self, opinions: Opinions) -> tuple[FloatArray, IntArray]:
        """Calibrated probabilities at the frequency of the classes, (n, 4), and calls that weigh classes the same."""
        images = opinions.images_alone
        probabilities, answers = self.alone.probabilities(images), self.alone.answer(images)
        if self.whole is not None and opinions.known.any():
            measured = opinions.part(opinions.known).log_odds
            probabilities[opinions.known] = self.whole.probabilities(measured)
            answers[opinions.known] = self.whole.answer(measured)
        return probabilities, answers.argmax(axis=1)

    def describe(self) -> dict[str, Any]:
        """Penalty, temperature, calibration and shares, of the pool that answers measured cases."""
        pool = self.whole or self.alone
        before, after = pool.calibration
        return {
            "shares": self.shares,
            "penalty_c": pool.penalty_c,
            "temperature": pool.temperature,
            "ece_before": before,
            "ece_after": after,
        }


def fit_stack(
    opinions: Opinions, truth: IntArray, patients: tuple[str, ...], folds: IntArray, discount: float
) -> Stack:
    """Fit to training cases, each of whose opinions is of models that did not see its patient.

    Args:
        opinions: of the training cases.
        truth: their class index, shape (n,).
        patients: their patients.
        folds: their inner folds, by patient; at least two.
        discount: of prolific patients, see ``case_weights``.
    """
    alone = fit_pool(Learners(opinions.images_alone, truth, patients, folds, discount))
    images_alone = {name: float(name == BLOCKS[0]) for name in BLOCKS}
    if not _enough(opinions.known, truth, folds):
        return Stack(None, alone, images_alone)
    learners = Learners(opinions.log_odds, truth, patients, folds, discount).part(opinions.known)
    whole = fit_pool(learners)
    return Stack(whole, alone, _shares(whole, learners.opinions))


def plain_mean(opinions: Opinions, truth: IntArray) -> tuple[FloatArray, IntArray]:
    """The same without learning: the mean of network's and measurement's log-probabilities, the network's alone where
    a case is not measured. Probabilities at the frequency of the classes, (n, 4), and calls that weigh them the same.

    Args:
        opinions: of the cases to call.
        truth: class index of the training cases.
    """
    images, measured = log_odds(opinions.network), log_odds(opinions.measured)
    logits = np.where(opinions.known[:, None], (images + measured) / 2, images)
    answers = np.exp(logits)
    answers /= answers.sum(axis=1, keepdims=True)
    return at_prevalence(answers, truth), answers.argmax(axis=1)


def log_odds(probabilities: FloatArray) -> FloatArray:
    """Logarithms, none below that of ``FLOOR``, of which each row's mean is 0, shape (n, 4)."""
    logs = np.log(probabilities.clip(min=FLOOR))
    centred: FloatArray = logs - logs.mean(axis=1, keepdims=True)
    return centred


def _enough(known: BoolArray, truth: IntArray, folds: IntArray) -> bool:
    """Whether a pool over measured cases alone could call every class, and can be tried on held-out patients."""
    return set(truth[known]) == set(truth) and len(set(folds[known])) > 1


def _shares(pool: Pool, opinions: FloatArray) -> dict[str, float]:
    """Of what moves the logits over the cases, how much is each opinion's; all 0 where nothing moves them."""
    spreads = pool.spreads(opinions)
    total = float(spreads.sum())
    return {name: float(spread) / total if total else 0.0 for name, spread in zip(BLOCKS, spreads, strict=True)}
