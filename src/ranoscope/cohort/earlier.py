"""The earlier studies of every case, and what is known of their place in the course: never a later one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ranoscope import runs
from ranoscope.domain import Case, StudyKey, Visit, VisitState
from ranoscope.errors import TableError, problem

EARLIER = "earlier.csv"
_COLUMNS = ("patient", "current", "visit", "weeks_before", "prior", "baseline", "operated")
_COMMAND = "ranoscope crossval"


@dataclass(frozen=True)
class EarlierStudy:
    """One earlier study of a case.

    ``weeks``: before the current study. ``is_baseline``: the first since the last operation, of all where an operation
    lies even behind the prior. ``operated``: whether an operation lies between it and the current study.
    """

    key: StudyKey
    weeks: int
    is_prior: bool
    is_baseline: bool
    operated: bool


# The earlier studies by the key of the current one, oldest first, the prior last.
Earlier = Mapping[StudyKey, tuple[EarlierStudy, ...]]


@dataclass(frozen=True)
class Operations:
    """When a patient was operated on: ``after``, visits that follow an operation, ``before``, that precede one."""

    after: tuple[Visit, ...] = ()
    before: tuple[Visit, ...] = ()

    def between(self, earlier: Visit, later: Visit) -> bool:
        """Whether there was an operation."""
        return any(earlier < one <= later for one in self.after) or any(earlier <= one < later for one in self.before)


def read_operations(studies: pd.DataFrame) -> dict[str, Operations]:
    """Each patient's operations, from what studies.csv has of states around surgery; no response is looked at."""
    states: dict[str, list[tuple[Visit, VisitState]]] = {}
    for row in studies.to_dict("records"):
        visit = Visit.parse(str(row["visit"]))
        if visit is not None and row["rating"] in set(VisitState):
            states.setdefault(str(row["patient"]), []).append((visit, VisitState(row["rating"])))
    return {
        patient: Operations(
            after=tuple(visit for visit, state in found if state.is_surgery),
            before=tuple(visit for visit, state in found if state is VisitState.PRE_OP),
        )
        for patient, found in states.items()
    }


def earlier_studies(case: Case, usable: Iterable[StudyKey], operations: Operations) -> tuple[EarlierStudy, ...]:
    """All usable studies of the patient up to and including the prior, oldest first; the prior is always one.

    Args:
        case: the case.
        usable: studies of any patients that can be shown.
        operations: of the patient.
    """
    before = {key.visit for key in usable if key.patient == case.patient and key.visit < case.prior}
    visits = [*sorted(before), case.prior]
    operated = [operations.between(visit, case.current) for visit in visits]
    baseline = operated.index(False) if not all(operated) else 0
    return tuple(
        EarlierStudy(
            key=StudyKey(case.patient, visit),
            weeks=case.current.week - visit.week,
            is_prior=visit == case.prior,
            is_baseline=place == baseline,
            operated=operated[place],
        )
        for place, visit in enumerate(visits)
    )


def write_earlier(run: Path, earlier: Earlier) -> None:
    """Write earlier.csv: a row per case and earlier study.

    Raises:
        StorageError: the disk is full or not writable.
    """
    rows = [
        (
            current.patient,
            current.visit,
            one.key.visit,
            one.weeks,
            *map(runs.truth, (one.is_prior, one.is_baseline, one.operated)),
        )
        for current in sorted(earlier)
        for one in earlier[current]
    ]
    runs.write_csv(run / EARLIER, pd.DataFrame(rows, columns=list(_COLUMNS)).astype(str))


def read_earlier(run: Path) -> dict[StudyKey, tuple[EarlierStudy, ...]]:
    """What ``write_earlier`` wrote.

    Raises:
        RunError: it did not.
        TableError: a row is not valid.
    """
    found: dict[StudyKey, list[EarlierStudy]] = {}
    for row in runs.read_csv(run / EARLIER, _COMMAND, _COLUMNS).to_dict("records"):
        current, visit = Visit.parse(row["current"]), Visit.parse(row["visit"])
        if current is None or visit is None or not visit < current:
            where = f"{EARLIER}, {row['patient']}/{row['current']}"
            raise TableError(problem("an earlier visit", str(row["visit"]), where, f"run `{_COMMAND}` again"))
        flags = (row[name] == "true" for name in ("prior", "baseline", "operated"))
        one = EarlierStudy(StudyKey(row["patient"], visit), int(row["weeks_before"]), *flags)
        found.setdefault(StudyKey(row["patient"], current), []).append(one)
    return {current: tuple(several) for current, several in found.items()}
