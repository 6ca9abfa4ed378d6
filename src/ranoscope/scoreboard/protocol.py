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
from ranoscope.cohort.folds import assign_folds
from ranoscope.config import FoldSettings
from ranoscope.domain import RESPONSES, Case, InformationLevel, Response
from ranoscope.evaluation.predictions import (
    PROBABILITY_COLUMNS,
    IntArray,
    Predictions,
    write_predictions,
)
from ranoscope.scoreboard.models import Model, Settings, at_prevalence, fit_predict

PARTS = "parts"
_INNER_FOLDS = 4
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
            parts.append(runs.read_csv(path, "ranoscope scoreboard", runs.CALL_COLUMNS))
            done += 1
            progress(done, total, f"{model.title}, seed {seed}")
        probabilities = np.stack([part[list(PROBABILITY_COLUMNS)].to_numpy(np.float64) for part in parts])
        calls = np.stack([[Response(call).class_index for call in part["call"]] for part in parts])
        answers[model.name] = Predictions(exam.cases, exam.seeds, exam.folds, probabilities, calls)
    return answers


def _of_seed(model: Model, exam: Exam, place: int) -> Predictions:
    """Calls weigh every class the same, as balanced accuracy does; probabilities are at the training prevalence."""
    features, truth, seed, folds = exam.features[model.level], _truth(exam.cases), exam.seeds[place], exam.folds[place]
    probabilities, calls = np.zeros((len(truth), len(RESPONSES))), np.zeros(len(truth), np.int64)
    for fold in np.unique(folds):
        test = folds == fold
        training = tuple(case for case, out in zip(exam.cases, test, strict=True) if not out)
        settings = choose(model.candidates, training, features[~test], seed)
        patients = tuple(case.patient for case in training)
        answers = fit_predict(settings, features[~test], truth[~test], patients, features[test], seed)
        probabilities[test], calls[test] = at_prevalence(answers, truth[~test]), answers.argmax(axis=1)
    return Predictions(exam.cases, (seed,), folds[None], probabilities[None], calls[None])


def choose(candidates: tuple[Settings, ...], cases: tuple[Case, ...], features: pd.DataFrame, seed: int) -> Settings:
    """The candidate with the best balanced accuracy in patient-level folds of these cases alone, the first of equals.

    Args:
        candidates: one or more settings.
        cases: the training cases of a fold.
        features: one row per case.
        seed: of the inner folds.
    """
    if len(candidates) == 1:
        return candidates[0]
    count = min(_INNER_FOLDS, len({case.patient for case in cases}))
    _, (folds,) = fold_matrix(cases, assign_folds(list(cases), FoldSettings(count=count, seeds=(seed,))))
    truth, patients = _truth(cases), np.array([case.patient for case in cases])
    scores = []
    for settings in candidates:
        calls = np.zeros(len(cases), np.int64)
        for fold in np.unique(folds):
            test = folds == fold
            answers = fit_predict(settings, features[~test], truth[~test], tuple(patients[~test]), features[test], seed)
            calls[test] = answers.argmax(axis=1)
        scores.append(np.mean([(calls[truth == label] == label).mean() for label in np.unique(truth)]))
    return candidates[int(np.argmax(scores))]


def _truth(cases: tuple[Case, ...]) -> IntArray:
    return np.array([case.response.class_index for case in cases], np.int64)


def _fingerprint(model: Model, exam: Exam, place: int) -> str:
    features = exam.features[model.level]
    cases = ";".join(f"{case}={case.response}" for case in exam.cases)
    digest = hashlib.sha256(f"{model.recipe()}\n{cases}\n{','.join(map(str, features))}\n{exam.seeds[place]}".encode())
    digest.update(exam.folds[place].tobytes())
    digest.update(features.to_numpy(np.float64).tobytes())
    return digest.hexdigest()[:12]
