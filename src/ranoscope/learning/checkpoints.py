"""What a training leaves on disk: restartable state per epoch, and one safetensors file per finished fold.

No pickle is ever loaded: weights are safetensors, and Lightning's restart file is read with ``weights_only``.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from ranoscope import runs
from ranoscope.config import Recipe, parse_recipe
from ranoscope.errors import RunError, problem
from ranoscope.learning.facts import FactScale
from ranoscope.learning.networks import PairNetwork, build_network

WEIGHTS = "model.safetensors"
FOLD = "fold.json"
_TRAINED_BY = (
    "sequences", "grid", "augmentation", "network", "target", "labels", "missing_sequences", "clinical",
    "measured_volumes", "pretraining", "training", "folds",
)  # fmt: skip


def training_fingerprint(recipe: Recipe) -> str:
    """Fingerprint of all settings that decide a fold's weights; where and how fast it ran, and how the file of
    pretrained weights is called, does not (what is in it is part of a cell's key).
    """
    training = recipe.training.model_copy(
        update={"accelerator": "auto", "devices": "auto", "strategy": "auto", "workers": 0, "compile": False}
    )
    pretraining = recipe.pretraining
    if getattr(pretraining, "weights", None) is not None:
        pretraining = pretraining.model_copy(update={"weights": Path()})
    # Each fold is trained from its own seed (it is part of a cell's key): how many others there are decides nothing.
    folds = recipe.folds.model_copy(update={"seeds": ()})
    changed = {"training": training, "pretraining": pretraining, "folds": folds}
    return recipe.model_copy(update=changed).fingerprint(*_TRAINED_BY)


def fold_folder(run: Path, seed: int, fold: int) -> Path:
    """Where a fold's files are."""
    return run / runs.CHECKPOINTS / f"seed-{seed}_fold-{fold}"


def save_weights(path: Path, network: PairNetwork) -> None:
    """Write the network's weights atomically as safetensors."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    runs.write_bytes(path, save(state))


def load_weights(path: Path, network: PairNetwork) -> None:
    """Read weights that ``save_weights`` wrote into a network of the same shape.

    Raises:
        RunError: the file is absent, damaged or of another network.
    """
    try:
        network.load_state_dict(load_file(path), strict=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise RunError(
            problem(
                "the fold's weights",
                str(error).splitlines()[0],
                str(path),
                "delete the fold's folder and run `ranoscope crossval` again",
            )
        ) from error


def load_run_recipe(run: Path) -> Recipe:
    """The resolved recipe a run was trained with.

    Raises:
        RunError: the run has not been trained.
    """
    settings = runs.read_yaml(run / runs.SETTINGS, "ranoscope crossval RECIPE")
    if "crossval" not in settings:
        raise RunError(
            problem("a trained run", "settings without crossval", str(run), "run `ranoscope crossval` first")
        )
    return parse_recipe(settings["crossval"], str(run / runs.SETTINGS))


def load_fold(run: Path, seed: int, fold: int) -> PairNetwork:
    """The network of one fold in evaluation mode, on the CPU.

    Raises:
        RunError: the fold was not finished, belongs to another recipe, or its file is damaged.
    """
    recipe = load_run_recipe(run)
    folder = fold_folder(run, seed, fold)
    about = runs.read_json(folder / FOLD, "ranoscope crossval")
    require_same_recipe(about, recipe, folder)
    network = build_network(recipe)
    load_weights(folder / WEIGHTS, network)
    return network.eval()


def load_fact_scale(run: Path, seed: int, fold: int) -> FactScale:
    """The scale of a finished fold's facts, fitted on its training cases.

    Raises:
        RunError: the fold was not finished.
    """
    about = runs.read_json(fold_folder(run, seed, fold) / FOLD, "ranoscope crossval")
    return FactScale.from_dict(about["fact_scale"])


def require_same_recipe(about: dict[str, Any], recipe: Recipe, folder: Path) -> None:
    """Raise RunError when a fold's record names other training settings than the recipe's."""
    expected = training_fingerprint(recipe)
    if about.get("recipe") != expected:
        raise RunError(
            problem(
                f"a checkpoint of recipe {recipe.name} ({expected})",
                f"one of {about.get('recipe_name')} ({about.get('recipe')})",
                str(folder),
                "choose another --out, or delete this folder to train afresh",
            )
        )


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's restart file, replaced whole: a kill in mid-write leaves the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write through a temporary sibling; a full disk is a StorageError."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        runs.write_bytes(Path(path), buffer.getvalue())
