"""Every network in a small form, files of the published formats in miniature, and tasks learnt in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ranoscope.config import Recipe, parse_recipe

SMALL = {
    "densenet": {"depth": 121},
    "alexnet": {"cells": 1, "hidden": 16},
    "vit": {"hidden": 24, "layers": 1, "heads": 2},
    "swin": {"features": 12},
    "change-aware": {"widths": [4, 8]},
    "change-aware-timeline": {"widths": [4, 8]},
}
SHAPES = {"densenet": (32, 34, 33), "swin": (12, 14, 13)}
SHAPE = (17, 19, 18)


@pytest.fixture(scope="session")
def small() -> Callable[..., Recipe]:
    """A recipe of two sequences with a network's small form on its small grid; keywords replace settings."""

    def make(name: str, shape=None, **settings) -> Recipe:
        network = {"name": name, **SMALL.get(name, {}), **settings.pop("network", {})}
        grid = {"voxel_mm": 5.0, "box_mm": [5.0 * size for size in shape or SHAPES.get(name, SHAPE)]}
        training = {"epochs": 2, "batch_size": 8, "accelerator": "cpu", "precision": "32-true", "learning_rate": 0.01}
        training |= settings.pop("training", {})
        content = {"name": "small", "description": "test", "sequences": ["CT1", "FLAIR"], "network": network}
        return parse_recipe({**content, "grid": grid, "training": training, **settings}, "test")

    return make


@pytest.fixture(scope="session")
def medicalnet(tmp_path_factory) -> Path:
    """A file of MedicalNet's format: torch's old one, names and shapes of its 102 tensors; few bytes, as most are one
    number seen everywhere."""
    generator = torch.Generator().manual_seed(5)
    tensors: dict[str, torch.Tensor] = {"conv1.weight": torch.randn(64, 1, 7, 7, 7, generator=generator) / 20}

    def norm(name: str, width: int) -> None:
        tensors[f"{name}.weight"] = torch.full((1,), 0.9).expand(width)
        tensors[f"{name}.bias"] = torch.full((1,), 0.1).expand(width)
        tensors[f"{name}.running_mean"] = torch.zeros(1).expand(width)
        tensors[f"{name}.running_var"] = torch.ones(1).expand(width)
        tensors[f"{name}.num_batches_tracked"] = torch.tensor(7)

    norm("bn1", 64)
    before = 64
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            for half in (1, 2):
                value = torch.full((1,), 0.001 * stage)
                name = f"layer{stage}.{block}"
                tensors[f"{name}.conv{half}.weight"] = value.expand(width, before, 3, 3, 3)
                norm(f"{name}.bn{half}", width)
                before = width
    path = tmp_path_factory.mktemp("weights") / "resnet_18_23dataset.pth"
    content = {"state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()}, "epoch": 30}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


@pytest.fixture(scope="session")
def organs(tmp_path_factory) -> Path:
    """A file of OrganMNIST3D's format, a bright block in another place for each of its 11 classes."""
    generator = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 44), ("val", 22), ("test", 33)):
        labels = np.arange(count, dtype=np.uint8) % 11
        images = generator.integers(0, 90, (count, 28, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            i, j, k = np.unravel_index(int(label), (3, 2, 2))
            image[9 * i : 9 * i + 9, 14 * j : 14 * j + 14, 14 * k : 14 * k + 14] += 20 * np.uint8(label % 3 + 5)
        arrays |= {f"{split}_images": images, f"{split}_labels": labels[:, None]}
    path = tmp_path_factory.mktemp("data") / "organmnist3d.npz"
    np.savez_compressed(path, **arrays)
    return path
