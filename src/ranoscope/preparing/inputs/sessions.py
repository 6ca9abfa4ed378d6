"""The days of a subject's sessions, from BIDS' ``sessions.tsv``."""

from __future__ import annotations

import csv
import re
from datetime import date
from pathlib import Path

from ranoscope.cohort.tables import bad_values
from ranoscope.errors import TableError, problem

_DAYS = re.compile(r"-?\d{1,5}(?:\.0+)?", re.ASCII)
# BIDS: YYYY-MM-DDThh:mm:ss, of which the day is used; a person may leave the time out.
_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:T.*)?", re.ASCII)
_COLUMNS = ("days", "acq_time")


def read_days(table: Path) -> dict[str, int]:
    """Day by session; days of one table can be compared, and a session without one (n/a) is not there.

    Column ``days``, or else ``acq_time``, BIDS' own, of which only differences are used: dates go nowhere else.

    Raises:
        TableError: no table, neither column, a session twice, or a cell that is no day; rows are named, dates are not.
    """
    rows = _rows(table)
    names = [name.strip() for name in rows[0]] if rows else []
    column = next((name for name in _COLUMNS if name in names), None)
    if "session_id" not in names or column is None:
        got = f"{len(names)} columns without these"
        raise TableError(problem("the columns session_id and days (or acq_time)", got, table.name, "add them"))
    at, day_at = names.index("session_id"), names.index(column)
    days: dict[str, int] = {}
    wrong = []
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            wrong += [f"row {number}: {len(row)} cells under {len(names)} headers"] if row else []
            continue
        label, text = f"ses-{row[at].strip().removeprefix('ses-')}", row[day_at].strip()
        if text.casefold() in ("", "n/a"):
            continue
        day = _day(text, column)
        if day is None or label in days:
            wrong.append(f"row {number}: " + ("no day" if day is None else "a session that is there already"))
        else:
            days[label] = day
    if wrong:
        expected = "whole days" if column == "days" else "dates as YYYY-MM-DD"
        raise bad_values(table.name, f"{expected}, a row for every session", wrong, "correct these rows")
    return days


def _rows(table: Path) -> list[list[str]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            return list(csv.reader(stream, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(problem("a table with tabs", "an unreadable file", table.name, "save it as UTF-8")) from error


def _day(text: str, column: str) -> int | None:
    if column == "days":
        return int(float(text)) if _DAYS.fullmatch(text) else None
    found = _DATE.fullmatch(text)
    try:
        return None if found is None else date.fromisoformat(found[1]).toordinal()
    except ValueError:
        return None
