"""The Lightning module: loss, optimiser and schedule, the same for every network."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.classification import MulticlassRecall

from ranoscope.config import TrainingSettings
from ranoscope.domain import RESPONSES, Case
from ranoscope.learning.networks import PairNetwork


def class_weights(cases: list[Case]) -> Tensor:
    """Weights 1 / prevalence of PD, SD, PR, CR, scaled to a mean of 1 over the cases; 0 for a class without a case.

    Imbalance is corrected here and nowhere else: a weighted sampler on top would correct it twice.
    """
    counts = torch.tensor([sum(case.response is response for case in cases) for response in RESPONSES])
    present = (counts > 0).sum()
    return torch.where(counts > 0, counts.sum() / (present * counts.clamp_min(1)), 0.0).float()


class ResponseModule(L.LightningModule):
    """Trains a pair network with (weighted) cross-entropy and AdamW; logs the inner set's scores."""

    def __init__(self, network: PairNetwork, settings: TrainingSettings, weights: Tensor | None) -> None:
        super().__init__()
        self.network = network
        self.settings = settings
        self.register_buffer("weights", weights, persistent=False)
        self.inner_recall = MulticlassRecall(num_classes=len(RESPONSES), average="macro")

    def forward(self, pair: Tensor) -> Tensor:
        """Logits (batch, 4) of pairs (batch, study, sequence, i, j, k)."""
        logits: Tensor = self.network(pair)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Loss of one training batch."""
        pairs, targets = batch
        loss = self._loss(self(pairs), targets, self.settings.label_smoothing)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(targets))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Loss and recall of one batch of the inner validation set (training patients)."""
        pairs, targets = batch
        logits = self(pairs)
        self.log("inner_loss", self._loss(logits, targets, 0.0), on_epoch=True, batch_size=len(targets), sync_dist=True)
        self.inner_recall.update(logits, targets)
        self.log("inner_balanced_accuracy", self.inner_recall, on_epoch=True, on_step=False)

    def configure_optimizers(self) -> Any:
        """AdamW over every parameter; one cycle to the peak rate and down to zero, or a constant rate."""
        settings = self.settings
        optimiser = torch.optim.AdamW(self.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
        if settings.schedule == "constant":
            return optimiser
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, settings.learning_rate, total_steps=int(self.trainer.estimated_stepping_batches)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}

    def _loss(self, logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        weights = self.weights if isinstance(self.weights, Tensor) else None
        return F.cross_entropy(logits.float(), targets, weight=weights, label_smoothing=smoothing)
