"""The networks, in one list: each takes a pair of studies and returns four logits.

Input, always: float (batch, study, sequence, i, j, k), study 0 = prior, 1 = current, axes i, j, k towards Right,
Anterior, Superior. Output: logits (batch, 4) in the order PD, SD, PR, CR (``domain.RESPONSES``).

``saliency_layers`` names the sub-modules whose output, (batch, channel, i', j', k') with one map per pair, Grad-CAM
can read: ``coarse`` the last, ``finer`` one of higher resolution. ``gradcam_layer`` is the one it reads by default.
"""

from __future__ import annotations

from contextlib import nullcontext
from itertools import pairwise

import torch
import torch.nn.functional as F
from monai.networks.blocks.convolutions import ResidualUnit
from monai.networks.nets.densenet import DenseNet
from torch import Tensor, nn

from ranoscope.config import ChangeAwareSettings, DenseNetSettings, Recipe
from ranoscope.domain import RESPONSES
from ranoscope.errors import RecipeError, problem

# Blocks per dense stage and growth as in Huang et al. 2017 (DenseNet-BC), which MONAI's named classes use too.
_DENSE_BLOCKS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 264: (6, 12, 64, 48)}


# On the CPU, oneDNN's bf16 weight gradients of a 3x3x3 convolution over a few voxels, as the last dense blocks have on
# a coarse grid, come back NaN now and then (torch 2.13, seen at 2x3x2); such maps are computed in float32 instead.
_FEW_VOXELS = 128
# Amounts below this are as good as none; it keeps the logarithm of an absent finding finite.
_LEAST_AMOUNT = 1e-3
_COMPARISONS = 7
# Findings begin as absent nearly everywhere, so that from the first step on only what stands out (features have unit
# variance) adds to an amount; begun at 0, half the brain counts and training stays on a plateau for many epochs.
_ABSENT = -2.0


class PairNetwork(nn.Module):
    """What every network shares: a forward pass over pairs, and named layers for Grad-CAM."""

    saliency_layers: dict[str, str]
    gradcam_layer: str


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
        self.gradcam_layer = self.saliency_layers["coarse"]

    def forward(self, pair: Tensor) -> Tensor:
        """Logits (batch, 4); channel order current, prior of the first sequence, then of the next, as in the paper."""
        stacked = pair.flip(1).transpose(1, 2).flatten(1, 2)
        maps = stacked.contiguous(memory_format=torch.channels_last_3d)
        for layer in self.densenet.features:
            few = not maps.is_cuda and maps[0, 0].numel() < _FEW_VOXELS
            with torch.autocast("cpu", enabled=False) if few else nullcontext():
                maps = layer(maps.float() if few else maps)
        logits: Tensor = self.densenet.class_layers(maps)
        return logits


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


class ChangeAwareNetwork(PairNetwork):
    """One encoder shared by both studies; evidence maps at its last two scales; their amounts and spots compared."""

    def __init__(self, sequences: int, settings: ChangeAwareSettings) -> None:
        super().__init__()
        widths = (sequences, *settings.widths)
        # Full sight at half the grid's resolution; halved once more for the last scale.
        strides = [2, *[1] * (len(settings.widths) - 2), 2]
        self.stages = nn.ModuleList(
            ResidualUnit(3, before, after, strides=stride, norm="INSTANCE", act="LEAKYRELU", subunits=1 + (depth > 0))
            for depth, ((before, after), stride) in enumerate(zip(pairwise(widths), strides, strict=True))
        )
        self.evidence = nn.ModuleList(Evidence(width, settings.findings) for width in settings.widths[-2:])
        compared = 2 * _COMPARISONS * settings.findings
        self.head = nn.Sequential(
            nn.Dropout(settings.dropout), nn.Linear(compared, 64), nn.PReLU(), nn.Dropout(settings.dropout),
            nn.Linear(64, len(RESPONSES)),
        )  # fmt: skip
        self.saliency_layers = {"coarse": "evidence.1", "finer": "evidence.0"}
        # Small lesions are told apart at the finer scale, which every trained fold uses; the coarse one may lie idle.
        self.gradcam_layer = self.saliency_layers["finer"]

    def forward(self, pair: Tensor) -> Tensor:
        """Logits (batch, 4)."""
        features = pair.transpose(0, 1).flatten(0, 1).contiguous(memory_format=torch.channels_last_3d)
        scales: list[Tensor] = []
        for stage in self.stages:
            features = stage(features)
            scales.append(features)
        compared = [compare(find(scale)) for find, scale in zip(self.evidence, scales[-2:], strict=True)]
        logits: Tensor = self.head(torch.cat(compared, dim=1))
        return logits


def build_network(recipe: Recipe) -> PairNetwork:
    """The recipe's network, freshly initialised from torch's global seed, convolutions in channels-last memory."""
    settings = recipe.network
    network: PairNetwork
    if isinstance(settings, DenseNetSettings):
        network = StackedDenseNet(len(recipe.sequences), settings)
    else:
        assert isinstance(settings, ChangeAwareSettings)
        network = ChangeAwareNetwork(len(recipe.sequences), settings)
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return network


def require_fitting_grid(recipe: Recipe) -> None:
    """Raise RecipeError unless the recipe's network can work on its grid; nothing is computed, only shapes are."""
    with torch.device("meta"):
        network = build_network(recipe)
        pair = torch.empty(1, 2, len(recipe.sequences), *recipe.grid.shape)
    try:
        network.eval()(pair)
    except RuntimeError as error:
        shape = "x".join(map(str, recipe.grid.shape))
        do = "choose a smaller grid.voxel_mm or another network"
        expected = f"a grid large enough for {recipe.network.name}"
        raise RecipeError(problem(expected, f"{shape} voxels", f"recipe {recipe.name}", do)) from error
