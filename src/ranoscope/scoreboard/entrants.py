"""Tables and volumes → the cases everybody is examined on, and what each may know of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ranoscope import provenance
from ranoscope.cohort.files import read_cases, read_patients, read_studies, write_cohort
from ranoscope.cohort.lumiere import RatingRow, read_tables
from ranoscope.cohort.pairing import Cohort, build_cohort
from ranoscope.config import CohortSettings
from ranoscope.domain import RESPONSES, Case, StudyKey, Visit
from ranoscope.errors import RunError, problem
from ranoscope.scoreboard.courses import Course, enhancing_source, make_courses
from ranoscope.scoreboard.radiomics import read_download
from ranoscope.scoreboard.volumes import MeasuredVolumes, check_units, merge, read_volumes_table

NO_MEASURED_STUDY = "no-measured-study"
_MEANING = "no study of the patient has a measured volume"


@dataclass(frozen=True)
class Entry:
    """What the examination is made of.

    ``cases``: n cases. ``courses``: by patient. ``studies``: ``patient, visit, rating, enhancing_mm3`` of every study
    that is rated or measured, for the rivals. ``ratings``: the rating table's rows, of every patient of the courses.
    ``coverage``: how many of the cases' studies are measured. ``notes``: for the user.
    """

    cases: tuple[Case, ...]
    courses: dict[str, Course]
    studies: pd.DataFrame
    ratings: tuple[RatingRow, ...]
    coverage: dict[str, int]
    notes: list[str]


def gather(tables: Path, volumes: Path | None, run: Path, settings: CohortSettings) -> Entry:
    """Read everything, select the cases by the cohort's own rules and write the cohort's files to ``run``.

    Rows of a patient without any measured study are excluded under ``no-measured-study``. A case whose current or prior
    study alone is not measured stays: a model must live with that.

    Args:
        tables: folder with LUMIERE's rating and demographics tables, or a whole download.
        volumes: a table of volumes; may be None where the download holds volumes.
        run: the folder to write.
        settings: pair rule and filters.

    Raises:
        TableError: a table is missing or faulty (every offending line is listed).
        RunError: no volume at all, or no case is left.
    """
    cohort = build_cohort(tables, settings)
    measured = _read_volumes(volumes, tables, cohort.studies, tables)
    hashes = {} if volumes is None else {volumes.name: provenance.file_hash(volumes)}
    write_cohort(run, _without_unmeasured(cohort, measured), settings, hashes)
    cases = _read_own_cases(run)
    courses = make_courses(read_studies(run), read_patients(run), measured.volumes)
    ratings = tuple(row for row in read_tables(tables).ratings if row.patient in courses)
    notes = _notes(measured, cohort.studies)
    return Entry(cases, courses, _studies(courses), ratings, _coverage(cases, measured), notes)


def gather_run(run: Path, tables: Path | None, volumes: Path | None) -> Entry:
    """The entry of a run whose cohort is made already: every case of it stays, measured or not; ``ratings`` is empty.

    Args:
        run: folder with cohort.csv, studies.csv and patients.csv.
        tables: the download, or its tables, for its pyradiomics tables; the volumes of its JSON files are in
            studies.csv.
        volumes: a table of volumes; may be None where the run knows volumes.

    Raises:
        TableError: a table is missing or faulty (every offending line is listed).
        RunError: no cohort, no case, or no volume at all.
    """
    cases, studies = _read_own_cases(run), read_studies(run)
    measured = _read_volumes(volumes, tables, studies, run)
    courses = make_courses(studies, read_patients(run), measured.volumes)
    return Entry(cases, courses, _studies(courses), (), _coverage(cases, measured), _notes(measured, studies))


def _read_own_cases(run: Path) -> tuple[Case, ...]:
    """The cases.

    Raises:
        RunError: there is none.
    """
    cases = tuple(read_cases(run))
    if not cases:
        raise RunError(problem("at least one case", "none", str(run), "read flow.json for the exclusions"))
    return cases


def _read_volumes(volumes: Path | None, tables: Path | None, studies: pd.DataFrame, where: Path) -> MeasuredVolumes:
    """All that is measured, a person's own table first.

    Raises:
        RunError: nothing is.
    """
    parts = {} if volumes is None else {volumes.name: read_volumes_table(volumes)}
    parts |= read_download(tables, studies)
    measured = merge(parts)
    if not measured.volumes:
        do = "name a table with --volumes, or give a download with its segmentations or pyradiomics tables"
        raise RunError(problem("measured volumes", "none", str(where), do))
    check_units(measured, " and ".join(parts))
    return measured


def _notes(measured: MeasuredVolumes, studies: pd.DataFrame) -> list[str]:
    strangers = sorted({key.patient for key in measured.volumes} - set(studies["patient"]))
    if not strangers:
        return list(measured.notes)
    return [
        *measured.notes,
        f"Volumes of {len(strangers)} patients without ratings stay out: {', '.join(strangers)}.",
    ]


def _without_unmeasured(cohort: Cohort, measured: MeasuredVolumes) -> Cohort:
    """The cohort with one more named step; its counts still add up."""
    having = {key.patient for key, values in measured.volumes.items() if values}
    kept = cohort.table["excluded_because"] == ""
    lost = kept & ~cohort.table["patient"].isin(having)
    table = cohort.table.assign(excluded_because=cohort.table["excluded_because"].mask(lost, NO_MEASURED_STUDY))
    left = table[table["excluded_because"] == ""]
    steps = cohort.flow["steps"]
    assert isinstance(steps, list)
    step = {"name": NO_MEASURED_STUDY, "meaning": _MEANING, "excluded": int(lost.sum()), "remaining": len(left)}
    flow = {
        **cohort.flow,
        "steps": [*steps, step],
        "kept": len(left),
        "kept_patients": int(left["patient"].nunique()),
        "kept_per_response": {str(r): int((left["response"] == r).sum()) for r in RESPONSES},
        "patients_per_response": {str(r): int(left.loc[left["response"] == r, "patient"].nunique()) for r in RESPONSES},
    }
    return replace(cohort, table=table, flow=flow)


def _studies(courses: dict[str, Course]) -> pd.DataFrame:
    source = enhancing_source(courses)
    rows = [
        {
            "patient": patient,
            "visit": str(visit),
            "rating": str(course.ratings.get(visit, "")),
            "enhancing_mm3": course.volumes.get(visit, {}).get(source or "", np.nan),
        }
        for patient, course in courses.items()
        for visit in course.visits
    ]
    return pd.DataFrame(rows)


def _coverage(cases: tuple[Case, ...], measured: MeasuredVolumes) -> dict[str, int]:
    def known(patient: str, visit: Visit) -> bool:
        return bool(measured.volumes.get(StudyKey(patient, visit)))

    return {
        "current study measured": sum(known(case.patient, case.current) for case in cases),
        "prior study measured": sum(known(case.patient, case.prior) for case in cases),
        "both measured": sum(known(case.patient, case.current) and known(case.patient, case.prior) for case in cases),
    }
