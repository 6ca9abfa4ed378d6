"""The protocol: every case called by a model that never saw its patient, once per seed, kept part by part.

A part is one model under one seed of the folds, a file of its own: an interrupted run goes on where it stopped. The
file's name carries a hash of everything its answers depend on, so a part made from other inputs is never taken up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ranoscope import runs
from ranoscope.domain import RESPONSES, Case, InformationLevel
from ranoscope.evaluation.predictions import (
    PROBABILITY_COLUMNS,
    FloatArray,
    IntArray,
    Predictions,
    write_predictions,
)
from ranoscope.scoreboard.models import Model, fit_predict

PARTS = "parts"
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Exam:
    """What every model is asked.

    ``cases``: n cases; ``seeds`` and ``folds`` (seeds, n): the folds of each; ``features``: a table per level, one row
    per case.
    """

    cases: tuple[Case, ...]
    seeds: tuple[int, ...]
    folds: IntArray
    features: dict[InformationLevel, pd.DataFrame]

    def __post_init__(self) -> None:
        """Refuse folds that part a patient."""
        for seed, folds in zip(self.seeds, self.folds, strict=True):
            home: dict[str, int] = {}
            for case, fold in zip(self.cases, folds, strict=True):
                if home.setdefault(case.patient, int(fold)) != fold:
                    raise ValueError(f"Expected each patient in one fold, got {case.patient} in two of seed {seed}.")


def fold_matrix(cases: tuple[Case, ...], folds: pd.DataFrame) -> tuple[tuple[int, ...], IntArray]:
    """Seeds, and the fold of each case under each, shape (seeds, n), from the table ``assign_folds`` makes."""
    of_case = folds.set_index(["seed", "patient", "current"])["fold"]
    seeds = tuple(sorted(int(seed) for seed in folds["seed"].unique()))
    rows = [[int(of_case.loc[(seed, case.patient, str(case.current))]) for case in cases] for seed in seeds]
    return seeds, np.array(rows, np.int64).reshape(len(seeds), len(cases))


def examine(models: tuple[Model, ...], exam: Exam, run: Path, progress: Progress) -> dict[str, Predictions]:
    """Out-of-fold answers of every model, by its name; finished parts under RUN/parts are read, not made again.

    Raises:
        StorageError: the disk is full or not writable; finished parts are kept.
    """
    total, done = len(models) * len(exam.seeds), 0
    answers = {}
    for model in models:
        parts = []
        for place, seed in enumerate(exam.seeds):
            path = run / PARTS / f"{model.name}-{seed}-{_fingerprint(model, exam, place)}.csv"
            if not path.is_file():
                write_predictions(path, _of_seed(model, exam, place))
            # Read back, so that a resumed run and an uninterrupted one have the same rounding.
            parts.append(runs.read_csv(path, "ranoscope scoreboard", PROBABILITY_COLUMNS))
            done += 1
            progress(done, total, f"{model.title}, seed {seed}")
        probabilities = np.stack([part[list(PROBABILITY_COLUMNS)].to_numpy(np.float64) for part in parts])
        answers[model.name] = _predictions(exam, probabilities, slice(None))
    return answers


def _of_seed(model: Model, exam: Exam, place: int) -> Predictions:
    features, truth = exam.features[model.level], _truth(exam)
    patients = np.array([case.patient for case in exam.cases])
    probabilities = np.zeros((1, len(truth), len(RESPONSES)))
    for fold in np.unique(exam.folds[place]):
        test = exam.folds[place] == fold
        probabilities[0, test] = fit_predict(
            model, features[~test], truth[~test], tuple(patients[~test]), features[test], exam.seeds[place]
        )
    return _predictions(exam, probabilities, slice(place, place + 1))


def _predictions(exam: Exam, probabilities: FloatArray, which: slice) -> Predictions:
    calls = probabilities.argmax(axis=2).astype(np.int64)
    return Predictions(exam.cases, exam.seeds[which], exam.folds[which], probabilities, calls)


def _truth(exam: Exam) -> IntArray:
    return np.array([case.response.class_index for case in exam.cases], np.int64)


def _fingerprint(model: Model, exam: Exam, place: int) -> str:
    features = exam.features[model.level]
    cases = ";".join(f"{case}={case.response}" for case in exam.cases)
    digest = hashlib.sha256(f"{model.recipe()}\n{cases}\n{','.join(map(str, features))}\n{exam.seeds[place]}".encode())
    digest.update(exam.folds[place].tobytes())
    digest.update(features.to_numpy(np.float64).tobytes())
    return digest.hexdigest()[:12]
