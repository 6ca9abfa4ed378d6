"""How far a score moves by chance alone, at the class counts that a split's folds hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ranoscope.evaluation.predictions import FloatArray, IntArray

TRUE_RECALL = 0.5
_DRAWS = 20_000
ASSUMPTION = (
    "Hits of each class are binomial with the same true recall in every class and fold, visits independent of each "
    "other. Visits of one patient are alike, so true errors are usually larger."
)


@dataclass(frozen=True)
class Range:
    """Central 95 % range of a score, as fractions."""

    low: float
    high: float


@dataclass(frozen=True)
class SamplingError:
    """Ranges of balanced accuracy where the true value is ``true_recall``.

    ``fold``: of one fold; ``median_of_folds``: the reference paper's statistic; ``pooled``: over all cases at once.
    ``one_visit``: the most by which one visit more or less right moves a fold's score.
    """

    true_recall: float
    fold: Range
    median_of_folds: Range
    pooled: Range
    one_visit: float

    def as_dict(self) -> dict[str, object]:
        """For audit.json, with the assumption spelt out."""
        return {**asdict(self), "assumption": ASSUMPTION}


def sampling_error(
    counts: IntArray, true_recall: float = TRUE_RECALL, draws: int = _DRAWS, seed: int = 0
) -> SamplingError:
    """Simulate binomial recalls at the observed class counts.

    A fold that lacks a class is scored over the classes it holds, as scikit-learn does. The three ranges are those of
    one score of one seed, over all seeds given.

    Args:
        counts: cases per seed, fold and class, shape (s, f, 4); a fold without any case is left out.
        true_recall: chance that a case is called right.
        draws: simulated studies per seed.
        seed: same seed, same ranges.
    """
    generator = np.random.default_rng(seed)
    each = [_simulate(of_seed[of_seed.any(axis=1)], true_recall, draws, generator) for of_seed in counts]
    fold, median, pooled = (np.concatenate(scores) for scores in zip(*each, strict=True))
    held = counts > 0
    smallest = np.where(held, counts, counts.max()).min(axis=2) * held.sum(axis=2)
    return SamplingError(
        true_recall, _range(fold), _range(median), _range(pooled), float(1 / smallest[held.any(axis=2)].min())
    )


def _simulate(
    counts: IntArray, true_recall: float, draws: int, generator: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Scores of every fold (flattened), medians of folds and pooled scores; counts have shape (f, 4)."""
    hits = generator.binomial(counts, true_recall, size=(draws, *counts.shape))
    folds = _balanced_accuracy(hits, counts)
    return folds.ravel(), np.median(folds, axis=1), _balanced_accuracy(hits.sum(axis=1), counts.sum(axis=0))


def _balanced_accuracy(hits: IntArray, counts: IntArray) -> FloatArray:
    """Mean recall over the classes that are there: last axis."""
    recalls = hits / np.maximum(counts, 1)
    mean: FloatArray = recalls.sum(axis=-1) / (counts > 0).sum(axis=-1)
    return mean


def _range(scores: FloatArray) -> Range:
    low, high = np.quantile(scores, (0.025, 0.975))
    return Range(float(low), float(high))
