"""The networks, in one list: each takes a pair of studies and returns four logits.

Input, always: float (batch, study, sequence, i, j, k), study 0 = prior, 1 = current, axes i, j, k towards Right,
Anterior, Superior. Output: logits (batch, 4) in the order PD, SD, PR, CR (``domain.RESPONSES``).

``saliency_layers`` names the sub-modules whose output, (batch, channel, i', j', k') with one map per pair, Grad-CAM
reads: ``coarse`` the last, ``finer`` one of higher resolution.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from monai.networks.blocks.convolutions import Convolution, ResidualUnit
from monai.networks.nets.densenet import DenseNet
from torch import Tensor, nn

from ranoscope.config import ChangeAwareSettings, DenseNetSettings, Recipe
from ranoscope.domain import RESPONSES

# Blocks per dense stage and growth as in Huang et al. 2017 (DenseNet-BC), which MONAI's named classes use too.
_DENSE_BLOCKS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 264: (6, 12, 64, 48)}


class PairNetwork(nn.Module):
    """What every network shares: a forward pass over pairs, and named layers for Grad-CAM."""

    saliency_layers: dict[str, str]


class StackedDenseNet(PairNetwork):
    """The paper's network: both studies as channels of one 3D DenseNet, interleaved per sequence, current first."""

    def __init__(self, sequences: int, settings: DenseNetSettings) -> None:
        super().__init__()
        self.densenet = DenseNet(
            spatial_dims=3,
            in_channels=2 * sequences,
            out_channels=len(RESPONSES),
            init_features=64,
            growth_rate=32,
            block_config=_DENSE_BLOCKS[settings.depth],
            dropout_prob=settings.dropout,
        )
        self.saliency_layers = {
            "coarse": "densenet.features.denseblock4",
            "finer": "densenet.features.denseblock3",
        }

    def forward(self, pair: Tensor) -> Tensor:
        """Logits (batch, 4); channel order current, prior of the first sequence, then of the next, as in the paper."""
        stacked = pair.flip(1).transpose(1, 2).flatten(1, 2)
        logits: Tensor = self.densenet(stacked.contiguous(memory_format=torch.channels_last_3d))
        return logits


class ChangeMap(nn.Module):
    """Features of what changed: current, and current minus prior, mixed voxel by voxel.

    The current study's own features stay in, because "nothing there, before and now" (CR) and "something there, before
    and now" (SD) have the same difference.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = Convolution(3, 2 * channels, channels, kernel_size=1, norm="INSTANCE", act="PRELU")

    def forward(self, prior: Tensor, current: Tensor) -> Tensor:
        """Map (batch, channel, i, j, k) from two of the same shape."""
        mixed: Tensor = self.mix(torch.cat([current, current - prior], dim=1))
        return mixed


class ChangeAwareNetwork(PairNetwork):
    """One encoder shared by both studies; change maps at its two last scales; average and maximum over the volume.

    The average keeps the total amount, the maximum the strongest spot (a small new lesion).
    """

    def __init__(self, sequences: int, settings: ChangeAwareSettings) -> None:
        super().__init__()
        widths = (sequences, *settings.widths)
        self.stages = nn.ModuleList(
            ResidualUnit(3, before, after, strides=2 if depth < 3 else 1, norm="INSTANCE", subunits=1 + (depth > 0))
            for depth, (before, after) in enumerate(pairwise(widths))
        )
        last = settings.widths[-2:]
        self.changes = nn.ModuleList(ChangeMap(width) for width in last)
        self.head = nn.Sequential(
            nn.Dropout(settings.dropout), nn.Linear(2 * sum(last), 64), nn.PReLU(), nn.Linear(64, len(RESPONSES))
        )
        self.saliency_layers = {"coarse": "changes.1", "finer": "changes.0"}

    def forward(self, pair: Tensor) -> Tensor:
        """Logits (batch, 4)."""
        batch = pair.shape[0]
        features = pair.transpose(0, 1).flatten(0, 1).contiguous(memory_format=torch.channels_last_3d)
        scales: list[Tensor] = []
        for stage in self.stages:
            features = stage(features)
            scales.append(features)
        pooled: list[Tensor] = []
        for change, scale in zip(self.changes, scales[-2:], strict=True):
            changed = change(scale[:batch], scale[batch:])
            pooled += [changed.mean(dim=(2, 3, 4)), changed.amax(dim=(2, 3, 4))]
        logits: Tensor = self.head(torch.cat(pooled, dim=1))
        return logits


def build_network(recipe: Recipe) -> PairNetwork:
    """The recipe's network, freshly initialised from torch's global seed, convolutions in channels-last memory."""
    settings = recipe.network
    network: PairNetwork
    if isinstance(settings, DenseNetSettings):
        network = StackedDenseNet(len(recipe.sequences), settings)
    else:
        network = ChangeAwareNetwork(len(recipe.sequences), settings)
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return network
