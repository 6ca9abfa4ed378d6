"""Cross-validation over patients: every case is called once per seed by a network that never saw its patient."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import joblib
import pandas as pd
import torch
from lightning.pytorch.utilities import rank_zero_only

from ranoscope import provenance, runs
from ranoscope.cohort import layout
from ranoscope.cohort.archive import ImagingArchive
from ranoscope.cohort.files import PATIENTS, SOURCE, open_run_images, read_cases
from ranoscope.cohort.folds import assign_folds, read_folds, write_folds
from ranoscope.config import Recipe
from ranoscope.domain import RESPONSES, Case, Sequence, StudyKey
from ranoscope.errors import ImageError, RunError, problem
from ranoscope.imaging.store import StudySource, StudyStore, build_store
from ranoscope.learning.checkpoints import (
    FOLD,
    WEIGHTS,
    fold_folder,
    require_same_recipe,
    save_weights,
    training_fingerprint,
)
from ranoscope.learning.data import study_source
from ranoscope.learning.fitting import FittedFold, fit_fold, probabilities
from ranoscope.learning.networks import require_fitting_grid

STORE = "store"
_COMMAND = "ranoscope crossval"
_COHORT_FILES = (runs.COHORT, runs.STUDIES, runs.FLOW, PATIENTS)
Progress = Callable[[int, int, str], None]


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
    cases = read_cases(cohort_run)
    if not cases:
        raise RunError(problem("at least one kept case", "none", str(cohort_run), "read flow.json for the exclusions"))
    require_fitting_grid(recipe)
    store = prepare_store(recipe, cohort_run, cases, progress, images)
    _adopt_cohort(cohort_run, out)
    folds = _settle_folds(recipe, cases, out)
    which = itertools.product(sorted(recipe.folds.seeds), range(recipe.folds.count))
    inputs = {case: _inputs(store, case) for case in cases}
    plans = [_plan(recipe, inputs, folds, out, seed_and_fold) for seed_and_fold in which]
    _require_own_checkpoints(recipe, plans, out)
    _record(recipe, out)
    tables = [_run_fold(recipe, store, plan, progress, place) for place, plan in enumerate(plans)]
    calls = pd.concat(tables).sort_values(["seed", "patient", "current"], ignore_index=True)
    rank_zero_only(runs.write_csv)(out / runs.CALLS, calls)
    return calls


def prepare_store(
    recipe: Recipe, cohort_run: Path, cases: list[Case], progress: Progress, images: Path | None = None
) -> StudyStore:
    """Bring every study of the cases into the cohort's store and open it.

    Raises:
        ImageError: with one line per study that could not be read; all others are in the store.
    """
    archive = open_run_images(cohort_run, images)
    keys = sorted({key for case in cases for key in (case.prior_study, case.current_study)})
    sources, failures = _find_files(archive, keys, recipe.sequences)
    workers = min(joblib.cpu_count(), 8)
    failures |= build_store(cohort_run / STORE, sources, recipe.grid, progress, workers)
    if failures:
        raise ImageError("\n".join(failures[key] for key in sorted(failures)))
    return StudyStore(cohort_run / STORE, recipe.grid)


def open_run_store(run: Path, recipe: Recipe) -> StudyStore:
    """The store a trained run read its studies from.

    Raises:
        RunError: the run names no store, or it has gone.
    """
    place = runs.read_json(run / SOURCE, _COMMAND).get("store")
    store = StudyStore(run / str(place), recipe.grid)
    if place is None or not store.folder.is_dir():
        raise RunError(problem("the store of aligned studies", "none", str(run), "run `ranoscope crossval` again"))
    return store


def _find_files(
    archive: ImagingArchive, keys: list[StudyKey], sequences: tuple[Sequence, ...]
) -> tuple[list[StudySource], dict[StudyKey, str]]:
    """The studies' files, and a message for each study that lacks one."""
    sources: list[StudySource] = []
    failures: dict[StudyKey, str] = {}
    for key in keys:
        try:
            source = study_source(archive, key)
        except ImageError as error:
            failures[key] = str(error)
            continue
        missing = [layout.atlas_file(sequence) for sequence in sequences if sequence not in source.volumes]
        if missing:
            do = "restore it from the download, or leave the sequence out of the recipe"
            failures[key] = problem(f"the file {', '.join(missing)}", "none", str(key), do)
        else:
            sources.append(source)
    return sources, failures


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
    drawn = assign_folds(cases, recipe.folds)
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


@dataclass(frozen=True)
class _Plan:
    """One fold before it is trained; ``key`` changes with anything its network or calls depend on."""

    seed: int
    fold: int
    folder: Path
    test: list[Case]
    training: list[Case]
    key: str


def _plan(recipe: Recipe, inputs: dict[Case, str], folds: pd.DataFrame, out: Path, which: tuple[int, int]) -> _Plan:
    seed, fold = which
    held_out = set(folds.loc[(folds["seed"] == seed) & (folds["fold"] == fold), "patient"])
    test = [case for case in inputs if case.patient in held_out]
    training = [case for case in inputs if case.patient not in held_out]
    # Labels of held-out cases decide nothing of the network or its probabilities, and so are no part of the key.
    parts = [sorted(inputs[case] for case in test), sorted(f"{inputs[case]} {case.response}" for case in training)]
    text = json.dumps([training_fingerprint(recipe), *parts])
    key = hashlib.sha256(text.encode()).hexdigest()[:12]
    return _Plan(seed, fold, fold_folder(out, seed, fold), test, training, key)


def _inputs(store: StudyStore, case: Case) -> str:
    """Name and images of a case."""
    return f"{case} {store[case.prior_study].content} {store[case.current_study].content}"


def _require_own_checkpoints(recipe: Recipe, plans: list[_Plan], out: Path) -> None:
    """Raise RunError if a finished fold belongs to another recipe or another cohort, before anything is trained."""
    keys = {plan.folder: plan.key for plan in plans}
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


def _run_fold(recipe: Recipe, store: StudyStore, plan: _Plan, progress: Progress, place: int) -> pd.DataFrame:
    """Calls of the fold at this place of all: read if finished, else trained; ``fold.json``, written last, says so."""
    epochs, count = recipe.training.epochs, recipe.folds.count
    before, total = place * epochs, len(recipe.folds.seeds) * count * epochs
    title = f"seed {plan.seed}, fold {plan.fold + 1} of {count}"
    if (plan.folder / FOLD).is_file():
        progress(before + epochs, total, f"{title}: finished before")
    else:

        def told(epoch: int, what: str) -> None:
            progress(before + epoch, total, f"{title}, epoch {epoch}: {what}")

        restart = plan.folder / f"restart-{plan.key}"
        fitted = fit_fold(recipe, store, plan.training, restart, 1000 * plan.seed + plan.fold, told)
        _finish(recipe, store, plan, fitted)
        if torch.distributed.is_initialized():  # the other processes of a multi-GPU run wait for the files
            torch.distributed.barrier()
        progress(before + epochs, total, f"{title}: done")
    _tidy(plan.folder)
    return runs.read_csv(plan.folder / runs.CALLS, _COMMAND, runs.CALL_COLUMNS)


def _calls(fitted: FittedFold, recipe: Recipe, store: StudyStore, plan: _Plan) -> pd.DataFrame:
    answers = probabilities(fitted.network, store, plan.test, recipe).double().numpy()
    answers /= answers.sum(axis=1, keepdims=True)
    rows = [
        {
            "patient": case.patient,
            "prior": str(case.prior),
            "current": str(case.current),
            "response": str(case.response),
            "fold": plan.fold,
            **{f"p_{name}": f"{answer[name.class_index]:.6f}" for name in RESPONSES},
            "call": str(RESPONSES[int(answer.argmax())]),
            "seed": plan.seed,
        }
        for case, answer in zip(plan.test, answers, strict=True)
    ]
    return pd.DataFrame(rows)[[*runs.CALL_COLUMNS, "seed"]]


@rank_zero_only
def _finish(recipe: Recipe, store: StudyStore, plan: _Plan, fitted: FittedFold) -> None:
    save_weights(plan.folder / WEIGHTS, fitted.network)
    runs.write_csv(plan.folder / runs.CALLS, _calls(fitted, recipe, store, plan))
    about = {
        "key": plan.key,
        "recipe": training_fingerprint(recipe),
        "recipe_name": recipe.name,
        "best_epoch": fitted.best_epoch,
        "epochs": len(fitted.history),
        "inner_loss": fitted.inner_loss,
        "history": fitted.history,
    }
    runs.write_json(plan.folder / FOLD, about)


@rank_zero_only
def _tidy(folder: Path) -> None:
    """Remove a finished fold's restart files, and what a kill in mid-write left."""
    for leftover in folder.glob("restart-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for unfinished in folder.glob(".*.part"):
        unfinished.unlink(missing_ok=True)
