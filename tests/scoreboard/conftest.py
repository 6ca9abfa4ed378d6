"""Small made-up cohorts: rating table, demographics and a table of volumes, as a person would hand them in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ranoscope.domain import Case, Rating, Response, Visit, VisitState
from ranoscope.scoreboard.courses import Course

RATINGS = "LUMIERE-ExpertRating-v202211.csv"
DEMOGRAPHICS = "LUMIERE-Demographics_Pathology.csv"
NAMES = ["PD", "SD", "PR", "CR"]


def make_course(steps, person=None):
    """A course from (week, rating or None, {column: mm³}) per visit."""
    visits = tuple(Visit(week) for week, _, _ in steps)
    ratings: dict[Visit, Rating] = {Visit(week): rating for week, rating, _ in steps if rating is not None}
    return Course(visits, ratings, {Visit(week): volumes for week, _, volumes in steps if volumes}, person or {})


def make_case(prior, current, response=Response.SD, patient="P1"):
    return Case(patient, Visit(prior), Visit(current), response, current - prior, VisitState.UNRATED, True)


def write_cohort_tables(folder: Path, patients=14, seed=0) -> Path:
    """Post-operative scan, then four rated visits each, volumes that follow the rating; every class in every third."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    ratings, people, volumes = [], [], []
    for number in range(1, patients + 1):
        name = f"Patient-{number:03d}"
        people.append([name, 50, "female" if number % 2 else "male", 40 + number, "WT", "BES", "methylated", "na"])
        ratings.append([name, "week-001", "", "", "Post-Op", ""])
        volumes.append([name, "week-001", 30_000.0, 2000.0, 2500.0])
        level = 2000.0
        for step in range(1, 5):
            response = NAMES[int(generator.integers(4)) if number % 3 else step % 4]
            level = {"PD": level * 3 + 900, "SD": level, "PR": level * 0.2, "CR": 0.0}[response]
            week = f"week-{12 * step:03d}"
            # The ball of this product has the first segmenter's volume.
            edge = round((6 * level / np.pi) ** (1 / 3), 1)
            text = f"T2-Progr., target L.: {edge}mm x {edge}mm" if response == "PD" else ""
            ratings.append([name, week, "", "", response, text])
            volumes.append([name, week, 30_000.0, round(level, 2), round(level * 1.2, 2)])
    header = [
        "Patient",
        "Date",
        "LessThan3Months",
        "NonMeasurableLesions",
        "Rating (according to RANO)",
        "Rating rationale",
    ]
    pd.DataFrame(ratings, columns=header).to_csv(folder / RATINGS, index=False)
    header = ["Patient", "Survival time (weeks)", "Sex", "Age at surgery (years)", "IDH (WT: wild type)", "IDH method",
              "MGMT qualitative", "MGMT quantitative"]  # fmt: skip
    pd.DataFrame(people, columns=header).to_csv(folder / DEMOGRAPHICS, index=False)
    header = ["Patient", "Timepoint", "hdglio_nonenhancing_mm3", "hdglio_enhancing_mm3", "deepbratumia_enhancing_mm3"]
    pd.DataFrame(volumes, columns=header).to_csv(folder / "volumes.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def tables(tmp_path_factory) -> Path:
    """Read only."""
    return write_cohort_tables(tmp_path_factory.mktemp("tables"))
