"""A table that a reader typed, one row per scan or per lesion of a scan: its columns, and its cells as checked values.

Dates live in this table alone: they become days since the patient's first scan, and no message or output repeats them.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from ranoscope.domain import Visit
from ranoscope.errors import TableError, problem
from ranoscope.response.timeline import Lesion, Scan, Timeline

TIMES = ("day", "week", "date")
TREATMENTS = ("radiotherapy_end", "immunotherapy_start")
# Column → compartment and size of a scan's sums. In a lesion's row `volume_mm3` is the lesion's own.
SUMS = {
    "spd_mm2": ("enhancing", "spd_mm2"),
    "volume_mm3": ("enhancing", "volume_mm3"),
    "nonenhancing_spd_mm2": ("nonenhancing", "spd_mm2"),
    "nonenhancing_volume_mm3": ("nonenhancing", "volume_mm3"),
}


def _fields(model: type[Lesion | Scan | Timeline], *others: str) -> dict[str, FieldInfo]:
    return {name: info for name, info in model.model_fields.items() if name not in others}


OF_SCAN = _fields(Scan, "id", "day", "lesions", "enhancing", "nonenhancing")
OF_LESION = _fields(Lesion, "id")
OF_PATIENT = _fields(Timeline, "patient", "scans")
# `comment` is for people: nothing reads it.
_COLUMNS = (
    "patient", "scan", *TIMES, "lesion", *SUMS, *OF_LESION, *OF_SCAN, *OF_PATIENT,
    *(f"{treatment}_{unit}" for treatment in TREATMENTS for unit in TIMES), "comment",
)  # fmt: skip
COLUMNS: tuple[str, ...] = tuple(dict.fromkeys(_COLUMNS))
_SIZES = (*SUMS, "longest_mm")


def _adapter(info: FieldInfo) -> TypeAdapter[Any]:
    checked: Any = Annotated[info.annotation, info]
    return TypeAdapter(checked)


_CHECKS = {name: _adapter(info) for name, info in (OF_SCAN | OF_LESION | OF_PATIENT).items()}
_CHECKS |= dict.fromkeys(SUMS, _CHECKS["volume_mm3"])

_UNKNOWN = frozenset({"", "na", "n/a", "nan", "unknown", "?"})
# What a person writes where the vocabulary has another word for it.
_SPOKEN = {("new_lesion", "no"): "none", ("steroids", "no"): "none", ("non_measurable", "none"): "absent"}
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")


@dataclass
class Row:
    """A row: its line in the file (header = 1), its known cells and their checked values.

    ``time``: days, or a date's ordinal; None where it is missing or faulty.
    """

    line: int
    cells: dict[str, str]
    time: int | None = None
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def lesion(self) -> str | None:
        """The lesion the row is about; None for a row about the whole scan."""
        return self.cells.get("lesion")


@dataclass(frozen=True)
class Spreadsheet:
    """Rows by patient in the order of the file, not yet checked; ``time``: the column that dates a scan."""

    time: str
    rows: dict[str, list[Row]]


def read_spreadsheet(path: Path) -> Spreadsheet:
    """Read the table; cells are looked at by ``check_row``.

    Raises:
        TableError: not UTF-8, no row, columns that are unknown, missing or contradictory, rows of another length than
            the header, or rows without a patient in a table that has the column.
    """
    header, rows = _read(path)
    _check_header(header, path.name)
    patients: dict[str, list[Row]] = {}
    for row in rows:
        patients.setdefault(row.cells.pop("patient", "" if "patient" in header else "patient"), []).append(row)
    nameless = [f"an empty cell on line {row.line}" for row in patients.get("", [])]
    if nameless or not rows:
        got = "; ".join(nameless) or "a header alone"
        raise TableError(problem("rows that name their patient", got, path.name, "fill the column `patient`"))
    return Spreadsheet(next((name for name in TIMES if name in header), "scan"), patients)


def check_row(row: Row, time: str) -> Iterator[str]:
    """Turn the row's cells into its values; yield a sentence for each that cannot be one."""
    yield from _check_time(row, time)
    for name, text in row.cells.items():
        treatment, _, unit = name.rpartition("_")
        if treatment in TREATMENTS and unit in TIMES[1:]:
            yield from _check_time(row, name)
        elif name in _CHECKS:
            spoken = text if name == "baseline" else text.casefold()
            try:
                row.values[name] = _CHECKS[name].validate_python(_SPOKEN.get((name, spoken), spoken))
            except ValidationError as error:
                yield f"`{text}` for `{name}` on line {row.line} ({rule(error.errors()[0]['msg'])})"


def rule(message: str) -> str:
    """What a validation message asks for, without its opening words."""
    asked = message.removeprefix("Input should be ").removeprefix("Value error, ")
    return asked[:1].lower() + asked[1:]


def _check_time(row: Row, name: str) -> Iterator[str]:
    """Read a time into ``row.time`` or, of a treatment, into the row's values. A date's text is not repeated."""
    text, unit = row.cells.get(name, ""), name.rpartition("_")[2]
    try:
        found = _time(text, unit)
    except ValueError:
        wanted = {"date": "YYYY-MM-DD", "scan": "week-NNN, or a column `day`, `week` or `date`"}
        shown = ("a cell" if unit == "date" else f"`{text}`") if text else "nothing"
        yield f"{shown} for `{name}` on line {row.line} ({wanted.get(unit, 'a whole number')})"
        return
    if name == unit:
        row.time = found
    else:
        row.values[name] = found


def _time(text: str, unit: str) -> int:
    if unit == "date":
        return datetime.fromisoformat(text).toordinal()
    visit = Visit.parse(text)
    if visit is not None and unit != "day":
        return 7 * visit.week
    if unit == "scan":
        raise ValueError
    return int(text) * (7 if unit == "week" else 1)


def _read(path: Path) -> tuple[list[str], list[Row]]:
    """The header in small letters and the rows that hold anything; a cell that says unknown is left out."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
        table = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
        header = [name.strip().casefold() for name in next(table, [])]
        numbered = [(table.line_num, [cell.strip() for cell in row]) for row in table]
    except (UnicodeDecodeError, csv.Error) as error:
        got = getattr(error, "reason", str(error))
        raise TableError(problem("CSV as UTF-8 text", got, path.name, "save the table as CSV UTF-8")) from error
    numbered = [(line, cells) for line, cells in numbered if any(cells)]
    ragged = [f"{len(cells)} on line {line}" for line, cells in numbered if len(cells) != len(header)]
    if ragged:
        expected = f"{len(header)} fields on every line"
        raise TableError(problem(expected, "; ".join(ragged), path.name, "quote cells that hold a comma"))
    rows = []
    for line, cells in numbered:
        known = {name: cell for name, cell in zip(header, cells, strict=True) if cell.casefold() not in _UNKNOWN}
        if delimiter != ",":
            known = {name: cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell
                     for name, cell in known.items()}  # fmt: skip
        rows.append(Row(line, known))
    return header, rows


def _check_header(header: list[str], file: str) -> None:
    faults = [f"`{name}` twice" for name in dict.fromkeys(header) if header.count(name) > 1]
    for name in header:
        if name not in COLUMNS:
            near = difflib.get_close_matches(name, COLUMNS, n=1, cutoff=0.5)
            faults.append(f"`{name}`" + (f" (nearest: `{near[0]}`)" if near else ""))
    times = [name for name in TIMES if name in header]
    if len(times) > 1:
        faults.append(f"{' and '.join(f'`{name}`' for name in times)} together")
    if not times and "scan" not in header:
        faults.append("no `day`, `week`, `date` or `scan`")
    if not any(name in header for name in _SIZES):
        faults.append(f"no size ({', '.join(_SIZES)})")
    dated = [f"{name}_date" for name in TREATMENTS if f"{name}_date" in header]
    if dated and times != ["date"]:
        faults.append(f"`{dated[0]}` beside scans without a `date`")
    if faults:
        do = "rename or remove them: docs/timeline.md lists every column"
        raise TableError(problem("the columns of a timeline", ", ".join(faults), file, do))
