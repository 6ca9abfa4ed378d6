"""Differences of arms against a bootstrap written out case by case."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from ranoscope.benchmarking.contrasts import contrast
from ranoscope.benchmarking.standings import Result
from ranoscope.config import EvaluationSettings, FoldSettings, load_recipe
from ranoscope.domain import RESPONSES, Case, Response, Visit
from ranoscope.evaluation.predictions import Predictions, against_the_rest

SETTINGS = EvaluationSettings(bootstrap=300, seed=5)


def predictions(skill: float, seed: int) -> Predictions:
    """A hundred cases of 25 patients, the same whoever calls them; called right with the given chance."""
    truth = np.random.default_rng(0).integers(0, 4, 100)
    cases = tuple(
        Case(f"P-{n // 4:02d}", Visit(n), Visit(n + 1), RESPONSES[place], 1, Response.SD, n % 4 == 0)
        for n, place in enumerate(truth)
    )
    generator = np.random.default_rng(seed)
    calls = np.where(generator.random((2, 100)) < skill, truth, generator.integers(0, 4, (2, 100)))
    probabilities = 0.7 * np.eye(4)[calls] + 0.3 * generator.dirichlet(np.ones(4), (2, 100))
    return Predictions(cases, (0, 1), np.tile(np.arange(100) % 5, (2, 1)), probabilities, calls)


def test_a_difference_is_paired_on_resamples_of_patients():
    good, poor = predictions(0.6, 1), predictions(0.3, 2)
    found = contrast(good, poor, SETTINGS)["balanced_accuracy"]

    def difference(rows):
        sides = [np.mean([balanced_accuracy_score(p.truth[rows], calls[rows]) for calls in p.calls])
                 for p in (good, poor)]  # fmt: skip
        return sides[0] - sides[1]

    assert found["estimate"] == pytest.approx(difference(np.arange(100)))
    names = sorted(set(good.patients))
    times = np.random.default_rng(5).multinomial(25, np.full(25, 1 / 25), size=300)
    draws = []
    for draw in times:
        count = dict(zip(names, draw, strict=True))
        draws.append(difference(np.repeat(np.arange(100), [count[name] for name in good.patients])))
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))
    assert found["better"] == pytest.approx(np.mean(np.array(draws) > 0))


def test_an_arm_minus_itself_is_nothing_and_differs_nowhere():
    one = predictions(0.5, 3)
    found = contrast(one, replace(one, folds=one.folds[:, ::-1]), SETTINGS)
    assert all(change["estimate"] == 0 and change["equal"] == 1 for change in found.values())


def test_other_cases_and_another_target_cannot_be_paired():
    one = predictions(0.5, 3)
    fewer = Predictions(one.cases[:-1], one.seeds, one.folds[:, :-1], one.probabilities[:, :-1], one.calls[:, :-1])
    assert contrast(one, fewer, SETTINGS) == {"reason": "the cases of the two arms differ, so they cannot be paired"}
    assert "the target of" in contrast(one, against_the_rest(one), SETTINGS)["reason"]
    binary = against_the_rest(one)
    assert "balanced_accuracy" not in contrast(binary, binary, SETTINGS)


def test_numbers_of_training_cases_share_a_ground_and_other_folds_do_not():
    """The rivals learn from all there are, whatever an arm is given."""
    calls = predictions(0.6, 1)

    def ground(**changed):
        recipe = load_recipe("demo")
        return Result(recipe.model_copy(update={"folds": FoldSettings(**changed)}), calls, Path()).ground

    assert ground(training_cases=50) == ground(training_cases=400) == ground()
    assert ground(training_cases=50, count=3) != ground(training_cases=50)
