"""Paths to studies: what each input is, and the studies of all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ranoscope.errors import ImageError, problem
from ranoscope.preparing.inputs import bids, lumiere
from ranoscope.preparing.inputs.contents import (
    TAKEN,
    Contents,
    holds_dicom,
    is_dicom_file,
    is_file,
    is_nifti,
    look_into,
)
from ranoscope.preparing.inputs.dicom import read_dicom_input
from ranoscope.preparing.inputs.listed import read_listed
from ranoscope.preparing.inputs.loose import read_loose_files, read_loose_folder
from ranoscope.preparing.inputs.merge import merge
from ranoscope.preparing.inputs.pseudonyms import require_pseudonym
from ranoscope.preparing.inputs.study import Found, Inputs, Progress

# Names of other kinds that messages may repeat: an ending that is not among them could be part of somebody's name.
_OTHER_KINDS = (".zip", ".tar", ".tgz", ".gz", ".7z", ".rar", ".mha", ".mhd", ".nrrd", ".mgz", ".img", ".hdr", ".xlsx")


def find_studies(inputs: Sequence[Path], progress: Progress, patient: str | None = None) -> Inputs:
    """Find out what each input is and give the studies of all, in order of patient and visit.

    An input is a DICOM folder, a NIfTI file or a folder of NIfTI files, a LUMIERE folder (``Imaging``, the folder that
    holds it, a patient or a visit), a BIDS dataset (or a subject or session of it), or a manifest. Only headers are
    read. A patient's pseudonym is the input's own, and never DICOM's PatientID; where there is none, each input is a
    patient of its own, Patient-001 and on in the order of the inputs. NIfTI files that are inputs themselves and tell
    no pseudonym are one study. Messages name an input by its number, from 1.

    Args:
        inputs: one or more.
        progress: told (done, total, what) as headers are read.
        patient: a pseudonym for all inputs that hold none.

    Raises:
        ImageError: an input is not there or of none of these kinds, is given twice or lies in another; images of
            several patients where one is expected; or studies that cannot be put in order.
        TableError: a manifest or a BIDS table has faults.
        RecipeError: ``patient`` is no pseudonym.
    """
    if patient is not None:
        require_pseudonym(patient)
    _require_apart(inputs)
    files = {number: path for number, path in enumerate(inputs, start=1) if is_nifti(path) and is_file(path)}
    found = {
        number: _read(path, number, progress) for number, path in enumerate(inputs, start=1) if number not in files
    }
    if files:
        found[min(files)] = read_loose_files(files, progress)
    return merge([found[number] for number in sorted(found)], patient)


def _require_apart(inputs: Sequence[Path]) -> None:
    """Raise ImageError where there is none, where one is not there, or where one holds another."""
    if not inputs:
        raise ImageError(problem(TAKEN, "none", "the inputs", "name at least one"))
    places: list[Path] = []
    for number, path in enumerate(inputs, start=1):
        try:
            places.append(path.resolve(strict=True))
        except (OSError, RuntimeError, ValueError) as error:
            raise ImageError(problem(TAKEN, "nothing", f"input {number}", "check the path")) from error
    first: dict[Path, int] = {}
    for number, place in enumerate(places, start=1):
        if first.setdefault(place, number) != number:
            where = f"inputs {first[place]} and {number}"
            raise ImageError(problem("every input once", "one twice", where, "remove one"))
    for number, place in enumerate(places, start=1):
        for parent in place.parents:
            if parent in first:
                where = f"input {number}, which lies in input {first[parent]}"
                raise ImageError(problem("every study once", "a part of another input", where, "remove one of them"))


def _read(path: Path, number: int, progress: Progress) -> Found:
    where = f"input {number}"
    if path.is_dir():
        if bids.find_sessions(path):
            return bids.read_bids(path, number, progress)
        if lumiere.visit_folders(path):
            return lumiere.read_lumiere(path, number, progress, _read_plain)
        return _read_plain(look_into(path), number, progress)
    if path.suffix.lower() == ".csv":
        return read_listed(path, number, progress)
    if is_dicom_file(path):
        raise ImageError(problem(TAKEN, "one DICOM file", where, "give the folder that holds the whole examination"))
    kind = next((ending for ending in _OTHER_KINDS if path.name.lower().endswith(ending)), None)
    got = f"a {kind} file" if kind else "a file of another kind"
    raise ImageError(problem(TAKEN, got, where, "unpack archives and convert other formats to NIfTI"))


def _read_plain(contents: Contents, number: int, progress: Progress) -> Found:
    """A folder without an order of its own: DICOM or NIfTI."""
    if holds_dicom(contents, f"input {number}"):
        return read_dicom_input(contents, number, progress)
    found = read_loose_folder(contents, number, progress)
    return Found(found.drafts, (*found.notes, *contents.notes(f"input {number}")))
