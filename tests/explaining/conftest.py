"""A run that looks finished, made in a second: six patients, two folds, an untrained network per fold."""

from __future__ import annotations

import gzip
import json
import shutil
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from ranoscope import runs
from ranoscope.cohort.files import PATIENTS, SOURCE
from ranoscope.cohort.folds import FOLD_COLUMNS, write_folds
from ranoscope.cohort.pairing import COHORT_COLUMNS, PATIENT_COLUMNS
from ranoscope.config import Recipe, parse_recipe
from ranoscope.domain import RESPONSES, SEQUENCES, StudyKey, Visit
from ranoscope.imaging.store import SourceFile, StudySource, build_store
from ranoscope.learning.checkpoints import FOLD, WEIGHTS, fold_folder, save_weights, training_fingerprint
from ranoscope.learning.networks import build_network

# L-A-S as LUMIERE's atlas volumes: voxel i = 0 is the patient's right.
LAS = np.array([[-6.0, 0, 0, 90], [0, 6, 0, -126], [0, 0, 6, -72], [0, 0, 0, 1]])
SHAPE = (31, 37, 31)
TUMOUR_WORLD = (-42.0, 24.0, 12.0)  # left, anterior

# patient, response, call, probability of the call, fold that held it out
CALLS = (
    ("Patient-001", "PD", "PD", 0.7, 0),
    ("Patient-002", "PD", "PD", 0.9, 1),
    ("Patient-003", "PD", "SD", 0.8, 0),
    ("Patient-004", "SD", "PD", 0.5, 1),
    ("Patient-005", "SD", "CR", 0.6, 0),
    ("Patient-006", "CR", "CR", 0.4, 1),
)
PRIOR, CURRENT = Visit(3), Visit(15)


def make_recipe(network: dict) -> Recipe:
    return parse_recipe(
        {
            "name": "tiny", "description": "test", "sequences": ["T1", "CT1"], "network": network,
            "grid": {"voxel_mm": 6.0, "box_mm": [162, 192, 162]}, "folds": {"count": 2, "seeds": [3]},
            "training": {"accelerator": "cpu"},
        },
        "test",
    )  # fmt: skip


def make_source(key: StudyKey, seed: int) -> StudySource:
    def file(name: str, data: np.ndarray) -> SourceFile:
        content = gzip.compress(nib.Nifti1Image(data, LAS).to_bytes(), 1)
        return SourceFile(f"{key}/{name}", name, partial(bytes, content))

    rng = np.random.default_rng(seed)
    brain = np.zeros(SHAPE, np.uint8)
    brain[6:25, 7:30, 5:26] = 1
    labels = np.zeros(SHAPE, np.uint8)
    i, j, k = (round(place) for place in (np.linalg.inv(LAS) @ (*TUMOUR_WORLD, 1))[:3])
    labels[i, j, k] = 1
    labels[i, j + 1, k] = 3
    volumes = {s: file(s, (rng.gamma(4, 50, SHAPE) * brain).astype(np.float32)) for s in SEQUENCES}
    measured = {"Enhancing_Core": 216.0, "Necrotic_NonEnhancing": 0.0, "Edema_Compartment": 216.0}
    measured_file = SourceFile(f"{key}/json", "json", partial(bytes, json.dumps(measured).encode()))
    return StudySource(key, volumes, file("brain", brain), file("mask", labels), measured_file)


def write_tables(run: Path) -> None:
    cohort = [
        dict.fromkeys(COHORT_COLUMNS, "")
        | {
            "patient": patient, "prior": str(PRIOR), "current": str(CURRENT), "response": response,
            "weeks_between": "12", "prior_rating": "SD", "first_progression": "true",
        }
        for patient, response, *_ in CALLS
    ]  # fmt: skip
    runs.write_csv(run / runs.COHORT, pd.DataFrame(cohort, columns=list(COHORT_COLUMNS)))
    people = [dict.fromkeys(PATIENT_COLUMNS, "") | {"patient": patient, "sex": "female"} for patient, *_ in CALLS]
    runs.write_csv(run / PATIENTS, pd.DataFrame(people, columns=list(PATIENT_COLUMNS)))
    folds = [(3, patient, str(CURRENT), response, fold) for patient, response, _, _, fold in CALLS]
    write_folds(run, pd.DataFrame(folds, columns=list(FOLD_COLUMNS)))
    calls = []
    for patient, response, call, sure, fold in CALLS:
        chances = {f"p_{name}": sure if name == call else (1 - sure) / 3 for name in RESPONSES}
        calls.append((patient, PRIOR, CURRENT, response, fold, *(chances[f"p_{n}"] for n in ("CR", "PR", "SD", "PD"))))
        calls[-1] += (call, 3)
    other_seed = (*calls[0][:-2], "CR", 4)
    runs.write_csv(run / runs.CALLS, pd.DataFrame([*calls, other_seed], columns=[*runs.CALL_COLUMNS, "seed"]))


def train_fold(run: Path, recipe: Recipe, fold: int, seed: int, key: str) -> None:
    """Leave what a finished fold leaves, with weights drawn from ``seed``."""
    torch.manual_seed(seed)
    folder = fold_folder(run, 3, fold)
    save_weights(folder / WEIGHTS, build_network(recipe))
    about = {"key": key, "recipe": training_fingerprint(recipe), "recipe_name": recipe.name, "fact_scale": {}}
    runs.write_json(folder / FOLD, about)


def make_run(run: Path, network: dict) -> Path:
    recipe = make_recipe(network)
    sources = [
        make_source(StudyKey(patient, visit), 100 * index + visit.week)
        for index, (patient, *_) in enumerate(CALLS)
        for visit in (PRIOR, CURRENT)
    ]
    assert build_store(run / "store", sources, recipe.grid, lambda *_: None) == {}
    runs.write_json(run / SOURCE, {"images": None, "store": "store"})
    runs.write_yaml(run / runs.SETTINGS, {"crossval": recipe.model_dump(mode="json")})
    write_tables(run)
    for fold in (0, 1):
        train_fold(run, recipe, fold, seed=fold, key=f"key-{fold}")
    return run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("finished") / "run", {"name": "change-aware", "widths": [4, 8, 8]})


@pytest.fixture
def run(finished_run, tmp_path) -> Path:
    """A copy of the finished run that a test may change."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))
