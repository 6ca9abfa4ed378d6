"""One patient's scans as they are handed over: a LUMIERE patient folder, or masks with their images and days."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

from ranoscope.cohort import layout
from ranoscope.cohort.archive import FolderArchive, ImagingArchive, is_patient_folder
from ranoscope.cohort.lumiere import Tables, read_tables
from ranoscope.cohort.tables import find_table
from ranoscope.domain import LabelConvention, Segmenter, StudyKey, Visit, VisitState
from ranoscope.domain import Sequence as MRSequence
from ranoscope.errors import ImageError, TableError, problem
from ranoscope.imaging.store import SourceFile
from ranoscope.response.timeline import Surgery

PATIENT = "patient"
_WEEK = re.compile(r"(?<![A-Za-z0-9])week-\d{3}(?:-\d+)?(?!\d)")
_DAYS_A_WEEK = 7
# An operation that is rated at a week without a scan belongs to an unrated scan at most this far away: the tables name
# the week of the operation, or of the scan, as it came.
_NEAR_WEEKS = 1
_SEQUENCES = {
    Segmenter.DEEPBRATUMIA: layout.atlas_file,
    Segmenter.HD_GLIO_AUTO: lambda sequence: (
        f"{Path(layout.HDGLIO_MASK).parent.as_posix()}/{sequence}_r2s_bet_reg.nii.gz"
    ),
}
_MASKS = {Segmenter.DEEPBRATUMIA: layout.ATLAS_MASK, Segmenter.HD_GLIO_AUTO: layout.HDGLIO_MASK}


class NoteKind(StrEnum):
    """What a note is about."""

    SKIPPED = "skipped"
    SURGERY = "surgery"
    DAYS = "days"
    LABELS = "labels"
    PIECES = "small pieces"
    ALIGNMENT = "alignment"


@dataclass(frozen=True)
class Note:
    """What a reader should know of one scan (or folder)."""

    scan: str
    kind: NoteKind
    sentence: str


@dataclass(frozen=True)
class VisitInput:
    """One scan. ``mask`` is None where there is none: the scan then stands in the timeline without measurements.

    ``image``: CT1 on the mask's grid, best without skull; ``plain``: T1 without contrast on the same grid, for checking
    the labels. ``day`` counts from any fixed day of the patient.
    """

    scan: str
    day: int
    mask: SourceFile | None
    image: SourceFile | None = None
    plain: SourceFile | None = None
    surgery: Surgery | None = None


@dataclass(frozen=True)
class PatientScans:
    """One patient's scans in time order. ``convention``: of the masks' labels. ``notes``: what was found on the way."""

    patient: str
    convention: LabelConvention
    visits: tuple[VisitInput, ...]
    idh_mutant: bool | None = None
    notes: tuple[Note, ...] = ()


def visits_of_folder(folder: Path, segmenter: Segmenter = Segmenter.DEEPBRATUMIA) -> PatientScans:
    """A patient of LUMIERE as published, ``Imaging/Patient-NNN``.

    DeepBraTumIA's masks are taken in atlas space, HD-GLIO-AUTO's on the grid it registered the visit to. A rating table
    beside ``Imaging`` tells which scans are pre- and post-operative.

    Raises:
        ImageError: no such folder, or no visit with a mask in it.
        TableError: a table that cannot be read.
    """
    if not folder.is_dir():
        raise ImageError(problem("a patient's folder", "none", str(folder), "check the path"))
    if not is_patient_folder(folder):
        do = "name the patient's folder, or single masks"
        raise ImageError(problem("a folder named Patient-NNN", f"`{folder.name}`", str(folder.parent), do))
    root = folder.absolute().parent
    tables = read_tables(root) if find_table(root, layout.RATINGS) else None
    return visits_of_patient(FolderArchive(root), folder.name, segmenter, tables)


def visits_of_patient(
    archive: ImagingArchive, patient: str, segmenter: Segmenter, tables: Tables | None
) -> PatientScans:
    """The same from an open archive, a folder or the published zip.

    Raises:
        ImageError: no visit with a mask.
    """
    keys = [key for key in archive.studies() if key.patient == patient]
    visits = {key.visit: _lumiere_visit(archive, key, segmenter) for key in keys}
    if not any(one.mask for one in visits.values()):
        got = f"none in {len(visits)} visit folders"
        raise ImageError(problem(f"a visit with a mask of {segmenter}", got, patient, "name another segmenter"))
    notes = [Note(reason.split(":")[0].split("/")[-1], NoteKind.SKIPPED, reason.split(": ")[-1])
             for reason in archive.rejected if reason.startswith(f"{patient}/")]  # fmt: skip
    notes += [Note(one.scan, NoteKind.SKIPPED, f"no mask of {segmenter} ({_MASKS[segmenter]})")
              for one in visits.values() if one.mask is None]  # fmt: skip
    idh = None
    if tables is not None:
        visits = _with_surgery(visits, _operations(tables, patient), _rated(tables, patient), notes)
        words = {"mutant": True, "wild type": False}
        idh = words.get(tables.patients[patient].idh) if patient in tables.patients else None
    ordered = tuple(visits[visit] for visit in sorted(visits))
    return PatientScans(patient, segmenter, ordered, idh, tuple(notes))


def visits_of_masks(
    masks: Sequence[Path],
    convention: LabelConvention,
    images: Sequence[Path] = (),
    days: Sequence[int] = (),
    patient: str = PATIENT,
) -> PatientScans:
    """Masks of one patient in time order.

    Args:
        masks: NIfTI files.
        convention: whose labels they carry.
        images: the CT1 of each mask, in the same order; none at all is allowed.
        days: the day of each mask from any fixed day. Where not given, ``week-NNN`` or ``week-NNN-S`` in the name of
            the file or of a folder above it tells the week; a single mask needs neither.
        patient: a pseudonym.

    Raises:
        TableError: no masks, numbers of files and days that differ, or no day.
        ImageError: a file is absent.
    """
    for name, given in (("images", images), ("days", days)):
        if given and len(given) != len(masks):
            got = f"{len(given)} for {len(masks)}"
            raise TableError(problem(f"as many {name} as masks", got, patient, "give one for each mask, in order"))
    if not masks:
        raise TableError(problem("a mask", "none", patient, "name one or more NIfTI files"))
    weeks = [_week(path) for path in masks]
    if not days and len(masks) > 1 and None in weeks:
        got = f"none for {masks[weeks.index(None)].name}"
        raise TableError(problem("a day for each mask", got, patient, "give --days, or name the files week-NNN"))
    found: list[VisitInput] = []
    for place, path in enumerate(masks):
        week = weeks[place]
        day = days[place] if days else week.week * _DAYS_A_WEEK if week else 0
        name = str(week) if week else f"day-{day:03d}"
        image = _file(images[place], patient) if images else None
        found.append(VisitInput(_unused(name, found), day, _file(path, patient), image))
    return PatientScans(patient, convention, tuple(found))


def check_order(scans: PatientScans) -> tuple[Note, ...]:
    """Refuse scans that are not in time order; several scans of one day keep the order given, and a note says so.

    Raises:
        TableError: a day before the day of the scan before, or one name twice.
    """
    notes = []
    for one, other in pairwise(scans.visits):
        if other.day < one.day:
            got = f"{other.scan} on day {other.day} after {one.scan} on day {one.day}"
            raise TableError(
                problem("scans in order of time", got, scans.patient, "sort the masks or correct the days")
            )
        if other.day == one.day:
            notes.append(Note(other.scan, NoteKind.DAYS, f"the same day or week as {one.scan}; taken as the later one"))
    names = [one.scan for one in scans.visits]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TableError(problem("one scan per name", f"{', '.join(twice)} twice", scans.patient, "rename one"))
    return tuple(notes)


def _lumiere_visit(archive: ImagingArchive, key: StudyKey, segmenter: Segmenter) -> VisitInput:
    held = archive.names(key)

    def file(name: str) -> SourceFile | None:
        if name not in held:
            return None
        return SourceFile(archive.where(key, name), archive.fingerprint(key, name), lambda: archive.read(key, name))

    image, plain = (file(_image_name(segmenter, sequence)) for sequence in (MRSequence.CT1, MRSequence.T1))
    return VisitInput(str(key.visit), key.visit.week * _DAYS_A_WEEK, file(_MASKS[segmenter]), image, plain)


def _image_name(segmenter: Segmenter, sequence: MRSequence) -> str:
    """The image on the grid of the segmenter's mask; HD-GLIO-AUTO keeps its registered images beside it."""
    if segmenter is Segmenter.DEEPBRATUMIA:
        return layout.atlas_file(sequence)
    return f"{layout.HDGLIO_MASK.rpartition('/')[0]}/{sequence}_r2s_bet_reg.nii.gz"


def _rated(tables: Tables, patient: str) -> set[Visit]:
    return {row.visit for row in tables.ratings if row.patient == patient and row.visit is not None}


def _operations(tables: Tables, patient: str) -> dict[Visit, Surgery]:
    """Visits rated Pre-Op or Post-Op; of a visit with both rows, post-operative is what it must be."""
    found: dict[Visit, Surgery] = {}
    for row in tables.ratings:
        if row.patient != patient or row.visit is None:
            continue
        if isinstance(row.rating, VisitState) and row.rating.is_surgery:
            found[row.visit] = Surgery.POST_OP
        elif row.rating is VisitState.PRE_OP:
            found.setdefault(row.visit, Surgery.PRE_OP)
    return found


def _with_surgery(
    visits: dict[Visit, VisitInput], operations: dict[Visit, Surgery], rated: set[Visit], notes: list[Note]
) -> dict[Visit, VisitInput]:
    """Scans with their surgery marks.

    A rated operation without a scan is not lost: its mark goes to the nearest unrated scan of about that week, else it
    stands as a scan of its own without measurements.
    """
    marked = dict(visits)
    for visit, surgery in sorted(operations.items()):
        target = visit
        if visit not in visits:
            near = [one for one in visits if abs(one.week - visit.week) <= _NEAR_WEEKS and one not in rated]
            target = min(near, key=lambda one: (abs(one.week - visit.week), one), default=visit)
            sentence = f"rated {surgery} without a scan; " + (
                f"taken as {target}, the unrated scan beside it" if near else "listed without measurements"
            )
            notes.append(Note(str(visit), NoteKind.SURGERY, sentence))
        known = marked.get(target) or VisitInput(str(target), target.week * _DAYS_A_WEEK, None)
        marked[target] = VisitInput(known.scan, known.day, known.mask, known.image, known.plain, surgery)
    return marked


def _file(path: Path, patient: str) -> SourceFile:
    if not path.is_file():
        raise ImageError(problem("a NIfTI file", "none", f"{patient}/{path.name}", "check the path"))
    status = path.stat()
    return SourceFile(f"{patient}/{path.name}", f"{status.st_size}-{status.st_mtime_ns}", path.read_bytes)


def _week(path: Path) -> Visit | None:
    """The visit that the file's name or a folder above it names; the nearest name counts."""
    found = (_WEEK.search(name) for name in reversed(path.parts))
    return next((Visit.parse(match[0]) for match in found if match), None)


def _unused(name: str, found: Sequence[VisitInput]) -> str:
    """``day-010``, and ``day-010-2`` where a second scan is of that day."""
    same = sum(one.scan == name or one.scan.startswith(f"{name}-") for one in found)
    return f"{name}-{same + 1}" if same and name.startswith("day-") else name
