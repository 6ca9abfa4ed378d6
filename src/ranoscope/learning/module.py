"""The Lightning module: loss, optimiser and schedule, the same for every network."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassRecall

from ranoscope.config import TrainingSettings
from ranoscope.learning.auxiliary import auxiliary_loss
from ranoscope.learning.checkpoints import load_weights
from ranoscope.learning.consistency import CURRENT, PRIOR, ShownPairs, consistency_loss
from ranoscope.learning.data import PADDING
from ranoscope.learning.facts import FactLayout
from ranoscope.learning.history import part_history
from ranoscope.learning.losses import batch_loss, case_losses, ordinal_loss
from ranoscope.learning.networks import History, PairNetwork
from ranoscope.learning.networks.change_aware import ChangeAwareNetwork
from ranoscope.learning.networks.timeline import TimelineNetwork

_NO_FACTS = FactLayout()
# Pairs, facts, class indices and, where masks teach, what they say of each case; last, of timelines, their histories.
Batch = tuple[Tensor, Tensor, Tensor, *tuple[Tensor | History, ...]]


class ResponseModule(L.LightningModule):
    """Trains a pair network with AdamW; logs the inner set's scores.

    The inner set is weighted by class wherever an imbalance is corrected, by whichever means: it is judged as what the
    training works towards. With ``settings.weight_averaging`` the network that is judged, and kept, is not the one
    being trained but a running average of its weights.
    """

    def __init__(
        self, network: PairNetwork, settings: TrainingSettings, weights: Tensor, layout: FactLayout = _NO_FACTS
    ) -> None:
        """Nothing is trained yet.

        Args:
            network: what is trained.
            settings: how.
            weights: 1 / prevalence of each class; which of the losses they enter is for ``settings`` to say.
            layout: which of the facts are about the studies.
        """
        super().__init__()
        self.network = network
        self.layout = layout
        self.average: AveragedModel | None = None
        if settings.weight_averaging > 0:
            keep = get_ema_multi_avg_fn(settings.weight_averaging)
            self.average = AveragedModel(network, multi_avg_fn=keep, use_buffers=True).requires_grad_(False)
        self.settings = settings
        self.weights: Tensor
        self.register_buffer("weights", weights, persistent=False)
        # A NaN counts as infinite: left out, as is the default, it would go unseen; "disable" ignores the weights.
        self.inner_loss = MeanMetric(nan_strategy=math.inf)
        self.inner_recall = MulticlassRecall(num_classes=len(weights), average="macro", ignore_index=PADDING)

    @property
    def judged(self) -> PairNetwork:
        """The network that the inner set judges and the fold keeps."""
        return self.network if self.average is None else cast(PairNetwork, self.average.module)

    def return_to(self, weights: Path) -> None:
        """Go on from these weights; a running average begins anew with them.

        Raises:
            RunError: the file is absent or damaged.
        """
        load_weights(weights, self.network)
        if self.average is not None:
            load_weights(weights, cast(PairNetwork, self.average.module))
            self.average.n_averaged.zero_()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Take the step just made into the average."""
        if self.average is not None:
            self.average.update_parameters(self.network)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of one training batch."""
        pairs, facts, targets, *rest = batch
        taught, history = part_history(rest)
        settings = self.settings
        weights = self.weights if settings.imbalance in ("loss", "both") else None
        if settings.consistency.is_asked or settings.auxiliary.needs_masks:
            logits, loss = self._show(ShownPairs(self.network, pairs, facts, self.layout, history), targets, taught)
        else:
            logits, loss = answer(self.network, pairs, facts, history), torch.zeros((), device=self.device)
        logits = logits.float()
        loss = loss + batch_loss(logits, targets, settings, weights)
        if settings.ordinal > 0:
            loss = loss + settings.ordinal * ordinal_loss(logits, targets, weights)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(targets))
        return loss

    def _show(self, shown: ShownPairs, targets: Tensor, taught: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits of a batch, and the loss of what is taught besides the response."""
        settings = self.settings
        loss = consistency_loss(shown, targets, settings.consistency)
        if not settings.auxiliary.needs_masks:
            return shown.logits(), loss
        seen = (shown.seen(PRIOR), shown.seen(CURRENT), shown.facts(PRIOR, CURRENT))
        if isinstance(self.network, TimelineNetwork):
            reading = self.network.read(*seen, shown.history())
        else:
            reading = cast(ChangeAwareNetwork, self.network).read(*seen)
        tumours, measures = taught
        return reading.logits, loss + auxiliary_loss(reading, tumours, measures, settings.auxiliary)

    def validation_step(self, batch: Batch, index: int) -> None:
        """Loss and recall of the inner validation set, the loss as if it were one batch; padding has no weight."""
        pairs, facts, targets, *rest = batch
        logits = answer(self.judged, pairs, facts, part_history(rest)[1]).float()
        judged, classes = targets != PADDING, targets.clamp_min(0)
        losses = case_losses(logits, classes, self.settings)
        weighted = self.settings.imbalance != "none"
        self.inner_loss.update(losses, judged * (self.weights[classes] if weighted else torch.ones_like(losses)))
        self.inner_recall.update(logits, targets)
        self.log("inner_loss", self.inner_loss, on_epoch=True, on_step=False)
        self.log("inner_balanced_accuracy", self.inner_recall, on_epoch=True, on_step=False)

    def configure_optimizers(self) -> Any:
        """AdamW over every parameter; one cycle to the peak rate and down to zero, or a constant rate.

        Under the schedule ``drop`` the rate is constant, too, between the drops that ``Plateau`` makes.
        """
        settings = self.settings
        optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        if settings.schedule != "one_cycle":
            return optimiser
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, settings.learning_rate, total_steps=int(self.trainer.estimated_stepping_batches)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


def answer(network: PairNetwork, pairs: Tensor, facts: Tensor, history: History | None = None) -> Tensor:
    """Logits (batch, class) of pairs (batch, study, sequence, i, j, k) and facts (batch, n); n may be 0.

    ``history``: the batch's, of a network that sees the timeline.
    """
    told = facts if facts.shape[1] else None
    logits: Tensor = network(pairs, told) if history is None else network(pairs, told, history)
    return logits
