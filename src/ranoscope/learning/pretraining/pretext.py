"""Training on a task of its own, and the parts that such tasks share.

``fit_trunk``: which of so many classes an image of one channel belongs to; ``fit_module``: any task with classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ranoscope.config import ChangePretraining, Recipe, RotationPretraining, TrainingSettings
from ranoscope.domain import Case, StudyKey
from ranoscope.learning.data import SampleDataset, loader
from ranoscope.learning.diary import Diary, EpochLosses, kept_epoch
from ranoscope.learning.module import ResponseModule
from ranoscope.learning.networks import PairNetwork, Trunk, build_trunk
from ranoscope.learning.networks.base import Shape
from ranoscope.learning.plateau import Plateau, Told
from ranoscope.learning.training import Batches, probabilities, train

_ABOUT_ANY_TRAINING = {
    "epochs", "batch_size", "learning_rate", "weight_decay", "patience_epochs", "inner_validation", "accelerator",
    "devices", "strategy", "precision", "compile", "workers",
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """Images of ``shape`` voxels and one channel, of ``classes`` classes; ``inner`` chooses the epoch."""

    classes: int
    shape: Shape
    training: SampleDataset
    inner: SampleDataset


@dataclass(frozen=True)
class FittedTrunk:
    """The network at its best epoch, and how training went."""

    network: TrunkClassifier
    history: EpochLosses

    @property
    def best_epoch(self) -> int:
        """Counted from 1; of the lowest inner loss."""
        return kept_epoch(self.history)


class TrunkClassifier(PairNetwork):
    """A trunk and one linear layer behind it; a pair network to those who train it, but shown single images."""

    def __init__(self, trunk: Trunk, classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(trunk.width, classes)

    def forward(self, pair: Tensor, facts: Tensor | None = None) -> Tensor:
        """Logits (batch, class) of images (batch, 1, i, j, k)."""
        images = pair.contiguous(memory_format=torch.channels_last_3d)
        logits: Tensor = self.head(self.trunk(images))
        return logits


def pretext_recipe(
    recipe: Recipe, task: RotationPretraining | ChangePretraining | None = None, **training: object
) -> Recipe:
    """The recipe with plain training: one cycle, cross-entropy.

    What its own training settings say of losses, imbalance, averages and drops is about responses.

    Args:
        recipe: the experiment.
        task: whose epochs, batches and learning rate take the place of the recipe's; the cycle is never cut short.
        training: settings laid over.
    """
    kept = recipe.training.model_dump(include=_ABOUT_ANY_TRAINING)
    if task is not None:
        kept |= task.model_dump(include={"epochs", "batch_size", "learning_rate"}) | {"patience_epochs": task.epochs}
    plain = TrainingSettings.model_validate({**kept, "imbalance": "none", **training})
    return recipe.model_copy(update={"training": plain})


def fit_trunk(recipe: Recipe, task: Task, folder: Path, seed: int, told: Told) -> FittedTrunk:
    """Train the recipe's trunk, freshly initialised, resuming from ``folder`` if a state is there.

    Args:
        recipe: network, grid and training settings (``pretext_recipe``).
        task: what is learnt.
        folder: where the restart files are kept; the caller removes them.
        seed: drives initial weights, order and dropout.
        told: called after every epoch with its number (from 1) and its inner loss in words.

    Raises:
        RunError: the loss became NaN or infinite.
        StorageError: the disk is full; the last whole epoch can be resumed.
    """
    torch.manual_seed(seed)
    trunk = build_trunk(recipe.network, 1, task.shape, recipe.grid.voxel_mm)
    network = TrunkClassifier(trunk, task.classes)
    module = ResponseModule(network, recipe.training, torch.ones(task.classes))
    diary = Diary(task.training.epoch, seed, folder)
    return FittedTrunk(network, fit_module(recipe, module, (task.training, task.inner), diary, told))


def fit_module(
    recipe: Recipe, module: ResponseModule, samples: tuple[SampleDataset, SampleDataset], diary: Diary, told: Told
) -> EpochLosses:
    """Train a module; its network ends at its best epoch.

    Args:
        recipe: training settings.
        module: what is trained.
        samples: those of training, and those that choose the epoch.
        diary: of the training samples' epoch; says where the restart files are.
        told: called after every epoch with its number (from 1) and its inner loss in words.

    Raises:
        RunError: the loss became NaN or infinite.
        StorageError: the disk is full; the last whole epoch can be resumed.
    """
    training, inner = samples

    def loaders(processes: int) -> tuple[Batches, Batches]:
        return loader(training, recipe, processes), loader(inner, recipe, processes)

    train(module, recipe, diary, Plateau(diary, recipe.training, told), loaders)
    return diary.history


def studies_of(cases: list[Case]) -> list[StudyKey]:
    """Prior and current studies of the cases, each once, in order."""
    return sorted({key for case in cases for key in (case.prior_study, case.current_study)})


def accuracy(network: TrunkClassifier, dataset: SampleDataset, recipe: Recipe) -> float:
    """Share of a data set's images (without a seed) whose most probable class is the right one."""
    answers = probabilities(network, dataset, recipe).argmax(dim=1)
    return float((answers == torch.tensor(dataset.classes)).float().mean())
