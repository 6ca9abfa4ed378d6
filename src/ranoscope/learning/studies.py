"""The aligned studies of a run: built from the cohort's images, and opened again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import joblib

from ranoscope import runs
from ranoscope.cohort import layout
from ranoscope.cohort.archive import ImagingArchive
from ranoscope.cohort.files import SOURCE, open_run_images
from ranoscope.config import Recipe
from ranoscope.domain import Case, Sequence, StudyKey
from ranoscope.errors import ImageError, RunError, problem
from ranoscope.imaging.store import StudySource, StudyStore, build_store
from ranoscope.learning.data import study_source

STORE = "store"
_COMMAND = "ranoscope crossval"
Progress = Callable[[int, int, str], None]


def prepare_store(
    recipe: Recipe, cohort_run: Path, cases: list[Case], progress: Progress, images: Path | None = None
) -> StudyStore:
    """Bring every study of the cases into the cohort's store and open it.

    Raises:
        ImageError: with one line per study that could not be read; all others are in the store.
    """
    archive = open_run_images(cohort_run, images)
    keys = sorted({key for case in cases for key in (case.prior_study, case.current_study)})
    sources, failures = _find_files(archive, keys, recipe.sequences)
    workers = min(joblib.cpu_count(), 8)
    failures |= build_store(cohort_run / STORE, sources, recipe.grid, progress, workers)
    if failures:
        raise ImageError("\n".join(failures[key] for key in sorted(failures)))
    return StudyStore(cohort_run / STORE, recipe.grid)


def open_run_store(run: Path, recipe: Recipe) -> StudyStore:
    """The store a trained run read its studies from.

    Raises:
        RunError: the run names no store, or it has gone.
    """
    place = runs.read_json(run / SOURCE, _COMMAND).get("store")
    store = StudyStore(run / str(place), recipe.grid)
    if place is None or not store.folder.is_dir():
        raise RunError(problem("the store of aligned studies", "none", str(run), "run `ranoscope crossval` again"))
    return store


def _find_files(
    archive: ImagingArchive, keys: list[StudyKey], sequences: tuple[Sequence, ...]
) -> tuple[list[StudySource], dict[StudyKey, str]]:
    """The studies' files, and a message for each study that lacks one."""
    sources: list[StudySource] = []
    failures: dict[StudyKey, str] = {}
    for key in keys:
        try:
            source = study_source(archive, key)
        except ImageError as error:
            failures[key] = str(error)
            continue
        missing = [layout.atlas_file(sequence) for sequence in sequences if sequence not in source.volumes]
        if missing:
            do = "restore it from the download, or leave the sequence out of the recipe"
            failures[key] = problem(f"the file {', '.join(missing)}", "none", str(key), do)
        else:
            sources.append(source)
    return sources, failures
