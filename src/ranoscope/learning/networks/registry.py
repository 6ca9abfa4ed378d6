"""The one list of networks, and building one from a recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ranoscope.config import (
    AlexNetSettings,
    ChangeAwareSettings,
    DenseNetSettings,
    MedNeXtSettings,
    NetworkSettings,
    Recipe,
    ResNetSettings,
    StackSettings,
    SwinSettings,
    TimelineSettings,
    ViTSettings,
)
from ranoscope.errors import RecipeError, problem
from ranoscope.learning.facts import fact_names
from ranoscope.learning.networks.alexnet import AlexNetTrunk
from ranoscope.learning.networks.base import Images, PairNetwork, Shape, Trunk
from ranoscope.learning.networks.change_aware import ChangeAwareNetwork, ChangeAwareTrunk
from ranoscope.learning.networks.densenet import DenseNetTrunk
from ranoscope.learning.networks.mednext import MedNeXtTrunk
from ranoscope.learning.networks.resnet import ResNetTrunk
from ranoscope.learning.networks.stacked import StackedNetwork
from ranoscope.learning.networks.swin import SwinTrunk
from ranoscope.learning.networks.timeline import TimelineNetwork
from ranoscope.learning.networks.vit import VisionTransformerTrunk
from ranoscope.learning.targets import class_count


@dataclass(frozen=True)
class Architecture:
    """A network's settings, and its trunk, made from these and what it is shown."""

    settings: type[NetworkSettings]
    trunk: Callable[[Any, Images], Trunk]


# Whatever stands here is held to every check in tests/learning/networks and tests/explaining.
NETWORKS: dict[str, Architecture] = {
    "densenet": Architecture(DenseNetSettings, DenseNetTrunk),
    "alexnet": Architecture(AlexNetSettings, AlexNetTrunk),
    "vit": Architecture(ViTSettings, VisionTransformerTrunk),
    "resnet": Architecture(ResNetSettings, ResNetTrunk),
    "swin": Architecture(SwinSettings, SwinTrunk),
    "mednext": Architecture(MedNeXtSettings, MedNeXtTrunk),
    "change-aware": Architecture(ChangeAwareSettings, ChangeAwareTrunk),
    "change-aware-timeline": Architecture(TimelineSettings, ChangeAwareTrunk),
}


def build_trunk(settings: NetworkSettings, channels: int, shape: Shape, voxel_mm: float) -> Trunk:
    """The part of a network that turns images into an embedding, freshly initialised from torch's global seed.

    Its parameters have the names that those of ``build_network``'s networks have behind ``trunk_prefix``.

    Args:
        settings: of the network; its arrangement does not matter here.
        channels: of the images.
        shape: voxels along i, j, k.
        voxel_mm: voxel edge in millimetres.
    """
    trunk = NETWORKS[settings.name].trunk(settings, Images(channels, shape, voxel_mm))
    return trunk.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload, no-any-return]


def build_network(recipe: Recipe) -> PairNetwork:
    """The recipe's network, freshly initialised from torch's global seed, convolutions in channels-last memory."""
    settings, sequences = recipe.network, len(recipe.sequences)
    channels = settings.arrangement.channels(sequences) if isinstance(settings, StackSettings) else sequences
    trunk = build_trunk(settings, channels, recipe.grid.shape, recipe.grid.voxel_mm)
    facts, classes = len(fact_names(recipe)), class_count(recipe)
    network: PairNetwork
    if isinstance(settings, StackSettings):
        network = StackedNetwork(trunk, settings.arrangement, facts, classes)
    else:
        assert isinstance(trunk, ChangeAwareTrunk)
        if isinstance(settings, TimelineSettings):
            network = TimelineNetwork(trunk, settings, facts, classes)
        else:
            network = ChangeAwareNetwork(trunk, settings, facts, classes)
    return network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload, no-any-return]


def require_fitting_grid(recipe: Recipe) -> None:
    """Raise RecipeError unless the recipe's network can work on its grid; nothing is computed, only shapes are.

    A batch in training, and a single case in evaluation: norms over one voxel refuse the one or the other.
    """
    with torch.device("meta"):
        network = build_network(recipe)
        batch, names = recipe.training.batch_size, fact_names(recipe)
        pair = torch.empty(batch, 2, len(recipe.sequences), *recipe.grid.shape)
        facts = torch.empty(batch, len(names)) if names else None
    try:
        network.train()(pair, facts)
        network.eval()(pair[:1], None if facts is None else facts[:1])
    except (RuntimeError, ValueError) as error:
        shape = "x".join(map(str, recipe.grid.shape))
        do = "choose a smaller grid.voxel_mm or another network"
        expected = f"a grid large enough for {recipe.network.name}"
        raise RecipeError(problem(expected, f"{shape} voxels", f"recipe {recipe.name}", do)) from error
