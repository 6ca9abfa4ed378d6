"""Which two studies make a case. Every rating row ends as kept or under exactly one named exclusion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ranoscope import runs
from ranoscope.cohort import layout
from ranoscope.cohort.archive import ImagingArchive, open_archive
from ranoscope.cohort.flow import describe_flow
from ranoscope.cohort.inventory import VOLUME_KEYS, Inventory, take_inventory
from ranoscope.cohort.lumiere import Patient, RatingRow, Tables, read_tables
from ranoscope.cohort.tables import bad_values, is_synthetic
from ranoscope.cohort.timeline import Exclusion, Timeline, make_timelines
from ranoscope.config import CohortSettings, DuplicatePolicy, PairRule
from ranoscope.domain import SEQUENCES, Segmenter, StudyKey, VisitState

COHORT_COLUMNS = (
    "patient", "current", "prior", "response", "weeks_between", "current_week", "prior_rating", "first_progression",
    "surgery_between", "sequences", "excluded_because",
)  # fmt: skip
STUDY_COLUMNS = (
    "patient", "visit", "week", "rating", *SEQUENCES, "deepbratumia", "hd_glio_auto", *VOLUME_KEYS.values(),
)  # fmt: skip
PATIENT_COLUMNS = ("patient", "survival_weeks", "sex", "age_years", "idh", "mgmt")

_AROUND_SURGERY = (VisitState.PRE_OP, VisitState.POST_OP, VisitState.POST_OP_PD)
_DIFFERENCES_SHOWN = 20


@dataclass(frozen=True)
class Cohort:
    """Four views of one selection, all text-ready.

    ``table``: a row per row of the rating table, in its order; ``excluded_because`` is empty for a case.
    ``studies``: a row per visit on disk or in a table. ``patients``: demographics. ``flow``: counts of every step.
    ``warnings``: sentences for the user. ``inputs``: table name → SHA-256. ``images``: the archive's place, if any.
    ``synthetic``: the cohort is a phantom, no patient is in it.
    """

    table: pd.DataFrame
    studies: pd.DataFrame
    patients: pd.DataFrame
    flow: dict[str, object]
    warnings: list[str]
    inputs: dict[str, str]
    images: Path | None
    synthetic: bool


def build_cohort(root: Path, settings: CohortSettings) -> Cohort:
    """Read LUMIERE's tables and images and select the cases.

    Args:
        root: the LUMIERE folder, its ``Imaging`` folder or its zip; tables alone will do.
        settings: pair rule, duplicate policy and filters.

    Raises:
        TableError: a table is missing, mistyped or, under the policy ``error``, rates a visit twice.
        ImageError: the zip cannot be opened.
    """
    tables = read_tables(root)
    archive = open_archive(root)
    inventory = take_inventory(archive, tables.completeness)
    timelines = make_timelines(tables.ratings, inventory, settings)
    excluded_duplicates = _duplicates(tables.ratings, settings.duplicates)
    selection = _Selection(settings, inventory, timelines, excluded_duplicates)
    table = pd.DataFrame([selection.describe(row) for row in tables.ratings], columns=list(COHORT_COLUMNS), dtype=str)
    studies = _studies(inventory, timelines)
    warnings = [*tables.warnings, *_image_warnings(archive, inventory, settings), *inventory.warnings]
    rejected = [*tables.rejected_weeks, *(archive.rejected if archive else [])]
    return Cohort(
        table=table,
        studies=studies,
        patients=_patients(tables, timelines),
        flow=describe_flow(table, tables.ratings, inventory, settings, (rejected, warnings)),
        warnings=warnings,
        inputs=tables.inputs,
        images=archive.path if archive else None,
        synthetic=is_synthetic(root),
    )


@dataclass(frozen=True)
class _Selection:
    settings: CohortSettings
    inventory: Inventory
    timelines: dict[str, Timeline]
    duplicates: frozenset[int]

    def describe(self, row: RatingRow) -> dict[str, str]:
        """One row of cohort.csv; prior and what follows from it stay empty for an excluded row."""
        cells = dict.fromkeys(COHORT_COLUMNS, "")
        cells |= {"patient": row.patient, "current": row.week, "response": str(row.rating)}
        if row.visit is None:
            return cells | {"excluded_because": Exclusion.UNREADABLE_WEEK}
        key, timeline = StudyKey(row.patient, row.visit), self.timelines[row.patient]
        here = self.inventory.get(key).sequences
        cells |= {
            "current": str(row.visit),
            "current_week": str(row.visit.week),
            "first_progression": runs.truth(timeline.is_first_progression(row.visit)),
            "sequences": "+".join(sequence for sequence in SEQUENCES if sequence in here),
        }
        prior = (
            self._own_exclusion(row)
            or self._image_exclusion(key)
            or timeline.choose_prior(row.visit, self.settings.pair_rule)
        )
        if isinstance(prior, Exclusion):
            return cells | {"excluded_because": prior}
        return cells | {
            "prior": str(prior),
            "weeks_between": str(row.visit.week - prior.week),
            "prior_rating": str(timeline.rating(prior)),
            "surgery_between": runs.truth(timeline.epoch(prior) != timeline.epoch(row.visit)),
        }

    def _own_exclusion(self, row: RatingRow) -> Exclusion | None:
        """What the rating row itself says against it."""
        settings = self.settings
        tests = (
            (Exclusion.SURGERY_STATE, row.rating in _AROUND_SURGERY),
            (Exclusion.UNRATED, row.rating is VisitState.UNRATED),
            (Exclusion.DUPLICATE_RATING, row.line in self.duplicates),
            (Exclusion.UNDER_3_MONTHS_COLUMN, settings.exclude_under_3_months_column and row.under_3_months),
            (
                Exclusion.UNDER_3_MONTHS_RATIONALE,
                settings.exclude_under_3_months_rationale and row.rationale_says_under_3_months,
            ),
            (
                Exclusion.NOT_A_RANO_TIMEPOINT,
                settings.exclude_not_a_rano_timepoint and row.rationale_says_no_rano_timepoint,
            ),
        )
        return next((exclusion for exclusion, applies in tests if applies), None)

    def _image_exclusion(self, key: StudyKey) -> Exclusion | None:
        """What is missing of the current study's images."""
        required = self.settings.required_sequences
        if self.inventory.is_usable(key, required):
            return None
        holding = self.inventory.get(key)
        if holding.is_empty:
            return Exclusion.NO_IMAGES_FOR_VISIT
        if not set(required) <= holding.sequences:
            return Exclusion.MISSING_SEQUENCES
        return Exclusion.MISSING_ATLAS_VOLUMES


def _duplicates(rows: list[RatingRow], policy: DuplicatePolicy) -> frozenset[int]:
    """Lines of the rating rows that the policy gives up."""
    lines: dict[StudyKey, list[int]] = {}
    for row in rows:
        if row.visit is not None:
            lines.setdefault(StudyKey(row.patient, row.visit), []).append(row.line)
    several = {key: found for key, found in lines.items() if len(found) > 1}
    if several and policy is DuplicatePolicy.ERROR:
        listed = [f"{key} on lines {', '.join(map(str, found))}" for key, found in several.items()]
        raise bad_values("the rating table", "one row per visit", listed, "choose the policy first, last or drop")
    kept = {DuplicatePolicy.FIRST: slice(1, None), DuplicatePolicy.LAST: slice(None, -1)}.get(policy, slice(None))
    return frozenset(line for found in several.values() for line in found[kept])


def _studies(inventory: Inventory, timelines: dict[str, Timeline]) -> pd.DataFrame:
    rows = []
    for patient, timeline in timelines.items():
        for visit in timeline.visits:
            holding = inventory.get(StudyKey(patient, visit))
            rating = timeline.ratings.get(visit)
            cells = {"patient": patient, "visit": str(visit), "week": str(visit.week), "rating": str(rating or "")}
            cells |= {sequence: _cross(sequence in holding.sequences) for sequence in SEQUENCES}
            cells["deepbratumia"] = _cross(Segmenter.DEEPBRATUMIA in holding.segmenters)
            cells["hd_glio_auto"] = _cross(Segmenter.HD_GLIO_AUTO in holding.segmenters)
            cells |= {column: _number(holding.volumes.get(column)) for column in VOLUME_KEYS.values()}
            rows.append(cells)
    return pd.DataFrame(rows, columns=list(STUDY_COLUMNS), dtype=str)


def _patients(tables: Tables, timelines: dict[str, Timeline]) -> pd.DataFrame:
    everyone = sorted({*timelines, *tables.patients, *(row.patient for row in tables.ratings)})
    rows = []
    for name in everyone:
        patient = tables.patients.get(name, Patient())
        numbers = {"survival_weeks": _number(patient.survival_weeks), "age_years": _number(patient.age_years)}
        rows.append({"patient": name, "sex": patient.sex, "idh": patient.idh, "mgmt": patient.mgmt, **numbers})
    return pd.DataFrame(rows, columns=list(PATIENT_COLUMNS), dtype=str)


def _image_warnings(archive: ImagingArchive | None, inventory: Inventory, settings: CohortSettings) -> list[str]:
    if archive is not None:
        shown = inventory.differences[:_DIFFERENCES_SHOWN]
        more = len(inventory.differences) - len(shown)
        tail = [f"{more} more visits differ from {layout.COMPLETENESS}; flow.json lists all."] if more else []
        return [*(f"Left out: {reason}." for reason in archive.rejected), *shown, *tail]
    warnings = ["No images were found: the volumes in mm³ of studies.csv stay empty."]
    if not inventory.is_known:
        warnings.append(
            "Without images and completeness table, `sequences` of cohort.csv and the presence columns of studies.csv "
            "stay empty, and every rated visit counts as a study."
        )
    if settings.pair_rule is PairRule.NADIR:
        warnings.append("Without volumes no nadir is known: the pair rule `nadir` finds no case.")
    return warnings


def _cross(value: bool) -> str:
    return "x" if value else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}" if value % 1 else f"{value:.0f}"
