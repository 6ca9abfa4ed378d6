"""The encoder of MedNeXt: ConvNeXt blocks in 3D."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from monai.networks.nets.mednext import create_mednext
from torch import Tensor, nn

from ranoscope.config import MedNeXtSettings
from ranoscope.learning.networks.base import Images, Trunk, averaged, guarded


class MedNeXtTrunk(Trunk):
    """MONAI's MedNeXt (Roy et al. 2023, kernel 3) down to its bottleneck, under MedNeXt's names.

    The average of the last maps is normalised over its features, as in ConvNeXt's classifier, here without weights.
    """

    def __init__(self, settings: MedNeXtSettings, images: Images) -> None:
        super().__init__()
        whole = create_mednext(settings.size, spatial_dims=3, in_channels=images.channels)
        self.stem = whole.stem
        self.enc_stages = whole.enc_stages
        self.down_blocks = whole.down_blocks
        self.bottleneck = whole.bottleneck
        self.dropout = nn.Dropout(settings.dropout)
        self.width = cast(nn.Conv3d, whole.bottleneck[-1].conv3).out_channels
        self.first_layer = "stem"
        self.saliency_layers = {"coarse": "bottleneck", "finer": "enc_stages.3"}

    def forward(self, images: Tensor) -> Tensor:
        """Embedding (batch, width)."""
        maps = guarded(self.stem, images)
        for stage, down in zip(self.enc_stages, self.down_blocks, strict=True):
            maps = guarded(down, guarded(stage, maps))
        maps = guarded(self.bottleneck, maps)
        embedding: Tensor = self.dropout(F.layer_norm(averaged(maps), [self.width]))
        return embedding
