"""One fold: fit on its training cases, choose the epoch on its inner cases if asked, restart where it stopped.

On the CPU, with the same number of threads, an interrupted and resumed training ends with the very weights of an
uninterrupted one: everything random in an epoch (order, augmentation, dropout) depends on the seed of the fold and the
epoch alone. GPUs may differ in the last digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import lightning as L

from ranoscope.config import Recipe, Target
from ranoscope.domain import Case
from ranoscope.learning.data import CaseDataset, Material, loader, uses_cuda
from ranoscope.learning.diary import Diary, EpochLosses
from ranoscope.learning.facts import FactLayout, FactScale
from ranoscope.learning.losses import class_weights
from ranoscope.learning.memory import keep_freed_memory
from ranoscope.learning.module import ResponseModule
from ranoscope.learning.networks import PairNetwork, build_network
from ranoscope.learning.plateau import Plateau, Told
from ranoscope.learning.pretraining import LoadReport, prepare_initial_weights
from ranoscope.learning.targets import class_count, class_names, class_of
from ranoscope.learning.training import Batches, probabilities, train

__all__ = ["FittedFold", "Sides", "Told", "absent_classes", "fit_fold", "probabilities"]


@dataclass(frozen=True)
class FittedFold:
    """A fold's network at the epoch that is kept (``kept_epoch``, from 1), in evaluation mode, and how training went.

    ``scale``: of its facts. ``drops``: the epochs after which the learning rate fell. ``remarks``: sentences on what
    its cases lacked. ``initial``: what was put into the network before it was trained.
    """

    network: PairNetwork
    kept_epoch: int
    history: EpochLosses
    scale: FactScale
    drops: tuple[int, ...]
    remarks: tuple[str, ...]
    initial: LoadReport | None = None

    @property
    def inner_loss(self) -> float:
        """The inner set's loss at the epoch that is kept."""
        return self.history[self.kept_epoch - 1]["inner_loss"]


@dataclass(frozen=True)
class Sides:
    """The cases a fold learns from, and those that choose its epoch."""

    training: list[Case]
    inner: list[Case]


def fit_fold(recipe: Recipe, material: Material, sides: Sides, folder: Path, seed: int, told: Told) -> FittedFold:
    """Train on one side and choose the epoch on the other, resuming from ``folder`` if a state is there.

    Args:
        recipe: the experiment.
        material: aligned studies and demographics.
        sides: training and inner cases.
        folder: where the restart files are kept; the caller removes them when the fold is done. What rotations taught
            is kept beside it.
        seed: drives initial weights, order, augmentation and dropout.
        told: called after every epoch with its number (from 1) and its inner loss in words, and before the first (0)
            with each remark.

    Raises:
        RunError: the loss became NaN or infinite, or the file of initial weights is not what it should be.
        StorageError: the disk is full; the last whole epoch can be resumed.
    """
    remarks = absent_classes(sides, recipe.target)
    for remark in remarks:
        told(0, remark)
    keep_freed_memory()
    L.seed_everything(seed, workers=True, verbose=False)
    scale = FactScale.fit(sides.training, material.patients, recipe)
    dataset = CaseDataset(material, sides.training, recipe, scale, seed)
    network = build_network(recipe)
    # Beside the restart files, not among them: another attempt finds it, whatever became of this one.
    initial = prepare_initial_weights(recipe, network, material.store, sides.training, folder.parent, seed, told)
    weights = class_weights(dataset.classes, class_count(recipe))
    module = ResponseModule(network, recipe.training, weights, FactLayout.of(recipe))
    if recipe.training.compile and (uses_cuda(recipe) or recipe.training.accelerator == "cpu"):
        module.network.compile()
    diary = Diary(dataset.epoch, seed, folder, recipe.training.keep)
    plateau = Plateau(diary, recipe.training, told)

    def loaders(processes: int) -> tuple[Batches, Batches]:
        inner = CaseDataset(material, sides.inner, recipe, scale)
        return loader(dataset, recipe, processes), loader(inner, recipe, processes)

    network, history = train(module, recipe, diary, plateau, loaders), diary.history
    return FittedFold(network, diary.kept, history, scale, plateau.course.drops, remarks, initial)


def absent_classes(sides: Sides, target: Target) -> tuple[str, ...]:
    """A sentence for each class that one of the sides lacks, and what follows from it."""
    consequences = (
        (sides.training, "training", "the network cannot learn it, and its weight in the loss is 1"),
        (sides.inner, "inner", "it has no say in which epoch is kept"),
    )
    return tuple(
        f"no case of {name} among the {side} cases: {consequence}"
        for cases, side, consequence in consequences
        for place, name in enumerate(class_names(target))
        if all(class_of(case.response, target) != place for case in cases)
    )
