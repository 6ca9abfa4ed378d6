"""Vision transformer on patches of a given size in millimetres."""

from __future__ import annotations

import math

import torch
from monai.networks.blocks.transformerblock import TransformerBlock
from torch import Tensor, nn

from ranoscope.config import ViTSettings
from ranoscope.learning.networks.base import Images, Patches, Shape, Trunk


class TokenMap(nn.Module):
    """Tokens (batch, token, feature) as a map (batch, feature, i', j', k') on the grid of patches."""

    def __init__(self, cells: Shape) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, tokens: Tensor) -> Tensor:
        """The same numbers, laid out on the grid."""
        laid_out: Tensor = tokens.transpose(1, 2).unflatten(2, self.cells)
        return laid_out


class VisionTransformerTrunk(Trunk):
    """MONAI's ViT up to its class token; a volume that is not whole patches is padded (``Patches``).

    MONAI's own, which the reference paper uses, cuts the remainder off instead, and puts a tanh behind its last layer,
    which holds logits within ±1; neither is repeated here. Grad-CAM reads the tokens that the last block is given:
    behind it only the class token counts, which has no place.
    """

    def __init__(self, settings: ViTSettings, images: Images) -> None:
        super().__init__()
        right, anterior, superior = (max(round(edge / images.voxel_mm), 1) for edge in settings.patch_mm)
        patch = (right, anterior, superior)
        i, j, k = (math.ceil(size / edge) for size, edge in zip(images.shape, patch, strict=True))
        self.patches = Patches(images.channels, settings.hidden, patch)
        self.positions = nn.Parameter(torch.zeros(1, i * j * k, settings.hidden))
        nn.init.trunc_normal_(self.positions, std=0.02)
        self.class_token = nn.Parameter(torch.zeros(1, 1, settings.hidden))
        self.dropout = nn.Dropout(settings.dropout)
        self.blocks = nn.ModuleList(_block(settings) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(settings.hidden)
        self.token_map = TokenMap((i, j, k))
        self.width = settings.hidden
        self.first_layer = "patches"
        self.saliency_layers = {"coarse": "token_map"}

    def forward(self, images: Tensor) -> Tensor:
        """Embedding (batch, width): the class token."""
        places = self.dropout(self.patches(images).flatten(2).transpose(1, 2) + self.positions)
        tokens = torch.cat([self.class_token.expand(len(places), -1, -1).to(places.dtype), places], dim=1)
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        # Through the map and back, so that its gradient is the tokens'.
        places = self.token_map(tokens[:, 1:]).flatten(2).transpose(1, 2)
        tokens = self.blocks[-1](torch.cat([tokens[:, :1], places], dim=1))
        embedding: Tensor = self.norm(tokens[:, 0])
        return embedding


def _block(settings: ViTSettings) -> TransformerBlock:
    """MONAI's block with torch's fused attention: at 1 mm a volume is 2304 tokens, too many to keep their matrix."""
    block = TransformerBlock(
        settings.hidden, 4 * settings.hidden, settings.heads, settings.dropout, use_flash_attention=True
    )
    # MONAI drops fused attention's weights in evaluation too; the block's other dropouts stay.
    block.attn.dropout_rate = 0.0
    # The norm of an attention to other tokens that this block does not have: parameters without a gradient.
    block.add_module("norm_cross_attn", nn.Identity())
    return block
