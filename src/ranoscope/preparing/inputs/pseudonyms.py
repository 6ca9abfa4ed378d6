"""Which patient an input speaks of, where a folder or file is named by a pseudonym; other names may be real ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ranoscope.domain import Visit
from ranoscope.errors import RecipeError, problem

# LUMIERE's form, and that of BIDS, whose labels are letters and digits.
_FOLDER = re.compile(r"Patient-\d+|sub-[A-Za-z0-9]+", re.ASCII)
_FILE = re.compile(rf"({_FOLDER.pattern})(?:[_.]|$)", re.ASCII)
_NUMBERED = re.compile(r"Patient-(\d+)", re.ASCII)
# What a person chose in a manifest: a folder's name on every system.
_CHOSEN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?", re.ASCII)
PSEUDONYM = "letters and digits, with - or _ between them, at most 64, e.g. Patient-042"
# A pseudonym may stand above folders of a session and of its DICOM files: sub-01/ses-02/dicom.
_LEVELS = 3


def is_pseudonym(text: str) -> bool:
    """Whether a text that a person chose as a pseudonym can name folders and files."""
    return _CHOSEN.fullmatch(text) is not None


def require_pseudonym(text: str) -> None:
    """Raise RecipeError, which does not repeat it, unless the text can be a pseudonym."""
    if not is_pseudonym(text):
        raise RecipeError(problem(f"a pseudonym of {PSEUDONYM}", "another text", "--patient", "give one of that form"))


def is_patient_folder_name(name: str) -> bool:
    """Whether a folder's name is LUMIERE's of a patient, with a number and no name."""
    return _NUMBERED.fullmatch(name) is not None


def of_folder(folder: Path) -> str | None:
    """The pseudonym that this folder, or one of the two above it, is called; the innermost."""
    names = folder.absolute().parts[-_LEVELS:]
    return next((name for name in reversed(names) if _FOLDER.fullmatch(name)), None)


def of_file(file: Path) -> str | None:
    """The pseudonym that a file's name begins with."""
    found = _FILE.match(file.name)
    return None if found is None else found[1]


def within(folder: Path, files: Iterable[Path]) -> set[str]:
    """All pseudonyms by which folders between ``folder`` and its files are called."""
    parents = {file.parent for file in files}
    return {part for parent in parents for part in parent.relative_to(folder).parts if _FOLDER.fullmatch(part)}


def visit_of_folder(folder: Path) -> Visit | None:
    """The visit that a folder of a patient is called, as in Patient-042/week-010."""
    place = folder.absolute()
    return Visit.parse(place.name) if _FOLDER.fullmatch(place.parent.name) else None


def free_names(taken: Iterable[str]) -> Iterator[str]:
    """Patient-001, -002 and on, without numbers that are another's."""
    numbers = {int(found[1]) for name in taken if (found := _NUMBERED.fullmatch(name))}
    number = 0
    while True:
        number += 1
        if number not in numbers:
            yield f"Patient-{number:03d}"
