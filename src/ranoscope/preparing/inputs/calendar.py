"""DICOM folders said to be of one patient: whether their headers agree, and their days counted from one day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from ranoscope.errors import ImageError, problem
from ranoscope.preparing.dicom.facts import study_moment
from ranoscope.preparing.dicom.header import Attributes, read_header
from ranoscope.preparing.dicom.patient import count_patients
from ranoscope.preparing.inputs.contents import is_dicom_file, look_into
from ranoscope.preparing.inputs.study import CALENDAR, DicomSource, Draft, Moment


def require_one_patient(drafts: Sequence[Draft], where: str) -> None:
    """Raise ImageError where a header of each DICOM folder, looked at together, speaks of several patients."""
    folders = {draft.dicom.folder: draft.dicom.head for draft in drafts if draft.dicom is not None}
    patients = count_patients(folders.values())
    if patients > 1:
        got = f"{patients} patients by the headers of {len(folders)} folders"
        do = "give each patient a pseudonym of their own"
        raise ImageError(problem("DICOM files of one patient", got, where, do))


def on_one_calendar(drafts: Sequence[Draft], where: str) -> list[Draft]:
    """Studies of one patient, with the days of several DICOM folders counted as one where their dates allow it.

    The folders' headers are read once more: as they are found, their studies know only the days between them.

    Raises:
        ImageError: a study in two folders, or one without a date.
    """
    origins = {draft.moment.origin for draft in drafts}
    sources = {id(draft): draft.dicom for draft in drafts if draft.dicom is not None and _counts_itself(draft)}
    if len(origins) < 2 or not all(id(draft) in sources or draft.moment.origin == CALENDAR for draft in drafts):
        return list(drafts)
    times = {folder: _times(folder) for folder in dict.fromkeys(source.folder for source in sources.values())}
    uids = [study.uid for found in times.values() for study in found]
    if len(set(uids)) < len(uids):
        do = "give one folder that holds all of its files"
        raise ImageError(problem("every study in one folder", "one that is in several", where, do))
    return [
        _dated(draft, source, times[source.folder][source.place], where)
        if (source := sources.get(id(draft)))
        else draft
        for draft in drafts
    ]


@dataclass(frozen=True, repr=False)
class _Time:
    """When a study was; no date where its headers have none."""

    uid: str
    day: date | None
    seconds: int


def _counts_itself(draft: Draft) -> bool:
    """Whether the study's day is of its folder's own headers, and not of a manifest or of a folder's name."""
    return draft.moment.visit is None and draft.moment.origin == f"input {draft.source}"


def _dated(draft: Draft, source: DicomSource, time: _Time, where: str) -> Draft:
    if time.day is None:
        do = "list the studies in a manifest (CSV) with their weeks"
        raise ImageError(problem("a date in every study", "none in one of them", where, do))
    return replace(draft, moment=Moment(CALENDAR, time.day.toordinal(), (time.seconds, source.place)))


def _times(folder: Path) -> list[_Time]:
    """The studies of a folder in the order of ``read_dicom_folder``."""
    by_study: dict[str, list[Attributes]] = defaultdict(list)
    for path in filter(is_dicom_file, look_into(folder).others):
        header = read_header(path)
        if header is not None and header.text("SeriesInstanceUID") and (uid := header.text("StudyInstanceUID")):
            by_study[uid].append(header)
    moments = {uid: study_moment(headers) for uid, headers in by_study.items()}
    order = sorted(moments, key=lambda uid: (moments[uid][0] or date.max, moments[uid][1], uid))
    clocks = {uid: moment[1] for uid, moment in moments.items()}
    return [
        _Time(uid, moments[uid][0], clocks[uid].hour * 3600 + clocks[uid].minute * 60 + clocks[uid].second)
        for uid in order
    ]
