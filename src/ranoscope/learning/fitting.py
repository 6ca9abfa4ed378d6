"""One fold: fit on the training patients, choose the epoch on an inner set of them, restart where it stopped."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from torch import Tensor

from ranoscope.cohort.folds import inner_split
from ranoscope.config import Recipe
from ranoscope.domain import Case
from ranoscope.errors import RunError, problem
from ranoscope.imaging.store import StudyStore
from ranoscope.learning.checkpoints import AtomicCheckpointIO
from ranoscope.learning.data import CaseDataset, loader
from ranoscope.learning.module import ResponseModule, class_weights
from ranoscope.learning.networks import PairNetwork, build_network

_LAST, _BEST = "last.ckpt", "best.ckpt"
Epoch = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class FittedFold:
    """A fold's network at its best inner epoch, in evaluation mode, and how training went."""

    network: PairNetwork
    best_epoch: int
    epochs: int
    inner_loss: float
    history: list[dict[str, float]]


class _Diary(Callback):
    """Keeps the losses of every epoch (also over a restart), tells them, and stops on a loss that is not finite."""

    def __init__(self, dataset: CaseDataset, told: Epoch, where: str) -> None:
        self.dataset = dataset
        self.told = told
        self.where = where
        self.history: list[dict[str, float]] = []

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.dataset.epoch.fill_(trainer.current_epoch)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        losses = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if not all(torch.isfinite(torch.tensor([losses["train_loss"], losses["inner_loss"]]))):
            raise RunError(
                problem(
                    "a finite loss", str(losses), self.where, "lower training.learning_rate or use 32-true precision"
                )
            )
        self.history.append(losses)
        if trainer.is_global_zero:
            self.told(trainer.current_epoch + 1, losses)

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = list(state_dict["history"])


def fit_fold(recipe: Recipe, store: StudyStore, cases: list[Case], folder: Path, seed: int, told: Epoch) -> FittedFold:
    """Train on ``cases`` (all of them training patients), resuming from ``folder`` if a state is there.

    Args:
        recipe: the experiment.
        store: aligned studies.
        cases: training cases of the fold; a share of their patients becomes the inner validation set.
        folder: where the restart files are kept; the caller removes them when the fold is done.
        seed: drives initial weights, order and augmentation.
        told: called after every epoch with its number (from 1) and losses.

    Raises:
        RunError: the loss became NaN or infinite.
    """
    training, inner = inner_split(cases, recipe.training.inner_validation, seed)
    L.seed_everything(seed, workers=True, verbose=False)
    weights = class_weights(training) if recipe.training.class_weighted_loss else None
    module = ResponseModule(build_network(recipe), recipe.training, weights)
    dataset = CaseDataset(store, training, recipe, seed=seed)
    diary = _Diary(dataset, told, str(folder))
    best = ModelCheckpoint(
        dirpath=folder, filename="best", monitor="inner_loss", mode="min", enable_version_counter=False
    )
    # The restart file is written first, so that it never counts an epoch whose best weights are not on disk yet.
    last = ModelCheckpoint(dirpath=folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
    patience = EarlyStopping("inner_loss", patience=recipe.training.patience_epochs, mode="min")
    trainer = make_trainer(recipe, [diary, patience, best, last], folder)
    resume = folder / _LAST
    with quiet():
        trainer.fit(
            module,
            loader(dataset, recipe),
            loader(CaseDataset(store, inner, recipe), recipe),
            ckpt_path=str(resume) if resume.is_file() else None,
            weights_only=True,
        )
    state = torch.load(folder / _BEST, weights_only=True, map_location="cpu")
    weights_of = {name.removeprefix("network."): tensor for name, tensor in state["state_dict"].items()}
    module.network.load_state_dict({name: weights_of[name] for name in module.network.state_dict()})
    return FittedFold(
        network=module.network.cpu().eval(),
        best_epoch=int(state["epoch"]) + 1,
        epochs=len(diary.history),
        inner_loss=min(entry["inner_loss"] for entry in diary.history),
        history=diary.history,
    )


def make_trainer(recipe: Recipe, callbacks: list[Callback], folder: Path) -> L.Trainer:
    """Lightning's trainer as the recipe sets it; our own progress bar and records instead of Lightning's."""
    settings = recipe.training
    with quiet():
        return L.Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices,
            strategy=settings.strategy,
            precision=settings.precision,
            max_epochs=settings.epochs,
            callbacks=callbacks,
            plugins=[AtomicCheckpointIO()],
            default_root_dir=folder,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            gradient_clip_val=1.0,
        )


@torch.inference_mode()
def probabilities(network: PairNetwork, store: StudyStore, cases: list[Case], recipe: Recipe) -> Tensor:
    """Class probabilities (case, 4) in the order PD, SD, PR, CR, float32, without augmentation."""
    device = torch.device("cuda" if torch.cuda.is_available() and recipe.training.accelerator != "cpu" else "cpu")
    network = network.to(device).eval()
    answers = []
    for pairs, _ in loader(CaseDataset(store, cases, recipe), recipe):
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.training.precision == "bf16-mixed"):
            logits = network(pairs.to(device))
        answers.append(logits.float().softmax(dim=1).cpu())
    network.cpu()
    return torch.cat(answers)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's advice about worker counts and existing folders, which ranoscope decides on its own."""
    with warnings.catch_warnings():
        for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
            logging.getLogger(name).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=r".*(pin_memory|treespec).*")
        yield
