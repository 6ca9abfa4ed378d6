"""Weights learnt once from all studies of a store, for recipes on other cohorts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from ranoscope import runs
from ranoscope.config import ChangePretraining, Recipe
from ranoscope.domain import Case
from ranoscope.errors import RecipeError, RunError, problem
from ranoscope.imaging.store import StudyStore
from ranoscope.learning.memory import naming_memory
from ranoscope.learning.networks import require_fitting_grid
from ranoscope.learning.pretraining.change.learn import Pretext, learn_change, network_settings
from ranoscope.learning.pretraining.files import is_finished, read_record, read_weights, record_of, require_weights_name
from ranoscope.learning.pretraining.pretext import studies_of
from ranoscope.learning.pretraining.transfer import PretrainedWeights
from ranoscope.learning.studies import Progress, prepare_all_studies
from ranoscope.learning.training import alone

COMMAND = "ranoscope pretrain change"


def pretrain_on_run(
    recipe: Recipe, cohort_run: Path, out: Path, progress: Progress, images: Path | None = None
) -> dict[str, Any]:
    """Teach the recipe's network synthetic change on every study of a cohort, rated or not; no rating is looked at.

    The seed is that of the recipe's first folds. Interrupted, the same call goes on; finished, it does nothing.

    Args:
        recipe: with ``pretraining: {name: change}``; the experiment that will begin with these weights.
        cohort_run: folder that ``ranoscope cohort`` wrote; the aligned studies are cached in its ``store``.
        out: a .safetensors file to write; a .json with the same stem is written beside it.
        progress: told (done, total, what) after every study and every epoch.
        images: where the LUMIERE images are now, if they have moved since the cohort was made.

    Returns:
        The content of that .json; ``left_out`` names the studies that could not be used, and why.

    Raises:
        RecipeError: the recipe begins with other weights, or its network cannot work on its grid.
        RunError: ``out`` is of another recipe or other studies, the images have gone, or the loss became NaN.
        RanoscopeError: studies of a single patient.
        StorageError: the disk is full; the last whole epoch can be resumed.
    """
    require_weights_name(out)
    if not isinstance(recipe.pretraining, ChangePretraining):
        do = "set pretraining: {name: change}"
        raise RecipeError(problem("pretraining by change", recipe.pretraining.name, f"recipe {recipe.name}", do))
    require_fitting_grid(recipe)
    store, keys, left_out = prepare_all_studies(recipe, cohort_run, progress, images)
    pretext = Pretext(recipe, store, keys, recipe.folds.seeds[0])
    work, epochs = out.parent / f".{out.stem}-work", pretext.settings.epochs
    about = {
        "key": pretext.key,
        "studies": {str(key): store[key].content for key in keys},
        "left_out": [left_out[key] for key in sorted(left_out)],
    }

    def told(epoch: int, what: str) -> None:
        progress(epoch, epochs, f"epoch {epoch}: {what}")

    if not is_finished(out, pretext.key, COMMAND):
        with alone(work), naming_memory(recipe, str(work)):
            learn_change(pretext, out, work / pretext.key, about, told)
    progress(epochs, epochs, "done")
    rank_zero_only(shutil.rmtree)(work, ignore_errors=True)
    written: dict[str, Any] = runs.read_json(record_of(out), COMMAND)
    return written


def require_outside_weights(recipe: Recipe, path: Path) -> None:
    """Raise RunError unless these are weights of this recipe's network."""
    read_record(path, network_settings(recipe), COMMAND)


def read_outside_weights(recipe: Recipe, path: Path, store: StudyStore, cases: list[Case]) -> PretrainedWeights:
    """What ``pretrain_on_run`` wrote, from other studies than those of this cohort.

    A study that taught the weights is in the training of all folds but one, so that the others find it.

    Args:
        recipe: whose network they are for.
        path: of the weights.
        store: aligned studies.
        cases: training cases of one fold.

    Raises:
        RunError: as ``files.read_weights``; or one of the studies of ``cases`` taught them, so that other folds' tested
            patients did, too.
    """
    weights = read_weights(path, network_settings(recipe), COMMAND)
    taught = set(read_record(path, network_settings(recipe), COMMAND)["studies"].values())
    shared = [key for key in studies_of(cases) if store[key].content in taught]
    if shared:
        got = f"ones that {len(shared)} of its studies taught, {shared[0]} among them"
        do = "leave pretraining.weights out, so that each fold learns from its own training patients"
        raise RunError(problem("weights learnt from other studies than this cohort's", got, str(path), do))
    return weights
