"""Cross-validation: every case is called once per seed, by a network that (folds by patient) never saw its patient.

The folds of all seeds are *cells*: each is trained, and its calls are written, on its own. ``cross_validate`` runs them
in order; whoever runs many recipes (a benchmark) prepares an experiment once and runs its cells where there is room.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from lightning.pytorch.utilities import rank_zero_only

from ranoscope import provenance, runs
from ranoscope.cohort.files import PATIENTS, SOURCE, read_cases
from ranoscope.cohort.folds import draw_folds, read_folds, write_folds
from ranoscope.config import Recipe
from ranoscope.domain import RESPONSES, Case
from ranoscope.errors import RunError, problem
from ranoscope.imaging.store import StudyStore
from ranoscope.learning.checkpoints import (
    FOLD,
    WEIGHTS,
    fold_folder,
    require_same_recipe,
    save_weights,
    training_fingerprint,
)
from ranoscope.learning.fitting import FittedFold, Told, fit_fold, probabilities
from ranoscope.learning.networks import require_fitting_grid
from ranoscope.learning.studies import STORE, Progress, prepare_store

_COMMAND = "ranoscope crossval"
_COHORT_FILES = (runs.COHORT, runs.STUDIES, runs.FLOW, PATIENTS)


@dataclass(frozen=True)
class Cell:
    """One fold of one seed before it is trained; ``key`` changes with anything its network or calls depend on."""

    seed: int
    fold: int
    folder: Path
    test: list[Case]
    training: list[Case]
    key: str

    @property
    def is_finished(self) -> bool:
        """Whether its network and calls are there; ``fold.json`` is written last."""
        return (self.folder / FOLD).is_file()


@dataclass(frozen=True)
class Experiment:
    """A recipe on a cohort: aligned studies, folds and settings are in place, ``cells`` wait to be run in any order."""

    recipe: Recipe
    store: StudyStore
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
        The calls, one row per seed and case, columns ``runs.CALL_COLUMNS`` and ``seed``.

    Raises:
        RecipeError: the network cannot work on so coarse a grid.
        ImageError: studies that cannot be read, all of them named; the others are in the store.
        RunError: ``out`` holds folds or checkpoints of another cohort or recipe.
    """
    experiment = prepare_experiment(recipe, cohort_run, out, progress, images)
    epochs, cells = recipe.training.epochs, experiment.cells
    for place, cell in enumerate(cells):
        before, total = place * epochs, len(cells) * epochs
        title = f"seed {cell.seed}, fold {cell.fold + 1} of {recipe.folds.count}"
        state = "finished before" if cell.is_finished else "done"

        def told(epoch: int, what: str, before: int = before, total: int = total, title: str = title) -> None:
            progress(before + epoch, total, f"{title}, epoch {epoch}: {what}")

        run_cell(experiment, cell, told)
        progress(before + epochs, total, f"{title}: {state}")
    return collect_calls(experiment)


def prepare_experiment(
    recipe: Recipe, cohort_run: Path, out: Path, progress: Progress, images: Path | None = None
) -> Experiment:
    """Bring studies, folds and settings into place; nothing is trained. Arguments and errors: ``cross_validate``."""
    cases = read_cases(cohort_run)
    if not cases:
        raise RunError(problem("at least one kept case", "none", str(cohort_run), "read flow.json for the exclusions"))
    require_fitting_grid(recipe)
    store = prepare_store(recipe, cohort_run, cases, progress, images)
    _adopt_cohort(cohort_run, out)
    folds = _settle_folds(recipe, cases, out)
    which = itertools.product(sorted(recipe.folds.seeds), range(recipe.folds.count))
    inputs = {case: _inputs(store, case) for case in cases}
    cells = [_cell(recipe, inputs, folds, out, seed_and_fold) for seed_and_fold in which]
    _require_own_checkpoints(recipe, cells, out)
    _record(recipe, out)
    return Experiment(recipe, store, out, cells)


def run_cell(experiment: Experiment, cell: Cell, told: Told) -> None:
    """Train one cell and write its network and calls, resuming where an interrupted attempt stopped.

    Args:
        experiment: what ``prepare_experiment`` returned.
        cell: one of its cells; where it is finished, only what a kill left behind is removed.
        told: called after every epoch with its number (from 1) and its inner loss in words.

    Raises:
        RunError: the loss became NaN or infinite.
        StorageError: the disk is full; the last whole epoch can be resumed.
    """
    if not cell.is_finished:
        recipe, store = experiment.recipe, experiment.store
        restart = cell.folder / f"restart-{cell.key}"
        fitted = fit_fold(recipe, store, cell.training, restart, 1000 * cell.seed + cell.fold, told)
        _finish(recipe, store, cell, fitted)
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


@rank_zero_only
def _adopt_cohort(cohort_run: Path, out: Path) -> None:
    """Copy the cohort's tables, so that ``out`` explains itself, and note where the store and the images are."""
    if out.resolve() != cohort_run.resolve():
        mine = out / runs.COHORT
        if mine.is_file() and mine.read_bytes() != (cohort_run / runs.COHORT).read_bytes():
            raise RunError(
                problem("this cohort's table", "another cohort", str(mine), "choose another --out for this cohort")
            )
        for name in _COHORT_FILES:
            if (cohort_run / name).is_file():
                runs.write_bytes(out / name, (cohort_run / name).read_bytes())
    source = runs.read_json(cohort_run / SOURCE, "ranoscope cohort")
    if source.get("images"):
        place = (cohort_run / source["images"]).resolve()
        source["images"] = Path(os.path.relpath(place, out.resolve())).as_posix()
    source["store"] = Path(os.path.relpath((cohort_run / STORE).resolve(), out.resolve())).as_posix()
    runs.write_json(out / SOURCE, source)


def _settle_folds(recipe: Recipe, cases: list[Case], out: Path) -> pd.DataFrame:
    """Draw the folds, or take those already written if they are the same.

    Raises:
        RunError: the folder holds folds of another cohort or fold setting.
    """
    drawn = draw_folds(cases, recipe.folds)
    if (out / runs.FOLDS).is_file():
        known = read_folds(out)
        if not known.astype(str).equals(drawn.astype(str)):
            raise RunError(
                problem(
                    "the folds of this cohort and recipe",
                    "other folds",
                    str(out / runs.FOLDS),
                    "choose another --out for another cohort or fold setting",
                )
            )
    rank_zero_only(write_folds)(out, drawn)
    return drawn


def _cell(recipe: Recipe, inputs: dict[Case, str], folds: pd.DataFrame, out: Path, which: tuple[int, int]) -> Cell:
    seed, fold = which
    rows = folds[(folds["seed"] == seed) & (folds["fold"] == fold)]
    held_out = set(zip(rows["patient"], rows["current"], strict=True))
    test = [case for case in inputs if (case.patient, str(case.current)) in held_out]
    training = [case for case in inputs if (case.patient, str(case.current)) not in held_out]
    # Labels of held-out cases decide nothing of the network or its probabilities, and so are no part of the key.
    parts = [sorted(inputs[case] for case in test), sorted(f"{inputs[case]} {case.response}" for case in training)]
    text = json.dumps([training_fingerprint(recipe), *parts])
    key = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Cell(seed, fold, fold_folder(out, seed, fold), test, training, key)


def _inputs(store: StudyStore, case: Case) -> str:
    """Name and images of a case."""
    return f"{case} {store[case.prior_study].content} {store[case.current_study].content}"


def _require_own_checkpoints(recipe: Recipe, cells: list[Cell], out: Path) -> None:
    """Raise RunError if a finished fold belongs to another recipe or another cohort, before anything is trained."""
    keys = {cell.folder: cell.key for cell in cells}
    for record in sorted((out / runs.CHECKPOINTS).glob(f"seed-*/{FOLD}")):
        about = runs.read_json(record, _COMMAND)
        require_same_recipe(about, recipe, record.parent)
        if about.get("key") != keys.get(record.parent):
            do = "choose another --out, or delete this folder to train afresh"
            raise RunError(
                problem("a checkpoint of this cohort", "one of other cases or images", str(record.parent), do)
            )


@rank_zero_only
def _record(recipe: Recipe, out: Path) -> None:
    inputs = {name: provenance.file_hash(out / name) for name in (runs.COHORT, runs.FOLDS)}
    provenance.record(out, "crossval", recipe.model_dump(mode="json"), inputs, recipe.folds.seeds[0])


def _calls(fitted: FittedFold, recipe: Recipe, store: StudyStore, cell: Cell) -> pd.DataFrame:
    answers = probabilities(fitted.network, store, cell.test, recipe).double().numpy()
    answers /= answers.sum(axis=1, keepdims=True)
    rows = [
        {
            "patient": case.patient,
            "prior": str(case.prior),
            "current": str(case.current),
            "response": str(case.response),
            "fold": cell.fold,
            **{f"p_{name}": f"{answer[name.class_index]:.6f}" for name in RESPONSES},
            "call": str(RESPONSES[int(answer.argmax())]),
            "seed": cell.seed,
        }
        for case, answer in zip(cell.test, answers, strict=True)
    ]
    return pd.DataFrame(rows)[[*runs.CALL_COLUMNS, "seed"]]


@rank_zero_only
def _finish(recipe: Recipe, store: StudyStore, cell: Cell, fitted: FittedFold) -> None:
    save_weights(cell.folder / WEIGHTS, fitted.network)
    runs.write_csv(cell.folder / runs.CALLS, _calls(fitted, recipe, store, cell))
    about = {
        "key": cell.key,
        "recipe": training_fingerprint(recipe),
        "recipe_name": recipe.name,
        "best_epoch": fitted.best_epoch,
        "epochs": len(fitted.history),
        "inner_loss": fitted.inner_loss,
        "history": fitted.history,
    }
    runs.write_json(cell.folder / FOLD, about)


@rank_zero_only
def _tidy(folder: Path) -> None:
    """Remove a finished fold's restart files, and what a kill in mid-write left."""
    for leftover in folder.glob("restart-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for unfinished in folder.glob(".*.part"):
        unfinished.unlink(missing_ok=True)
