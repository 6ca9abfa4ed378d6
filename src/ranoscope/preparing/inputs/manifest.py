"""The manifest: a CSV with a row per study, read strictly; every fault of the table is listed at once.

patient,days,CT1,T1,T2,FLAIR,mask,mask_labels
Patient-001,0,scans/a/ct1.nii.gz,scans/a/t1.nii.gz,,scans/a/flair.nii.gz,scans/a/seg.nii.gz,BraTS-2023
Patient-001,84,scans/b/ct1.nii.gz,,,,,
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ranoscope.cohort.tables import Column, Line, bad_values, read_lines
from ranoscope.domain import LABELS, SEQUENCES, LabelConvention, Sequence, Visit
from ranoscope.errors import TableError, problem
from ranoscope.preparing.inputs.contents import is_file, is_nifti
from ranoscope.preparing.inputs.pseudonyms import PSEUDONYM, is_pseudonym
from ranoscope.preparing.inputs.study import CALENDAR, Moment
from ranoscope.preparing.inputs.visits import LAST_WEEK

_TIMES = ("study", "week", "days", "date")
_FILES = (*SEQUENCES, "mask")
_KNOWN = ("patient", *_TIMES, *SEQUENCES, "dicom", "mask", "mask_labels")
_NUMBER, _DATE = re.compile(r"-?\d{1,5}", re.ASCII), re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_LONGEST_VISIT = len("week-000-99")
_CONVENTIONS: Mapping[str, LabelConvention] = {str(one).casefold(): one for one in LABELS}


@dataclass(frozen=True)
class Row:
    """One study: NIfTI ``images`` by sequence, or else a ``dicom`` folder; a ``mask`` and whose labels it carries."""

    line: int
    patient: str
    moment: Moment
    images: Mapping[Sequence, Path]
    dicom: Path | None
    mask: tuple[Path, LabelConvention] | None


def read_manifest(path: Path) -> list[Row]:
    """Read and check the whole table; files are looked for, not opened.

    Columns: ``patient``; one of ``study`` (week-044 or week-044-2), ``week``, ``days`` (whole numbers; the patient's
    first study is in week 0) and ``date`` (YYYY-MM-DD, of which only differences are used); CT1, T1, T2, FLAIR (NIfTI)
    or ``dicom`` (a folder); ``mask`` (NIfTI) with ``mask_labels``, a name of ``domain.LABELS``. Paths are relative to
    the table.

    Raises:
        TableError: unknown, missing or doubled columns; or rows with missing files, cells out of their vocabulary, a
            study or file given twice. Rows and columns are named, dates, names and paths are not repeated.
    """
    header = _header(path)
    columns = tuple(Column(name, (name,)) for name in _KNOWN if name.casefold() in header)
    lines = _lines(path, columns)
    if not lines:
        raise TableError(problem("a row per study", "a header alone", path.name, "add rows"))
    faults: list[str] = []
    rows = [_row(line, path, faults) for line in lines]
    found = [row for row in rows if row is not None]
    faults += _repeated_studies(found, "date" in header) + _repeated_files(found)
    if faults:
        faults.sort(key=_line_of)
        raise bad_values(path.name, "a study of its own on every line", faults, "correct these cells")
    return found


def _lines(path: Path, columns: tuple[Column, ...]) -> list[Line]:
    try:
        return read_lines(path, columns)
    except OSError as error:
        raise TableError(problem("a readable table", "a file that cannot be opened", path.name, "check it")) from error


def _header(path: Path) -> set[str]:
    """Headers in lower case, after the table as a whole is readable.

    Raises:
        TableError: faults of the header, all of them.
    """
    _lines(path, (Column("patient", ("patient",)),))
    with path.open(encoding="utf-8-sig", newline="") as stream:
        names = [name.strip().casefold() for name in next(csv.reader(stream))]
    known = {name.casefold() for name in _KNOWN}
    times = [name for name in _TIMES if name in names]
    faults = [f"an unknown column {place}" for place, name in enumerate(names, start=1) if name not in known]
    faults += [f"{names.count(name)} columns `{name}`" for name in sorted(known) if names.count(name) > 1]
    faults += [] if len(times) == 1 else [f"{len(times)} of the columns {', '.join(_TIMES)}; one says when"]
    if not {"dicom", *map(str.casefold, SEQUENCES)}.intersection(names):
        faults.append("no column of images")
    if ("mask" in names) != ("mask_labels" in names):
        faults.append("`mask` or `mask_labels` without the other")
    if faults:
        expected = f"columns among {', '.join(_KNOWN)}"
        raise bad_values(path.name, expected, faults, "correct the header (columns are counted from 1)")
    return set(names)


def _row(line: Line, path: Path, faults: list[str]) -> Row | None:
    """The row, or None and an entry in ``faults`` for every cell that is wrong."""
    cells, found = line.cells, len(faults)

    def fault(column: str, got: str) -> None:
        faults.append(f"line {line.number}, column `{column}`: {got}")

    if not is_pseudonym(cells["patient"]):
        fault("patient", f"no pseudonym of {PSEUDONYM}")
    column = next(name for name in _TIMES if name in cells)
    moment = _moment(column, cells[column], path)
    if isinstance(moment, str):
        fault(column, moment)
    files = {name: path.parent / cells[name] for name in _FILES if cells.get(name)}
    for name, file in files.items():
        if not is_nifti(file) or not is_file(file):
            fault(name, "no such file" if is_nifti(file) else "no NIfTI file (.nii, .nii.gz)")
    images = {sequence: files[sequence] for sequence in SEQUENCES if sequence in files}
    folder = path.parent / cells["dicom"] if cells.get("dicom") else None
    _check_images(images, folder, fault)
    mask = _mask(cells, files.get("mask"), fault)
    if len(faults) > found or isinstance(moment, str):
        return None
    return Row(line.number, cells["patient"], moment, images, folder, mask)


def _check_images(images: Mapping[Sequence, Path], folder: Path | None, fault: Callable[[str, str], None]) -> None:
    if folder is not None and images:
        fault("dicom", "a folder beside NIfTI files")
    elif folder is None and not images:
        fault(f"{SEQUENCES[0]}", "no image on this line")
    elif folder is not None and not _is_folder(folder):
        fault("dicom", "no such folder")


def _mask(
    cells: Mapping[str, str], file: Path | None, fault: Callable[[str, str], None]
) -> tuple[Path, LabelConvention] | None:
    labels = cells.get("mask_labels", "")
    convention = _CONVENTIONS.get(labels.casefold())
    if file is None and labels:
        fault("mask", "none, but `mask_labels`")
    elif file is not None and convention is None:
        fault("mask_labels", f"none of {', '.join(map(str, LABELS))}")
    return None if file is None or convention is None else (file, convention)


def _moment(column: str, text: str, path: Path) -> Moment | str:
    """When the study was, or what is wrong with the cell."""
    origin = str(path.resolve())
    if column == "study":
        visit = Visit.parse(text) if len(text) <= _LONGEST_VISIT else None
        return "no visit, e.g. week-044 or week-044-2" if visit is None else Moment(origin, visit=visit)
    if column == "date":
        try:
            day = date.fromisoformat(text) if _DATE.fullmatch(text) else None
        except ValueError:
            day = None
        return "no date as YYYY-MM-DD" if day is None else Moment(CALENDAR, day.toordinal())
    if not _NUMBER.fullmatch(text):
        return "no whole number"
    if column == "days":
        return Moment(origin, int(text))
    if not 0 <= int(text) <= LAST_WEEK:
        return f"no week from 0 to {LAST_WEEK}"
    return Moment(origin, visit=Visit(int(text)))


def _repeated_studies(rows: list[Row], dates: bool) -> list[str]:
    seen: dict[tuple[str, Visit | int], int] = {}
    faults = []
    for row in rows:
        key = (row.patient, row.moment.visit or row.moment.day)
        first = seen.setdefault(key, row.line)
        if first != row.line:
            when = "one date" if dates else f"{row.moment.visit or f'day {row.moment.day}'}"
            faults.append(f"line {row.line}: {row.patient} at {when} again, as on line {first}")
    return faults


def _repeated_files(rows: list[Row]) -> list[str]:
    seen: dict[Path, str] = {}
    faults = []
    for row in rows:
        given: dict[str, Path | None] = {str(sequence): image for sequence, image in row.images.items()}
        given |= {"mask": row.mask[0] if row.mask else None, "dicom": row.dicom}
        for column, path in given.items():
            if path is None:
                continue
            place = f"line {row.line}, column `{column}`"
            first = seen.setdefault(path.resolve(), place)
            if first != place:
                faults.append(f"{place}: what {first} names already")
    return faults


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _line_of(fault: str) -> int:
    """The line a fault begins with, to list them in the table's order."""
    return int(re.findall(r"\d+", fault)[0])
