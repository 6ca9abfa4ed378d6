"""LUMIERE's folders as inputs: ``Imaging``, a patient, or a visit; sequences in scanner space, named by their files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from ranoscope.cohort import layout
from ranoscope.domain import SEQUENCES, Sequence, StudyKey, Visit
from ranoscope.preparing.inputs import pseudonyms
from ranoscope.preparing.inputs.contents import Contents, counted, is_file, is_nifti, look_into
from ranoscope.preparing.inputs.files import read_files
from ranoscope.preparing.inputs.study import Draft, Found, Moment, Progress, TumourMask
from ranoscope.preparing.series import Series

Otherwise = Callable[[Contents, int, Progress], Found]


def visit_folders(folder: Path) -> dict[StudyKey, Path]:
    """The visits in a folder that is, or holds, LUMIERE's ``Imaging``, or is one patient or visit; empty for others."""
    place = folder.absolute()
    if pseudonyms.is_patient_folder_name(place.parent.name) and (visit := Visit.parse(place.name)) is not None:
        return {StudyKey(place.parent.name, visit): folder}
    if pseudonyms.is_patient_folder_name(place.name):
        return _of_patient(folder, place.name)
    return {key: visit for patient in _patients(folder) for key, visit in _of_patient(patient, patient.name).items()}


def read_lumiere(folder: Path, source: int, progress: Progress, otherwise: Otherwise) -> Found:
    """Every visit of ``visit_folders``: its own images where they bear LUMIERE's names.

    Args:
        folder: the input.
        source: its number.
        progress: told (done, total, what) after every visit.
        otherwise: reads a visit folder without LUMIERE's names, DICOM or NIfTI.

    Raises:
        ImageError: a visit folder without LUMIERE's names holds what ``otherwise`` refuses.
    """
    where = f"input {source}"
    visits = visit_folders(folder)
    drafts: list[Draft] = []
    notes: list[str] = []
    unknown = empty = 0
    for number, (key, place) in enumerate(sorted(visits.items()), start=1):
        own = _own_images(place)
        if own:
            drafts.append(_read_visit(_VisitFolder(key, place, own), source))
            unknown += sum(is_nifti(path) for path in _entries(place)) - len(own)
        elif (contents := look_into(place)).nifti or contents.others:
            found = otherwise(contents, source, progress)
            drafts += found.drafts
            notes += found.notes
        else:
            empty += 1
        progress(number, len(visits), "LUMIERE visits")
    summary = f"{where}: LUMIERE's folders, {counted(len(drafts), 'study')}"
    summary += f", {counted(empty, 'empty visit folder')}" if empty else ""
    summary += f"; {counted(unknown, 'NIfTI file')} beside LUMIERE's own not read" if unknown else ""
    strangers = _strangers(folder, visits.values())
    summary += f"; {counted(strangers, 'folder')} that are no visits of a patient not read" if strangers else ""
    return Found(tuple(drafts), (f"{summary}.", *notes))


@dataclass(frozen=True)
class _VisitFolder:
    """A visit folder and the sequences in it."""

    key: StudyKey
    place: Path
    images: Mapping[Sequence, Path]


def _read_visit(folder: _VisitFolder, source: int) -> Draft:
    files = {path: f"{folder.key}/{path.name}" for path in folder.images.values()}
    series, aside = read_files(files, lambda *_: None)
    named = {sequence: series[path] for sequence, path in folder.images.items() if path in series}
    return Draft(
        source,
        f"{folder.key} of input {source}",
        folder.key.patient,
        Moment(f"input {source}", visit=folder.key.visit),
        tuple(series.values()),
        named,
        _mask(folder, named),
        aside,
    )


def _mask(folder: _VisitFolder, named: Mapping[Sequence, Series]) -> TumourMask | None:
    """The first mask that is there on the grid of an image that is: of CT1 before others, where enhancement is seen."""
    masks = [(sequence, tool, name) for sequence in named for tool, name in layout.native_masks(sequence)]
    for sequence, tool, name in masks:
        if is_file(folder.place / name):
            return TumourMask(folder.place / name, tool, sequence, f"{folder.key}/{name}")
    return None


def _own_images(place: Path) -> dict[Sequence, Path]:
    files = {sequence: place / layout.sequence_file(sequence) for sequence in SEQUENCES}
    return {sequence: path for sequence, path in files.items() if is_file(path)}


def _of_patient(folder: Path, patient: str) -> dict[StudyKey, Path]:
    visits = {place: Visit.parse(place.name) for place in _entries(folder) if place.is_dir()}
    return {StudyKey(patient, visit): place for place, visit in visits.items() if visit is not None}


def _patients(folder: Path) -> list[Path]:
    """Folders of LUMIERE's patients in ``Imaging``, or in the folder itself."""
    inside = folder / layout.IMAGING
    imaging = inside if inside.is_dir() else folder
    return [one for one in _entries(imaging) if pseudonyms.is_patient_folder_name(one.name) and one.is_dir()]


def _strangers(folder: Path, visits: Collection[Path]) -> int:
    """Folders beside the visits and patients, whose names may be anything."""
    patients = {visit.parent for visit in visits if visit != folder}
    imaging = {patient.parent for patient in patients if patient != folder}
    beside = {one for parent in patients | imaging for one in _entries(parent)}
    return sum(one.is_dir() for one in beside.difference(visits, patients))


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted; nothing where it cannot be opened."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []
