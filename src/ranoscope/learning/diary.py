"""What is remembered of a training: every epoch's losses, and the weights of the epoch that is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from ranoscope.config import Keep
from ranoscope.errors import RunError, problem
from ranoscope.learning.checkpoints import save_weights

EpochLosses = list[dict[str, float]]


def kept_epoch(history: EpochLosses, keep: Keep = "best") -> int:
    """The epoch (from 1) that is kept: the last, or that of the lowest inner loss, the first of equals."""
    return len(history) if keep == "last" else 1 + int(np.argmin([losses["inner_loss"] for losses in history]))


class Diary(Callback):
    """Keeps every epoch's losses and one epoch's weights, also over a restart; stops on a loss not finite.

    Kept weights carry their epoch in their name, and those kept before them stay until the next are written: whichever
    epoch the restart file knows of, the weights kept by then are there.
    """

    def __init__(self, epoch: Tensor, seed: int, folder: Path, keep: Keep = "best") -> None:
        """``epoch``: the training samples' own count of epochs, kept up to date here; ``keep``: which one's weights."""
        self.keep: Keep = keep
        self.epoch = epoch
        self.seed = seed
        self.folder = folder
        self.history: EpochLosses = []

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """All that is random in an epoch depends on the fold's seed and the epoch alone."""
        self.epoch.fill_(trainer.current_epoch)
        words = np.random.SeedSequence([self.seed, trainer.current_epoch, trainer.global_rank]).generate_state(1)
        torch.manual_seed(int(words[0]))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note the losses, and keep the weights if they are to be kept.

        Raises:
            RunError: a loss is NaN or infinite.
        """
        losses = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if not np.isfinite([losses["train_loss"], losses["inner_loss"]]).all():
            shown = ", ".join(f"{name} {value:g}" for name, value in losses.items())
            do = "lower training.learning_rate or use 32-true precision"
            raise RunError(problem("a finite loss", shown, f"{self.folder}, epoch {trainer.current_epoch + 1}", do))
        before = self.kept_weights(self.history) if self.history else None
        self.history.append(losses)
        kept = self.kept_weights(self.history)
        if trainer.is_global_zero and kept != before:
            save_weights(kept, pl_module.judged)  # type: ignore[arg-type]
            for older in set(self.folder.glob("kept-*")) - {kept, before}:
                older.unlink()

    @property
    def kept(self) -> int:
        """The epoch (from 1) whose weights are kept."""
        return kept_epoch(self.history, self.keep)

    def kept_weights(self, history: EpochLosses) -> Path:
        """Where the weights are that are kept after so many epochs."""
        return self.folder / f"kept-{kept_epoch(history, self.keep)}.safetensors"

    def state_dict(self) -> dict[str, Any]:
        """What the restart file keeps."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the restart file stopped."""
        self.history = list(state_dict["history"])
        # Loader processes may ask for samples before the first hook of the resumed epoch.
        self.epoch.fill_(len(self.history))
