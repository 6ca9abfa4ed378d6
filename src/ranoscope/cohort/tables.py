"""CSV tables as a person may have left them: found by name, columns by header, every fault with its line number."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ranoscope.cohort import layout
from ranoscope.errors import TableError, problem


@dataclass(frozen=True)
class Column:
    """A column and the headers it may stand under: exact ``names`` (published one first), or any with ``prefix``."""

    key: str
    names: tuple[str, ...]
    prefix: str | None = None

    def find(self, header: list[str]) -> int | None:
        """Position in the header, or None."""
        wanted = [name.casefold() for name in self.names]
        found = [place for place, name in enumerate(header) if name.casefold() in wanted]
        if not found and self.prefix is not None:
            found = [place for place, name in enumerate(header) if name.startswith(self.prefix)]
        return found[0] if found else None

    @property
    def title(self) -> str:
        """The header for messages."""
        return f"`{self.names[0]}`" + (f" (or {', '.join(self.names[1:])})" if len(self.names) > 1 else "")


@dataclass(frozen=True)
class Line:
    """One row: its line in the file (header = 1) and its stripped cells by column key."""

    number: int
    cells: dict[str, str]


def find_table(root: Path, published: str) -> Path | None:
    """Look for a LUMIERE table in the folder given, inside its ``Imaging``, beside ``Imaging`` or above it.

    A newer release is recognised by the first part of its name (``LUMIERE-ExpertRating*.csv``).

    Raises:
        TableError: several files of one folder could be it and none carries the published name.
    """
    stem = published.removesuffix(".csv").removesuffix("-v202211")
    home = _home(root)
    for folder in (home, home / layout.IMAGING, home.absolute().parent):
        found = sorted(folder.glob(f"{stem}*.csv"))
        exact = [path for path in found if path.name == published]
        if exact or len(found) == 1:
            return (exact or found)[0]
        if found:
            names = ", ".join(path.name for path in found)
            raise TableError(problem(f"one {published}", names, "the LUMIERE folder", "keep the one to be read"))
    return None


def is_synthetic(root: Path) -> bool:
    """Whether the folder given, or the one that holds its ``Imaging``, carries a phantom's mark."""
    return (_home(root) / layout.SYNTHETIC_MARK).is_file()


def read_lines(path: Path, columns: tuple[Column, ...]) -> list[Line]:
    """Read the named columns of a CSV file as stripped text; other columns are ignored, blank lines skipped.

    Raises:
        TableError: not UTF-8, a column missing (with the nearest header there is), or rows of another length than the
            header, which an unquoted comma causes; all are listed.
    """
    numbered = _numbered_rows(path)
    header = [name.strip() for name in numbered[0][1]] if numbered else []
    places = {column.key: column.find(header) for column in columns}
    missing = [column for column in columns if places[column.key] is None]
    if missing:
        free = [name for place, name in enumerate(header) if place not in places.values()]
        raise _missing_columns(path, missing, free or header)
    lines, ragged = [], []
    for number, row in numbered[1:]:
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            ragged.append(f"{len(row)} on line {number}")
            continue
        lines.append(Line(number, {key: row[place].strip() for key, place in places.items() if place is not None}))
    if ragged:
        raise bad_values(path.name, f"{len(header)} fields on every line", ragged, "quote cells that hold a comma")
    return lines


def bad_values(file: str, expected: str, found: Iterable[str], do: str) -> TableError:
    """One error that lists every bad value with its line."""
    return TableError(problem(expected, "; ".join(found), file, do))


def _home(root: Path) -> Path:
    """The folder that holds the tables in the published arrangement, whichever part of it was named."""
    return root.parent if root.is_file() or root.name == layout.IMAGING else root


def _numbered_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Rows with the line each begins on (a quoted cell may run over several)."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            rows, begins = [], 1
            for row in reader:
                rows.append((begins, row))
                begins = reader.line_num + 1
            return rows
    except UnicodeDecodeError as error:
        raise TableError(problem("UTF-8 text", f"{error.reason}", path.name, "save the table as UTF-8")) from error
    except csv.Error as error:
        raise TableError(problem("a CSV table", str(error), path.name, "download the table again")) from error


def _missing_columns(path: Path, missing: list[Column], free: list[str]) -> TableError:
    """``free``: headers that no known column claims."""
    expected = ", ".join(column.title for column in missing)
    hints = []
    for column in missing:
        near = difflib.get_close_matches(column.names[0], free, n=1, cutoff=0.5)
        hints += [f"`{near[0]}` (renamed from `{column.names[0]}`?)"] if near else []
    got = ("the nearest " + ", ".join(hints)) if hints else (f"only {', '.join(free)}" if free else "an empty file")
    several = "s" if len(missing) > 1 else ""
    return TableError(problem(f"the column{several} {expected}", got, path.name, "restore the published header"))
