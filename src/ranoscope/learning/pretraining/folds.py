"""The rotation task of every fold, without the trainings that begin with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ranoscope import runs
from ranoscope.config import Recipe, RotationPretraining
from ranoscope.errors import RecipeError, problem
from ranoscope.learning.crossval import Cell, Experiment, prepare_experiment
from ranoscope.learning.memory import naming_memory
from ranoscope.learning.plateau import Told
from ranoscope.learning.pretraining.files import record_of
from ranoscope.learning.pretraining.initial import ROTATION_COMMAND
from ranoscope.learning.pretraining.rotations import pretrain_on_rotations
from ranoscope.learning.studies import Progress
from ranoscope.learning.training import alone


def pretrain_rotations(
    recipe: Recipe, cohort_run: Path, out: Path, progress: Progress, images: Path | None = None
) -> list[dict[str, Any]]:
    """Learn the rotations of every fold of every seed; ``cross_validate`` with the same ``out`` finds them learnt.

    Args:
        recipe: with ``pretraining: {name: rotations}``.
        cohort_run: folder with cohort.csv.
        out: run folder.
        progress: told (done, total, what) after every study and every epoch.
        images: where the LUMIERE images are now, if they have moved since the cohort was made.

    Returns:
        The record of each fold, in the order of seeds and folds.

    Raises:
        RecipeError: the recipe begins with other weights.
        RanoscopeError: as ``cross_validate``.
    """
    if not isinstance(recipe.pretraining, RotationPretraining):
        do = "set pretraining: {name: rotations}"
        raise RecipeError(problem("pretraining by rotations", recipe.pretraining.name, f"recipe {recipe.name}", do))
    records = []
    with alone(out):
        experiment = prepare_experiment(recipe, cohort_run, out, progress, images)
        total = len(experiment.cells)
        for place, cell in enumerate(experiment.cells):
            title = f"seed {cell.seed}, fold {cell.fold + 1} of {recipe.folds.count}"

            def told(_: int, what: str, place: int = place, title: str = title) -> None:
                progress(place, total, f"{title}: {what}")

            path = _pretrain(experiment, cell, told)
            records.append(runs.read_json(record_of(path), ROTATION_COMMAND))
            progress(place + 1, total, f"{title}: done")
    return records


def _pretrain(experiment: Experiment, cell: Cell, told: Told) -> Path:
    recipe, store = experiment.recipe, experiment.material.store
    with alone(cell.folder), naming_memory(recipe, f"seed {cell.seed}, fold {cell.fold + 1}, {cell.folder}"):
        learnt = cell.sides(recipe).training
        return pretrain_on_rotations(recipe, store, learnt, cell.folder, cell.training_seed, told)
