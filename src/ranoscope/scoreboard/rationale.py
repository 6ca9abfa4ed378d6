"""The expert's written lesion sizes as a table, and how they compare with what was measured.

How the text is read is the cohort room's knowledge (``cohort/rationale.py``); here its sizes meet measurements.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ranoscope import runs
from ranoscope.cohort.lumiere import RatingRow
from ranoscope.cohort.rationale import Rationale, StatedSize, read_rationale
from ranoscope.config import EvaluationSettings
from ranoscope.domain import StudyKey
from ranoscope.errors import TableError, problem
from ranoscope.evaluation.predictions import FloatArray
from ranoscope.scoreboard.agreement import describe_agreement, describe_changes
from ranoscope.scoreboard.courses import Course

RATIONALE_SIZES = "rationale_sizes.csv"
EXPERT_LESIONS = "expert_lesions.csv"
_LESIONS = "lesions.csv"
_FACTS = (
    "new_lesion", "new_non_measurable", "non_measurable", "non_target", "t2_progression", "regression",
    "in_radiation_field", "bevacizumab",
)  # fmt: skip
SIZE_COLUMNS = (
    "patient", "visit", "line", "rating", "size", "longest_mm", "perpendicular_mm", "product_mm2", "role", "trend",
    "notes", "text", "resection", "under_3_months", *_FACTS, "unread",
)  # fmt: skip
# As in a TIMELINE table with a row per lesion.
_LESION_COLUMNS = ("patient", "scan", "longest_mm", "perpendicular_mm")


@dataclass(frozen=True)
class StatedBurden:
    """What the expert measured at one visit.

    ``lesions``: how many have both diameters. ``spd_mm2``: the sum of their products. ``balls_mm3``: the summed volume
    of balls with these products. ``complete``: no further lesion (non-target, non-measurable) is named.
    """

    lesions: int
    spd_mm2: float
    balls_mm3: float
    complete: bool


def rationale_table(rows: Iterable[RatingRow]) -> pd.DataFrame:
    """A row per size, and one row without a size for each rating row that states none; columns ``SIZE_COLUMNS``."""
    records = []
    for row in rows:
        said = read_rationale(row.rationale)
        base = {
            "patient": row.patient,
            "visit": row.week if row.visit is None else str(row.visit),
            "line": row.line,
            "rating": str(row.rating),
            "resection": said.resection or "",
            "under_3_months": runs.truth(row.under_3_months or row.rationale_says_under_3_months),
            **{name: runs.truth(getattr(said, name)) for name in _FACTS},
            "unread": "; ".join(said.unread),
        }
        records += [base | _describe(number, one, row.rationale) for number, one in enumerate(said.sizes, 1)]
        if not said.sizes:
            records.append(base)
    return pd.DataFrame(records, columns=list(SIZE_COLUMNS)).astype({"size": "Int64"})


def stated_burdens(rows: Iterable[RatingRow]) -> dict[StudyKey, StatedBurden]:
    """The visits at which the expert wrote both diameters of a lesion; of two such rows of a visit the last counts."""
    found = {}
    for row in rows:
        said = read_rationale(row.rationale)
        products = [one.product_mm2 for one in said.sizes if one.product_mm2 is not None]
        if row.visit is not None and products:
            complete = not (said.non_target or said.non_measurable or _has_single_diameters(said))
            balls = sum(math.pi / 6 * product**1.5 for product in products)
            found[StudyKey(row.patient, row.visit)] = StatedBurden(len(products), sum(products), balls, complete)
    return found


def compare_with_volumes(
    stated: Mapping[StudyKey, StatedBurden], courses: Mapping[str, Course], settings: EvaluationSettings
) -> dict[str, Any]:
    """Balls of the expert's products against every source of enhancing volume, in mm³.

    Returns:
        ``visits`` and ``patients`` with sizes, ``sources``: column → agreement over all visits, and over those at which
        no further lesion is named; ``points``: a record per visit, for the figure.
    """
    points = []
    for key, burden in sorted(stated.items()):
        course = courses.get(key.patient)
        volumes = course.volumes.get(key.visit, {}) if course else {}
        known = {name: value for name, value in volumes.items() if name.endswith("_enhancing_mm3")}
        points.append({"patient": key.patient, "visit": str(key.visit), **asdict(burden), **known})
    names = sorted({name for one in points for name in one if str(name).endswith("_enhancing_mm3")})
    return {
        "visits": len(stated),
        "patients": len({key.patient for key in stated}),
        "lesions": sum(one.lesions for one in stated.values()),
        "sources": {
            name: {
                "all": _agreement([one for one in points if name in one], name, settings),
                "complete": _agreement([one for one in points if name in one and one["complete"]], name, settings),
            }
            for name in names
        },
        "points": points,
    }


def read_lesions(folder: Path) -> pd.DataFrame:
    """Every ``lesions.csv`` that ``ranoscope measure`` wrote in a folder or below it, as one table of text.

    Raises:
        TableError: no such table, or one without the columns of the measuring room.
    """
    tables = [runs.read_csv(path, "ranoscope measure", _LESION_COLUMNS) for path in sorted(folder.rglob(_LESIONS))]
    if not tables:
        do = "run `ranoscope measure` for the patients, each --out below this folder"
        raise TableError(problem(f"a {_LESIONS}", "none", str(folder), do))
    return pd.concat(tables, ignore_index=True)


def join_lesions(lesions: pd.DataFrame, sizes: pd.DataFrame) -> pd.DataFrame:
    """The expert's and the measured sum of products of each visit that has both.

    The text does not say which lesion a size belongs to: the k sizes of a visit stand against the k largest measured
    products (fewer, where fewer were measured).

    Args:
        lesions: a row per measured lesion, columns ``patient, scan, longest_mm, perpendicular_mm``, ``scan`` being the
            visit's name (``week-044``), and ``compartment`` where others than enhancing ones are listed; others are
            ignored. A row without diameters says that the scan was measured.
        sizes: as ``rationale_table`` makes it.

    Returns:
        Columns ``patient, visit, stated_lesions, measured_lesions, stated_mm2, measured_mm2``, by patient and visit.

    Raises:
        TableError: a column is missing.
    """
    runs.require_columns(lesions, _LESION_COLUMNS, "the table of measured lesions")
    runs.require_columns(sizes, SIZE_COLUMNS, RATIONALE_SIZES)
    # From memory or read back as text.
    sizes = sizes.assign(**{name: pd.to_numeric(sizes[name]) for name in ("product_mm2", "line")})
    stated = sizes[sizes["product_mm2"].notna()]
    # Of two rating rows of a visit the last counts, as everywhere.
    stated = stated[stated["line"] == stated.groupby(["patient", "visit"])["line"].transform("max")]
    measured = {
        key: sorted(found.dropna(), reverse=True)
        for key, found in _products(lesions).groupby(["patient", "scan"])["product"]
    }
    rows = []
    for key, found in stated.groupby(["patient", "visit"])["product_mm2"]:
        if key in measured:
            largest = measured[key][: len(found)]
            rows.append((*key, len(found), len(largest), float(found.sum()), float(sum(largest))))
    columns = ["patient", "visit", "stated_lesions", "measured_lesions", "stated_mm2", "measured_mm2"]
    return pd.DataFrame(rows, columns=columns)


def compare_with_lesions(joined: pd.DataFrame, settings: EvaluationSettings) -> dict[str, Any]:
    """Agreement of the expert's sums of products with the measured ones, and of their changes between visits.

    Args:
        joined: as ``join_lesions`` makes it.
        settings: bootstrap and coverage.

    Returns:
        ``spd``: as ``describe_agreement``; ``change``: as ``describe_changes``, of the log ratios between consecutive
        visits of a patient.
    """
    stated, measured = (joined[name].to_numpy(np.float64) for name in ("stated_mm2", "measured_mm2"))
    patients, changes = _log_changes(joined)
    return {
        "spd": describe_agreement(stated, measured, tuple(joined["patient"]), settings),
        "change": describe_changes(changes[:, 0], changes[:, 1], patients, settings),
    }


def _products(lesions: pd.DataFrame) -> pd.DataFrame:
    """Enhancing lesions with their bidimensional product; rows of other compartments lose theirs, not their scan."""
    longest, perpendicular = (pd.to_numeric(lesions[name]) for name in _LESION_COLUMNS[2:])
    product = longest * perpendicular
    if "compartment" in lesions:
        product = product.where(lesions["compartment"].isin(["", "enhancing"]) | lesions["compartment"].isna())
    return lesions.assign(product=product)


def _log_changes(joined: pd.DataFrame) -> tuple[tuple[str, ...], FloatArray]:
    """Patients, and log ratios of their consecutive visits, shape (pairs, 2): stated, measured.

    A visit with a size of 0 has no logarithm and is passed over.
    """
    patients: list[str] = []
    changes: list[FloatArray] = [np.empty((0, 2))]
    positive = joined[(joined["stated_mm2"] > 0) & (joined["measured_mm2"] > 0)]
    for patient, found in positive.sort_values(["patient", "visit"]).groupby("patient"):
        changes.append(np.diff(np.log(found[["stated_mm2", "measured_mm2"]].to_numpy(np.float64)), axis=0))
        patients += [str(patient)] * (len(found) - 1)
    return tuple(patients), np.concatenate(changes)


def _describe(number: int, size: StatedSize, text: str) -> dict[str, Any]:
    return {
        "size": number,
        "longest_mm": size.longest_mm,
        "perpendicular_mm": size.perpendicular_mm,
        "product_mm2": size.product_mm2,
        "role": str(size.role),
        "trend": str(size.trend),
        "notes": "; ".join(size.notes),
        "text": text[size.start : size.end],
    }


def _has_single_diameters(said: Rationale) -> bool:
    return any(one.perpendicular_mm is None for one in said.sizes)


def _agreement(points: list[dict[str, Any]], name: str, settings: EvaluationSettings) -> dict[str, Any]:
    balls, volumes = (np.array([one[key] for one in points], np.float64) for key in ("balls_mm3", name))
    return describe_agreement(balls, volumes, tuple(one["patient"] for one in points), settings)
