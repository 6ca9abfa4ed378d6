"""A folder of DICOM files to studies and series."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ranoscope.errors import ImageError, problem
from ranoscope.preparing.dicom.aside import Aside, AsideReason
from ranoscope.preparing.dicom.facts import study_moment
from ranoscope.preparing.dicom.header import Attributes, is_dicom, is_directory, read_header
from ranoscope.preparing.dicom.patient import count_patients, private_words
from ranoscope.preparing.dicom.study import HeaderFile, read_series
from ranoscope.preparing.series import Series

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class DicomStudy:
    """``days`` since the folder's first study; None where there are several and this one bears no date."""

    days: int | None
    series: tuple[Series, ...]
    aside: tuple[Aside, ...]


@dataclass(frozen=True)
class DicomFolder:
    """``studies`` in order of date and time.

    ``aside``: files that belong to no study. ``other_files``: how many are no DICOM, or a DICOMDIR.
    """

    studies: tuple[DicomStudy, ...]
    aside: tuple[Aside, ...]
    other_files: int


def read_dicom_folder(folder: Path, progress: Progress) -> DicomFolder:
    """Find the DICOM files of one patient at any depth, by content and not by name, and read their headers.

    Messages name a file by its place in the order of all paths of the folder, counted from 1.

    Args:
        folder: its subfolders are read too; links to folders are not followed.
        progress: told (done, total, what) after every file.

    Raises:
        ImageError: no such folder, or files of more than one patient.
    """
    files, aside, others = _scan(folder, progress)
    patients = count_patients(file.header for file in files)
    if patients > 1:
        raise ImageError(
            problem("images of one patient", f"{patients} patients", "the folder", "give each patient's images alone")
        )
    private = private_words(file.header for file in files)
    by_study: dict[str, list[HeaderFile]] = defaultdict(list)
    for file in files:
        study, series = (file.header.text(f"{level}InstanceUID") for level in ("Study", "Series"))
        if study and series:
            by_study[study].append(file)
        else:
            aside.append(Aside(f"file {file.number} of the folder", AsideReason.NO_SERIES))
    moments = {uid: study_moment(file.header for file in held) for uid, held in by_study.items()}
    order = sorted(by_study, key=lambda uid: (moments[uid][0] or date.max, moments[uid][1], uid))
    days = _days([moments[uid][0] for uid in order])
    studies = [
        DicomStudy(days_of, *read_series(by_study[uid], f"study {number}, " if len(order) > 1 else "", private))
        for number, (uid, days_of) in enumerate(zip(order, days, strict=True), start=1)
    ]
    return DicomFolder(tuple(studies), tuple(aside), others)


def _scan(folder: Path, progress: Progress) -> tuple[list[HeaderFile], list[Aside], int]:
    if not folder.is_dir():
        raise ImageError(problem("a folder of DICOM files", "none", "the place given", "check the path"))
    paths = sorted(_all_files(folder))
    files: list[HeaderFile] = []
    aside: list[Aside] = []
    others = 0
    for number, path in enumerate(paths, start=1):
        found = _open(path)
        if isinstance(found, AsideReason):
            aside.append(Aside(f"file {number} of the folder", found))
        elif found is None:
            others += 1
        else:
            files.append(HeaderFile(path, number, found))
        progress(number, len(paths), "DICOM headers")
    return files, aside, others


def _all_files(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):
        yield from (path for name in names if (path := Path(root, name)).is_file())


def _open(path: Path) -> Attributes | AsideReason | None:
    """A DICOM file's header, why it cannot be read, or None where it is something else."""
    try:
        if path.stat().st_size == 0:
            return AsideReason.EMPTY
        if not is_dicom(path):
            return None
    except OSError:
        return AsideReason.UNREADABLE
    header = read_header(path)
    if header is None:
        return AsideReason.UNREADABLE
    return None if is_directory(header) else header


def _days(dates: Sequence[date | None]) -> list[int | None]:
    if len(dates) == 1:
        return [0]
    first = min((day for day in dates if day is not None), default=date.min)
    return [None if day is None else (day - first).days for day in dates]
