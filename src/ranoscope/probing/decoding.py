"""What penultimate features give away beside the response: whose the case is, and how much time has passed.

Features of two folds are of two networks and cannot be compared, so everything here stays among the held-out cases of
one fold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ranoscope.domain import Case
from ranoscope.evaluation.predictions import BoolArray, FloatArray

_PERMUTATIONS = 1000
_PARTS = 5
_PENALTIES = np.logspace(-1, 5, 13)


@dataclass(frozen=True)
class Recognised:
    """Whose case the nearest other case is.

    ``eligible``: bool (n,), cases that have another case of their patient's without a study in common; ``hits``: bool
    (n,), the nearest such case is the patient's own; ``chance``: (n,) share of hits under permuted features; ``p``: of
    as many hits or more by permutation, NaN where no case is eligible.
    """

    eligible: BoolArray
    hits: BoolArray
    chance: FloatArray
    p: float


def recognise_patients(features: list[FloatArray], cases: list[list[Case]], seed: int) -> Recognised:
    """Find each case's nearest neighbour in its own fold by features, z-scored within the fold.

    Neighbours that share a study with the case are not looked at: the shared image alone would make them alike. Under
    the null the rows of features are dealt anew to the cases of the fold, which keeps who may be compared with whom.

    Args:
        features: per fold (n_f, feature).
        cases: per fold n_f cases.
        seed: of the permutations.
    """
    generator = np.random.default_rng(seed)
    eligible, hits, null = [], [], []
    for of_fold, members in zip(features, cases, strict=True):
        allowed, own = _neighbours(members)
        can = (allowed & own).any(axis=1)
        distances = _distances(of_fold)
        found = _own_is_nearest(distances, allowed, own) & can
        orders = [generator.permutation(len(members)) for _ in range(_PERMUTATIONS)]
        null.append(np.array([_own_is_nearest(distances[np.ix_(o, o)], allowed, own) & can for o in orders]))
        eligible.append(can)
        hits.append(found)
    by_chance, whole = np.concatenate(null, axis=1), np.concatenate(eligible)
    as_many = (by_chance.sum(axis=1) >= np.concatenate(hits).sum()).sum()
    p = float((1 + as_many) / (1 + _PERMUTATIONS)) if whole.any() else float("nan")
    return Recognised(whole, np.concatenate(hits), by_chance.mean(axis=0), p)


def _neighbours(cases: list[Case]) -> tuple[BoolArray, BoolArray]:
    """Which cases may be each other's neighbour, and which are of one patient; both (n, n)."""
    studies = [{case.prior_study, case.current_study} for case in cases]
    apart = np.array([[not (mine & other) for other in studies] for mine in studies], bool)
    names = np.array([case.patient for case in cases])
    return apart, names[:, None] == names[None, :]


def _distances(features: FloatArray) -> FloatArray:
    scaled = StandardScaler().fit_transform(np.asarray(features, np.float64))
    squares = (scaled**2).sum(axis=1)
    found: FloatArray = squares[:, None] + squares[None, :] - 2 * scaled @ scaled.T
    # Rounding must not choose among features that are all the same.
    return found.round(9)


def _own_is_nearest(distances: FloatArray, allowed: BoolArray, own: BoolArray) -> BoolArray:
    """Whether all the nearest allowed cases are the patient's own: among equals nobody is recognised."""
    looked_at = np.where(allowed, distances, np.inf)
    least = looked_at.min(axis=1, keepdims=True)
    nearest = (looked_at == least) & allowed
    hits: BoolArray = nearest.any(axis=1) & ~(nearest & ~own).any(axis=1)
    return hits


@dataclass(frozen=True)
class Decoded:
    """``values``: weeks (n,); ``found``: decoded (n,); ``plain``: (n,), the mean of the cases decoded from, which is
    what is known without features. NaN in the latter two where a fold has too few patients.
    """

    values: FloatArray
    found: FloatArray
    plain: FloatArray

    @property
    def known(self) -> BoolArray:
        """Where there is a decoded value, (n,)."""
        return ~np.isnan(self.found)

    def explained(self, weights: FloatArray) -> FloatArray:
        """R²: what share of the squared error of ``plain`` is gone, per resample (r,), from weights (r, n)."""
        known = self.known
        left = weights[:, known] @ (self.values - self.found)[known] ** 2
        there = weights[:, known] @ (self.values - self.plain)[known] ** 2
        share: FloatArray = np.full(len(weights), np.nan)
        np.divide(left, there, out=share, where=there > 0)
        return 1 - share

    @property
    def rank_correlation(self) -> float:
        """Spearman's, over all decoded cases; NaN where either is constant."""
        known = self.known
        ranks = [rankdata(part[known]) for part in (self.values, self.found)]
        if known.sum() < 2 or min(float(np.ptp(part)) for part in ranks) == 0:
            return float("nan")
        return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def decode_weeks(features: list[FloatArray], cases: list[list[Case]], values: list[FloatArray]) -> Decoded:
    """Decode weeks linearly (ridge, penalty chosen inside) from a fold's features, patients apart, in five parts.

    Args:
        features: per fold (n_f, feature).
        cases: per fold n_f cases.
        values: per fold (n_f,), weeks.
    """
    found, plain = [], []
    for of_fold, members, weeks in zip(features, cases, values, strict=True):
        answers, means = np.full(len(weeks), np.nan), np.full(len(weeks), np.nan)
        patients = np.array([case.patient for case in members])
        parts = min(_PARTS, len(set(patients)))
        splits = GroupKFold(parts).split(of_fold, groups=patients) if parts > 1 else ()
        for training, test in splits:
            answers[test] = _decoder().fit(of_fold[training], weeks[training]).predict(of_fold[test])
            means[test] = weeks[training].mean()
        found.append(answers)
        plain.append(means)
    return Decoded(np.concatenate(values), np.concatenate(found), np.concatenate(plain))


def _decoder() -> Any:
    return make_pipeline(StandardScaler(), RidgeCV(_PENALTIES))
