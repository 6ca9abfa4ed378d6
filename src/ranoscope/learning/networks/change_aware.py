"""The project's own network: one encoder shared by both studies, and the amounts it finds in them compared."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from monai.networks.blocks.convolutions import ResidualUnit
from torch import Tensor, nn

from ranoscope.config import ChangeAwareSettings
from ranoscope.learning.networks.base import TRUNK_PREFIX, Images, LateFusion, PairNetwork, Trunk, averaged

# Amounts below this are as good as none; it keeps the logarithm of an absent finding finite.
_LEAST_AMOUNT = 1e-3
_COMPARISONS = 7
# Findings begin as absent nearly everywhere, so that from the first step on only what stands out (features have unit
# variance) adds to an amount; begun at 0, half the brain counts and training stays on a plateau for many epochs.
_ABSENT = -2.0


class Evidence(nn.Module):
    """Where each learnt finding is, and how much of it: non-negative maps of both studies, the prior's channels first.

    Not normalised: that would take away the amount, and response is a statement about amounts.
    """

    def __init__(self, channels: int, findings: int) -> None:
        super().__init__()
        self.findings = nn.Conv3d(channels, findings, kernel_size=1)
        nn.init.constant_(self.findings.get_parameter("bias"), _ABSENT)

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, 2 * findings, i, j, k) from features (2 * batch, channels, i, j, k), prior studies first."""
        prior, current = F.relu(self.findings(features)).chunk(2)
        return torch.cat([prior, current], dim=1)


def compare(evidence: Tensor) -> Tensor:
    """What changed between the studies, (batch, 7 * findings), float32, from a map of ``Evidence``.

    Per finding: its amount in both studies (average over the volume, on a log scale, so that growth by 40 % is the same
    step for a small and a large lesion), the difference of these, its strongest spot in both (a small new lesion), and
    how much appeared and how much went, voxel by voxel. Each study's own amount stays in, because "nothing there,
    before and now" (CR) and "something there, before and now" (SD) have the same difference.
    """
    prior, current = evidence.float().chunk(2, dim=1)
    amounts = [(part.mean(dim=(2, 3, 4)) + _LEAST_AMOUNT).log() for part in (prior, current)]
    spots = [part.amax(dim=(2, 3, 4)).log1p() for part in (prior, current)]
    moved = [(F.relu(step).mean(dim=(2, 3, 4)) / _LEAST_AMOUNT).log1p() for step in (current - prior, prior - current)]
    return torch.cat([*amounts, amounts[1] - amounts[0], *spots, *moved], dim=1)


class ChangeAwareTrunk(Trunk):
    """Encoder of one study's sequences; the network reads its last two scales, pretraining the last one's average."""

    def __init__(self, settings: ChangeAwareSettings, images: Images) -> None:
        super().__init__()
        widths = (images.channels, *settings.widths)
        # Full sight at half the grid's resolution; halved once more for the last scale.
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
    """One encoder shared by both studies; evidence maps at its last two scales; their amounts and spots compared."""

    sees_apart = True

    def __init__(self, trunk: ChangeAwareTrunk, settings: ChangeAwareSettings, facts: int, classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.evidence = nn.ModuleList(Evidence(width, settings.findings) for width in settings.widths[-2:])
        self.fusion = LateFusion(2 * _COMPARISONS * settings.findings, facts)
        self.head = nn.Sequential(
            nn.Dropout(settings.dropout), nn.Linear(self.fusion.width, 64), nn.PReLU(), nn.Dropout(settings.dropout),
            nn.Linear(64, classes),
        )  # fmt: skip
        self.first_layer = TRUNK_PREFIX + trunk.first_layer
        self.beside_first = tuple(TRUNK_PREFIX + layer for layer in trunk.beside_first)
        self.saliency_layers = {"coarse": "evidence.1", "finer": "evidence.0"}

    def forward(self, pair: Tensor, facts: Tensor | None = None) -> Tensor:
        """Logits (batch, class)."""
        return self._decide(self.see(pair.transpose(0, 1).flatten(0, 1)), facts)

    def see(self, studies: Tensor) -> list[Tensor]:
        """Features of both scales, the finer first."""
        return self.trunk.last_scales(studies)

    def judge(self, prior: list[Tensor], current: list[Tensor], facts: Tensor | None = None) -> Tensor:
        """Logits (batch, class)."""
        return self._decide([torch.cat(both) for both in zip(prior, current, strict=True)], facts)

    def _decide(self, scales: list[Tensor], facts: Tensor | None) -> Tensor:
        """From features of all prior studies, then of all current ones."""
        compared = [compare(find(scale)) for find, scale in zip(self.evidence, scales, strict=True)]
        logits: Tensor = self.head(self.fusion(torch.cat(compared, dim=1), facts))
        return logits
