"""The studies that inputs hold: as one input gives them, and with their place in their patient's course."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ranoscope.domain import LabelConvention, Sequence, Visit
from ranoscope.preparing.dicom.aside import Aside
from ranoscope.preparing.dicom.header import Attributes
from ranoscope.preparing.series import Series

Progress = Callable[[int, int, str], None]
CALENDAR = "the calendar"


@dataclass(frozen=True)
class TumourMask:
    """A mask of the tumour in a study's native space.

    ``labels``: whose numbers it carries. ``grid_of``: the sequence on whose grid it lies, None where nothing says so.
    """

    path: Path
    labels: LabelConvention
    grid_of: Sequence | None
    where: str


@dataclass(frozen=True)
class RawStudy:
    """One visit of a patient before anything is done to it.

    ``patient``: a pseudonym. ``series``: all that was found. ``named``: where the input itself says which series is
    which; empty where recognition must decide. ``aside``: what of the study is no series. ``where``: for messages.
    """

    patient: str
    visit: Visit
    series: tuple[Series, ...]
    named: Mapping[Sequence, Series]
    mask: TumourMask | None
    aside: tuple[Aside, ...]
    where: str


@dataclass(frozen=True)
class Inputs:
    """``studies`` in order of patient and visit; ``notes``: how the inputs were read and what of them was not."""

    studies: tuple[RawStudy, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Moment:
    """When a study was: a ``visit`` that the input names, or else a ``day`` counted as others of one ``origin``.

    ``rank`` orders the studies of a day.
    """

    origin: str
    day: int = 0
    rank: tuple[int, ...] = (0,)
    visit: Visit | None = None


@dataclass(frozen=True, eq=False, repr=False)
class DicomSource:
    """Where a study's DICOM files lie, among others: the study's place in the folder, and one header of the folder."""

    folder: Path
    place: int
    head: Attributes


@dataclass(frozen=True, eq=False)
class Draft:
    """A study as one input gives it. ``patient``: None where the input holds no pseudonym.

    ``source``: number of the input, from 1. ``where``: for messages before the patient has a name.
    """

    source: int
    where: str
    patient: str | None
    moment: Moment
    series: tuple[Series, ...]
    named: Mapping[Sequence, Series] = field(default_factory=dict)
    mask: TumourMask | None = None
    aside: tuple[Aside, ...] = ()
    dicom: DicomSource | None = None


@dataclass(frozen=True)
class Found:
    """What one input gave."""

    drafts: tuple[Draft, ...]
    notes: tuple[str, ...]
