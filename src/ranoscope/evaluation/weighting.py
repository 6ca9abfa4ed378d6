"""Case weights: how resamples are held, so that thousands of them are scored by a few matrix products.

A resample of patients is the number of times each case is in it. Every score in this room takes weights of shape
(resamples, cases) and returns one value per resample; a row of ones is the sample itself.
"""

from __future__ import annotations

import numpy as np

from ranoscope.evaluation.predictions import FloatArray


def ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """Quotient, NaN where the denominator is 0: what a sample does not hold has no score."""
    quotient: FloatArray = np.full(np.broadcast(above, below).shape, np.nan)
    np.divide(above, below, out=quotient, where=below != 0)
    return quotient


def patient_resamples(patients: tuple[str, ...], resamples: int, seed: int) -> FloatArray:
    """Weights of ``resamples`` draws of as many patients as there are, with replacement; shape (resamples, cases).

    All cases of a patient come and go together: visits of one patient are no independent evidence. Source: the cluster
    bootstrap, Davison & Hinkley 1997, section 3.8. Depends on the set of names, not on the order of cases.
    """
    names, place = np.unique(np.array(patients), return_inverse=True)
    generator = np.random.default_rng(seed)
    times = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return times[:, place].astype(np.float64)


def whole_sample(cases: int) -> FloatArray:
    """Weights of the sample itself: every case once, shape (1, cases)."""
    return np.ones((1, cases))
