"""How well two measurements of the same visits agree: rank correlation, log-log slope, ICC(2,1), limits of agreement.

Intervals are percentile intervals over resamples of patients: visits of one patient are no independent evidence, which
the textbook intervals of an ICC assume.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import rankdata

from ranoscope.config import EvaluationSettings
from ranoscope.evaluation.intervals import estimate
from ranoscope.evaluation.predictions import FloatArray, IntArray
from ranoscope.evaluation.weighting import patient_resamples

# Fewer pairs than this have no agreement worth a number.
_LEAST_PAIRS = 3
# A variance below this share of the mean square is rounding.
_ROUNDING = 1e-12
# Limits of agreement hold 95 % of differences (Bland & Altman 1986).
_LIMITS_IN_SD = 1.96


def intraclass_correlation(values: FloatArray) -> float:
    """ICC(2,1): absolute agreement of single measurements, raters a random sample; NaN without any variance.

    Source: Shrout & Fleiss 1979, Psychol Bull 86:420, from the mean squares of a two-way analysis of variance.

    Args:
        values: shape (subjects, raters), at least two of each.
    """
    subjects, raters = values.shape
    grand = values.mean()
    of_subjects, of_raters = values.mean(axis=1), values.mean(axis=0)
    between_subjects = raters * ((of_subjects - grand) ** 2).sum() / (subjects - 1)
    between_raters = subjects * ((of_raters - grand) ** 2).sum() / (raters - 1)
    rest = ((values - of_subjects[:, None] - of_raters[None] + grand) ** 2).sum() / ((subjects - 1) * (raters - 1))
    below = between_subjects + (raters - 1) * rest + raters * (between_raters - rest) / subjects
    return float((between_subjects - rest) / below) if below > _ROUNDING * (values**2).mean() else float("nan")


def limits_of_agreement(first: FloatArray, second: FloatArray) -> tuple[float, float, float]:
    """Bland and Altman's bias and limits on the logarithmic scale, as ratios second / first: middle, low, high.

    Args:
        first: positive, shape (n,).
        second: positive, shape (n,).
    """
    difference = np.log(second) - np.log(first)
    middle, spread = difference.mean(), _LIMITS_IN_SD * difference.std(ddof=1)
    return float(np.exp(middle)), float(np.exp(middle - spread)), float(np.exp(middle + spread))


def rank_correlation(first: FloatArray, second: FloatArray) -> float:
    """Spearman's rank correlation, ties at their mean rank; NaN where one of the two does not vary."""
    return _correlation(rankdata(first), rankdata(second))


def log_log_slope(first: FloatArray, second: FloatArray) -> float:
    """Least-squares slope of log second on log first; NaN where ``first`` does not vary."""
    x, y = np.log(first) - np.log(first).mean(), np.log(second) - np.log(second).mean()
    return float((x * y).sum() / (x * x).sum()) if (x * x).sum() > 0 else float("nan")


def _icc(first: FloatArray, second: FloatArray) -> float:
    return intraclass_correlation(np.stack([first, second], axis=1))


_Statistic = Callable[[FloatArray, FloatArray], float]
_STATISTICS: dict[str, _Statistic] = {
    "spearman": rank_correlation,
    "log_log_slope": log_log_slope,
    "icc": _icc,
    "icc_log": lambda first, second: _icc(np.log(first), np.log(second)),
    "ratio": lambda first, second: limits_of_agreement(first, second)[0],
    "ratio_low": lambda first, second: limits_of_agreement(first, second)[1],
    "ratio_high": lambda first, second: limits_of_agreement(first, second)[2],
}


def describe_agreement(
    first: FloatArray, second: FloatArray, patients: tuple[str, ...], settings: EvaluationSettings
) -> dict[str, Any]:
    """Every statistic with its interval over patients, and how many pairs and patients it rests on.

    Pairs in which one of the two is 0 have no logarithm; they are counted under ``zeros`` and left out.

    Args:
        first: one size per visit, shape (n,), 0 or more.
        second: the other measurement, in the same unit.
        patients: the patient of each visit.
        settings: bootstrap and coverage.
    """
    kept = (first > 0) & (second > 0)
    x, y, names = first[kept], second[kept], np.array(patients)[kept]
    found: dict[str, Any] = {"pairs": len(x), "patients": len(set(names)), "zeros": int((~kept).sum())}
    if len(x) < _LEAST_PAIRS:
        return found | {"reason": f"fewer than {_LEAST_PAIRS} pairs"}
    draws = _draws(tuple(names), settings)
    return found | {name: _with_interval(one, x, y, draws, settings) for name, one in _STATISTICS.items()}


def describe_changes(
    first: FloatArray, second: FloatArray, patients: tuple[str, ...], settings: EvaluationSettings
) -> dict[str, Any]:
    """ICC(2,1) of two measurements of one change, as log ratios of either sign; arguments as above."""
    found: dict[str, Any] = {"pairs": len(first), "patients": len(set(patients))}
    if len(first) < _LEAST_PAIRS:
        return found | {"reason": f"fewer than {_LEAST_PAIRS} pairs"}
    return found | {"icc": _with_interval(_icc, first, second, _draws(patients, settings), settings)}


def _draws(patients: tuple[str, ...], settings: EvaluationSettings) -> list[IntArray]:
    """Places of the pairs that each resample of patients holds."""
    times = patient_resamples(patients, settings.bootstrap, settings.seed).astype(np.int64)
    draws = [np.repeat(np.arange(len(patients)), weight) for weight in times]
    # A resample of one or two different pairs has no spread to speak of.
    return [draw for draw in draws if len(np.unique(draw)) >= _LEAST_PAIRS]


def _with_interval(
    statistic: _Statistic, first: FloatArray, second: FloatArray, draws: list[IntArray], settings: EvaluationSettings
) -> dict[str, Any]:
    resampled = np.array([statistic(first[draw], second[draw]) for draw in draws], np.float64)
    return estimate(statistic(first, second), resampled, settings.coverage, "the sizes do not vary").as_dict()


def _correlation(x: FloatArray, y: FloatArray) -> float:
    x, y = x - x.mean(), y - y.mean()
    below = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / below) if below > 0 else float("nan")
