"""3D DenseNet-BC at three depths; 264 is the reference paper's best network."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from monai.networks.nets.densenet import DenseNet
from torch import Tensor, nn

from ranoscope.config import DenseNetSettings
from ranoscope.learning.networks.base import Images, Trunk, averaged, guarded

# Blocks per dense stage and growth as in Huang et al. 2017 (DenseNet-BC), which MONAI's named classes use too.
_DENSE_BLOCKS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 264: (6, 12, 64, 48)}


class DenseNetTrunk(Trunk):
    """MONAI's DenseNet without its last linear layer; dropout in every dense layer."""

    def __init__(self, settings: DenseNetSettings, images: Images) -> None:
        super().__init__()
        whole = DenseNet(
            spatial_dims=3,
            in_channels=images.channels,
            out_channels=1,
            init_features=64,
            growth_rate=32,
            block_config=_DENSE_BLOCKS[settings.depth],
            dropout_prob=settings.dropout,
        )
        self.features = whole.features
        self.width = cast(nn.Linear, whole.class_layers.out).in_features
        self.first_layer = "features.conv0"
        self.saliency_layers = {"coarse": "features.denseblock4", "finer": "features.denseblock3"}

    def forward(self, images: Tensor) -> Tensor:
        """Embedding (batch, width): the last maps' positive part, averaged."""
        maps = images
        for layer in self.features:
            maps = guarded(layer, maps)
        return averaged(F.relu(maps))
