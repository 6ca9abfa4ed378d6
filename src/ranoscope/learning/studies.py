"""The aligned studies of a run: built from the cohort's images, and opened again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import joblib

from ranoscope import runs
from ranoscope.cohort import layout
from ranoscope.cohort.archive import ImagingArchive
from ranoscope.cohort.earlier import Earlier, Operations, earlier_studies, read_operations
from ranoscope.cohort.files import SOURCE, open_run_images, read_studies
from ranoscope.config import MissingSequences, Recipe, TimelineSettings
from ranoscope.domain import Case, Sequence, StudyKey
from ranoscope.errors import ImageError, RunError, problem
from ranoscope.imaging.store import StudySource, StudyStore, build_store
from ranoscope.learning.data import study_source

STORE = "store"
_COMMAND = "ranoscope crossval"
Progress = Callable[[int, int, str], None]


def find_earlier(recipe: Recipe, cohort_run: Path, cases: list[Case], images: Path | None = None) -> Earlier:
    """All earlier studies of each case that have the recipe's sequences; none where the network sees pairs.

    Raises:
        RunError: the images are no longer where they were.
    """
    if not isinstance(recipe.network, TimelineSettings):
        return {}
    archive = open_run_images(cohort_run, images)
    wanted = {layout.atlas_file(sequence) for sequence in recipe.sequences}
    wanted |= {layout.ATLAS_BRAIN_MASK, layout.ATLAS_MASK, layout.VOLUMES_JSON}
    usable: dict[str, list[StudyKey]] = {}
    for key in archive.studies():
        if wanted <= archive.names(key):
            usable.setdefault(key.patient, []).append(key)
    operations = read_operations(read_studies(cohort_run))
    return {
        case.current_study: earlier_studies(
            case, usable.get(case.patient, []), operations.get(case.patient, Operations())
        )
        for case in cases
    }


def prepare_store(
    recipe: Recipe,
    cohort_run: Path,
    cases: list[Case],
    progress: Progress,
    images: Path | None = None,
    earlier: Earlier | None = None,
) -> StudyStore:
    """Bring every study of the cases, and every one of those ``earlier`` ones, into the cohort's store and open it.

    Raises:
        ImageError: with one line per study that could not be read, or that lacks a sequence which the recipe does not
            fill with zeros; all others are in the store.
    """
    archive = open_run_images(cohort_run, images)
    keys = {key for case in cases for key in (case.prior_study, case.current_study)}
    keys |= {one.key for several in (earlier or {}).values() for one in several}
    sources, failures = _find_files(archive, sorted(keys), recipe)
    failures |= build_store(cohort_run / STORE, sources, recipe.grid, progress, _workers())
    if failures:
        raise ImageError("\n".join(failures[key] for key in sorted(failures)))
    return StudyStore(cohort_run / STORE, recipe.grid)


def prepare_all_studies(
    recipe: Recipe, cohort_run: Path, progress: Progress, images: Path | None = None
) -> tuple[StudyStore, list[StudyKey], dict[StudyKey, str]]:
    """Bring every study among the cohort's images, rated or not, into its store and open it.

    Returns:
        The store, the studies that are in it, and a message for each that is not: it could not be read, or lacks a
        sequence which the recipe does not fill with zeros.

    Raises:
        RunError: there is no such study, or the images are no longer where they were.
    """
    archive = open_run_images(cohort_run, images)
    sources, failures = _find_files(archive, sorted(archive.studies()), recipe)
    failures |= build_store(cohort_run / STORE, sources, recipe.grid, progress, _workers())
    keys = [source.key for source in sources if source.key not in failures]
    if not keys:
        got = f"none ({len(failures)} left out)"
        raise RunError(
            problem("at least one study with the recipe's sequences", got, str(cohort_run), "read the tables")
        )
    return StudyStore(cohort_run / STORE, recipe.grid), keys, failures


def _workers() -> int:
    """Studies read side by side: each holds a whole study's volumes in memory."""
    return min(int(joblib.cpu_count()), 8)


def incomplete_cases(recipe: Recipe, cohort_run: Path, cases: list[Case], images: Path | None = None) -> list[Case]:
    """The cases one of whose studies lacks a sequence of the recipe in atlas space.

    Raises:
        RunError: the images are no longer where they were.
    """
    archive = open_run_images(cohort_run, images)
    wanted = {layout.atlas_file(sequence) for sequence in recipe.sequences}
    return [
        case for case in cases if any(wanted - archive.names(key) for key in (case.prior_study, case.current_study))
    ]


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
    archive: ImagingArchive, keys: list[StudyKey], recipe: Recipe
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
        missing = [sequence for sequence in recipe.sequences if sequence not in source.volumes]
        allowed = len(recipe.sequences) - 1 if recipe.missing_sequences is MissingSequences.ZERO_FILL else 0
        if len(missing) > allowed:
            failures[key] = _missing_message(key, missing)
        else:
            sources.append(source)
    return sources, failures


def _missing_message(key: StudyKey, missing: list[Sequence]) -> str:
    files = ", ".join(layout.atlas_file(sequence) for sequence in missing)
    do = "restore it from the download, leave the sequence out of the recipe, or set missing_sequences: exclude"
    return problem(f"the file {files}", "none", str(key), do)
