"""The module that learns from pairs, and in a share of its steps restores masked cubes of their images instead."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ranoscope.config import Recipe
from ranoscope.learning.module import Batch, ResponseModule
from ranoscope.learning.networks import PairNetwork, Trunk, arrange, build_network, build_trunk
from ranoscope.learning.networks.base import TRUNK_PREFIX
from ranoscope.learning.networks.change_aware import ChangeAwareNetwork, Reading
from ranoscope.learning.networks.stacked import StackedNetwork
from ranoscope.learning.targets import class_count

# Edge of the cubes, and the share of them that is masked: large enough that neighbours alone do not tell.
_CUBE_MM, _MASKED = 16.0, 0.4
_FEATURES = 16


class Restorer(nn.Module):
    """A light decoder: from the trunk's last map to its images at half their resolution."""

    def __init__(self, features: int, channels: int) -> None:
        super().__init__()
        self.reading = nn.Conv3d(features, _FEATURES, kernel_size=1)
        self.writing = nn.Conv3d(_FEATURES, channels, kernel_size=3, padding=1)

    def forward(self, maps: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Images (batch, channel, i, j, k) of this shape."""
        wide = F.interpolate(F.gelu(self.reading(maps)), size=shape, mode="trilinear", align_corners=False)
        images: Tensor = self.writing(wide)
        return images


class ChangeLearner(PairNetwork):
    """A recipe's network and, where images are to be restored, a decoder beside it; asked as the network itself is."""

    def __init__(self, pair: PairNetwork, restorer: Restorer | None) -> None:
        super().__init__()
        self.pair = pair
        self.restorer = restorer
        self.sees_apart = pair.sees_apart

    def forward(self, pair: Tensor, facts: Tensor | None = None) -> Tensor:
        """Logits (batch, class)."""
        logits: Tensor = self.pair(pair, facts)
        return logits

    def see(self, studies: Tensor) -> list[Tensor]:
        """The network's own."""
        return self.pair.see(studies)

    def judge(self, prior: list[Tensor], current: list[Tensor], facts: Tensor | None = None) -> Tensor:
        """The network's own."""
        return self.pair.judge(prior, current, facts)

    def read(self, prior: list[Tensor], current: list[Tensor], facts: Tensor | None = None) -> Reading:
        """The network's own, of one with tissues."""
        assert isinstance(self.pair, ChangeAwareNetwork)
        return self.pair.read(prior, current, facts)

    def restoring_loss(self, pairs: Tensor, voxel_mm: float) -> Tensor:
        """Mean squared error inside the brain of masked cubes, over all channels.

        Args:
            pairs: float (batch, study, sequence, i, j, k), 0 outside the brain.
            voxel_mm: voxel edge.
        """
        assert self.restorer is not None
        images = trunk_images(self.pair, pairs)
        masked = _draw_cubes(images, max(round(_CUBE_MM / voxel_mm), 2))
        i, j, k = (max(edge // 2, 1) for edge in images.shape[2:])
        shape = (i, j, k)
        maps = last_map(_trunk(self.pair), images * (1 - masked))
        restored = self.restorer(maps, shape).float()
        wanted = F.adaptive_avg_pool3d(images.float(), shape)
        counted = F.adaptive_avg_pool3d(masked * (images != 0).any(dim=1, keepdim=True), shape) > 0.5
        errors = (restored - wanted).square().mean(dim=1, keepdim=True) * counted
        loss: Tensor = errors.sum() / counted.sum().clamp_min(1)
        return loss


class ChangeModule(ResponseModule):
    """``ResponseModule`` on synthetic pairs; the first of an epoch's steps is never a masked one."""

    def __init__(self, recipe: Recipe, masked_share: float) -> None:
        """``recipe``: network, grid and training settings; the network is made from torch's global seed."""
        pair = build_network(recipe)
        restorer = _build_restorer(recipe, pair) if masked_share else None
        super().__init__(ChangeLearner(pair, restorer), recipe.training, torch.ones(class_count(recipe)))
        self.masked_share = masked_share
        self.voxel_mm = recipe.grid.voxel_mm

    @property
    def learner(self) -> ChangeLearner:
        """The network that is trained."""
        assert isinstance(self.network, ChangeLearner)
        return self.network

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of one batch; masked steps are spread evenly over the epoch, the same in every process."""
        if not self.masked_share:
            return super().training_step(batch, index)
        masked = math.floor((index + 1) * self.masked_share) > math.floor(index * self.masked_share)
        if masked:
            loss = self.learner.restoring_loss(batch[0], self.voxel_mm)
            self.log("masked_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch[0]))
        else:
            loss = super().training_step(batch, index)
        # Processes that train together wait for the gradient of every parameter.
        return loss + 0 * sum(parameter.float().sum() for parameter in self.network.parameters())


def trunk_images(network: PairNetwork, pairs: Tensor) -> Tensor:
    """What a network's trunk is shown of pairs: (image, channel, i, j, k), channels last in memory."""
    images = arrange(pairs, network.arrangement) if isinstance(network, StackedNetwork) else pairs.flatten(0, 1)
    return images.contiguous(memory_format=torch.channels_last_3d)


def last_map(trunk: Trunk, images: Tensor) -> Tensor:
    """A trunk's last map, (image, feature, i', j', k')."""
    seen: list[Tensor] = []
    layer = trunk.get_submodule(trunk.saliency_layers["coarse"])
    handle = layer.register_forward_hook(lambda _, __, output: seen.append(output))
    try:
        trunk(images)
    finally:
        handle.remove()
    return seen[0]


def _trunk(network: PairNetwork) -> Trunk:
    trunk = network.get_submodule(TRUNK_PREFIX.removesuffix("."))
    assert isinstance(trunk, Trunk)
    return trunk


def _build_restorer(recipe: Recipe, network: PairNetwork) -> Restorer:
    channels = network.get_submodule(network.first_layer).get_parameter("weight").shape[1]
    with torch.device("meta"):
        trunk = build_trunk(recipe.network, channels, recipe.grid.shape, recipe.grid.voxel_mm).eval()
        features = last_map(trunk, torch.empty(1, channels, *recipe.grid.shape)).shape[1]
    return Restorer(features, channels)


def _draw_cubes(images: Tensor, edge: int) -> Tensor:
    """1 in masked cubes, float (image, 1, i, j, k), from torch's global seed."""
    cells = [-(-size // edge) for size in images.shape[2:]]
    drawn = (torch.rand(len(images), 1, *cells, device=images.device) < _MASKED).to(images.dtype)
    i, j, k = images.shape[2:]
    for axis in (2, 3, 4):
        drawn = drawn.repeat_interleave(edge, dim=axis)
    return drawn[:, :, :i, :j, :k]
