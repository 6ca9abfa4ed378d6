"""Both studies as the channels of one image: how they are arranged, and the network around any trunk."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ranoscope.config import Arrangement
from ranoscope.learning.networks.base import TRUNK_PREFIX, LateFusion, PairNetwork, Trunk


def arrange(pair: Tensor, arrangement: Arrangement) -> Tensor:
    """The channels (batch, channel, i, j, k) that a pair (batch, study, sequence, i, j, k) is shown as.

    ``stacked``: current and prior of the first sequence, then of the next, as in the reference paper. ``difference``:
    current minus prior, a channel per sequence. ``both``: the stack, then the differences.
    """
    stacked = pair.flip(1).transpose(1, 2).flatten(1, 2)
    difference = pair[:, 1] - pair[:, 0]
    if arrangement is Arrangement.STACKED:
        return stacked
    return difference if arrangement is Arrangement.DIFFERENCE else torch.cat([stacked, difference], dim=1)


class StackedNetwork(PairNetwork):
    """A trunk that sees both studies at once, facts beside its embedding, and one linear layer."""

    def __init__(self, trunk: Trunk, arrangement: Arrangement, facts: int, classes: int) -> None:
        super().__init__()
        self.arrangement = arrangement
        self.trunk = trunk
        self.fusion = LateFusion(trunk.width, facts)
        self.head = nn.Linear(self.fusion.width, classes)
        self.first_layer = TRUNK_PREFIX + trunk.first_layer
        self.beside_first = tuple(TRUNK_PREFIX + layer for layer in trunk.beside_first)
        self.saliency_layers = {kind: TRUNK_PREFIX + layer for kind, layer in trunk.saliency_layers.items()}

    def forward(self, pair: Tensor, facts: Tensor | None = None) -> Tensor:
        """Logits (batch, class)."""
        images = arrange(pair, self.arrangement).contiguous(memory_format=torch.channels_last_3d)
        logits: Tensor = self.head(self.fusion(self.trunk(images), facts))
        return logits
