"""A store of synthetic patients at 6 mm, and a study made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ranoscope.cohort.files import read_cases, write_cohort
from ranoscope.cohort.pairing import build_cohort
from ranoscope.config import CohortSettings, Recipe, parse_recipe
from ranoscope.domain import SEQUENCES, Sequence, StudyKey, Tissue, Visit
from ranoscope.imaging.store import AlignedStudy, StudyStore
from ranoscope.learning.pretraining.change.fields import draw_field
from ranoscope.learning.pretraining.change.lesions import Shape
from ranoscope.learning.pretraining.pretext import studies_of
from ranoscope.learning.studies import prepare_store

GRID = {"voxel_mm": 6.0, "box_mm": [150, 186, 150], "centre_mm": [0, -17, 8]}


@pytest.fixture(scope="session")
def recipe_of() -> Callable[..., Recipe]:
    """A recipe of two epochs of synthetic change; keywords replace settings, those of ``task`` the pretraining's."""

    def make(task: dict[str, object] | None = None, **settings: object) -> Recipe:
        content = {
            "name": "taught",
            "description": "test",
            "sequences": ["CT1", "FLAIR"],
            "grid": GRID,
            "network": {"name": "change-aware", "widths": [4, 8], "dropout": 0.2},
            "pretraining": {"name": "change", "epochs": 2, "pairs_per_epoch": 12, "batch_size": 4, **(task or {})},
            "training": {"epochs": 1, "batch_size": 4, "accelerator": "cpu", "precision": "32-true"},
            "folds": {"count": 2},
        }
        return parse_recipe({**content, **settings}, "tests")

    return make


@pytest.fixture(scope="session")
def run(phantom_folder: Path, recipe_of: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the cohort of ten synthetic patients, their studies in its store; whoever changes it copies it."""
    folder = tmp_path_factory.mktemp("taught") / "run"
    write_cohort(folder, build_cohort(phantom_folder, CohortSettings()), CohortSettings())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("joblib.cpu_count", lambda: 1)
        prepare_store(recipe_of(), folder, read_cases(folder), lambda *_: None)
    return folder


@pytest.fixture(scope="session")
def store(run: Path, recipe_of: Callable[..., Recipe]) -> StudyStore:
    """Of ``run``."""
    return StudyStore(run / "store", recipe_of().grid)


@pytest.fixture(scope="session")
def keys(run: Path) -> list[StudyKey]:
    """The studies in ``store``."""
    return studies_of(read_cases(run))


@pytest.fixture
def study() -> AlignedStudy:
    """A box of a brain at 4 mm, another intensity in every voxel, a tumour with rim and necrosis on its right side."""
    shape = (30, 34, 28)
    brain = np.zeros(shape, bool)
    brain[2:28, 3:31, 2:26] = True
    generator = np.random.default_rng(0)
    volumes = (generator.normal(0, 1, (4, *shape)) * brain).astype(np.float16)
    tumour = np.zeros(shape, np.uint8)
    tumour[18:25, 12:19, 10:17] = Tissue.ENHANCING
    tumour[20:23, 14:17, 12:15] = Tissue.NECROSIS_NONENHANCING
    volumes[list(SEQUENCES).index(Sequence.CT1)][tumour == Tissue.ENHANCING] = 6
    box = (slice(2, 28), slice(3, 31), slice(2, 26))
    key = StudyKey("Patient-001", Visit(4))
    return AlignedStudy(key, SEQUENCES, volumes, brain, tumour, np.diag([4.0, 4, 4, 1]), box)


@pytest.fixture(scope="session")
def shape_at() -> Callable[..., Shape]:
    """An irregular shape about a voxel."""

    def make(centre: tuple[int, int, int], seed: int = 0) -> Shape:
        generator = np.random.default_rng(seed)
        fields = [draw_field(generator, 10.0) for _ in range(2)]
        return Shape(centre, (0.0, 0.0, 0.0), (1.1, 0.9, 1 / 0.99), 0.25, *fields, change=0.4)

    return make
