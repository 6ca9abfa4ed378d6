"""A LUMIERE of eight patients on a 6 mm atlas grid, its cohort, and a recipe that trains in a second."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from ranoscope.cohort.files import write_cohort
from ranoscope.cohort.pairing import build_cohort
from ranoscope.config import CohortSettings, Recipe, parse_recipe
from ranoscope.learning.crossval import cross_validate

RATINGS_HEADER = "Patient,Date,LessThan3Months,NonMeasurableLesions,Rating (according to RANO),Rating rationale (CRET)"
COMPLETENESS_HEADER = (
    "Patient,Timepoint,CT1,T1,T2,FLAIR,DeepBraTumIA,HD-GLIO-AUTO,DeepBraTumIA-CoLlAGe,HD-GLIO-AUTO-CoLlAGe"
)
WEEKS = ("week-020", "week-032", "week-044")
RATINGS = ("PD", "SD", "PR", "CR")
SHAPE = (31, 37, 31)
AFFINE = np.array([[-6.0, 0, 0, 90], [0, 6, 0, -126], [0, 0, 6, -72], [0, 0, 0, 1]])
ATLAS = "DeepBraTumIA-segmentation/atlas"


def _nifti(data: np.ndarray) -> bytes:
    return gzip.compress(nib.Nifti1Image(data, AFFINE).to_bytes(), 1)


def write_visit(folder: Path, generator: np.random.Generator, tumour_edge: int) -> None:
    """The atlas files of one visit: a box of a brain with a bright cube in it."""
    brain = np.zeros(SHAPE, np.uint8)
    brain[5:26, 6:31, 5:27] = 1
    labels = np.zeros(SHAPE, np.uint8)
    labels[9 : 9 + tumour_edge, 12 : 12 + tumour_edge, 12 : 12 + tumour_edge] = 1
    files = {"skull_strip/brain_mask.nii.gz": _nifti(brain), "segmentation/seg_mask.nii.gz": _nifti(labels)}
    for name in ("ct1", "t1", "t2", "flair"):
        image = (generator.normal(300, 40, SHAPE) + 200.0 * labels) * brain
        files[f"skull_strip/{name}_skull_strip.nii.gz"] = _nifti(image.astype(np.float32))
    measured = {"Enhancing_Core": labels.sum() * 216.0, "Necrotic_NonEnhancing": 0.0, "Edema_Compartment": 0.0}
    files["segmentation/measured_volumes_in_mm3.json"] = json.dumps(measured).encode()
    for name, payload in files.items():
        (folder / ATLAS / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / ATLAS / name).write_bytes(payload)


def write_tables(root: Path, ratings: dict[tuple[str, str], str]) -> None:
    lines = [RATINGS_HEADER, *(f"{patient},{week},,,{rating},None" for (patient, week), rating in ratings.items())]
    (root / "LUMIERE-ExpertRating-v202211.csv").write_text("\n".join(lines) + "\n")
    lines = [COMPLETENESS_HEADER, *(f"{patient},{week},x,x,x,x,x,,," for patient, week in ratings)]
    (root / "LUMIERE-datacompleteness.csv").write_text("\n".join(lines) + "\n")


def _make_cohort(lumiere: Path, run: Path) -> None:
    settings = CohortSettings()
    write_cohort(run, build_cohort(lumiere, settings), settings)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Bit-identical results are promised for equal numbers of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies this small are aligned sooner than worker processes start."""
    monkeypatch.setattr("joblib.cpu_count", lambda: 1)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``LUMIERE`` and its cohort in ``run``: two cases of each of eight patients."""
    home = tmp_path_factory.mktemp("original")
    generator = np.random.default_rng(0)
    ratings = {}
    for number in range(8):
        patient = f"Patient-{number + 1:03d}"
        for place, week in enumerate(WEEKS):
            ratings[patient, week] = RATINGS[(number + place) % 4]
            write_visit(home / "LUMIERE/Imaging" / patient / week, generator, 2 + (number + place) % 3)
    write_tables(home / "LUMIERE", ratings)
    _make_cohort(home / "LUMIERE", home / "run")
    return home


@pytest.fixture
def home(original: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(original, tmp_path / "home"))


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Recipe]:
    """The recipe; keywords replace settings of ``training``."""

    def make(**training: object) -> Recipe:
        content = {
            "name": "tiny",
            "description": "as small as a recipe can be",
            "sequences": ["CT1", "FLAIR"],
            "grid": {"voxel_mm": 6.0, "box_mm": [132, 156, 132], "centre_mm": [0, -17, 8]},
            "augmentation": {"shift_mm": 6, "gamma": [0.9, 1.1], "noise": 0.1},
            "network": {"name": "change-aware", "widths": [4, 8], "dropout": 0.3},
            "training": {"epochs": 3, "batch_size": 4, "accelerator": "cpu", "precision": "32-true",
                         "weight_averaging": 0.5, **training},
            "folds": {"count": 2},
        }  # fmt: skip
        return parse_recipe(content, "tests")

    return make


@pytest.fixture(scope="session")
def trained(original: Path, tiny: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``original``, cross-validated without interruption; not to be changed."""
    home = Path(shutil.copytree(original, tmp_path_factory.mktemp("trained") / "home"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("joblib.cpu_count", lambda: 1)
        cross_validate(tiny(), home / "run", home / "run", lambda *_: None)
    return home


class PulledPlugError(Exception):
    """Ends a training in the middle."""


@pytest.fixture(scope="session")
def train_with_a_break() -> Callable[[Recipe, Path], None]:
    """Cross-validates in a run folder that holds its cohort, cut off after the first epoch and then resumed."""

    def stop(done: int, total: int, what: str) -> None:
        if "epoch 1:" in what:
            raise PulledPlugError

    def train(recipe: Recipe, run: Path) -> None:
        with pytest.raises(PulledPlugError):
            cross_validate(recipe, run, run, stop)
        cross_validate(recipe, run, run, lambda *_: None)

    return train


@pytest.fixture(scope="session")
def nifti() -> Callable[[np.ndarray], bytes]:
    """Bytes of a compressed image on the 6 mm atlas grid's affine."""
    return _nifti


@pytest.fixture(scope="session", name="write_visit")
def _write_visit() -> Callable[[Path, np.random.Generator, int], None]:
    """Writes the atlas files of one more visit."""
    return write_visit


@pytest.fixture(scope="session")
def make_cohort() -> Callable[[Path, Path], None]:
    """Writes the cohort of a LUMIERE folder into a run folder."""
    return _make_cohort
