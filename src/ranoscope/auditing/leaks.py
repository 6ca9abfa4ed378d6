"""What a test case shares with the training cases of its fold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np

from ranoscope.domain import Case
from ranoscope.evaluation.predictions import BoolArray, IntArray


@dataclass(frozen=True)
class Leaks:
    """Three ways in which a test case is known to training, each implying the first; shapes (n,).

    ``patient``: another case of the patient is in training. ``scan``: its prior or current study is an input of a
    training case. ``previous``: its prior study is the current study of a training case, whose label was learnt.
    """

    patient: BoolArray
    scan: BoolArray
    previous: BoolArray


def find_leaks(cases: tuple[Case, ...], folds: IntArray) -> Leaks:
    """Leaks of one seed's folds: a case is tested once, in its own fold, and trained on in every other.

    Args:
        cases: n cases.
        folds: fold of each case, shape (n,).
    """
    patients = [(case.patient,) for case in cases]
    scans = [(case.prior_study, case.current_study) for case in cases]
    priors = [(case.prior_study,) for case in cases]
    currents = [(case.current_study,) for case in cases]
    return Leaks(
        patient=_trained_on(patients, patients, folds),
        scan=_trained_on(scans, scans, folds),
        previous=_trained_on(priors, currents, folds),
    )


def _trained_on(
    looked_for: Iterable[tuple[Hashable, ...]], held: Iterable[tuple[Hashable, ...]], folds: IntArray
) -> BoolArray:
    """Whether any of what each case looks for is held by a case of another fold."""
    holders: defaultdict[Hashable, set[int]] = defaultdict(set)
    for things, fold in zip(held, folds.tolist(), strict=True):
        for thing in things:
            holders[thing].add(fold)
    pairs = zip(looked_for, folds.tolist(), strict=True)
    return np.array([any(holders[thing] - {fold} for thing in things) for things, fold in pairs], bool)
