"""What tumour masks teach a network with tissues: where tumour is, how much it changed, and what is new."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.losses.dice import DiceLoss
from torch import Tensor

from ranoscope.config import AuxiliarySettings
from ranoscope.domain import Tissue
from ranoscope.learning.measures import MEASURES
from ranoscope.learning.networks.change_aware import Reading

# Over the batch, because a study without enhancing tumour has no Dice of its own; smoothed by about a voxel, so that it
# is finite where there is nothing.
_DICE = DiceLoss(sigmoid=True, squared_pred=True, batch=True, smooth_nr=1.0, smooth_dr=1.0)


def auxiliary_loss(reading: Reading, tumours: Tensor, measures: Tensor, settings: AuxiliarySettings) -> Tensor:
    """The weighted losses of a batch; both parts enter, with whatever weight, so that every parameter has a gradient.

    Args:
        reading: of the network.
        tumours: ``Tissue`` labels, uint8 (batch, study, i, j, k).
        measures: ``MEASURES`` of each pair by its masks, float32 (batch, 3).
        settings: weights.
    """
    where = _segmentation_loss(reading.tissues.float(), _tissue_shares(tumours))
    return settings.segmentation * where + settings.measures * _measure_loss(reading.measures.float(), measures)


def _tissue_shares(tumours: Tensor) -> Tensor:
    """Enhancing and whole tumour, float32 (2 * batch, 2, i, j, k), prior studies first."""
    labels = tumours.transpose(0, 1).flatten(0, 1)
    return torch.stack([labels == Tissue.ENHANCING, labels != Tissue.BACKGROUND], dim=1).float()


def _segmentation_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy and soft Dice of each tissue."""
    dice: Tensor = _DICE(logits, wanted)
    return F.binary_cross_entropy_with_logits(logits, wanted) + dice


def _measure_loss(found: Tensor, measures: Tensor) -> Tensor:
    """Smooth L1 of both growths, cross-entropy of the new lesion."""
    growths = len(MEASURES) - 1
    new = F.binary_cross_entropy_with_logits(found[:, growths], measures[:, growths])
    return F.smooth_l1_loss(found[:, :growths], measures[:, :growths]) + new
