"""A folder of DICOM files as an input: its studies, and whose headers they were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ranoscope.errors import ImageError, problem
from ranoscope.preparing.dicom.aside import Aside
from ranoscope.preparing.dicom.folder import read_dicom_folder
from ranoscope.preparing.inputs import pseudonyms
from ranoscope.preparing.inputs.contents import Contents, counted, first_header
from ranoscope.preparing.inputs.study import DicomSource, Draft, Found, Moment, Progress
from ranoscope.preparing.series import Series


def read_dicom_input(contents: Contents, source: int, progress: Progress) -> Found:
    """The studies of a folder that hold MR images; others are named in a note and do not begin a patient's course.

    Raises:
        ImageError: several patients, by headers or by pseudonyms of subfolders; no MR image; several studies of which
            one bears no date, or in a folder that is called as one visit.
    """
    where, folder = f"input {source}", contents.folder
    told = pseudonyms.within(folder, contents.others)
    if len(told) > 1:
        got = f"folders of {len(told)} pseudonyms"
        raise ImageError(problem("images of one patient", got, where, "give each patient's folder as an input"))
    patient = next(iter(told), None) or pseudonyms.of_folder(folder)
    drafts, notes = read_dicom_studies(contents, Draft(source, where, patient, Moment(where), ()), progress)
    visit = pseudonyms.visit_of_folder(folder)
    if visit is None:
        return Found(drafts, notes)
    if len(drafts) > 1:
        got = f"{len(drafts)} studies in a folder called {visit}"
        raise ImageError(problem("one study", got, where, "put each study into a folder of its own week"))
    return Found(tuple(replace(draft, moment=Moment(where, visit=visit)) for draft in drafts), notes)


def read_dicom_studies(
    contents: Contents, like: Draft, progress: Progress
) -> tuple[tuple[Draft, ...], tuple[str, ...]]:
    """As ``read_dicom_input``, for a folder whose patient is known from elsewhere.

    Args:
        contents: of the folder.
        like: source, place in messages and patient of the studies; the origin of its moment is theirs.
        progress: told (done, total, what) after every file.
    """
    try:
        found = read_dicom_folder(contents.folder, progress)
    except ImageError as error:
        raise ImageError(f"{error} The folder is {like.where}.") from error
    head = first_header(contents.others)
    drafts, notes = [], [*_told(found.aside, like.where), *contents.notes(like.where)]
    several = len(found.studies) > 1
    for place, study in enumerate(found.studies):
        name = f"{like.where}, study {place + 1}" if several else like.where
        if not any(map(_is_mr, study.series)):
            others = f"{len(study.series)} series of other modalities" if study.series else "only files set aside"
            notes.append(f"{name}: no MR image, {others}; not used.")
            continue
        if study.days is None:
            do = "list its studies in a manifest (CSV) with their weeks"
            raise ImageError(problem("a date in every study", "none", name, do))
        moment = Moment(like.moment.origin, study.days, (place,))
        source = None if head is None else DicomSource(contents.folder, place, head)
        drafts.append(Draft(like.source, name, like.patient, moment, study.series, aside=study.aside, dicom=source))
    if not drafts:
        strange = sum(len(study.series) for study in found.studies)
        got = f"none in {counted(len(contents.others), 'file')}"
        got += f", {strange} series of other modalities" if strange else ""
        raise ImageError(problem("DICOM files of MR images", got, like.where, "give the folder of the MR examination"))
    others = f" beside {counted(found.other_files, 'other file')}" if found.other_files else ""
    return tuple(drafts), (f"{like.where}: a DICOM folder of {counted(len(drafts), 'study')}{others}.", *notes)


def _is_mr(series: Series) -> bool:
    return series.facts.modality in ("MR", "")


def _told(aside: Sequence[Aside], where: str) -> list[str]:
    counts = Counter[str]()
    for one in aside:
        counts[one.reason] += one.files
    return [f"{where}: {counted(count, 'file')} set aside: {reason}." for reason, count in counts.items()]
