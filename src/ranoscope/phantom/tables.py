"""The four tables beside the images, with LUMIERE's exact headers, and what LUMIERE does not have: the truth."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import nibabel as nib

from ranoscope import runs
from ranoscope.domain import SEQUENCES
from ranoscope.phantom.difficulty import SCANNERS
from ranoscope.phantom.plans import PatientPlan
from ranoscope.phantom.truth import TRUTH

RATINGS = "LUMIERE-ExpertRating-v202211.csv"
DEMOGRAPHICS = "LUMIERE-Demographics_Pathology.csv"
COMPLETENESS = "LUMIERE-datacompleteness.csv"
MR_INFO = "LUMIERE-MRinfo.csv"

_RATING_HEADER = (
    "Patient", "Date", "LessThan3Months", "NonMeasurableLesions",
    "Rating (according to RANO, PD: Progressive disease, SD: Stable disease, PR: Partial response, "
    "CR: Complete response, Pre-Op: Pre-Operative, Post-Op: Post-Operative)",
    "Rating rationale (CRET: complete resection of the enhancing tumor, PRET: partial resection of the enhancing "
    "tumor, T2-Progr.: T2-Progression, L: Lesion)",
)  # fmt: skip
_DEMOGRAPHICS_HEADER = (
    "Patient", "Survival time (weeks)", "Sex", "Age at surgery (years)", "IDH (WT: wild type)", "IDH method",
    "MGMT qualitative", "MGMT quantitative",
)  # fmt: skip
_COMPLETENESS_HEADER = (
    "Patient", "Timepoint", "CT1", "T1", "T2", "FLAIR", "DeepBraTumIA", "HD-GLIO-AUTO", "DeepBraTumIA-CoLlAGe",
    "HD-GLIO-AUTO-CoLlAGe",
)  # fmt: skip
_MR_HEADER = (
    "Patient", "Timepoint", "Sequence", "Field strength", "Manufacturer", "Model", "Spacing", "Slice thickness",
    "Voxel size", "Rows", "Columns", "Slice count",
)  # fmt: skip
_TRUTH_HEADER = ("patient", "visit", "response", "enhancing_mm3", "lesions")


def write_tables(out: Path, plans: list[PatientPlan]) -> None:
    """Write what follows from the plans alone: ratings, demographics, completeness and the truth.

    The truth has a further column ``marked`` where a visit carries the planted mark.
    """
    _write(out / RATINGS, _RATING_HEADER, [_rating(plan, n) for plan in plans for n in range(len(plan.rows))])
    _write(out / DEMOGRAPHICS, _DEMOGRAPHICS_HEADER, [(plan.name, *plan.demographics) for plan in plans])
    _write(out / COMPLETENESS, _COMPLETENESS_HEADER, _completeness(plans))
    truth = [
        (plan.name, v.planned.visit, v.planned.truth, f"{v.planned.enhancing_mm3:.0f}", len(v.planned.lesions))
        for plan in plans
        for v in plan.visits
    ]
    marks = [visit.marked for plan in plans for visit in plan.visits]
    if any(marks):
        marked = [(*row, "x" if mark else "") for row, mark in zip(truth, marks, strict=True)]
        _write(out / TRUTH, (*_TRUTH_HEADER, "marked"), marked)
    else:
        _write(out / TRUTH, _TRUTH_HEADER, truth)


def write_mr_info(out: Path, plans: list[PatientPlan]) -> None:
    """Write the table of scan parameters, read off the headers of the images in ``out``."""
    _write(out / MR_INFO, _MR_HEADER, _mr_info(out / "Imaging", plans))


def _rating(plan: PatientPlan, place: int) -> tuple[str, ...]:
    row = plan.rows[place]
    return plan.name, row.visit, row.under_3_months, row.non_measurable, row.rating, row.rationale


def _completeness(plans: list[PatientPlan]) -> list[tuple[str, ...]]:
    """An ``x`` where a file is, except for one deliberate slip: the last patient's first FLAIR is not ticked."""
    rows = []
    for plan in plans:
        for number, visit in enumerate(plan.visits):
            slip = plan is plans[-1] and number == 0
            ticks = ["x" if s in visit.sequences and not (slip and s == "FLAIR") else "" for s in SEQUENCES]
            rows.append((plan.name, str(visit.planned.visit), *ticks, *["x" if visit.segmented else ""] * 4))
    return rows


def _mr_info(imaging: Path, plans: list[PatientPlan]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for plan in plans:
        for visit in plan.visits:
            scanner = SCANNERS[visit.scanner]
            device = (scanner.field_tesla, scanner.manufacturer, scanner.model)
            for sequence in visit.sequences:
                path = imaging / plan.name / str(visit.planned.visit) / f"{sequence}.nii.gz"
                header = nib.Nifti1Image.from_filename(path).header
                (i, j, k), (x, y, z) = header.get_data_shape(), (f"{edge:.3f}" for edge in header.get_zooms())
                scan = (f"[{x}, {y}]", z, f"[{x}, {y}, {z}]", str(j), str(i), str(k))
                place = (plan.name, str(visit.planned.visit), str(sequence))
                rows.append((*place, *device, *scan))
    return rows


def _write(path: Path, header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    runs.write_text(path, buffer.getvalue())
