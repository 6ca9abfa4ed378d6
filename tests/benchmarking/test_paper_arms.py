"""Every arm of the paper's grid, small: one epoch, two folds, ten synthetic patients."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from ranoscope.benchmarking.grid import run_benchmark
from ranoscope.benchmarking.request import Request
from ranoscope.config import ResNetSettings, load_recipe, recipes_folder
from ranoscope.learning.networks import build_trunk
from ranoscope.learning.pretraining.organs import pretrain_organs

# The finest grid that costs seconds and still holds five halvings of a DenseNet. Arms that are about something else
# than the network have its quickest one.
BASE = {
    "description": "the paper's reference arm, as small as it can be",
    "sequences": ["T1", "T2", "FLAIR"],
    "grid": {"voxel_mm": 5.0},
    "network": {"name": "alexnet", "cells": 1, "hidden": 64},
    "training": {"epochs": 1, "batch_size": 8, "accelerator": "cpu", "learning_rate": 1e-3},
    "folds": {"count": 2},
    "evaluation": {"bootstrap": 100},
}
SMALL = {
    "3-networks/densenet121": {"name": "densenet", "depth": 121},
    "3-networks/densenet169": {"name": "densenet", "depth": 169},
    "3-networks/densenet264": {"name": "densenet", "depth": 264},
    "3-networks/alexnet": {"cells": 1, "hidden": 64},
    "3-networks/vit": {"hidden": 48, "layers": 2, "heads": 4},
    "3-networks/swin": {"features": 12},
}


@pytest.fixture(scope="module")
def recipes(tmp_path_factory) -> Path:
    """The published folder with a small base and small forms of its large networks; weight files beside it."""
    home = tmp_path_factory.mktemp("paper")
    folder = Path(shutil.copytree(recipes_folder() / "paper", home / "paper"))
    (folder / "base.yaml").write_text(yaml.safe_dump(BASE))
    for name, changes in SMALL.items():
        path = folder / f"{name}.yaml"
        content = yaml.safe_load(path.read_text())
        content["network"] = {**content.get("network", {}), **changes}
        path.write_text(yaml.safe_dump(content))
    _write_medicalnet(home / "medicalnet.pth")
    _write_organs(home, load_recipe(folder / "4-pretraining" / "none.yaml"))
    for name, file in (("medicalnet", "medicalnet.pth"), ("organmnist", "organs.safetensors")):
        path = folder / "4-pretraining" / f"{name}.yaml"
        content = yaml.safe_load(path.read_text())
        content["pretraining"]["weights"] = str(home / file)
        path.write_text(yaml.safe_dump(content))
    path = folder / "4-pretraining" / "rotations.yaml"
    content = yaml.safe_load(path.read_text())
    content["pretraining"]["epochs"] = 1
    path.write_text(yaml.safe_dump(content))
    return folder


def _write_medicalnet(path: Path) -> None:
    trunk = build_trunk(ResNetSettings(), 1, (32, 38, 32), 5.0)
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in trunk.state_dict().items()}}, path)


def _write_organs(home: Path, recipe) -> None:
    generator = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 22), ("val", 11), ("test", 11)):
        arrays[f"{part}_images"] = generator.integers(0, 255, (count, 28, 28, 28), dtype=np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) % 11).astype(np.uint8)[:, None]
    np.savez(home / "organmnist3d.npz", **arrays)
    pretrain_organs(recipe, home / "organmnist3d.npz", home / "organs.safetensors", lambda *_: None)


def test_every_arm_of_the_paper_is_trained_and_scored(recipes, cohort, tmp_path):
    run_benchmark(Request(str(recipes), cohort, tmp_path / "out", seeds=1, workers=2), lambda *_: None)
    cells = json.loads((tmp_path / "out" / "cells.json").read_text())
    assert cells, "no cell"
    content = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    shown = {arm["name"] for arm in content["arms"]}
    files = {path.relative_to(recipes).with_suffix("").as_posix() for path in recipes.glob("*/*.yaml")}
    assert shown == files
    assert not content["failures"], content["failures"]
    page = (tmp_path / "out" / "benchmark.html").read_text()
    assert "as published" in page.lower()
    assert "synthetic" in page.lower()
