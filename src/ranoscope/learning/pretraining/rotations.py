"""Which of six rotations a volume was turned by (Gidaris et al. 2018, in 3D), learnt on a fold's training patients.

The reference paper does not say which six. Here: the identity and turns by 90, 180 and 270 degrees about the
inferior-superior axis, by 180 degrees about the left-right and about the posterior-anterior axis: six of the eight that
keep the shape of a grid whose first two edges are equal. All are transpositions and flips, without interpolation.

The head has one orientation in the atlas, so much of the task can be told from its outline. What is told from less is
kept out: nothing outside the brain is shown, and the brain lies in the middle before it is turned, so that its place
says nothing.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ranoscope import provenance
from ranoscope.cohort.folds import inner_split
from ranoscope.config import Recipe, RotationPretraining
from ranoscope.domain import Case, Sequence, StudyKey
from ranoscope.imaging.store import Box, StudyStore
from ranoscope.learning.data import Sample, SampleDataset
from ranoscope.learning.plateau import Told
from ranoscope.learning.pretraining.files import is_written, publish, trunk_settings, write_trunk
from ranoscope.learning.pretraining.pretext import FittedTrunk, Task, accuracy, fit_trunk, pretext_recipe, studies_of

TASK = "rotations"
TURNS = ("none", "90° about S", "180° about S", "270° about S", "180° about R", "180° about A")
_FORMAT = 1


def turn(volume: NDArray[np.generic], which: int) -> NDArray[np.generic]:
    """A view of a volume (i, j, k), axes towards Right, Anterior, Superior, turned; by 90 and 270 degrees (j, i, k).

    ``which``: index into ``TURNS``; turns about S are counter-clockwise seen from above.
    """
    if which < 4:
        return np.rot90(volume, which, axes=(0, 1))
    return np.flip(volume, (1, 2) if which == 4 else (0, 2))


def centred(volume: NDArray[np.generic], box: Box) -> NDArray[np.float32]:
    """A volume's part around the middle of ``box``, square in-plane with the shorter of both edges, float32 (s, s, k).

    Zeros where that reaches beyond the volume. What a square cannot hold is lost under every turn alike.
    """
    edge = min(volume.shape[:2])
    result = np.zeros((edge, edge, volume.shape[2]), np.float32)
    take, put = [], []
    for side, size, target in zip(box, volume.shape, result.shape, strict=True):
        start = (side.start + side.stop - target) // 2
        low, high = max(start, 0), min(start + target, size)
        take.append(slice(low, high))
        put.append(slice(low - start, high - start))
    result[tuple(put)] = volume[tuple(take)]
    return result


def shown(volume: NDArray[np.generic], box: Box, which: int) -> NDArray[np.float32]:
    """What the network sees of a volume (i, j, k) under a turn: float32 in the volume's own shape.

    The square part that ``centred`` takes, turned, in the middle of zeros: the shape stays that of the recipe's grid,
    which the position tables of transformers depend on.
    """
    turned = turn(centred(volume, box), which)
    result = np.zeros(volume.shape, np.float32)
    i, j = ((whole - part) // 2 for whole, part in zip(volume.shape[:2], turned.shape[:2], strict=True))
    result[i : i + turned.shape[0], j : j + turned.shape[1]] = turned
    return result


class TurnedVolumes(SampleDataset):
    """Single sequences of the studies of some patients, turned.

    With a ``seed`` every volume is shown once an epoch, under a turn that changes from epoch to epoch, all turns
    equally often; without, every volume under every turn.
    """

    def __init__(self, store: StudyStore, cases: list[Case], recipe: Recipe, seed: int | None = None) -> None:
        self.store = store
        self.patients = frozenset(case.patient for case in cases)
        self.volumes = [
            (key, sequence)
            for key in studies_of(cases)
            for sequence in recipe.sequences
            if sequence in store[key].sequences
        ]
        count = len(self.volumes) * (1 if seed is not None else len(TURNS))
        super().__init__([place % len(TURNS) for place in range(count)], seed)

    def __getitem__(self, index: int) -> Sample:
        key, sequence = self._volume(index)
        assert key.patient in self.patients, f"{key} is no study of these patients"
        study = self.store[key]
        image = shown(study.volume(sequence), study.brain_box, self.classes[index])
        return torch.from_numpy(image)[None], torch.zeros(0), self.classes[index]

    def _volume(self, index: int) -> tuple[StudyKey, Sequence]:
        if self.seed is None:
            return self.volumes[index // len(TURNS)]
        order = np.random.default_rng([self.seed, int(self.epoch)]).permutation(len(self.volumes))
        return self.volumes[int(order[index])]


def pretrain_on_rotations(
    recipe: Recipe, store: StudyStore, cases: list[Case], folder: Path, seed: int, told: Told
) -> Path:
    """The weights of the recipe's trunk after this task, made unless ``folder`` has them.

    A share (``training.inner_validation``) of the patients is held out to choose the epoch.

    Args:
        recipe: with ``pretraining: {name: rotations}``.
        store: aligned studies.
        cases: training cases of one fold; no study but theirs is read.
        folder: where weights, record and, meanwhile, restart files are kept.
        seed: drives initial weights, turns, order and the patients held out.
        told: called with 0 and words after every epoch.

    Returns:
        A .safetensors file with its record beside it.

    Raises:
        RunError: the loss became NaN or infinite.
        RanoscopeError: cases of a single patient.
        StorageError: the disk is full; the last whole epoch can be resumed.
    """
    settings = recipe.pretraining
    assert isinstance(settings, RotationPretraining)
    key = _key(recipe, store, cases, seed)
    path = folder / f"{TASK}-{key}.safetensors"
    if is_written(path):
        return path
    plain = pretext_recipe(recipe, settings)
    learnt, held_out = inner_split(cases, recipe.training.inner_validation, seed)
    inner = TurnedVolumes(store, held_out, recipe)
    task = Task(len(TURNS), recipe.grid.shape, TurnedVolumes(store, learnt, recipe, seed), inner)
    restart = folder / f"restart-{TASK}-{key}"

    def heard(epoch: int, what: str) -> None:
        told(0, f"rotations, {f'epoch {epoch} of {settings.epochs}: ' if epoch else ''}{what}")

    fitted = fit_trunk(plain, task, restart, seed, heard)
    about = _describe(recipe, fitted, accuracy(fitted.network, inner, plain))
    about |= {"seed": seed, "patients": sorted({case.patient for case in learnt}),
              "held_out": sorted({case.patient for case in held_out})}  # fmt: skip
    publish(lambda: write_trunk(path, fitted.network, about), restart)
    return path


def _describe(recipe: Recipe, fitted: FittedTrunk, held_out_accuracy: float) -> dict[str, object]:
    return {
        "task": TASK,
        "network": trunk_settings(recipe),
        "turns": list(TURNS),
        "held_out_accuracy": held_out_accuracy,
        "best_epoch": fitted.best_epoch,
        "history": fitted.history,
        "provenance": provenance.describe("pretrain rotations", {}),
    }


def _key(recipe: Recipe, store: StudyStore, cases: list[Case], seed: int) -> str:
    """Changes with anything the weights depend on."""
    training = recipe.training
    content = {
        "format": _FORMAT,
        "network": recipe.network.model_dump(mode="json", exclude={"arrangement"}),
        "grid": recipe.grid.model_dump(mode="json"),
        "sequences": list(recipe.sequences),
        "pretraining": recipe.pretraining.model_dump(mode="json"),
        "training": [training.weight_decay, training.precision, training.inner_validation],
        "cases": sorted(f"{case} {case.response}" for case in cases),
        "images": [store[key].content for key in studies_of(cases)],
        "seed": seed,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
