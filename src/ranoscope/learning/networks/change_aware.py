"""The project's own network: one encoder shared by both studies, and the amounts it finds in them compared."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from monai.networks.blocks.convolutions import ResidualUnit
from torch import Tensor, nn

from ranoscope.config import ChangeAwareSettings
from ranoscope.learning.measures import MEASURES
from ranoscope.learning.networks.base import TRUNK_PREFIX, Images, LateFusion, PairNetwork, Trunk, averaged
from ranoscope.learning.networks.comparison import Compared


@dataclass(frozen=True)
class Reading:
    """What the network makes of a batch of pairs.

    ``logits``: (batch, class). ``tissues``: per scale, logits (2 * batch, enhancing and whole tumour, i', j', k'),
    prior studies first; ``steps``: per scale, voxels from cell to cell, the first cell's centre on the first voxel's.
    ``measures``: (batch, 3) as in ``measures.MEASURES``.
    """

    logits: Tensor
    tissues: list[Tensor]
    steps: tuple[int, ...]
    measures: Tensor


# Full sight at half the grid's resolution, halved once more for the last scale: voxels from cell to cell of the last
# two stages, the finer first.
_STEPS = (2, 4)


class ChangeAwareTrunk(Trunk):
    """Encoder of one study's sequences; the network reads its last two scales, pretraining the last one's average."""

    def __init__(self, settings: ChangeAwareSettings, images: Images) -> None:
        super().__init__()
        widths = (images.channels, *settings.widths)
        strides = [2, *[1] * (len(settings.widths) - 2), 2]
        self.stages = nn.ModuleList(
            ResidualUnit(3, before, after, strides=stride, norm="INSTANCE", act="LEAKYRELU", subunits=1 + (depth > 0))
            for depth, ((before, after), stride) in enumerate(zip(pairwise(widths), strides, strict=True))
        )
        self.width = settings.widths[-1]
        self.first_layer = "stages.0.conv.unit0.conv"
        self.beside_first = ("stages.0.residual",)
        last = len(settings.widths) - 1
        self.saliency_layers = {"coarse": f"stages.{last}", "finer": f"stages.{last - 1}"}
        self.voxel_mm = images.voxel_mm

    def last_scales(self, images: Tensor) -> list[Tensor]:
        """Features (batch, channels, i', j', k') of the last two stages, the finer first."""
        features = images.contiguous(memory_format=torch.channels_last_3d)
        scales: list[Tensor] = []
        for stage in self.stages:
            features = stage(features)
            scales.append(features)
        return scales[-2:]

    def forward(self, images: Tensor) -> Tensor:
        """Embedding (batch, width)."""
        return averaged(self.last_scales(images)[-1])


class ChangeAwareNetwork(PairNetwork):
    """One encoder shared by both studies; evidence maps at its last two scales, compared; one head.

    Where tissues are taught, a linear layer also reads the measured change (``Reading``) off the comparison; it is
    there for training and does not enter the logits.
    """

    sees_apart = True

    def __init__(self, trunk: ChangeAwareTrunk, settings: ChangeAwareSettings, facts: int, classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        scales = zip(settings.widths[-2:], _STEPS, strict=True)
        compared = [Compared(settings, channels, step * trunk.voxel_mm) for channels, step in scales]
        self.scales = nn.ModuleList(compared)
        width = sum(scale.width for scale in compared)
        self.fusion = LateFusion(width, facts)
        self.head = nn.Sequential(
            nn.Dropout(settings.dropout), nn.Linear(self.fusion.width, 64), nn.PReLU(), nn.Dropout(settings.dropout),
            nn.Linear(64, classes),
        )  # fmt: skip
        self.measures = nn.Linear(width, len(MEASURES)) if settings.tissues else None
        self.first_layer = TRUNK_PREFIX + trunk.first_layer
        self.beside_first = tuple(TRUNK_PREFIX + layer for layer in trunk.beside_first)
        self.saliency_layers = {"coarse": "scales.1.evidence", "finer": "scales.0.evidence"}

    def forward(self, pair: Tensor, facts: Tensor | None = None) -> Tensor:
        """Logits (batch, class)."""
        return self._decide(self._compare(self.see(pair.transpose(0, 1).flatten(0, 1))), facts)

    def see(self, studies: Tensor) -> list[Tensor]:
        """Features of both scales, the finer first."""
        return self.trunk.last_scales(studies)

    def judge(self, prior: list[Tensor], current: list[Tensor], facts: Tensor | None = None) -> Tensor:
        """Logits (batch, class)."""
        return self._decide(self._compare(_both(prior, current)), facts)

    def read(self, prior: list[Tensor], current: list[Tensor], facts: Tensor | None = None) -> Reading:
        """All that masks can teach, from what was seen of the prior and of the current studies; needs tissues."""
        assert self.measures is not None
        features = _both(prior, current)
        compared = self._compare(features)
        scales = cast("list[Compared]", list(self.scales))
        tissues = [scale.evidence.tissue_logits(maps) for scale, maps in zip(scales, features, strict=True)]
        return Reading(self._decide(compared, facts), tissues, _STEPS, self.measures(compared))

    def _compare(self, features: list[Tensor]) -> Tensor:
        """From features of all prior studies, then of all current ones, per scale."""
        return torch.cat([scale(maps) for scale, maps in zip(self.scales, features, strict=True)], dim=1)

    def _decide(self, compared: Tensor, facts: Tensor | None) -> Tensor:
        logits: Tensor = self.head(self.fusion(compared, facts))
        return logits


def _both(prior: list[Tensor], current: list[Tensor]) -> list[Tensor]:
    return [torch.cat(both) for both in zip(prior, current, strict=True)]
