"""Patient-bootstrap intervals of a score, and of the difference between two models' scores.

Percentile intervals over resamples of patients (the protocol's choice). They speak of the patients that were drawn, not
of the training's own chance, which averaging over seeds of the folds dampens. A resample that lacks a class a score
needs gives no value: it is left out of that score's interval and counted, so the interval is conditional on all needed
classes being present. When fewer than half of the resamples give a value there is no interval, and the reason is told.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ranoscope.evaluation.predictions import FloatArray

_LEAST_DEFINED = 0.5
# Equal scores may differ by rounding.
_SAME = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A score with its interval; NaN in any of the three only with a ``reason``.

    ``left_out``: resamples without a value, of ``resamples``.
    """

    estimate: float
    low: float
    high: float
    left_out: int
    resamples: int
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For the scorecard: None for NaN."""
        return {name: None if value != value else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Difference(Estimate):
    """Model minus rival on the same resamples. ``better``: share of them in which the model is strictly better, lower
    being better for errors; ``equal``: share in which both are the same.
    """

    better: float = float("nan")
    equal: float = float("nan")


def estimate(value: float, resampled: FloatArray, coverage: float, why: str) -> Estimate:
    """A score's estimate with the central percentile interval of its resamples.

    Args:
        value: the score of the sample itself.
        resampled: one value per resample, shape (r,), NaN where undefined.
        coverage: two-sided, above 0.5 and below 1.
        why: reason to give if ``value`` is NaN.
    """
    defined = resampled[~np.isnan(resampled)]
    left_out, total = len(resampled) - len(defined), len(resampled)
    if np.isnan(value):
        return Estimate(np.nan, np.nan, np.nan, left_out, total, why)
    if len(defined) < _LEAST_DEFINED * total:
        reason = f"no interval: only {len(defined)} of {total} resamples hold every class that is needed"
        return Estimate(value, np.nan, np.nan, left_out, total, reason)
    low, high = np.quantile(defined, [(1 - coverage) / 2, (1 + coverage) / 2])
    return Estimate(value, float(low), float(high), left_out, total)


def difference(
    values: tuple[float, float],
    resampled: tuple[FloatArray, FloatArray],
    coverage: float,
    higher_is_better: bool,
    why: str,
) -> Difference:
    """Paired difference, model minus rival. Arguments in the order (model, rival); resamples must be the same draws."""
    delta = resampled[0] - resampled[1]
    plain = estimate(values[0] - values[1], delta, coverage, why)
    defined = delta[~np.isnan(delta)]
    if not len(defined) or np.isnan(plain.estimate):
        return Difference(**asdict(plain))
    same = np.abs(defined) <= _SAME
    gained = ((defined > 0) == higher_is_better) & ~same
    return Difference(**asdict(plain), better=float(gained.mean()), equal=float(same.mean()))
