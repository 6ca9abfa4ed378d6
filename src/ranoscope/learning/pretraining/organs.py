"""OrganMNIST3D (Yang et al. 2023): which of eleven organs a small CT volume shows.

The published file is read as it is. Kidneys, femurs and lungs have a class per side, so nothing is mirrored.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray

from ranoscope import provenance, runs
from ranoscope.config import Recipe
from ranoscope.errors import RecipeError, RunError, problem
from ranoscope.learning.data import Sample, SampleDataset
from ranoscope.learning.memory import naming_memory
from ranoscope.learning.networks import build_trunk
from ranoscope.learning.networks.base import Shape
from ranoscope.learning.pretraining.files import (
    is_finished,
    publish,
    record_of,
    require_weights_name,
    trunk_settings,
    write_trunk,
)
from ranoscope.learning.pretraining.pretext import FittedTrunk, Task, accuracy, fit_trunk, pretext_recipe
from ranoscope.learning.studies import Progress
from ranoscope.learning.training import alone

TASK = "organmnist"
ORGANS = (
    "liver", "kidney-right", "kidney-left", "femur-right", "femur-left", "bladder", "heart", "lung-right", "lung-left",
    "spleen", "pancreas",
)  # fmt: skip
_SPLITS = ("train", "val", "test")
# Volumes are enlarged, if need be, to the first of these edges on which a network works: 28 is the published one, and a
# network that halves five times needs 32.
_EDGES = (28, 32, 64)
_FORMAT = 1
_COMMAND = "ranoscope pretrain organmnist"


@dataclass(frozen=True)
class Split:
    """``images``: uint8 (n, e, e, e); ``classes``: index into ``ORGANS`` of each."""

    images: NDArray[np.uint8]
    classes: list[int]


class OrganImages(SampleDataset):
    """One split, standardised by the training split's mean and deviation, enlarged by trilinear interpolation."""

    def __init__(self, split: Split, scale: tuple[float, float], shape: Shape, seed: int | None = None) -> None:
        super().__init__(split.classes, seed)
        self.images = split.images
        self.scale = scale
        self.shape = shape

    def __getitem__(self, index: int) -> Sample:
        mean, deviation = self.scale
        image = (torch.from_numpy(self.images[index]).float()[None] - mean) / deviation
        if image.shape[1:] != self.shape:
            image = F.interpolate(image[None], size=self.shape, mode="trilinear", align_corners=False)[0]
        return image, torch.zeros(0), self.classes[index]


@dataclass(frozen=True)
class Organs:
    """The published file: its name and hash, and its ``splits`` train, val and test."""

    name: str
    sha256: str
    splits: dict[str, Split]

    @property
    def scale(self) -> tuple[float, float]:
        """Mean and standard deviation of the training split's voxels."""
        images = self.splits["train"].images
        return float(images.mean()), max(float(images.std()), 1.0)


def read_organs(path: Path) -> Organs:
    """``organmnist3d.npz``; no pickle in it is loaded.

    Raises:
        RunError: not there, damaged, or not of this layout.
    """
    wanted = [f"{split}_{part}" for split in _SPLITS for part in ("images", "labels")]
    if not path.is_file():
        raise _refused(path, "MedMNIST's organmnist3d.npz", "none")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            missing = [name for name in wanted if name not in archive]
            arrays = {name: archive[name] for name in wanted if not missing}
    except (EOFError, KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise _refused(path, "a whole npz of arrays", f"a damaged one ({type(error).__name__})") from error
    if missing:
        raise _refused(path, f"the arrays {', '.join(wanted)}", f"none named {', '.join(missing)}")
    splits = {split: _split(path, split, arrays) for split in _SPLITS}
    return Organs(path.name, provenance.file_hash(path), splits)


def input_shape(recipe: Recipe, edge: int) -> Shape:
    """How large the volumes, cubes of ``edge`` voxels, are shown to the recipe's trunk; shapes alone are computed.

    The smallest cube, of ``edge`` at least, that it works on, if the weights are the same there as on the recipe's
    grid. Where they are not (a transformer's position tables), the grid's own shape.

    Raises:
        RecipeError: the trunk works on none of these.
    """
    grid = recipe.grid.shape
    cubes: list[Shape] = [(size, size, size) for size in sorted({edge, *_EDGES}) if size >= edge]
    whole = _tensors_on(recipe, grid)
    for shape in (*cubes, grid):
        if _tensors_on(recipe, shape) == whole and _works_on(recipe, shape):
            return shape
    expected = f"a grid that {recipe.network.name} works on"
    raise RecipeError(problem(expected, f"{grid}", f"recipe {recipe.name}", "choose a smaller grid.voxel_mm"))


def pretrain_organs(recipe: Recipe, path: Path, out: Path, progress: Progress) -> dict[str, Any]:
    """Train the recipe's trunk, on one channel, to tell organs; keep the epoch of the lowest validation loss.

    Epochs, batch size, learning rate, weight decay, patience, precision and devices are those of the recipe; the seed
    is that of its first folds. Interrupted, the same call goes on; finished, it does nothing.

    Args:
        recipe: the experiment that will begin with these weights.
        path: ``organmnist3d.npz`` as published, of whatever edge.
        out: a .safetensors file to write; a .json with the same stem is written beside it.
        progress: told (done, total, what) after every epoch.

    Returns:
        The content of that .json.

    Raises:
        RunError: the data are not OrganMNIST3D's, ``out`` is of another recipe or other data, or the loss became NaN.
        StorageError: the disk is full; the last whole epoch can be resumed.
    """
    require_weights_name(out)
    data, plain = read_organs(path), pretext_recipe(recipe)
    key = _key(plain, data)
    work = out.parent / f".{out.stem}-work"
    if not is_finished(out, key, _COMMAND):
        with alone(work):
            fitted, task = _fit(plain, data, work / key, progress)
            about = _describe(plain, data, fitted, task) | {"key": key}
            publish(lambda: write_trunk(out, fitted.network, about), work / key)
    rank_zero_only(shutil.rmtree)(work, ignore_errors=True)
    written: dict[str, Any] = runs.read_json(record_of(out), _COMMAND)
    return written


def _fit(recipe: Recipe, data: Organs, restart: Path, progress: Progress) -> tuple[FittedTrunk, Task]:
    training, inner = data.splits["train"], data.splits["val"]
    shape = input_shape(recipe, training.images.shape[1])
    seed, epochs = recipe.folds.seeds[0], recipe.training.epochs
    task = Task(
        len(ORGANS), shape, OrganImages(training, data.scale, shape, seed), OrganImages(inner, data.scale, shape)
    )

    def told(epoch: int, what: str) -> None:
        progress(epoch, epochs, f"epoch {epoch}: {what}")

    with naming_memory(recipe, str(restart)):
        fitted = fit_trunk(recipe, task, restart, seed, told)
    progress(epochs, epochs, "done")
    return fitted, task


def _describe(recipe: Recipe, data: Organs, fitted: FittedTrunk, task: Task) -> dict[str, Any]:
    tested = OrganImages(data.splits["test"], data.scale, task.shape)
    return {
        "task": TASK,
        "network": trunk_settings(recipe),
        "input_shape": list(task.shape),
        "data": {"name": data.name, "sha256": data.sha256},
        "cases": {name: len(split.classes) for name, split in data.splits.items()},
        "accuracy": {
            "val": accuracy(fitted.network, task.inner, recipe),
            "test": accuracy(fitted.network, tested, recipe),
        },
        "best_epoch": fitted.best_epoch,
        "history": fitted.history,
        "seed": recipe.folds.seeds[0],
        "training": recipe.training.model_dump(mode="json"),
        "provenance": provenance.describe("pretrain organmnist", {data.name: data.sha256}, recipe.folds.seeds[0]),
    }


def _key(recipe: Recipe, data: Organs) -> str:
    """Changes with anything the weights depend on."""
    training = recipe.training
    content = [
        _FORMAT,
        recipe.network.model_dump(mode="json", exclude={"arrangement"}),
        recipe.grid.model_dump(mode="json"),
        [training.epochs, training.batch_size, training.learning_rate, training.weight_decay],
        [training.patience_epochs, training.precision],
        data.sha256,
        recipe.folds.seeds[0],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _split(path: Path, name: str, arrays: dict[str, NDArray[Any]]) -> Split:
    images, labels = arrays[f"{name}_images"], arrays[f"{name}_labels"]
    cubes = images.ndim == 4 and images.dtype == np.uint8 and len(set(images.shape[1:])) == 1 and images.size > 0
    if not cubes:
        got = f"{images.dtype} {'x'.join(map(str, images.shape))}"
        raise _refused(path, f"cubes of uint8 in {name}_images, n x edge x edge x edge", got)
    if labels.size != len(images) or not np.issubdtype(labels.dtype, np.integer):
        raise _refused(path, f"a label for each of {len(images)} images in {name}_labels", f"{labels.shape}")
    classes = [int(label) for label in labels.ravel()]
    if not set(classes) <= set(range(len(ORGANS))):
        raise _refused(path, f"labels 0 to {len(ORGANS) - 1} in {name}_labels", f"{min(classes)} to {max(classes)}")
    return Split(images, classes)


def _tensors_on(recipe: Recipe, shape: Shape) -> dict[str, torch.Size]:
    with torch.device("meta"):
        trunk = build_trunk(recipe.network, 1, shape, recipe.grid.voxel_mm)
    return {name: tensor.shape for name, tensor in trunk.state_dict().items()}


def _works_on(recipe: Recipe, shape: Shape) -> bool:
    with torch.device("meta"):
        trunk = build_trunk(recipe.network, 1, shape, recipe.grid.voxel_mm).eval()
        try:
            trunk(torch.empty(1, 1, *shape))
        except (RuntimeError, ValueError):
            return False
    return True


def _refused(path: Path, expected: str, got: str) -> RunError:
    return RunError(problem(expected, got, str(path), "fetch organmnist3d.npz of MedMNIST and name it in --data"))
