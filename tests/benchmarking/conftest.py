"""A cohort of ten synthetic patients, and a folder of recipes that train in a second."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml

from ranoscope.benchmarking.grid import run_benchmark
from ranoscope.benchmarking.request import Request
from ranoscope.cohort.files import write_cohort
from ranoscope.cohort.pairing import build_cohort
from ranoscope.config import CohortSettings

BASE = {
    "description": "as small as a recipe can be",
    "sequences": ["CT1", "FLAIR"],
    "grid": {"voxel_mm": 6.0},
    "network": {"name": "change-aware", "widths": [4, 8], "findings": 4},
    "training": {"epochs": 2, "batch_size": 8, "accelerator": "cpu", "learning_rate": 0.02},
    "folds": {"count": 2},
    "evaluation": {"bootstrap": 200},
}
ARMS = {
    "1-first/plain": {},
    "1-first/weighted": {"training": {"imbalance": "sampler"}},
    "2-second/same": {},
    "2-second/published": {"folds": {"protocol": "as-published"}},
    "2-second/binary": {"target": "pd-versus-rest"},
    "2-second/no-file": {
        "network": {"name": "resnet"},
        "pretraining": {"name": "medicalnet", "weights": "nowhere.pth"},
    },
    "2-second/diverges": {"training": {"learning_rate": 1e30, "epochs": 3}},
}


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Bit-identical results are promised for equal numbers of threads; children inherit the variable."""
    before, torch_before = os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(torch_before)
    if before is None:
        del os.environ["OMP_NUM_THREADS"]
    else:
        os.environ["OMP_NUM_THREADS"] = before


def write_recipes(folder: Path, arms: dict[str, dict]) -> Path:
    """A folder with base.yaml and an arm per entry."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "base.yaml").write_text(yaml.safe_dump(BASE))
    for name, delta in arms.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump({"extends": "../base.yaml", "description": name, **delta}))
    return folder


@pytest.fixture(scope="session")
def cohort(phantom_folder, tmp_path_factory) -> Path:
    """Its cohort; the aligned studies are added by whoever comes first."""
    run = tmp_path_factory.mktemp("benchmarked") / "cohort"
    write_cohort(run, build_cohort(phantom_folder, CohortSettings()), CohortSettings())
    return run


@pytest.fixture
def recipes(tmp_path) -> Callable[[dict[str, dict]], Path]:
    """Writes a folder of recipes."""
    numbers = itertools.count()
    return lambda arms: write_recipes(tmp_path / f"recipes{next(numbers)}", arms)


@pytest.fixture(scope="session")
def finished(cohort, tmp_path_factory) -> tuple[Path, dict, list]:
    """A grid of seven arms run once: its folder, what it returned, and what its progress was told. Read only."""
    home = tmp_path_factory.mktemp("grid")
    told: list[tuple[int, int, str]] = []
    request = Request(str(write_recipes(home / "recipes", ARMS)), cohort, home / "out", seeds=1)
    content = run_benchmark(request, lambda *step: told.append(step))
    return home / "out", content, told
