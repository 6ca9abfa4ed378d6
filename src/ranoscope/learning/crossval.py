"""Cross-validation: every case is called once per seed, by a network that (folds by patient) never saw its patient.

The folds of all seeds are *cells*: each is trained, and its calls are written, on its own. ``cross_validate`` runs them
in order; whoever runs many recipes (a benchmark) prepares an experiment once and runs its cells where there is room.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from lightning.pytorch.utilities import rank_zero_only

from ranoscope import provenance, runs
from ranoscope.cohort.earlier import write_earlier
from ranoscope.cohort.files import PATIENTS, read_cases, read_patients
from ranoscope.cohort.folds import draw_folds, read_folds, write_folds
from ranoscope.config import Recipe
from ranoscope.domain import Case
from ranoscope.errors import RunError, problem
from ranoscope.learning.adopting import adopt_cohort, choose_cases, require_own_cohort
from ranoscope.learning.calls import call_cases, describe_fold
from ranoscope.learning.cells import Cell, make_cells, require_initial_weights, require_own_checkpoints
from ranoscope.learning.checkpoints import FOLD, WEIGHTS, save_weights
from ranoscope.learning.data import Material
from ranoscope.learning.fitting import FittedFold, Told, fit_fold
from ranoscope.learning.memory import naming_memory
from ranoscope.learning.networks import require_fitting_grid
from ranoscope.learning.pretraining import require_fitting_pretraining
from ranoscope.learning.studies import Progress, find_earlier, prepare_store
from ranoscope.learning.training import alone

__all__ = [
    "Cell", "Experiment", "collect_calls", "cross_validate", "prepare_experiment", "require_ready", "run_cell",
    "run_cells",
]  # fmt: skip

_FOLD_ORDER = ["seed", "patient", "current"]
_COMMAND = "ranoscope crossval"


@dataclass(frozen=True)
class Experiment:
    """A recipe on a cohort: aligned studies, folds and settings are in place, ``cells`` wait to be run in any order."""

    recipe: Recipe
    material: Material
    out: Path
    cells: list[Cell]


def cross_validate(
    recipe: Recipe, cohort_run: Path, out: Path, progress: Progress, images: Path | None = None
) -> pd.DataFrame:
    """Train and call every fold of every seed; what an earlier, interrupted call finished is kept.

    Args:
        recipe: the experiment.
        cohort_run: folder with cohort.csv; the aligned studies are cached in its ``store``.
        out: run folder for folds, checkpoints and calls; may be ``cohort_run``.
        progress: told (done, total, what) after every study and every epoch.
        images: where the LUMIERE images are now, if they have moved since the cohort was made.

    Returns:
        The calls, one row per seed and case, columns ``runs.CALL_COLUMNS`` and ``seed``; under folds as published also
        ``protocol``.

    Raises:
        RecipeError: the network cannot work on so coarse a grid, or not begin with these weights.
        ImageError: studies that cannot be read or lack a sequence, all of them named; the others are in the store.
        RunError: ``out`` holds folds or checkpoints of another cohort, recipe or protocol, another process writes to
            it, the file of pretrained weights is not there, or a cell ended as ``run_cell`` says.
    """
    with alone(out):
        experiment = prepare_experiment(recipe, cohort_run, out, progress, images)
        total = len(experiment.cells) * recipe.training.epochs
        run_cells(experiment, progress, 0, total, "")
        return collect_calls(experiment)


def require_ready(recipe: Recipe) -> None:
    """Raise RecipeError or RunError where no training can begin, whatever the cohort: grid and initial weights."""
    require_fitting_grid(recipe)
    require_initial_weights(recipe)
    require_fitting_pretraining(recipe)


def prepare_experiment(
    recipe: Recipe, cohort_run: Path, out: Path, progress: Progress, images: Path | None = None
) -> Experiment:
    """Bring studies, folds and settings into place; nothing is trained. Arguments and errors: ``cross_validate``."""
    require_ready(recipe)
    cases, left_out = choose_cases(recipe, cohort_run, read_cases(cohort_run), images)
    with alone(out):
        # Whatever speaks against this folder is said before hours go into the store.
        require_own_cohort(cohort_run, out, left_out)
        folds = _draw_own_folds(recipe, cases, out)
        earlier = find_earlier(recipe, cohort_run, cases, images)
        store = prepare_store(recipe, cohort_run, cases, progress, images, earlier)
        rank_zero_only(adopt_cohort)(recipe, cohort_run, out, left_out)
        rank_zero_only(write_folds)(out, folds)
        if earlier:
            rank_zero_only(write_earlier)(out, earlier)
        material = Material(store, read_patients(cohort_run), earlier)
        cells = make_cells(recipe, material, cases, folds, out)
        require_own_checkpoints(recipe, cells, out)
        _record(recipe, out)
    return Experiment(recipe, material, out, cells)


def run_cells(experiment: Experiment, progress: Progress, done: int, total: int, within: str) -> int:
    """Run every cell in order; those that are finished are kept.

    Args:
        experiment: what ``prepare_experiment`` returned.
        progress: told (done, total, what) after every epoch and every cell.
        done: epochs that were done before, among ``total``.
        total: epochs of all that the caller runs.
        within: said of every cell between its seed and its fold; may be empty.

    Returns:
        ``done``, this experiment's epochs added.

    Raises:
        RunError, StorageError: as ``run_cell``.
    """
    epochs = experiment.recipe.training.epochs
    for cell in experiment.cells:
        title = f"seed {cell.seed}, {within}fold {cell.fold + 1} of {experiment.recipe.folds.count}"
        state = "finished before" if cell.is_finished else "done"

        def told(epoch: int, what: str, before: int = done, title: str = title) -> None:
            progress(before + epoch, total, f"{title}, epoch {epoch}: {what}")

        run_cell(experiment, cell, told)
        done += epochs
        progress(done, total, f"{title}: {state}")
    return done


def run_cell(experiment: Experiment, cell: Cell, told: Told) -> None:
    """Train one cell and write its network and calls, resuming where an interrupted attempt stopped.

    Args:
        experiment: what ``prepare_experiment`` returned.
        cell: one of its cells; where it is finished, only what a kill left behind is removed.
        told: called after every epoch with its number (from 1) and its inner loss in words.

    Raises:
        RunError: the loss became NaN or infinite, memory ran out, or another process is at work on this cell.
        StorageError: the disk is full; the last whole epoch can be resumed.
    """
    recipe, material = experiment.recipe, experiment.material
    with alone(cell.folder):
        if not cell.is_finished:
            restart = cell.folder / f"restart-{cell.key}"
            with naming_memory(recipe, f"seed {cell.seed}, fold {cell.fold + 1}, {cell.folder}"):
                fitted = fit_fold(recipe, material, cell.sides(recipe), restart, cell.training_seed, told)
                _finish(recipe, material, cell, fitted)
            if torch.distributed.is_initialized():  # the other processes of a multi-GPU run wait for the files
                torch.distributed.barrier()
        _tidy(cell.folder)


def collect_calls(experiment: Experiment) -> pd.DataFrame:
    """All cells' calls as one table, written to ``calls.csv``.

    Raises:
        RunError: a cell has not been run.
    """
    tables = [runs.read_csv(cell.folder / runs.CALLS, _COMMAND, runs.CALL_COLUMNS) for cell in experiment.cells]
    calls = pd.concat(tables).sort_values(["seed", "patient", "current"], ignore_index=True)
    rank_zero_only(runs.write_csv)(experiment.out / runs.CALLS, calls)
    return calls


def _draw_own_folds(recipe: Recipe, cases: list[Case], out: Path) -> pd.DataFrame:
    """Draw the folds; of a seed already written they must be the same.

    Raises:
        RunError: the folder holds folds of another cohort, fold setting or protocol.
    """
    drawn = draw_folds(cases, recipe.folds)
    if (out / runs.FOLDS).is_file():
        known = read_folds(out, recipe.folds.protocol)
        shared = set(known["seed"]) & set(drawn["seed"])
        before, today = (
            table[table["seed"].isin(shared)].sort_values(_FOLD_ORDER, ignore_index=True).astype(str)
            for table in (known, drawn)
        )
        if not shared or not before.equals(today):
            raise RunError(
                problem(
                    "the folds of this cohort and recipe",
                    "other folds",
                    str(out / runs.FOLDS),
                    "choose another --out for another cohort or fold setting",
                )
            )
    return drawn


@rank_zero_only
def _record(recipe: Recipe, out: Path) -> None:
    inputs = {name: provenance.file_hash(out / name) for name in (runs.COHORT, runs.FOLDS, PATIENTS)}
    provenance.record(out, "crossval", recipe.model_dump(mode="json"), inputs, recipe.folds.seeds[0])


@rank_zero_only
def _finish(recipe: Recipe, material: Material, cell: Cell, fitted: FittedFold) -> None:
    save_weights(cell.folder / WEIGHTS, fitted.network)
    runs.write_csv(cell.folder / runs.CALLS, call_cases(recipe, material, cell, fitted))
    runs.write_json(cell.folder / FOLD, describe_fold(recipe, cell, fitted))


@rank_zero_only
def _tidy(folder: Path) -> None:
    """Remove a finished fold's restart files, and what a kill in mid-write left."""
    for leftover in folder.glob("restart-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for unfinished in folder.glob(".*.part"):
        unfinished.unlink(missing_ok=True)
