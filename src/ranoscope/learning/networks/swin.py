"""The encoder of Swin UNETR: attention within windows that shift from block to block."""

from __future__ import annotations

import math

import torch.nn.functional as F
from monai.networks.nets.swin_unetr import BasicLayer, PatchMergingV2
from torch import Tensor, nn

from ranoscope.config import SwinSettings
from ranoscope.learning.networks.base import Images, Patches, Trunk, averaged

# As in Swin UNETR (Hatamizadeh et al. 2022): four stages of two blocks, their heads, and windows of 7x7x7 cells.
_HEADS = (3, 6, 12, 24)
_BLOCKS = 2
_WINDOW = 7
_PATCH = (2, 2, 2)


class SwinTrunk(Trunk):
    """Patches of 2x2x2 voxels, then four stages of MONAI's Swin blocks, each ending in half the resolution.

    Where a stage has fewer cells along an axis than a window, the window is made for as many as there are: cut to size
    by MONAI, its table of relative positions would name wrong ones.
    """

    def __init__(self, settings: SwinSettings, images: Images) -> None:
        super().__init__()
        self.patches = Patches(images.channels, settings.features, _PATCH)
        self.dropout = nn.Dropout(settings.dropout)
        self.stages = nn.ModuleList()
        cells = _halved(images.shape)
        for depth, heads in enumerate(_HEADS):
            window = tuple(min(_WINDOW, size) for size in cells)
            self.stages.append(_stage(settings, settings.features * 2**depth, heads, window))
            cells = _halved(cells)
        self.width = settings.features * 2 ** len(_HEADS)
        self.first_layer = "patches"
        self.saliency_layers = {"coarse": "stages.3", "finer": "stages.1"}

    def forward(self, images: Tensor) -> Tensor:
        """Embedding (batch, width): the last cells, normalised over their features as in Swin UNETR, averaged."""
        maps = self.dropout(self.patches(images))
        for stage in self.stages:
            maps = stage(maps.contiguous())
        return averaged(F.layer_norm(maps.movedim(1, -1), [self.width]).movedim(-1, 1))


def _stage(settings: SwinSettings, width: int, heads: int, window: tuple[int, ...]) -> BasicLayer:
    return BasicLayer(
        dim=width,
        depth=_BLOCKS,
        num_heads=heads,
        window_size=window,
        drop_path=[0.0] * _BLOCKS,
        qkv_bias=True,
        drop=settings.dropout,
        downsample=PatchMergingV2,  # type: ignore[arg-type] # MONAI builds it itself
    )


def _halved(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.ceil(size / 2) for size in shape)
