"""NIfTI files without an order that says more: those of one folder, or given one by one, are one study."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

from ranoscope.domain import Visit
from ranoscope.errors import ImageError, problem
from ranoscope.preparing.inputs import pseudonyms
from ranoscope.preparing.inputs.contents import Contents, counted
from ranoscope.preparing.inputs.files import read_files
from ranoscope.preparing.inputs.study import Draft, Found, Moment, Progress


def read_loose_folder(contents: Contents, source: int, progress: Progress) -> Found:
    """The NIfTI files of a folder as one study.

    Raises:
        ImageError: files of one name in several subfolders, or of several patients by their pseudonyms.
    """
    where = f"input {source}"
    folder = contents.folder
    told = pseudonyms.within(folder, contents.nifti) | {
        name for file in contents.nifti if (name := pseudonyms.of_file(file))
    }
    if len(told) > 1:
        got = counted(len(told), "pseudonym")
        raise ImageError(problem("images of one patient", got, where, "give each patient's folder as an input"))
    patient = next(iter(told), None) or pseudonyms.of_folder(folder)
    return _read(contents.nifti, (source, where, patient), pseudonyms.visit_of_folder(folder), progress)


def read_loose_files(files: Mapping[int, Path], progress: Progress) -> Found:
    """Files that are inputs themselves, by number: a study for each pseudonym in their names or folders' names.

    Raises:
        ImageError: several files of one name of one patient, or of no known patient.
    """
    by_told: dict[tuple[str | None, Visit | None], dict[int, Path]] = defaultdict(dict)
    for number, path in files.items():
        patient = pseudonyms.of_file(path) or pseudonyms.of_folder(path.parent)
        by_told[patient, pseudonyms.visit_of_folder(path.parent)][number] = path
    found = []
    for (patient, visit), held in by_told.items():
        numbers = sorted(held)
        where = f"input{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
        found.append(_read(tuple(held.values()), (numbers[0], where, patient), visit, progress))
    return Found(
        tuple(draft for one in found for draft in one.drafts), tuple(note for one in found for note in one.notes)
    )


def _read(
    files: tuple[Path, ...], whose: tuple[int, str, str | None], visit: Visit | None, progress: Progress
) -> Found:
    source, where, patient = whose
    names = Counter(file.name for file in files)
    repeated = sum(count for count in names.values() if count > 1)
    if repeated:
        do = "give the folder of one study at a time, or list the studies in a manifest (CSV)"
        got = f"{repeated} files that share their names in different folders"
        raise ImageError(problem("files of one study", got, where, do))
    ordered = sorted(files, key=lambda file: file.name)
    series, aside = read_files({file: file.name for file in ordered}, progress)
    moment = Moment(where, visit=visit)
    draft = Draft(source, where, patient, moment, tuple(series.values()), aside=aside)
    sentence = f"{where}: {counted(len(files), 'NIfTI file')}"
    if len(files) > 1:
        sentence += " without dates, read as one study; files of several sessions could not be told apart"
    return Found((draft,), (f"{sentence}.",))
