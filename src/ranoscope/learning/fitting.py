"""One fold: fit on the training patients, choose the epoch on an inner set of them, restart where it stopped.

On the CPU, with the same number of threads, an interrupted and resumed training ends with the very weights of an
uninterrupted one: everything random in an epoch (order, augmentation, dropout) depends on the seed of the fold and the
epoch alone. GPUs may differ in the last digits.
"""

from __future__ import annotations

import logging
import pickle
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from torch import Tensor

from ranoscope.cohort.folds import inner_split
from ranoscope.config import Recipe
from ranoscope.domain import Case
from ranoscope.errors import RunError, problem
from ranoscope.imaging.store import StudyStore
from ranoscope.learning.checkpoints import AtomicCheckpointIO, load_weights, save_weights
from ranoscope.learning.data import CaseDataset, loader
from ranoscope.learning.module import ResponseModule, class_weights
from ranoscope.learning.networks import PairNetwork, build_network

_LAST = "last.ckpt"
History = list[dict[str, float]]
Told = Callable[[int, str], None]


@dataclass(frozen=True)
class FittedFold:
    """A fold's network at its best inner epoch (counted from 1), in evaluation mode, and how training went."""

    network: PairNetwork
    best_epoch: int
    history: History

    @property
    def inner_loss(self) -> float:
        """The inner set's loss at the best epoch."""
        return self.history[self.best_epoch - 1]["inner_loss"]


class _Diary(Callback):
    """Keeps every epoch's losses and the best epoch's weights, also over a restart; stops on a loss not finite.

    The best weights carry their epoch in their name, and the best ones before them stay until the next are written:
    whichever epoch the restart file knows of, its best weights are there.
    """

    def __init__(self, dataset: CaseDataset, seed: int, folder: Path, told: Told) -> None:
        self.dataset = dataset
        self.seed = seed
        self.folder = folder
        self.told = told
        self.history: History = []

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.dataset.epoch.fill_(trainer.current_epoch)
        words = np.random.SeedSequence([self.seed, trainer.current_epoch, trainer.global_rank]).generate_state(1)
        torch.manual_seed(int(words[0]))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        losses = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if not np.isfinite([losses["train_loss"], losses["inner_loss"]]).all():
            shown = ", ".join(f"{name} {value:g}" for name, value in losses.items())
            do = "lower training.learning_rate or use 32-true precision"
            raise RunError(problem("a finite loss", shown, f"{self.folder}, epoch {trainer.current_epoch + 1}", do))
        before = _best_weights(self.folder, self.history) if self.history else None
        self.history.append(losses)
        best = _best_weights(self.folder, self.history)
        if trainer.is_global_zero:
            if best != before:
                save_weights(best, pl_module.judged)  # type: ignore[arg-type]
                for older in set(self.folder.glob("best-*")) - {best, before}:
                    older.unlink()
            self.told(trainer.current_epoch + 1, f"inner loss {losses['inner_loss']:.3f}")

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = list(state_dict["history"])
        # Loader processes may ask for samples before the first hook of the resumed epoch.
        self.dataset.epoch.fill_(len(self.history))


class _Patience(EarlyStopping):
    """Early stopping that a restart does not forget: Lightning's would train on."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        trainer.should_stop = self.stopped_epoch > 0


def fit_fold(recipe: Recipe, store: StudyStore, cases: list[Case], folder: Path, seed: int, told: Told) -> FittedFold:
    """Train on ``cases`` (all of them training patients), resuming from ``folder`` if a state is there.

    Args:
        recipe: the experiment.
        store: aligned studies.
        cases: training cases of the fold; a share of their patients becomes the inner validation set.
        folder: where the restart files are kept; the caller removes them when the fold is done.
        seed: drives initial weights, order, augmentation and dropout.
        told: called after every epoch with its number (from 1) and its inner loss in words.

    Raises:
        RunError: the loss became NaN or infinite.
        StorageError: the disk is full; the last whole epoch can be resumed.
    """
    training, inner = inner_split(cases, recipe.training.inner_validation, seed)
    L.seed_everything(seed, workers=True, verbose=False)
    weights = class_weights(training) if recipe.training.imbalance in ("loss", "both") else None
    module = ResponseModule(build_network(recipe), recipe.training, weights)
    dataset = CaseDataset(store, training, recipe, seed=seed)
    diary = _Diary(dataset, seed, folder, told)
    patience = _Patience("inner_loss", patience=recipe.training.patience_epochs, mode="min")
    # Lightning runs checkpoint callbacks last: the restart file never knows an epoch whose best weights are not there.
    last = ModelCheckpoint(dirpath=folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
    trainer = make_trainer(recipe, [diary, patience, last], folder)
    with quiet(), _passing_on_ctrl_c():
        trainer.fit(
            module,
            loader(dataset, recipe),
            loader(CaseDataset(store, inner, recipe), recipe),
            ckpt_path=_restart_file(folder, told),
            weights_only=True,
        )
    trainer.strategy.barrier()
    network = module.network.cpu()
    load_weights(_best_weights(folder, diary.history), network)
    return FittedFold(network.eval(), _best_epoch(diary.history), diary.history)


def _best_epoch(history: History) -> int:
    """The epoch (from 1) of the lowest inner loss, the first of equals."""
    return 1 + int(np.argmin([losses["inner_loss"] for losses in history]))


def _best_weights(folder: Path, history: History) -> Path:
    return folder / f"best-{_best_epoch(history)}.safetensors"


def _restart_file(folder: Path, told: Told) -> str | None:
    """The restart file, if there is one and it is whole; damaged ones are removed and the fold starts afresh."""
    path = folder / _LAST
    if not path.is_file():
        return None
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        best = _best_weights(folder, state["callbacks"]["_Diary"]["history"])
        if best.is_file():
            return str(path)
    except (EOFError, KeyError, OSError, RuntimeError, pickle.UnpicklingError):
        pass
    told(0, "its restart files were damaged; it starts afresh")
    shutil.rmtree(folder)
    return None


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
def _passing_on_ctrl_c() -> Iterator[None]:
    """Raise KeyboardInterrupt where Lightning, having caught it, ends the program and leaves Ctrl+C without effect."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ended:
        if isinstance(ended.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, before)
            raise KeyboardInterrupt from ended
        raise


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's advice about worker counts and existing folders, which ranoscope decides on its own."""
    with warnings.catch_warnings():
        for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
            logging.getLogger(name).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=r".*(pin_memory|treespec).*")
        yield
