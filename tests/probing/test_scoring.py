"""Scores and shares before and after: against scikit-learn on every resample, paired."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from ranoscope.config import EvaluationSettings, Target
from ranoscope.domain import RESPONSES, Case, Response, Visit
from ranoscope.evaluation.predictions import Predictions
from ranoscope.probing.probes import AS_IS, Expectation, Probe
from ranoscope.probing.scoring import Sample, compare

RESAMPLES = 120
CASES = tuple(
    Case(f"Patient-{n // 3:03d}", Visit(n), Visit(n + 1), RESPONSES[(n * n + n // 7) % 4], 1, Response.SD, True)
    for n in range(60)
)
LESIONS = np.arange(60) % 5 != 0


def draw(seed: int, classes: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, classes, 60)


def sample_of(calls: np.ndarray, target=Target.FOUR_CLASSES) -> Sample:
    classes = 4 if target is Target.FOUR_CLASSES else 2
    predictions = Predictions(
        CASES, (0,), np.zeros((1, 60), np.int64), np.eye(classes)[calls][None], calls[None], target
    )  # fmt: skip
    return Sample(predictions, EvaluationSettings(bootstrap=RESAMPLES, seed=4))


def probe(expected: Expectation) -> Probe:
    return Probe("p", "P", "s", AS_IS.change, expected)


@pytest.mark.parametrize("target", list(Target))
def test_the_difference_is_paired_over_the_same_resamples(target):
    classes = 4 if target is Target.FOUR_CLASSES else 2
    before, after = draw(1, classes), draw(2, classes)
    sample = sample_of(before, target)
    found = compare(sample, probe(Expectation.LOSES), after, LESIONS)
    truth = np.minimum([case.response.class_index for case in CASES], classes - 1)

    def scores(calls):
        return np.array([balanced_accuracy_score(truth, calls, sample_weight=w) for w in sample.weights])

    assert found["balanced_accuracy"]["estimate"] == pytest.approx(balanced_accuracy_score(truth, after))
    gap = scores(after) - scores(before)
    assert (found["difference"]["low"], found["difference"]["high"]) == pytest.approx(
        tuple(np.quantile(gap, [0.025, 0.975]))
    )
    half = scores(after) - (scores(before) + 1 / classes) / 2
    assert (found["beyond_half"]["low"], found["beyond_half"]["high"]) == pytest.approx(
        tuple(np.quantile(half, [0.025, 0.975]))
    )
    assert found["above_chance"]["estimate"] == pytest.approx(balanced_accuracy_score(truth, after) - 1 / classes)


def test_changed_calls_are_counted_over_cases_and_bounded_over_patients():
    before, after = draw(1), draw(2)
    sample = sample_of(before)
    found = compare(sample, probe(Expectation.SAME_CALLS), after, LESIONS)["changed"]
    assert found["estimate"] == pytest.approx(np.mean(before != after))
    by_resample = [np.average(before != after, weights=weights) for weights in sample.weights]
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.quantile(by_resample, [0.025, 0.975])))


def test_the_mirror_by_hand():
    before, after = np.ones(60, np.int64), np.ones(60, np.int64)
    # In turn: PD to PR, PD to CR, PD stays, PD to SD, PR to PD, CR to PD, PR to CR, CR to SD; then SD stays.
    before[1:5], after[1:5] = 0, [2, 3, 0, 1]
    before[6:10], after[6:10] = [2, 3, 2, 3], [0, 0, 3, 1]
    before[10], after[10] = 0, 0  # without any tumour: not counted
    found = compare(sample_of(before), probe(Expectation.MIRRORS), after, LESIONS)
    assert found["mirrored"]["estimate"] == pytest.approx(4 / 8)
    assert found["held"]["estimate"] == pytest.approx(2 / 8)
    assert found["calls"][0] == [2, 1, 1, 1]


def test_no_call_of_a_change_is_undefined_with_a_reason():
    found = compare(sample_of(np.ones(60, np.int64)), probe(Expectation.MIRRORS), draw(1), LESIONS)
    assert found["held"]["estimate"] is None
    assert found["held"]["reason"] == "no case with a tumour was called a change"
    assert found["verdict"] == "uncertain"


def test_a_class_without_a_case_leaves_the_score_undefined():
    calls = draw(1)
    cases = tuple(case for case in CASES if case.response is not Response.CR)
    kept = np.array([case.response is not Response.CR for case in CASES])
    predictions = Predictions(
        cases, (0,), np.zeros((1, kept.sum()), np.int64), np.eye(4)[calls[kept]][None], calls[kept][None]
    )  # fmt: skip
    sample = Sample(predictions, EvaluationSettings(bootstrap=RESAMPLES))
    found = compare(sample, probe(Expectation.LOSES), calls[kept], LESIONS[kept])
    assert found["balanced_accuracy"]["reason"] == "no case of CR"
    assert found["verdict"] == "uncertain"
