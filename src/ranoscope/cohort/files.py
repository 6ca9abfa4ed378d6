"""The cohort's files in a run folder, written and read back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ranoscope import provenance, runs
from ranoscope.cohort.archive import ImagingArchive, open_archive
from ranoscope.cohort.flow import render_flow
from ranoscope.cohort.pairing import COHORT_COLUMNS, PATIENT_COLUMNS, STUDY_COLUMNS, Cohort
from ranoscope.config import CohortSettings
from ranoscope.domain import Case, Rating, Response, Visit, VisitState
from ranoscope.errors import RunError, TableError, problem

PATIENTS = "patients.csv"
SOURCE = "source.json"

__all__ = [
    "open_run_images", "read_cases", "read_flow", "read_is_synthetic", "read_patients", "read_studies", "render_flow",
    "write_cohort",
]  # fmt: skip

_COMMAND = "ranoscope cohort"


def write_cohort(run: Path, cohort: Cohort, settings: CohortSettings, inputs: Mapping[str, str] | None = None) -> None:
    """Write the cohort's files with settings and provenance; cohort.csv comes last, so it stands for a whole set.

    Args:
        run: the run folder, made if need be.
        cohort: what ``build_cohort`` returned.
        settings: the settings it was built with.
        inputs: name → hash of further inputs for the provenance, besides the tables'.

    Raises:
        StorageError: the disk is full or not writable.
    """
    images = None
    if cohort.images is not None:
        images = Path(os.path.relpath(cohort.images.resolve(), run.resolve())).as_posix()
    runs.write_json(run / SOURCE, {"images": images, "synthetic": cohort.synthetic})
    runs.write_csv(run / runs.STUDIES, cohort.studies)
    runs.write_csv(run / PATIENTS, cohort.patients)
    runs.write_json(run / runs.FLOW, cohort.flow)
    provenance.record(run, "cohort", settings.model_dump(mode="json"), {**cohort.inputs, **(inputs or {})})
    runs.write_csv(run / runs.COHORT, cohort.table)


def read_cases(run: Path) -> list[Case]:
    """The kept rows of cohort.csv as cases, in the file's order.

    Raises:
        RunError: there is no cohort yet.
        TableError: a column is missing or a kept row is no valid case (patient and visit named).
    """
    table = runs.read_csv(run / runs.COHORT, _COMMAND, COHORT_COLUMNS)
    kept = table[table["excluded_because"] == ""]
    return [_case({str(name): str(cell) for name, cell in row.items()}) for row in kept.to_dict("records")]


def read_studies(run: Path) -> pd.DataFrame:
    """studies.csv, weeks as integers and volumes as numbers (NaN where unknown).

    Raises:
        RunError: there is no cohort yet.
    """
    table = runs.read_csv(run / runs.STUDIES, _COMMAND, STUDY_COLUMNS)
    numbers = ["week", *(name for name in STUDY_COLUMNS if name.endswith("_mm3"))]
    return table.assign(**{name: pd.to_numeric(table[name]) for name in numbers})


def read_patients(run: Path) -> pd.DataFrame:
    """patients.csv, survival and age as numbers (NaN where unknown), the rest as words or ``unknown``.

    Raises:
        RunError: there is no cohort yet.
    """
    table = runs.read_csv(run / PATIENTS, _COMMAND, PATIENT_COLUMNS)
    return table.assign(**{name: pd.to_numeric(table[name]) for name in ("survival_weeks", "age_years")})


def read_flow(run: Path) -> dict[str, Any]:
    """flow.json.

    Raises:
        RunError: there is no cohort yet.
    """
    flow: dict[str, Any] = runs.read_json(run / runs.FLOW, _COMMAND)
    return flow


def read_is_synthetic(run: Path) -> bool:
    """Whether the run's cohort is a phantom, so that no figure made from it speaks of patients.

    Raises:
        RunError: there is no cohort yet.
    """
    return bool(runs.read_json(run / SOURCE, _COMMAND).get("synthetic"))


def open_run_images(run: Path, images: Path | None = None) -> ImagingArchive:
    """Open the images a run's cohort was made from.

    Args:
        run: the run folder.
        images: where they are now, when they have moved: the LUMIERE folder, ``Imaging`` or the zip.

    Raises:
        RunError: no cohort yet, a cohort of tables alone, or the images are no longer where they were.
        ImageError: the zip cannot be opened.
    """
    if images is None:
        known = runs.read_json(run / SOURCE, _COMMAND).get("images")
        if known is None:
            do = f"run `{_COMMAND}` on a LUMIERE folder that holds Imaging/ or its zip"
            raise RunError(problem("a cohort with images", "one made from tables alone", str(run), do))
        images = run / known
    archive = open_archive(images.resolve()) if images.exists() else None
    if archive is None:
        raise RunError(problem("LUMIERE's images", "none", str(images), "give --images with the folder's new place"))
    return archive


def _case(row: dict[str, str]) -> Case:
    prior, current = Visit.parse(row["prior"]), Visit.parse(row["current"])
    try:
        if prior is None or current is None:
            raise ValueError("a visit that is no week-NNN or week-NNN-S")
        return Case(
            patient=row["patient"],
            prior=prior,
            current=current,
            response=Response(row["response"]),
            weeks_between=int(row["weeks_between"]),
            prior_rating=_rating(row["prior_rating"]),
            first_progression={"true": True, "false": False}[row["first_progression"]],
        )
    except (ValueError, KeyError) as error:
        where = f"{runs.COHORT}, {row['patient']}/{row['current']}"
        raise TableError(problem("a valid case", str(error), where, f"run `{_COMMAND}` again")) from error


def _rating(text: str) -> Rating:
    return Response(text) if text in set(Response) else VisitState(text)
