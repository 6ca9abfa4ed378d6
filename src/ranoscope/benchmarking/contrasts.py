"""The difference between two arms' scores, paired on the same cases and the same resamples of patients."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranoscope.config import EvaluationSettings
from ranoscope.evaluation.intervals import difference
from ranoscope.evaluation.predictions import Predictions
from ranoscope.evaluation.scores import metrics_of, score, why_undefined
from ranoscope.evaluation.weighting import patient_resamples, whole_sample


def contrast(one: Predictions, other: Predictions, settings: EvaluationSettings) -> dict[str, Any]:
    """``one`` minus ``other`` for every metric of their target, metric → difference with interval.

    Folds and seeds may differ: scores are of the pooled calls, averaged over each side's seeds, and a resample draws
    the same patients for both. With other cases or another target there is no difference, only a ``reason``.
    """
    if one.cases != other.cases or one.target is not other.target:
        what = "the target" if one.target is not other.target else "the cases"
        return {"reason": f"{what} of the two arms differ, so they cannot be paired"}
    once = whole_sample(len(one.cases))
    weights = patient_resamples(one.patients, settings.bootstrap, settings.seed)
    values = [score(side, once) for side in (one, other)]
    resampled = [score(side, weights) for side in (one, other)]
    differences = {}
    for metric in metrics_of(one.target):
        first, second = (float(found[metric.name][0]) for found in values)
        why = why_undefined(metric.name, one if np.isnan(first) else other)
        draws = (resampled[0][metric.name], resampled[1][metric.name])
        found = difference((first, second), draws, settings.coverage, metric.higher_is_better, why)
        differences[metric.name] = found.as_dict()
    return differences
