"""One patient's course as the models may see it: studies in order, volumes, operations, earlier ratings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from ranoscope.domain import Rating, Response, StudyKey, Visit, VisitState

Volumes = dict[StudyKey, dict[str, float]]


@dataclass(frozen=True)
class Course:
    """One patient.

    ``visits``: every visit that is rated or measured, in order. ``ratings``: where the table has one. ``volumes``: mm³
    by column, where measured. ``person``: the patient's row of patients.csv (``sex, age_years, idh, mgmt``).
    """

    visits: tuple[Visit, ...]
    ratings: dict[Visit, Rating]
    volumes: dict[Visit, dict[str, float]]
    person: dict[str, str]

    def until(self, visit: Visit) -> tuple[Visit, ...]:
        """The visits up to and including ``visit``."""
        return tuple(one for one in self.visits if one <= visit)

    def of_two(self, prior: Visit, current: Visit) -> Course:
        """What two studies alone tell: their volumes and weeks and who the patient is, no operation and no rating."""
        volumes = {visit: self.volumes[visit] for visit in (prior, current) if visit in self.volumes}
        return Course((prior, current), {}, volumes, self.person)

    def since_surgery(self, visit: Visit) -> tuple[Visit, ...]:
        """The visits from the last operation up to and including ``visit``.

        They begin with the last post-operative study, or after the last pre-operative one: what has been cut out is no
        reference (the same rule as the volume rule's).
        """
        start, course = 0, self.until(visit)
        for place, one in enumerate(course[:-1]):
            state = self.ratings.get(one)
            if isinstance(state, VisitState) and state.is_surgery:
                start = place
            elif state is VisitState.PRE_OP:
                start = place + 1
        return course[start:]

    def surgeries(self, visit: Visit) -> tuple[Visit, ...]:
        """The post-operative visits up to and including ``visit``."""
        states = ((one, self.ratings.get(one)) for one in self.until(visit))
        return tuple(one for one, state in states if isinstance(state, VisitState) and state.is_surgery)

    def responses_before(self, visit: Visit) -> list[tuple[Visit, Response]]:
        """The expert's earlier responses, oldest first; Post-Op/PD counts as PD."""
        found = []
        for one in self.visits:
            rating = self.ratings.get(one)
            if one < visit and rating is VisitState.POST_OP_PD:
                found.append((one, Response.PD))
            elif one < visit and isinstance(rating, Response):
                found.append((one, rating))
        return found


def make_courses(studies: pd.DataFrame, patients: pd.DataFrame, volumes: Volumes) -> dict[str, Course]:
    """One course per patient.

    Args:
        studies: columns ``patient, visit, rating`` (empty where unrated), as in studies.csv.
        patients: columns ``patient, sex, age_years, idh, mgmt``, as in patients.csv.
        volumes: mm³ by column for every measured study; its visits need not be in ``studies``.
    """
    ratings: dict[str, dict[Visit, Rating]] = {}
    visits: dict[str, set[Visit]] = {}
    for row in studies.to_dict("records"):
        visit = Visit.parse(str(row["visit"]))
        if visit is None:
            continue
        visits.setdefault(str(row["patient"]), set()).add(visit)
        if row["rating"]:
            ratings.setdefault(str(row["patient"]), {})[visit] = _rating(str(row["rating"]))
    measured: dict[str, dict[Visit, dict[str, float]]] = {}
    for key, values in volumes.items():
        visits.setdefault(key.patient, set()).add(key.visit)
        measured.setdefault(key.patient, {})[key.visit] = values
    people = {str(row["patient"]): {str(k): str(v) for k, v in row.items()} for row in patients.to_dict("records")}
    return {
        name: Course(tuple(sorted(found)), ratings.get(name, {}), measured.get(name, {}), people.get(name, {}))
        for name, found in visits.items()
    }


def enhancing_source(courses: dict[str, Course]) -> str | None:
    """The column of enhancing volumes that the volume rules are applied to, as ``best_known`` finds it."""
    return best_known(courses, "enhancing")


def best_known(courses: dict[str, Course], compartment: str) -> str | None:
    """The column of a compartment that is known in most studies, the first by name of equals; None without any."""
    known = Counter(name for one in courses.values() for values in one.volumes.values() for name in values)
    columns = sorted(name for name in known if name.endswith(f"_{compartment}_mm3"))
    return max(columns, key=lambda name: known[name], default=None)


def _rating(text: str) -> Rating:
    return Response(text) if text in set(Response) else VisitState(text)
