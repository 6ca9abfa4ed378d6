"""What synthetic change teaches a recipe's network: on a fold's own training patients, or on any studies."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ranoscope import provenance
from ranoscope.config import ChangePretraining, Recipe
from ranoscope.domain import Case, StudyKey
from ranoscope.errors import RanoscopeError, problem
from ranoscope.imaging.store import StudyStore
from ranoscope.learning.diary import Diary, EpochLosses, kept_epoch
from ranoscope.learning.plateau import Told
from ranoscope.learning.pretraining.change.masking import ChangeModule
from ranoscope.learning.pretraining.change.pairs import ChangePairs
from ranoscope.learning.pretraining.files import is_written, publish, shared_settings, write_weights
from ranoscope.learning.pretraining.pretext import fit_module, pretext_recipe, studies_of

TASK = "change"
_FORMAT = 1


@dataclass(frozen=True)
class Pretext:
    """What is learnt from: the recipe, studies of a store, and the seed of weights, pairs, order and held-out patients.

    No study but those of ``keys`` is read.
    """

    recipe: Recipe
    store: StudyStore
    keys: list[StudyKey]
    seed: int

    @property
    def settings(self) -> ChangePretraining:
        """The recipe's, which must be ``pretraining: {name: change}``."""
        settings = self.recipe.pretraining
        assert isinstance(settings, ChangePretraining)
        return settings

    @property
    def key(self) -> str:
        """Changes with anything the weights depend on; labels are not of it."""
        training, recipe = self.recipe.training, self.recipe
        content = {
            "format": _FORMAT,
            "network": network_settings(recipe) | {"name": recipe.network.name},
            "dropout": recipe.network.dropout,
            "augmentation": recipe.augmentation.model_dump(mode="json"),
            "target": str(recipe.target),
            "facts": [recipe.clinical.model_dump(mode="json"), recipe.measured_volumes, str(recipe.missing_sequences)],
            "pretraining": self.settings.model_dump(mode="json", exclude={"weights"}),
            "training": [training.weight_decay, training.precision, training.inner_validation],
            "auxiliary": training.auxiliary.model_dump(mode="json"),
            "images": [[str(key), self.store[key].content] for key in self.keys],
            "seed": self.seed,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def network_settings(recipe: Recipe) -> dict[str, Any]:
    """What two recipes must share to begin with the same weights: network, sequences and grid."""
    network = shared_settings(recipe, {"dropout"})
    return network | {"sequences": list(recipe.sequences), "grid": recipe.grid.model_dump(mode="json")}


def pretrain_in_fold(recipe: Recipe, store: StudyStore, cases: list[Case], folder: Path, seed: int, told: Told) -> Path:
    """The weights of the recipe's network after this task, made unless ``folder`` has them.

    Args:
        recipe: with ``pretraining: {name: change}``.
        store: aligned studies.
        cases: training cases of one fold; no study but theirs is read, and their responses are not looked at.
        folder: where weights, record and, meanwhile, restart files are kept.
        seed: of the fold.
        told: called with 0 and words after every epoch.

    Returns:
        A .safetensors file with its record beside it.

    Raises:
        RunError: the loss became NaN or infinite.
        RanoscopeError: cases of a single patient.
        StorageError: the disk is full; the last whole epoch can be resumed.
    """
    pretext = Pretext(recipe, store, studies_of(cases), seed)
    path = folder / f"{TASK}-{pretext.key}.safetensors"
    if not is_written(path):
        epochs = pretext.settings.epochs

        def heard(epoch: int, what: str) -> None:
            told(0, f"synthetic change, {f'epoch {epoch} of {epochs}: ' if epoch else ''}{what}")

        learn_change(pretext, path, folder / f"restart-{TASK}-{pretext.key}", {}, heard)
    return path


def learn_change(pretext: Pretext, path: Path, restart: Path, about: dict[str, Any], told: Told) -> None:
    """Learn, and write weights and record; a share (``training.inner_validation``) of the patients chooses the epoch.

    Args:
        pretext: what is learnt from.
        path: of the weights.
        restart: where restart files are kept meanwhile.
        about: added to the record.
        told: called after every epoch with its number (from 1) and its inner loss in words.

    Raises:
        RunError: the loss became NaN or infinite.
        RanoscopeError: studies of a single patient.
        StorageError: the disk is full; the last whole epoch can be resumed.
    """
    settings, seed, share = pretext.settings, pretext.seed, pretext.recipe.training.inner_validation
    plain = pretext_recipe(pretext.recipe, settings, auxiliary=pretext.recipe.training.auxiliary)
    learnt, held_out = split_patients(pretext.keys, share, seed)
    training = ChangePairs(pretext.store, learnt, plain, settings.pairs_per_epoch, seed)
    count = max(round(share * settings.pairs_per_epoch), 4)
    inner = ChangePairs(pretext.store, held_out, plain, count, seed, held_out=True)
    torch.manual_seed(seed)
    module = ChangeModule(plain, settings.masked_share)
    history = fit_module(plain, module, (training, inner), Diary(training.epoch, seed, restart), told)
    described = _describe(pretext, history) | about
    described |= {"patients": sorted({key.patient for key in learnt}),
                  "held_out": sorted({key.patient for key in held_out})}  # fmt: skip
    publish(lambda: write_weights(path, module.learner.pair.state_dict(), described), restart)


def _describe(pretext: Pretext, history: EpochLosses) -> dict[str, Any]:
    best = kept_epoch(history)
    return {
        "task": TASK,
        "network": network_settings(pretext.recipe),
        "target": str(pretext.recipe.target),
        "pretraining": pretext.settings.model_dump(mode="json", exclude={"weights"}),
        "held_out_balanced_accuracy": history[best - 1]["inner_balanced_accuracy"],
        "best_epoch": best,
        "history": history,
        "seed": pretext.seed,
        "provenance": provenance.describe("pretrain change", {}, pretext.seed),
    }


def split_patients(keys: list[StudyKey], share: float, seed: int) -> tuple[list[StudyKey], list[StudyKey]]:
    """Studies to learn from and studies that choose the epoch, no patient in both.

    Raises:
        RanoscopeError: fewer than two patients.
    """
    patients = sorted({key.patient for key in keys})
    if len(patients) < 2:
        got, do = str(len(patients)), "use more studies, or fewer folds"
        raise RanoscopeError(problem("at least 2 patients", got, "the studies of pretraining by change", do))
    count = int(np.clip(round(share * len(patients)), 1, len(patients) // 2))
    held_out = set(np.random.default_rng(seed).permutation(patients)[:count].tolist())
    return [key for key in keys if key.patient not in held_out], [key for key in keys if key.patient in held_out]
