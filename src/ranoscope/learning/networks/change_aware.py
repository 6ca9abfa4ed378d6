"""The project's own network: one encoder shared by both studies, and the amounts it finds in them compared."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from monai.networks.blocks.convolutions import ResidualUnit
from torch import Tensor, nn

from ranoscope.config import ComparisonSettings
from ranoscope.learning.measures import MEASURES, TISSUES
from ranoscope.learning.networks.base import TRUNK_PREFIX, Images, LateFusion, PairNetwork, Trunk, averaged
from ranoscope.learning.networks.comparison import FindingsCompared, compare_tissues, tissue_width
from ranoscope.learning.networks.tissues import TissueMaps, tissue_shares


@dataclass(frozen=True)
class Reading:
    """What the network makes of a batch of pairs.

    ``logits``: (batch, class). ``tissues``: logits (2 * batch, tissue, i, j, k) of ``TISSUES``, prior studies first.
    ``measures``: (batch, 3) as in ``measures.MEASURES``.
    """

    logits: Tensor
    tissues: Tensor
    measures: Tensor


# Full sight at half the grid's resolution, halved once more for the last scale: voxels from cell to cell of the last
# two stages, the finer first.
_STEPS = (2, 4)


class ChangeAwareTrunk(Trunk):
    """Encoder of one study's sequences; the network reads its last two scales, pretraining the last one's average."""

    def __init__(self, settings: ComparisonSettings, images: Images) -> None:
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
        self.channels, self.voxel_mm = images.channels, images.voxel_mm

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

    Where tissues are taught, their maps are compared as well, and a linear layer reads the measured change
    (``Reading``) off that; it is there for training and does not enter the logits.
    """

    sees_apart = True

    def __init__(
        self, trunk: ChangeAwareTrunk, settings: ComparisonSettings, facts: int, classes: int, further: int = 0
    ) -> None:
        """``further``: features that the head reads besides the comparison with the prior study."""
        super().__init__()
        self.trunk = trunk
        self.settings = settings
        scales = zip(settings.widths[-2:], _STEPS, strict=True)
        compared = [FindingsCompared(settings, width, step * trunk.voxel_mm) for width, step in scales]
        self.scales = nn.ModuleList(compared)
        self.tissues = TissueMaps(trunk.channels, settings.widths[-2]) if settings.tissues else None
        tissue_features = tissue_width(settings, len(TISSUES)) if settings.tissues else 0
        self.measures = nn.Linear(tissue_features, len(MEASURES)) if settings.tissues else None
        self.compared = sum(scale.width for scale in compared) + tissue_features
        self.fusion = LateFusion(self.compared + further, facts)
        # Of learnt findings alone: there are many, and one is as good as another; each taught tissue is needed.
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Sequential(
            nn.Linear(self.fusion.width, 64), nn.PReLU(), nn.Dropout(settings.dropout), nn.Linear(64, classes)
        )
        self.first_layer = TRUNK_PREFIX + trunk.first_layer
        beside = tuple(TRUNK_PREFIX + layer for layer in trunk.beside_first)
        self.beside_first = (*beside, "tissues.detail.conv") if settings.tissues else beside
        self.saliency_layers = {"coarse": "scales.1.evidence", "finer": "scales.0.evidence"}

    def forward(self, pair: Tensor, facts: Tensor | None = None) -> Tensor:
        """Logits (batch, class)."""
        return self._answer(self.see(pair.transpose(0, 1).flatten(0, 1)), facts)

    def see(self, studies: Tensor) -> list[Tensor]:
        """Features of both scales, the finer first, and the logits of tissues where they are taught."""
        scales = self.trunk.last_scales(studies)
        return scales if self.tissues is None else [*scales, self.tissues(studies, scales[0])]

    def judge(self, prior: list[Tensor], current: list[Tensor], facts: Tensor | None = None) -> Tensor:
        """Logits (batch, class)."""
        return self._answer(both(prior, current), facts)

    def read(self, prior: list[Tensor], current: list[Tensor], facts: Tensor | None = None) -> Reading:
        """All that masks can teach, from what was seen of the prior and of the current studies; needs tissues."""
        assert self.measures is not None
        seen = both(prior, current)
        tissues = self._compare_tissues(seen)
        logits = self._decide(self._weigh(self._compare_findings(seen), tissues), facts)
        return Reading(logits, seen[-1], self.measures(tissues))

    def _answer(self, seen: list[Tensor], facts: Tensor | None) -> Tensor:
        """Logits (batch, class), from what was seen of all prior studies, then of all current ones."""
        return self._decide(self._weigh(self._compare_findings(seen), self._compare_tissues(seen)), facts)

    def _compare_findings(self, seen: list[Tensor]) -> Tensor:
        """From what was seen of all prior studies, then of all current ones."""
        return torch.cat([scale(maps) for scale, maps in zip(self.scales, seen[: len(_STEPS)], strict=True)], dim=1)

    def _compare_tissues(self, seen: list[Tensor]) -> Tensor:
        """The same of taught tissues; no feature where none are."""
        if self.tissues is None:
            return seen[0].new_zeros(len(seen[0]) // 2, 0)
        return compare_tissues(tissue_shares(seen[-1]), self.settings, self.trunk.voxel_mm)

    def _weigh(self, findings: Tensor, tissues: Tensor) -> Tensor:
        """Features of findings, some of which are dropped, and of tissues."""
        return torch.cat([self.dropout(findings), tissues], dim=1)

    def _decide(self, features: Tensor, facts: Tensor | None) -> Tensor:
        logits: Tensor = self.head(self.fusion(features, facts))
        return logits


def both(prior: list[Tensor], current: list[Tensor]) -> list[Tensor]:
    """What was seen of all prior studies, then of all current ones."""
    return [torch.cat(both) for both in zip(prior, current, strict=True)]
