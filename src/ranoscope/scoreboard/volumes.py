"""Measured volumes as a person hands them over: a CSV table, checked before anything is computed from it.

The table: ``Patient, Timepoint, <source>_<compartment>_mm3``, one row per study, any number of sources (segmenters).
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np

from ranoscope.cohort.tables import Column, Line, bad_values, read_lines
from ranoscope.domain import StudyKey, Visit
from ranoscope.errors import TableError, problem

COMPARTMENTS = ("enhancing", "nonenhancing", "necrosis_nonenhancing", "edema")
_NAME = re.compile(rf"^[A-Za-z0-9-]+_(?:{'|'.join(COMPARTMENTS)})_mm3$")
_KEY = ("Patient", "Timepoint")
_MISSING = frozenset({"", "na", "n/a", "n-a", "none", "nan"})

# A whole adult brain is 1,000,000 to 1,600,000 mm³; no compartment of a tumour fills it.
_BRAIN_MM3 = 1_000_000.0
# Glioblastomas of a cohort reach tens of thousands of mm³. A column of ten studies or more with some tumour whose
# largest is below 500 (as mm³ a ball of 10 mm across) is written in millilitres: LUMIERE's largest is 233 ml.
_LARGEST_IN_ML = 500.0
_ENOUGH_STUDIES = 10
# Two segmenters of one cohort differ by a factor of 1.2 (median, LUMIERE); voxels of 0.5 × 0.5 × 1 mm would make it 4.
_SAME_UNIT_FACTOR = 3.0
_SURELY_TUMOUR_MM3 = 100.0


@dataclass(frozen=True)
class MeasuredVolumes:
    """Volumes in mm³ by study and column; a study or column that is absent is unknown. ``notes``: for the user."""

    volumes: dict[StudyKey, dict[str, float]]
    notes: list[str] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """Every column with at least one known volume, in alphabetical order."""
        return sorted({name for values in self.volumes.values() for name in values})


def read_volumes_table(path: Path) -> MeasuredVolumes:
    """Read the table.

    Raises:
        TableError: no such file, a column that is not known, no volume at all, a cell that is no volume of 0 mm³ or
            more, duplicate rows that disagree, or magnitudes that are not mm³; every offending line is listed.
    """
    if not path.is_file():
        raise TableError(problem("a table of volumes", "no such file", str(path), "check the path"))
    names = _volume_columns(path)
    lines = read_lines(path, tuple(Column(name, (name,)) for name in (*_KEY, *names)))
    rows: dict[StudyKey, dict[str, float]] = {}
    first: dict[StudyKey, int] = {}
    notes: list[str] = []
    faults: list[str] = []
    for line in lines:
        visit = Visit.parse(line.cells["Timepoint"])
        if visit is None or not line.cells["Patient"]:
            notes.append(f"{path.name}, line {line.number}: `{line.cells['Timepoint']}` is no week-NNN; left out.")
            continue
        key, values = StudyKey(line.cells["Patient"], visit), _values(line, names, faults)
        if key in rows and rows[key] != values:
            faults.append(f"{key} on lines {first[key]} and {line.number} with different volumes")
        rows.setdefault(key, values)
        first.setdefault(key, line.number)
    if faults:
        raise bad_values(path.name, "one row of volumes of 0 mm³ or more per study", faults, "correct these rows")
    if not any(rows.values()):
        raise TableError(problem("at least one volume", "empty cells only", path.name, "fill the table"))
    notes += [f"{path.name}: every volume of `{name}` is missing." for name in names
              if not any(name in values for values in rows.values())]  # fmt: skip
    measured = MeasuredVolumes(rows, notes)
    check_units(measured, path.name)
    return measured


def check_units(measured: MeasuredVolumes, where: str) -> None:
    """Refuse magnitudes that cannot be mm³.

    Raises:
        TableError: a volume larger than a brain, a column that looks like millilitres, or two sources of one
            compartment that differ by a constant factor of 3 and more, as voxel counts do.
    """
    found = []
    for name in measured.columns:
        values = {key: one[name] for key, one in measured.volumes.items() if name in one}
        largest = max(values, key=lambda key: values[key])
        if values[largest] > _BRAIN_MM3:
            found.append(f"{values[largest]:,.0f} in `{name}` for {largest}, more than a brain (voxel counts or µl?)")
        elif sum(value > 0 for value in values.values()) >= _ENOUGH_STUDIES and values[largest] < _LARGEST_IN_ML:
            found.append(f"no more than {values[largest]:g} in `{name}` in {len(values)} studies (millilitres?)")
    for one, other in combinations(measured.columns, 2):
        factor = _factor(measured, one, other)
        if one.split("_", 1)[1] == other.split("_", 1)[1] and not 1 / _SAME_UNIT_FACTOR < factor < _SAME_UNIT_FACTOR:
            found.append(f"`{one}` {factor:.3g} times `{other}` in the median study (voxel counts in one of them?)")
    if found:
        raise bad_values(where, "volumes in mm³", found, "convert them to mm³")


def merge(parts: Mapping[str, MeasuredVolumes]) -> MeasuredVolumes:
    """Join volumes of several origins; the first that knows a cell is kept, and cells that differ are counted.

    Args:
        parts: name of the origin → its volumes, most trusted first.
    """
    merged: dict[StudyKey, dict[str, float]] = {}
    notes = []
    for origin, part in parts.items():
        differing = 0
        for key, values in part.volumes.items():
            known = merged.setdefault(key, {})
            differing += sum(name in known and abs(known[name] - value) > 1 for name, value in values.items())
            merged[key] = {**values, **known}
        notes += part.notes
        if differing:
            notes.append(f"{origin}: {differing} volumes differ by more than 1 mm³ from an earlier table and stay out.")
    return MeasuredVolumes(merged, notes)


def _volume_columns(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header = [name.strip() for name in next(csv.reader(stream), [])]
    except UnicodeDecodeError as error:
        raise TableError(problem("UTF-8 text", error.reason, path.name, "save the table as UTF-8")) from error
    names = [name for name in header if name not in _KEY]
    unknown = [name for name in names if not _NAME.match(name)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if unknown or twice or not names:
        examples = [f"hdglio_{compartment}_mm3" for compartment in COMPARTMENTS]
        near = [difflib.get_close_matches(name, [*_KEY, *examples], n=1, cutoff=0.6) for name in unknown]
        got = [
            f"`{name}`" + (f" (nearest: `{hit[0]}`)" if hit else "") for name, hit in zip(unknown, near, strict=True)
        ]
        got += [f"`{name}` twice" for name in twice]
        raise TableError(
            problem(
                f"the columns {', '.join(_KEY)} and <source>_<compartment>_mm3 ({', '.join(COMPARTMENTS)})",
                ", ".join(got) or "no column of volumes",
                path.name,
                "rename or remove these columns",
            )
        )
    return names


def _values(line: Line, names: list[str], faults: list[str]) -> dict[str, float]:
    values = {}
    for name in names:
        text = line.cells[name]
        if text.casefold() in _MISSING:
            continue
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not (np.isfinite(value) and value >= 0):
            faults.append(f"`{text}` for `{name}` on line {line.number}")
        values[name] = value
    return values


def _factor(measured: MeasuredVolumes, one: str, other: str) -> float:
    """Median ratio of two columns over the studies in which both found tumour; 1 with too few of them."""
    ratios = [
        values[one] / values[other]
        for values in measured.volumes.values()
        if min(values.get(one, 0.0), values.get(other, 0.0)) > _SURELY_TUMOUR_MM3
    ]
    return float(np.median(ratios)) if len(ratios) >= _ENOUGH_STUDIES else 1.0
