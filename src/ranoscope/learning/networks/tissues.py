"""Tissues that masks teach: enhancing and whole tumour, at the grid's own resolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.blocks.convolutions import Convolution
from torch import Tensor, nn

from ranoscope.learning.measures import TISSUES

_DETAIL = 8
# Tissues begin near their share of a brain, about one voxel in fifty.
_RARE = -4.0
# What is less likely than this everywhere shall not add up to a tumour. Of the cuts tried on synthetic studies (none,
# 0.05, 0.1, 0.2, squares) the one whose volumes, and changes of volume, were nearest the truth.
_UNLIKELY = 0.05


class TissueMaps(nn.Module):
    """One layer at full resolution beside the encoder's features, brought up to it: where each tissue is.

    Volumes are what response is about, and lesions are a few cells large on the encoder's own grid.
    """

    def __init__(self, channels: int, features: int) -> None:
        """``channels``: of the images; ``features``: of the encoder's finer scale, at half the resolution."""
        super().__init__()
        self.detail = Convolution(3, channels, _DETAIL, act="LEAKYRELU", norm="INSTANCE")
        self.up = nn.ConvTranspose3d(features, _DETAIL, kernel_size=2, stride=2)
        self.mixed = nn.Sequential(nn.Conv3d(2 * _DETAIL, _DETAIL, kernel_size=1), nn.LeakyReLU())
        self.tissues = nn.Conv3d(_DETAIL, len(TISSUES), kernel_size=1)
        nn.init.constant_(self.tissues.get_parameter("bias"), _RARE)

    def forward(self, images: Tensor, features: Tensor) -> Tensor:
        """Logits (batch, tissue, i, j, k) from images (batch, channels, i, j, k) and the encoder's finer scale."""
        i, j, k = images.shape[2:]
        above = self.up(features)[:, :, :i, :j, :k]
        logits: Tensor = self.tissues(self.mixed(torch.cat([self.detail(images), above], dim=1)))
        return logits


def tissue_shares(logits: Tensor) -> Tensor:
    """How much of each voxel is the tissue, 0 to 1, float32, of the same shape."""
    return F.relu(logits.float().sigmoid() - _UNLIKELY) / (1 - _UNLIKELY)
