"""Networks inside the training patients of each fold, so that what they say of a training case is out of fold too.

A *nest* is one outer fold: its training cases, dealt by patient to inner folds. Each inner fold is a cell as
``ranoscope crossval`` knows it, in a folder of its own, with its own key: it is resumed, kept when finished, and
refused when it was made by another recipe or from other cases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from lightning.pytorch.utilities import rank_zero_only

from ranoscope.cohort.folds import assign_folds, write_folds
from ranoscope.config import FoldSettings, Recipe
from ranoscope.domain import Case
from ranoscope.evaluation.predictions import PROBABILITY_COLUMNS, FloatArray, IntArray, Predictions
from ranoscope.learning.cells import make_cells, require_own_checkpoints
from ranoscope.learning.crossval import Experiment, collect_calls, run_cells
from ranoscope.learning.data import Material
from ranoscope.scoreboard.protocol import fold_matrix

INNER = "inner"
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Nest:
    """An outer fold: ``training`` and ``test`` places of its cases among all cases, ``cases`` those of the training,
    and their inner ``folds``, as a table and as an array.
    """

    seed: int
    fold: int
    folder: Path
    training: IntArray
    test: IntArray
    cases: tuple[Case, ...]
    table: pd.DataFrame
    folds: IntArray


def make_nests(predictions: Predictions, count: int, out: Path) -> list[Nest]:
    """The nests of all seeds and folds, in order.

    Args:
        predictions: whose folds are the outer ones.
        count: number of inner folds.
        out: folder of the fusion.

    Raises:
        RanoscopeError: a fold has fewer training patients than inner folds.
    """
    nests = []
    for seed, folds in zip(predictions.seeds, predictions.folds, strict=True):
        for fold in np.unique(folds):
            training = np.flatnonzero(folds != fold)
            cases = tuple(predictions.cases[place] for place in training)
            table = assign_folds(list(cases), FoldSettings(count=count, seeds=(seed,)))
            folder = out / INNER / f"seed-{seed}_fold-{fold}"
            test = np.flatnonzero(folds == fold)
            inner = fold_matrix(cases, table)[1][0]
            nests.append(Nest(seed, int(fold), folder, training, test, cases, table, inner))
    return nests


def train_nests(recipe: Recipe, material: Material, nests: list[Nest], progress: Progress) -> list[FloatArray]:
    """Train every inner network with the run's own recipe; what an earlier, interrupted call finished is kept.

    Args:
        recipe: the run's.
        material: its studies and demographics.
        nests: what to train in.
        progress: told (done, total, what) after every epoch.

    Returns:
        Per nest the probabilities of its training cases, each by the network that did not see its patient, (n, 4).

    Raises:
        RunError: an inner network of another recipe or of other cases is there, or a cell ended as
            ``crossval.run_cell`` says.
        StorageError: the disk is full; the last whole epoch can be resumed.
    """
    experiments = [_experiment(recipe, material, nest) for nest in nests]
    for experiment in experiments:
        require_own_checkpoints(experiment.recipe, experiment.cells, experiment.out)
    done, total = 0, recipe.training.epochs * sum(len(experiment.cells) for experiment in experiments)
    answers = []
    for nest, experiment in zip(nests, experiments, strict=True):
        rank_zero_only(write_folds)(nest.folder, nest.table)
        done = run_cells(experiment, progress, done, total, f"without fold {nest.fold + 1}, inner ")
        answers.append(_in_order(collect_calls(experiment), nest.cases))
    return answers


def _experiment(recipe: Recipe, material: Material, nest: Nest) -> Experiment:
    folds = recipe.folds.model_copy(update={"count": nest.table["fold"].nunique(), "seeds": (nest.seed,)})
    inner = recipe.model_copy(update={"folds": folds})
    cells = make_cells(inner, material, list(nest.cases), nest.table, nest.folder)
    return Experiment(inner, material, nest.folder, cells)


def _in_order(calls: pd.DataFrame, cases: tuple[Case, ...]) -> FloatArray:
    """The probabilities of calls.csv in the order of the cases, shape (n, 4)."""
    rows = calls.set_index(["patient", "current"]).loc[[(case.patient, str(case.current)) for case in cases]]
    return rows[list(PROBABILITY_COLUMNS)].to_numpy(np.float64)
