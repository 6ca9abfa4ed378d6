"""A made-up patient who goes the way of the real ones: from files to the store, and from there to training samples.

The store's preparation, augmentation and the making of synthetic pairs take the time here that they take with LUMIERE's
files, whose size the made-up ones have; and a batch of their samples has the shapes of every batch of the recipe.
"""

from __future__ import annotations

import gzip
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ranoscope.cohort.earlier import EarlierStudy
from ranoscope.config import ChangePretraining, NoPretraining, Recipe, RotationPretraining, TimelineSettings
from ranoscope.domain import SEQUENCES, Case, Response, Sequence, StudyKey, Tissue, Visit
from ranoscope.errors import ImageError
from ranoscope.imaging.store import SourceFile, StudySource, StudyStore, build_store, settings_key
from ranoscope.learning.data import CaseDataset, Material, SampleDataset
from ranoscope.learning.facts import FactScale
from ranoscope.learning.history import collate
from ranoscope.learning.pretraining.change.pairs import ChangePairs
from ranoscope.learning.pretraining.pretext import pretext_recipe
from ranoscope.learning.pretraining.rotations import TurnedVolumes

# LUMIERE's atlas grid: voxels of 1 mm, the same in every visit.
_SHAPE = (182, 218, 182)
_BRAIN_RADII_MM, _TUMOUR_RADIUS_MM = (66.0, 84.0, 70.0), 15.0
_PATIENT = "Patient-000"
_REPEATS = 3


@dataclass(frozen=True)
class Sampled:
    """A batch as the loader makes it (nested tensors), and the processor's seconds for one sample."""

    batch: Any
    seconds: float


class Rehearsal:
    """Stores of the made-up patient, one per grid; a context, after which nothing is left of them."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._study_seconds: dict[str, float] = {}

    def __enter__(self) -> Rehearsal:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def study_seconds(self, recipe: Recipe) -> float:
        """Seconds of one core to read a study and bring it to the recipe's grid.

        Raises:
            ImageError: the brain lies outside the grid.
        """
        key = settings_key(recipe.grid)
        if key not in self._study_seconds:
            began = time.process_time()
            failures = build_store(Path(self._folder.name), [self._source], recipe.grid, lambda *_: None)
            if failures:
                raise ImageError("\n".join(failures.values()))
            self._study_seconds[key] = time.process_time() - began
        return self._study_seconds[key]

    def training(self, recipe: Recipe) -> Sampled:
        """A batch of the recipe's training samples."""
        cases = [_case(place) for place in range(recipe.training.batch_size)]
        rows = [{"patient": _PATIENT, "sex": "unknown", "idh": "unknown", "mgmt": "unknown", "age_years": 60.0}]
        patients = pd.DataFrame(rows)
        earlier = {case.current_study: _earlier(recipe, case) for case in cases}
        material = Material(self._store(recipe, cases), patients, earlier)
        scale = FactScale.fit(cases, patients, recipe)
        return _sample(CaseDataset(material, cases, recipe, scale, seed=0), recipe.training.batch_size)

    def pretraining(self, recipe: Recipe) -> Sampled | None:
        """A batch of its pretraining's samples; None where it learns nothing before."""
        settings = recipe.pretraining
        if isinstance(settings, NoPretraining) or getattr(settings, "weights", None) is not None:
            return None
        cases = [_case(0)]
        store, plain = self._store(recipe, cases), pretext_recipe(recipe, settings)  # type: ignore[arg-type]
        if isinstance(settings, RotationPretraining):
            return _sample(TurnedVolumes(store, cases, plain, seed=0), settings.batch_size)
        assert isinstance(settings, ChangePretraining)
        auxiliary = recipe.training.auxiliary
        plain = pretext_recipe(recipe, settings, auxiliary=auxiliary)
        pairs = ChangePairs(store, [cases[0].prior_study], plain, settings.batch_size, seed=0)
        return _sample(pairs, settings.batch_size)

    def _store(self, recipe: Recipe, cases: list[Case]) -> StudyStore:
        """The recipe's store; every visit of the cases is the one study that was made."""
        self.study_seconds(recipe)
        store = StudyStore(Path(self._folder.name), recipe.grid)
        made = store.folder / _PATIENT / str(_source_key().visit)
        for case in cases:
            for key in (case.prior_study, case.current_study, *(one.key for one in _earlier(recipe, case))):
                if key not in store:
                    (store.folder / _PATIENT / str(key.visit)).symlink_to(made, target_is_directory=True)
        return store

    @cached_property
    def _source(self) -> StudySource:
        return make_source(_source_key())


def _source_key() -> StudyKey:
    return StudyKey(_PATIENT, Visit(0))


def _case(place: int) -> Case:
    current = Visit(1000 - place)
    return Case(_PATIENT, Visit(10), current, Response.SD, current.week - 10, Response.SD, False)


def _earlier(recipe: Recipe, case: Case) -> tuple[EarlierStudy, ...]:
    """The earlier studies that a timeline network is shown: as many as in training at most, the prior last."""
    if not isinstance(recipe.network, TimelineSettings):
        return ()
    visits = [*(Visit(week) for week in range(recipe.network.earlier - 1)), case.prior]
    return tuple(
        EarlierStudy(StudyKey(_PATIENT, visit), case.current.week - visit.week, visit == case.prior, place == 0, False)
        for place, visit in enumerate(visits)
    )


def _sample(dataset: SampleDataset, size: int) -> Sampled:
    """A batch, and the seconds of the quickest sample."""
    taken, first = [], dataset[0]
    for _ in range(_REPEATS):
        dataset.epoch.add_(1)
        began = time.process_time()
        dataset[0]
        taken.append(time.process_time() - began)
    return Sampled(collate([first] * size), min(taken))


def make_source(key: StudyKey, sequences: tuple[Sequence, ...] = SEQUENCES) -> StudySource:
    """A made-up study's files in LUMIERE's atlas space: an ellipsoid of a brain, a ball of enhancing tumour."""
    axes: list[NDArray[np.float64]] = [np.arange(size, dtype=np.float64) - (size - 1) / 2 for size in _SHAPE]
    brain = _ellipsoid(axes, _BRAIN_RADII_MM)
    tumour = _ellipsoid(axes, (_TUMOUR_RADIUS_MM,) * 3)
    image = np.zeros(_SHAPE, np.float32)
    image[brain] = np.random.default_rng(0).normal(600, 100, int(brain.sum()))
    volume = float(tumour.sum())
    measured = {"Enhancing_Core": volume, "Necrotic_NonEnhancing": 0.0, "Edema_Compartment": 0.0}
    files = {"image": _nifti(image), "brain": _nifti(brain.astype(np.uint8))}
    files["tumour"] = _nifti((tumour * Tissue.ENHANCING).astype(np.uint8))
    files["measured"] = json.dumps(measured).encode()
    parts = {name: SourceFile(name, name, _giving(content)) for name, content in files.items()}
    volumes = dict.fromkeys(sequences, parts["image"])
    return StudySource(key, volumes, parts["brain"], parts["tumour"], parts["measured"])


def _ellipsoid(axes: list[NDArray[np.float64]], radii: tuple[float, ...]) -> NDArray[np.bool_]:
    i, j, k = ((axis / radius) ** 2 for axis, radius in zip(axes, radii, strict=True))
    return np.asarray(i[:, None, None] + j[None, :, None] + k[None, None, :] < 1)


def _nifti(data: NDArray[Any]) -> bytes:
    """Gzipped, as float32 images or uint8 masks; centred where MNI152's brain is."""
    affine = np.eye(4)
    affine[:3, 3] = np.array([0.0, -17.0, 8.0]) - (np.asarray(_SHAPE) - 1) / 2
    return gzip.compress(nib.Nifti1Image(data, affine).to_bytes(), 1)


def _giving(content: bytes) -> Callable[[], bytes]:
    return partial(bytes, content)
