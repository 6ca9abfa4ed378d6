"""A reader's table → one draft per patient: its rows grouped to scans and lesions, every fault with its lines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ranoscope.response.spreadsheet import OF_LESION, OF_PATIENT, OF_SCAN, SUMS, TREATMENTS, Row, Spreadsheet, check_row
from ranoscope.response.timeline import Compartment

_NO_LESION = frozenset({"none", "no"})


@dataclass
class Draft:
    """One patient's timeline as plain values, and what is wrong with it; ``places``: scan → where it stands."""

    content: dict[str, Any]
    places: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def draft_patients(table: Spreadsheet) -> dict[str, Draft]:
    """Drafts by patient, in the order of the table."""
    return {patient: _Desk(table.time).draft(patient, rows) for patient, rows in table.rows.items()}


@dataclass
class _Desk:
    """Where one patient's rows are put together; ``time``: the column that dates a scan."""

    time: str
    faults: list[str] = field(default_factory=list)

    def draft(self, patient: str, rows: list[Row]) -> Draft:
        for row in rows:
            self.faults += check_row(row, self.time)
        dated = [row for row in rows if row.time is not None]
        _count_days(dated, from_the_first=self.time == "date")
        scans: dict[str, list[Row]] = {}
        for row in dated:
            scans.setdefault(row.cells.get("scan") or self._name(row, scans), []).append(row)
        content = {"patient": patient, **self._agreed(OF_PATIENT, rows, "the patient")}
        content["scans"] = [self._scan(name, of_scan) for name, of_scan in scans.items()]
        return Draft(content, {name: f"line {of_scan[0].line}" for name, of_scan in scans.items()}, self.faults)

    def _name(self, row: Row, scans: dict[str, list[Row]]) -> str:
        """A name for a scan without one. Rows about the whole scan on one day are scans of their own."""
        day = row.time or 0
        name = unused = f"week-{day // 7:03d}" if self.time == "week" else f"day-{day}"
        number = 1
        while row.lesion is None and any(one.lesion is None for one in scans.get(unused, [])):
            number += 1
            unused = f"{name}-{number}"
        return unused

    def _scan(self, name: str, rows: list[Row]) -> dict[str, Any]:
        whose, whole = f"scan {name}", [row for row in rows if row.lesion is None]
        if len(whole) > 1:
            self.faults.append(f"{whose} on lines {_lines(whole)}")
        if len({row.time for row in rows}) > 1:
            self.faults.append(f"several times for {whose} on lines {_lines(rows)}")
        scan = {"id": name, "day": rows[0].time, **self._agreed(OF_SCAN, rows, whose)}
        sums = self._agreed(set(SUMS) - set(OF_LESION), rows, whose) | self._agreed(SUMS, whole, whose)
        for column, value in sums.items():
            compartment, key = SUMS[column]
            scan.setdefault(compartment, {})[key] = value
        for row in whole:
            self._refuse(row, set(OF_LESION) - set(SUMS), "without a `lesion`")
        if len(whole) < len(rows):
            scan["lesions"] = self._lesions(whose, [row for row in rows if row.lesion is not None])
        return scan

    def _lesions(self, whose: str, rows: list[Row]) -> list[dict[str, Any]]:
        """What is listed. The lesion ``none`` says that none was found."""
        none = [row for row in rows if str(row.lesion).casefold() in _NO_LESION]
        for row in none:
            self._refuse(row, set(OF_LESION), "beside the lesion `none`")
        if none and len(rows) > 1:
            self.faults.append(f"the lesion `none` and others in {whose} on lines {_lines(rows)}")
        lesions: dict[tuple[str, Any], Row] = {}
        for row in [] if none else rows:
            key = (str(row.lesion), row.values.get("compartment", Compartment.ENHANCING))
            if lesions.setdefault(key, row) is not row:
                self.faults.append(f"lesion {row.lesion} of {whose} on lines {_lines([lesions[key], row])}")
        return [
            {"id": name, **{key: row.values[key] for key in OF_LESION if key in row.values}}
            for (name, _), row in lesions.items()
        ]

    def _agreed(self, columns: Iterable[str], rows: list[Row], whose: str) -> dict[str, Any]:
        """What the rows say under these columns; a fault where two say different things."""
        agreed = {}
        for column in columns:
            told = [row for row in rows if column in row.values]
            if len({row.values[column] for row in told}) > 1:
                self.faults.append(f"different `{column}` of {whose} on lines {_lines(told)}")
            if told:
                agreed[column] = told[0].values[column]
        return agreed

    def _refuse(self, row: Row, columns: set[str], why: str) -> None:
        self.faults += [f"`{name}` {why} on line {row.line}" for name in OF_LESION if name in columns & set(row.values)]


def _count_days(rows: list[Row], from_the_first: bool) -> None:
    """Turn ordinals of dates into days since the first row's, and any time of a treatment into its day."""
    origin = rows[0].time or 0 if rows and from_the_first else 0
    for row in rows:
        row.time = (row.time or 0) - origin
        for treatment in TREATMENTS:
            for unit, since in (("week", 0), ("date", origin)):
                if f"{treatment}_{unit}" in row.values:
                    row.values[f"{treatment}_day"] = row.values[f"{treatment}_{unit}"] - since


def _lines(rows: list[Row]) -> str:
    return " and ".join(str(row.line) for row in rows)
