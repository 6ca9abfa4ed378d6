"""The Lightning module: loss, optimiser and schedule, the same for every network."""

from __future__ import annotations

import math
from typing import Any, cast

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassRecall

from ranoscope.config import TrainingSettings
from ranoscope.domain import RESPONSES, Case
from ranoscope.learning.networks import PairNetwork


def class_weights(cases: list[Case]) -> Tensor:
    """Weights 1 / prevalence of PD, SD, PR, CR, scaled to a mean of 1 over the cases; 1 for a class without a case.

    Such a class can still be in the inner validation set, whose loss must stay finite. Imbalance is corrected here and
    nowhere else: a weighted sampler on top would correct it twice.
    """
    counts = torch.tensor([sum(case.response is response for case in cases) for response in RESPONSES])
    present = (counts > 0).sum()
    return torch.where(counts > 0, counts.sum() / (present * counts.clamp_min(1)), 1.0).float()


class ResponseModule(L.LightningModule):
    """Trains a pair network with (weighted) cross-entropy and AdamW; logs the inner set's scores.

    With ``settings.weight_averaging`` the network that is judged, and kept, is not the one being trained but a running
    average of its weights.
    """

    def __init__(self, network: PairNetwork, settings: TrainingSettings, weights: Tensor | None) -> None:
        super().__init__()
        self.network = network
        self.average: AveragedModel | None = None
        if settings.weight_averaging > 0:
            keep = get_ema_multi_avg_fn(settings.weight_averaging)
            self.average = AveragedModel(network, multi_avg_fn=keep, use_buffers=True).requires_grad_(False)
        self.settings = settings
        self.register_buffer("weights", weights, persistent=False)
        # A NaN counts as infinite: left out, as is the default, it would go unseen; "disable" ignores the weights.
        self.inner_loss = MeanMetric(nan_strategy=math.inf)
        self.inner_recall = MulticlassRecall(num_classes=len(RESPONSES), average="macro")

    @property
    def judged(self) -> PairNetwork:
        """The network that the inner set judges and the fold keeps."""
        return self.network if self.average is None else cast(PairNetwork, self.average.module)

    def forward(self, pair: Tensor) -> Tensor:
        """Logits (batch, 4) of pairs (batch, study, sequence, i, j, k)."""
        logits: Tensor = self.network(pair)
        return logits

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Take the step just made into the average."""
        if self.average is not None:
            self.average.update_parameters(self.network)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Loss of one training batch."""
        pairs, targets = batch
        smoothing = self.settings.label_smoothing
        loss = F.cross_entropy(self(pairs).float(), targets, self._weights(), label_smoothing=smoothing)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(targets))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Loss and recall of the inner validation set (training patients), the loss as if it were one batch."""
        pairs, targets = batch
        logits = self.judged(pairs).float()
        weights = self._weights()
        losses = F.cross_entropy(logits, targets, reduction="none")
        self.inner_loss.update(losses, torch.ones_like(losses) if weights is None else weights[targets])
        self.inner_recall.update(logits, targets)
        self.log("inner_loss", self.inner_loss, on_epoch=True, on_step=False)
        self.log("inner_balanced_accuracy", self.inner_recall, on_epoch=True, on_step=False)

    def configure_optimizers(self) -> Any:
        """AdamW over every parameter; one cycle to the peak rate and down to zero, or a constant rate."""
        settings = self.settings
        optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        if settings.schedule == "constant":
            return optimiser
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, settings.learning_rate, total_steps=int(self.trainer.estimated_stepping_batches)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}

    def _weights(self) -> Tensor | None:
        return self.weights if isinstance(self.weights, Tensor) else None
