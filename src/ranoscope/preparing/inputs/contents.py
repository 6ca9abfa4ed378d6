"""What lies in a folder, by file names and the first bytes of those that are not NIfTI."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ranoscope.errors import ImageError, problem
from ranoscope.preparing.dicom.header import Attributes, is_dicom, is_directory, read_header
from ranoscope.preparing.nifti import ENDINGS

TAKEN = "a DICOM folder, NIfTI files, a LUMIERE folder, a BIDS dataset or a manifest (CSV)"


@dataclass(frozen=True)
class Contents:
    """``nifti`` and ``others``: files of a folder at any depth, sorted. Hidden NIfTI files, as macOS leaves, are none.

    ``links``: links to folders, which are not followed; ``closed``: folders that cannot be opened.
    """

    folder: Path
    nifti: tuple[Path, ...]
    others: tuple[Path, ...]
    links: int
    closed: int

    def notes(self, where: str) -> list[str]:
        """Sentences on what was not looked into."""
        links = [f"{where}: {counted(self.links, 'link')} to folders not followed."] if self.links else []
        return links + ([f"{where}: {counted(self.closed, 'folder')} could not be opened."] if self.closed else [])


def look_into(folder: Path) -> Contents:
    """List a folder. What cannot be opened is counted."""
    nifti: list[Path] = []
    others: list[Path] = []
    links = 0
    closed: list[OSError] = []
    for root, folders, names in os.walk(folder, onerror=closed.append):
        links += sum(Path(root, name).is_symlink() for name in folders)
        for name in names:
            path = Path(root, name)
            if is_nifti(path):
                if not name.startswith(".") and is_file(path):
                    nifti.append(path)
            elif is_file(path):
                others.append(path)
    return Contents(folder, tuple(sorted(nifti)), tuple(sorted(others)), links, len(closed))


def is_nifti(path: Path) -> bool:
    """Whether the name ends as that of a NIfTI file."""
    return path.name.lower().endswith(ENDINGS)


def is_file(path: Path) -> bool:
    """Whether a file is there and can be asked for."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_dicom_file(path: Path) -> bool:
    """Whether a file begins as DICOM does; one that cannot be opened does not."""
    try:
        return is_dicom(path)
    except OSError:
        return False


def first_header(files: Sequence[Path]) -> Attributes | None:
    """Header of the first file that is a DICOM file of a study; None where there is none."""
    for path in files:
        header = read_header(path) if is_dicom_file(path) else None
        if header is not None and not is_directory(header) and header.text("StudyInstanceUID"):
            return header
    return None


def holds_dicom(contents: Contents, where: str) -> bool:
    """Whether any file is DICOM. One of both kinds is refused: which is the other's conversion cannot be told.

    Raises:
        ImageError: the folder holds neither DICOM nor NIfTI, or both; it says how many files of which.
    """
    found = any(map(is_dicom_file, contents.others))
    if found and contents.nifti:
        dicom = sum(map(is_dicom_file, contents.others))
        got = f"{counted(dicom, 'DICOM file')} and {counted(len(contents.nifti), 'NIfTI file')}"
        raise ImageError(problem("DICOM or NIfTI files", got, where, "give the folder of one kind alone"))
    if not found and not contents.nifti:
        files = counted(len(contents.others), "file")
        got = f"{files} of other kinds" if contents.others else "an empty folder"
        got += f" and {counted(contents.closed, 'folder')} that cannot be opened" if contents.closed else ""
        raise ImageError(problem(TAKEN, got, where, "check the path, unpack archives, convert other formats"))
    return found


def counted(number: int, noun: str) -> str:
    """A number and its noun, e.g. "2 files" or "3 studies"."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"
