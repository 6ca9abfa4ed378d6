"""Calls before and after a probe on the same resamples of patients: scores, shares, and their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ranoscope.config import EvaluationSettings, Target
from ranoscope.domain import Response
from ranoscope.evaluation.intervals import Difference, Estimate, difference, estimate
from ranoscope.evaluation.predictions import BoolArray, FloatArray, IntArray, Predictions
from ranoscope.evaluation.scores import confusion, headline_of, recalls, why_undefined
from ranoscope.evaluation.weighting import patient_resamples, ratio, whole_sample
from ranoscope.probing.probes import Expectation, Probe
from ranoscope.probing.verdicts import (
    HALF,
    Verdict,
    judge_changed,
    judge_kept_direction,
    judge_needed,
    judge_still,
    judge_sufficient,
    judge_useless,
)  # fmt: skip

_PD, _SD = Response.PD.class_index, Response.SD.class_index


@dataclass(frozen=True)
class Measured:
    """A number of the sample, and of every resample (r,)."""

    value: float
    resampled: FloatArray


class Sample:
    """The held-out cases with their calls as they are, and the resamples on which every probe is compared."""

    def __init__(self, predictions: Predictions, settings: EvaluationSettings) -> None:
        """``predictions``: of one seed, the unchanged cases."""
        self.predictions = predictions
        self.coverage = settings.coverage
        self.once = whole_sample(len(predictions.cases))
        self.weights = patient_resamples(predictions.patients, settings.bootstrap, settings.seed)
        self.classes = len(predictions.classes)
        self.before: IntArray = predictions.calls[0]
        self.score_before = self.score(self.before)

    @property
    def chance(self) -> float:
        """Balanced accuracy of a model that knows nothing."""
        return 1 / self.classes

    @property
    def four(self) -> bool:
        """Whether all four responses are told apart."""
        return self.predictions.target is Target.FOUR_CLASSES

    def score(self, calls: IntArray) -> Measured:
        """Balanced accuracy of calls (n,): over four classes, or over PD and the rest."""
        parts = (
            recalls(confusion(self.predictions.truth, calls, weights, self.classes)).mean(axis=1)
            for weights in (self.once, self.weights)
        )
        value, resampled = parts
        return Measured(float(value[0]), resampled)

    def above(self, measured: Measured, level: float) -> Estimate:
        """A score minus a fixed level."""
        return self.bounded(Measured(measured.value - level, measured.resampled - level))

    def beyond_half(self, after: Measured) -> Estimate:
        """What is left above chance, minus half of what there was; paired."""
        halves = (HALF * (part + self.chance) for part in (self.score_before.value, self.score_before.resampled))
        value, resampled = halves
        return self.bounded(Measured(after.value - float(value), after.resampled - resampled))

    def bounded(self, measured: Measured) -> Estimate:
        """With its interval; a class that is lacking is named."""
        why = why_undefined(headline_of(self.predictions.target), self.predictions)
        return estimate(measured.value, measured.resampled, self.coverage, why)

    def fall(self, after: Measured) -> Difference:
        """After minus before; paired."""
        why = why_undefined(headline_of(self.predictions.target), self.predictions)
        before = self.score_before
        return difference(
            (after.value, before.value), (after.resampled, before.resampled), self.coverage, True, why
        )  # fmt: skip

    def share(self, flags: BoolArray | FloatArray, among: BoolArray | None = None, why: str = "no case") -> Estimate:
        """Mean of ``flags`` (n,) among the cases ``among`` (n,), all if not given; cases count, patients are drawn."""
        counted = np.ones(len(flags)) if among is None else among.astype(float)
        value, resampled = (ratio(w @ (flags * counted), w @ counted) for w in (self.once, self.weights))
        return estimate(float(value[0]), resampled, self.coverage, why)


def compare(sample: Sample, probe: Probe, calls: IntArray, lesions: BoolArray) -> dict[str, Any]:
    """A probe's entry in shortcuts.json.

    Args:
        sample: the unchanged cases.
        probe: that was asked.
        calls: class index (n,) under it.
        lesions: bool (n,), cases with any tumour in either study.
    """
    after = sample.score(calls)
    parts: dict[str, Estimate] = {
        "difference": sample.fall(after),
        "changed": sample.share(calls != sample.before),
        "above_chance_before": sample.above(sample.score_before, sample.chance),
        "above_chance": sample.above(after, sample.chance),
        "beyond_half": sample.beyond_half(after),
        "called_pd": sample.share(calls == _PD),
    }
    if probe.expected is Expectation.STABLE:
        parts["called_stable"] = sample.share(calls == _SD if sample.four else calls != _PD)
    if probe.expected is Expectation.MIRRORS:
        parts |= _direction(sample, calls, lesions)
    return {
        "name": probe.name,
        "title": probe.title,
        "shows": probe.shows,
        "expected": str(probe.expected),
        "verdict": str(_verdict(probe.expected, parts)),
        "balanced_accuracy": sample.bounded(after).as_dict(),
        **{name: part.as_dict() for name, part in parts.items()},
        "calls": confusion(sample.before, calls, sample.once, sample.classes)[0].astype(int).tolist(),
        "confusion": confusion(sample.predictions.truth, calls, sample.once, sample.classes)[0].astype(int).tolist(),
    }


def _direction(sample: Sample, calls: IntArray, lesions: BoolArray) -> dict[str, Estimate]:
    """Of the calls of a change, those that are mirrored and those that stay, where there is a tumour to exchange."""
    before = sample.before
    pd = before == _PD
    response = before > _SD if sample.four else np.zeros_like(pd)
    moved = (pd | response) & lesions
    mirrored = np.where(pd, calls > _SD if sample.four else calls != _PD, calls == _PD)
    held = np.where(pd, calls == _PD, calls > _SD)
    why = "no case with a tumour was called a change"
    return {"mirrored": sample.share(mirrored, moved, why), "held": sample.share(held, moved, why)}


def _verdict(expected: Expectation, parts: dict[str, Estimate]) -> Verdict:
    if expected is Expectation.STABLE:
        return judge_still(parts["called_stable"], parts["called_pd"])
    if expected is Expectation.MIRRORS:
        return judge_kept_direction(parts["held"])
    if expected is Expectation.SAME_CALLS:
        return judge_changed(parts["changed"])
    before, after, beyond_half = (parts[name] for name in ("above_chance_before", "above_chance", "beyond_half"))
    if expected is Expectation.LOSES:
        return judge_useless(before, after, beyond_half)
    if expected is Expectation.LOSES_SOME:
        return judge_needed(before, beyond_half, parts["difference"])
    return judge_sufficient(before, beyond_half)
