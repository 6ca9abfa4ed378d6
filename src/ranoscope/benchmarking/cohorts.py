"""The cohort of a benchmark: one that was made before, or selected here from LUMIERE as published."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ranoscope import runs
from ranoscope.benchmarking.request import Request
from ranoscope.cohort.files import read_cases, write_cohort
from ranoscope.cohort.pairing import Cohort, build_cohort
from ranoscope.config import CohortSettings
from ranoscope.errors import RunError, problem

COHORT = "cohort"


def bring_cohort(request: Request) -> Path:
    """The folder of the cohort; where none is named, ``OUT/cohort``, selected as ``ranoscope cohort`` does.

    It is selected again by every call, which takes seconds, and written only where it is not there yet.

    Raises:
        RunError: neither cohort nor images are named, ``OUT/cohort`` is of other tables or images, or another process
            writes to ``OUT``.
        TableError: a table is missing or mistyped.
        ImageError: the zip cannot be opened.
        StorageError: the disk is full or not writable.
    """
    if request.cohort_run is not None:
        return request.cohort_run
    cohort, run = _select_cohort(request), request.out / COHORT
    with runs.exclusive(request.out):
        if not (run / runs.COHORT).is_file():
            write_cohort(run, cohort, CohortSettings())
        elif any((run / name).read_bytes() != today for name, today in _content(cohort).items()):
            expected, do = "the cohort of these tables and images", "choose another --out for another cohort"
            raise RunError(problem(expected, "another", str(run), do))
    return run


def size_cohort(request: Request) -> tuple[int, int]:
    """How many cases the benchmark is on, and how many studies they are of; nothing is written.

    Errors: ``bring_cohort``.
    """
    if request.cohort_run is not None:
        cases = read_cases(request.cohort_run)
        return len(cases), len({key for case in cases for key in (case.prior_study, case.current_study)})
    table = _select_cohort(request).table
    kept = table[table["excluded_because"] == ""]
    visits = {*zip(kept["patient"], kept["prior"], strict=True), *zip(kept["patient"], kept["current"], strict=True)}
    return len(kept), len(visits)


def _select_cohort(request: Request) -> Cohort:
    if request.images is None:
        do = "give --images with LUMIERE as published, or --cohort with what `ranoscope cohort` made of it"
        raise RunError(problem("a cohort, or images to select it from", "neither", "ranoscope benchmark", do))
    if not request.images.exists():
        raise RunError(problem("LUMIERE as published", "nothing", str(request.images), "give its folder or zip"))
    return build_cohort(request.images, CohortSettings())


def _content(cohort: Cohort) -> dict[str, bytes]:
    """The files that tell one cohort from another, as ``write_cohort`` writes them."""
    return {runs.COHORT: _bytes(cohort.table), runs.STUDIES: _bytes(cohort.studies)}


def _bytes(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()
