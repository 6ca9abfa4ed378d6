"""What is remembered of a training: every epoch's losses, and the weights of the best epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from ranoscope.errors import RunError, problem
from ranoscope.learning.checkpoints import save_weights

History = list[dict[str, float]]


def best_epoch(history: History) -> int:
    """The epoch (from 1) of the lowest inner loss, the first of equals."""
    return 1 + int(np.argmin([losses["inner_loss"] for losses in history]))


def best_weights(folder: Path, history: History) -> Path:
    """Where the weights of the best epoch are."""
    return folder / f"best-{best_epoch(history)}.safetensors"


class Diary(Callback):
    """Keeps every epoch's losses and the best epoch's weights, also over a restart; stops on a loss not finite.

    The best weights carry their epoch in their name, and the best ones before them stay until the next are written:
    whichever epoch the restart file knows of, its best weights are there.
    """

    def __init__(self, epoch: Tensor, seed: int, folder: Path) -> None:
        """``epoch``: the training samples' own count of epochs, kept up to date here."""
        self.epoch = epoch
        self.seed = seed
        self.folder = folder
        self.history: History = []

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """All that is random in an epoch depends on the fold's seed and the epoch alone."""
        self.epoch.fill_(trainer.current_epoch)
        words = np.random.SeedSequence([self.seed, trainer.current_epoch, trainer.global_rank]).generate_state(1)
        torch.manual_seed(int(words[0]))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note the losses, and keep the weights if they are the best so far.

        Raises:
            RunError: a loss is NaN or infinite.
        """
        losses = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if not np.isfinite([losses["train_loss"], losses["inner_loss"]]).all():
            shown = ", ".join(f"{name} {value:g}" for name, value in losses.items())
            do = "lower training.learning_rate or use 32-true precision"
            raise RunError(problem("a finite loss", shown, f"{self.folder}, epoch {trainer.current_epoch + 1}", do))
        before = best_weights(self.folder, self.history) if self.history else None
        self.history.append(losses)
        best = best_weights(self.folder, self.history)
        if trainer.is_global_zero and best != before:
            save_weights(best, pl_module.judged)  # type: ignore[arg-type]
            for older in set(self.folder.glob("best-*")) - {best, before}:
                older.unlink()

    def state_dict(self) -> dict[str, Any]:
        """What the restart file keeps."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the restart file stopped."""
        self.history = list(state_dict["history"])
        # Loader processes may ask for samples before the first hook of the resumed epoch.
        self.epoch.fill_(len(self.history))
