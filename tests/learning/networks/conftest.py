"""Every network in a small form on a small grid, so that the checks of all of them take seconds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from ranoscope.config import Recipe, parse_recipe
from ranoscope.learning.networks import NETWORKS, PairNetwork, build_network

# What is not named here is tested in its default form, and on the default grid.
SMALL = {
    "densenet": {"depth": 121},
    "alexnet": {"cells": 1, "hidden": 64},
    "vit": {"hidden": 24, "layers": 2, "heads": 2},
    "swin": {"features": 12},
    "change-aware": {"widths": [4, 8, 8], "findings": 4},
    "change-aware-timeline": {"widths": [4, 8, 8], "findings": 4},
}
SHAPES = {"densenet": (32, 34, 33), "swin": (12, 14, 13)}
SHAPE = (17, 19, 18)
VOXEL_MM = 5.0
FACTS = {"age": True, "interval": True}  # age, whether it is unknown, interval


@pytest.fixture(scope="session")
def make_recipe() -> Callable[..., Recipe]:
    """A recipe of two sequences with the small form of a network; ``settings`` are laid over."""

    def make(name: str, facts: bool = False, shape=None, voxel_mm=VOXEL_MM, **settings) -> Recipe:
        network = {"name": name, **SMALL.get(name, {}), **settings.pop("network", {})}
        edges = [voxel_mm * size for size in shape or SHAPES.get(name, SHAPE)]
        content = {"name": "small", "description": "test", "sequences": ["CT1", "FLAIR"], "network": network}
        grid = {"voxel_mm": voxel_mm, "box_mm": edges}
        return parse_recipe({**content, "grid": grid, "clinical": FACTS if facts else {}, **settings}, "test")

    return make


@pytest.fixture(scope="session")
def make_network(make_recipe) -> Callable[..., PairNetwork]:
    """That recipe's network under a seed, in evaluation mode; made once per seed: nobody may change its weights."""
    made: dict[str, PairNetwork] = {}

    def make(name: str, facts: bool = False, seed: int = 0, **settings) -> PairNetwork:
        key = repr((name, facts, seed, settings))
        if key not in made:
            torch.manual_seed(seed)
            made[key] = build_network(make_recipe(name, facts, **settings))
        return made[key].eval()

    return make


@pytest.fixture(scope="session")
def make_batch(make_recipe) -> Callable[..., tuple[torch.Tensor, torch.Tensor | None]]:
    """Random pairs on the network's grid, and facts if asked for."""

    def make(name: str, size: int, facts: bool = False) -> tuple[torch.Tensor, torch.Tensor | None]:
        generator = torch.Generator().manual_seed(1)
        pairs = torch.randn(size, 2, 2, *make_recipe(name).grid.shape, generator=generator)
        return pairs, torch.randn(size, 3, generator=generator) if facts else None

    return make


def pytest_configure() -> None:
    assert SMALL.keys() | SHAPES.keys() <= NETWORKS.keys()
