"""Whether a probability means what it says: expected calibration error, reliability and Brier score.

All of it is about the most probable class ("top-label" calibration), in equal-width bins from 0 to 1.
Source: Guo et al. 2017, "On calibration of modern neural networks", whose 15 bins are used; Brier 1950, in its original
multi-class form, from 0 (perfect) to 2.
"""

from __future__ import annotations

import numpy as np

from ranoscope.evaluation.predictions import FloatArray, IntArray, Predictions
from ranoscope.evaluation.weighting import ratio, whole_sample

BINS = 15


def confidence_bins(probabilities: FloatArray) -> tuple[FloatArray, IntArray]:
    """The top probability of each row and its bin, both shape (n,).

    A bin holds its lower edge, as far as floating point goes; the last also holds 1, for which torchmetrics has one
    more bin.

    Args:
        probabilities: shape (n, c).
    """
    confidence = probabilities.max(axis=1)
    bins = np.digitize(confidence, np.linspace(0, 1, BINS + 1)) - 1
    return confidence, np.minimum(bins, BINS - 1).astype(np.int64)


def bin_sums(truth: IntArray, probabilities: FloatArray, weights: FloatArray) -> tuple[FloatArray, ...]:
    """Weighted count, summed confidence and weighted number right per bin, each of shape (r, 15).

    Args:
        truth: class index, shape (n,).
        probabilities: shape (n, c).
        weights: how often each case counts in each of r resamples, shape (r, n).
    """
    confidence, bins = confidence_bins(probabilities)
    member = np.eye(BINS)[bins]
    right = (probabilities.argmax(axis=1) == truth).astype(float)
    return weights @ member, weights @ (member * confidence[:, None]), weights @ (member * right[:, None])


def expected_calibration_error(truth: IntArray, probabilities: FloatArray, weights: FloatArray) -> FloatArray:
    """Mean over cases of |accuracy − confidence| of their bin, shape (r,). Arguments as in ``bin_sums``."""
    count, confidence, right = bin_sums(truth, probabilities, weights)
    return ratio(np.abs(right - confidence).sum(axis=1), count.sum(axis=1))


def brier_score(truth: IntArray, probabilities: FloatArray, weights: FloatArray) -> FloatArray:
    """Mean squared distance between the probabilities and the one-hot truth, shape (r,). Arguments as above."""
    distance = ((probabilities - np.eye(probabilities.shape[1])[truth]) ** 2).sum(axis=1)
    return ratio(weights @ distance, weights.sum(axis=1))


def reliability(predictions: Predictions, weights: FloatArray, coverage: float) -> list[dict[str, float | None]]:
    """The reliability curve: one entry per bin that holds an answer, all seeds together.

    Args:
        predictions: answers for n cases.
        weights: resamples of patients for the intervals, shape (r, n).
        coverage: of the intervals.

    Returns:
        per bin: ``low_edge``, ``high_edge``, ``cases`` (mean over seeds), mean ``confidence``, ``accuracy`` and its
        percentile interval ``low``, ``high`` over the resamples in which the bin is not empty.
    """
    truth, seeds = predictions.truth, len(predictions.seeds)
    once = _sum_over_seeds(predictions, truth, whole_sample(len(truth)))
    count, _, right = _sum_over_seeds(predictions, truth, weights)
    resampled = ratio(right, count)
    rows: list[dict[str, float | None]] = []
    for place in np.flatnonzero(once[0][0]):
        number, confidence, correct = (float(part[0, place]) for part in once)
        low, high = np.nanquantile(resampled[:, place], [(1 - coverage) / 2, (1 + coverage) / 2])
        rows.append(
            {
                "low_edge": place / BINS,
                "high_edge": (place + 1) / BINS,
                "cases": number / seeds,
                "confidence": confidence / number,
                "accuracy": correct / number,
                "low": float(low),
                "high": float(high),
            }
        )
    return rows


def _sum_over_seeds(predictions: Predictions, truth: IntArray, weights: FloatArray) -> FloatArray:
    """``bin_sums`` added up over the seeds, shape (3, r, 15)."""
    summed: FloatArray = np.sum([bin_sums(truth, answers, weights) for answers in predictions.probabilities], axis=0)
    return summed
