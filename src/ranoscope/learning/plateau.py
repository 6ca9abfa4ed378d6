"""When the inner loss no longer improves: a tenth of the learning rate from the best weights on, or the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import lightning as L
from lightning.pytorch.callbacks import Callback

from ranoscope.config import TrainingSettings
from ranoscope.learning.diary import Diary
from ranoscope.learning.module import ResponseModule

Told = Callable[[int, str], None]
_DROP = 10


@dataclass(frozen=True)
class Course:
    """How a training went so far. ``drops``: the epochs (from 1) after which the rate fell; ``ended``: it is over."""

    drops: tuple[int, ...]
    ended: bool


def follow(inner_losses: Iterable[float], patience: int, drops: int) -> Course:
    """The course that these losses make, from nothing but the losses: a restart cannot go another way.

    Args:
        inner_losses: of each epoch so far.
        patience: after so many epochs without a new lowest loss the rate falls, or training ends; a fall starts the
            count anew.
        drops: how often the rate may fall before training ends.
    """
    best, waited = math.inf, 0
    fell: list[int] = []
    for epoch, loss in enumerate(inner_losses, start=1):
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if waited >= patience:
            if len(fell) == drops:
                return Course(tuple(fell), True)
            fell.append(epoch)
            waited = 0
    return Course(tuple(fell), False)


class Plateau(Callback):
    """Acts on the diary's losses after every epoch; to come after the diary in Lightning's list of callbacks.

    At a drop the network goes back to its best weights and the optimiser forgets its running moments, which belong to
    the weights left behind.
    """

    def __init__(self, diary: Diary, settings: TrainingSettings, told: Told) -> None:
        self.diary = diary
        self.settings = settings
        self.told = told

    @property
    def course(self) -> Course:
        """The course up to the last epoch; without drop or early end where the last epoch is kept in any case."""
        if self.settings.keep == "last":
            return Course((), False)
        losses = (entry["inner_loss"] for entry in self.diary.history)
        return follow(losses, self.settings.patience_epochs, self.settings.learning_rate_drops)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A training that had ended does not go on after a restart."""
        trainer.should_stop = self.course.ended

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """End the training, lower the rate, or let it go on."""
        history, course = self.diary.history, self.course
        said = f"inner loss {history[-1]['inner_loss']:.3f}"
        trainer.should_stop = trainer.should_stop or course.ended
        if course.drops[-1:] == (len(history),) and not course.ended:
            self._drop(trainer, cast(ResponseModule, pl_module))
            said += ", back to the best weights with a tenth of the learning rate"
        if trainer.is_global_zero:
            self.told(len(history), said)

    def _drop(self, trainer: L.Trainer, module: ResponseModule) -> None:
        trainer.strategy.barrier()  # the first process has written the best weights by now
        module.return_to(self.diary.kept_weights(self.diary.history))
        for optimiser in trainer.optimizers:
            optimiser.state.clear()
            for group in optimiser.param_groups:
                group["lr"] /= _DROP
