"""Losses over logits: cross-entropy, focal loss for rare or hard cases, ordered and partly known classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ranoscope.config import TrainingSettings

# Keeps the slope of (1 - p) ** gamma finite where a probability is 1 within rounding and gamma is below 1.
_LEAST_DOUBT = 1e-7


def class_weights(classes: list[int], count: int) -> Tensor:
    """Weights 1 / prevalence of ``count`` classes, scaled to a mean of 1 over the cases; 1 for a class without a case.

    Such a class can still be in the inner validation set, whose loss must stay finite.

    Args:
        classes: class index of each training case.
        count: number of classes.
    """
    cases = torch.bincount(torch.tensor(classes, dtype=torch.int64), minlength=count)
    present = (cases > 0).sum()
    return torch.where(cases > 0, cases.sum() / (present * cases.clamp_min(1)), 1.0).float()


def batch_loss(logits: Tensor, targets: Tensor, settings: TrainingSettings, weights: Tensor | None) -> Tensor:
    """The training loss of one batch: the mean over its cases, weighted by class where there are weights.

    Args:
        logits: (batch, class), float32.
        targets: class index, (batch,).
        settings: which loss, and how much its targets are smoothed.
        weights: per class, or None.
    """
    if settings.loss == "cross_entropy":
        return F.cross_entropy(logits, targets, weights, label_smoothing=settings.label_smoothing)
    weights = logits.new_ones(logits.shape[1]) if weights is None else weights
    parts = _focal_parts(logits, settings.focal_gamma) * weights
    hard = parts.gather(1, targets[:, None]).sum()
    smoothing = settings.label_smoothing
    return ((1 - smoothing) * hard + smoothing * parts.mean(dim=1).sum()) / weights[targets].sum()


def ordinal_loss(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Ranked probability score over the classes in their order, a mean over the cases, weighted by class if asked.

    The squared difference of cumulative probabilities, summed over the steps between classes (Epstein 1969): 0 for
    certainty in the right class, 3 for certainty three classes off.

    Args:
        logits: (batch, class), float32.
        targets: class index, (batch,).
        weights: per class, or None.
    """
    steps = torch.arange(logits.shape[1] - 1, device=logits.device)
    reached = logits.softmax(dim=1).cumsum(dim=1)[:, :-1]
    losses = (reached - (targets[:, None] <= steps).to(reached.dtype)).square().sum(dim=1)
    shares = torch.ones_like(losses) if weights is None else weights[targets]
    return (losses * shares).sum() / shares.sum()


def accepted_losses(logits: Tensor, accepted: Tensor) -> Tensor:
    """−log of the probability of any accepted class, (batch,): for cases of which it is known what they can be.

    Args:
        logits: (batch, class), float32.
        accepted: bool (batch, class), at least one per case.
    """
    return logits.logsumexp(dim=1) - logits.masked_fill(~accepted, -torch.inf).logsumexp(dim=1)


def case_losses(logits: Tensor, targets: Tensor, settings: TrainingSettings) -> Tensor:
    """The loss of each case, (batch,), without class weights or smoothing: what a validation set is judged by."""
    if settings.loss == "cross_entropy":
        return F.cross_entropy(logits, targets, reduction="none")
    return _focal_parts(logits, settings.focal_gamma).gather(1, targets[:, None])[:, 0]


def _focal_parts(logits: Tensor, gamma: float) -> Tensor:
    """−(1 − p)^γ log p of every class, (batch, class). Source: Lin et al. 2017, over the softmax."""
    logs = logits.log_softmax(dim=1)
    doubt = (-torch.expm1(logs)).clamp_min(_LEAST_DOUBT)
    return -(doubt**gamma) * logs
