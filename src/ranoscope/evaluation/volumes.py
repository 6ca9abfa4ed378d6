"""The volume rule: a response from enhancing volumes alone, against nadir and baseline since the last operation.

Thresholds of modified RANO and RANO 2.0 for volumes (Ellingson 2017, Wen 2023), both inclusive: PD at +40 % of the
nadir, PR at −65 % of the baseline. CR and PR are called without confirmation, as LUMIERE's ratings
speak of single visits.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ranoscope.domain import Case, Response, StudyKey, Visit, VisitState

FALLBACK = Response.PD
_ENHANCING = "enhancing_mm3"


def volume_response(baseline: float, nadir: float, now: float) -> Response:
    """The response at one visit, the first that holds of PD, CR, PR, SD.

    Nothing before and nothing now is SD, the best that can be said without measurable disease; anything that enhances
    after nothing is PD (a recurrence).

    Args:
        baseline: enhancing volume in mm³ at the reference study.
        nadir: the smallest of all studies from the reference to the one before, in mm³.
        now: at the visit, in mm³.
    """
    # Multiplied out, so that the thresholds are met exactly by whole mm³.
    if now > 0 and 10 * now >= 14 * nadir:
        return Response.PD
    if now == 0 and baseline > 0:
        return Response.CR
    if baseline > 0 and 100 * now <= 35 * baseline:
        return Response.PR
    return Response.SD


@dataclass(frozen=True)
class VolumeHistory:
    """Enhancing volumes in mm³ by study, NaN where unknown, and the state around surgery, by patient in visit order."""

    volumes: dict[str, dict[Visit, float]]
    states: dict[str, dict[Visit, str]]

    @classmethod
    def from_studies(cls, studies: pd.DataFrame) -> VolumeHistory:
        """From studies.csv (columns ``patient, visit, rating, enhancing_mm3``)."""
        volumes: dict[str, dict[Visit, float]] = {}
        states: dict[str, dict[Visit, str]] = {}
        for row in studies.to_dict("records"):
            visit = Visit.parse(str(row["visit"]))
            if visit is not None:
                volumes.setdefault(str(row["patient"]), {})[visit] = float(row[_ENHANCING])
                states.setdefault(str(row["patient"]), {})[visit] = str(row["rating"])
        return cls(volumes, states)

    @property
    def is_known(self) -> bool:
        """Whether any volume is known."""
        return any(not np.isnan(value) for course in self.volumes.values() for value in course.values())

    def volume(self, key: StudyKey) -> float:
        """Enhancing volume in mm³; NaN where unknown."""
        return self.volumes.get(key.patient, {}).get(key.visit, float("nan"))

    def earlier(self, key: StudyKey) -> list[float]:
        """Volumes of the earlier studies that may serve as reference, oldest first, NaN where unknown.

        They begin with the last post-operative study, or after the last pre-operative one: what has been cut out is no
        reference.
        """
        course = sorted(visit for visit in self.volumes.get(key.patient, {}) if visit <= key.visit)
        states = self.states.get(key.patient, {})
        start = 0
        for place, visit in enumerate(course):
            if states[visit] in (VisitState.POST_OP, VisitState.POST_OP_PD):
                start = place
            elif states[visit] == VisitState.PRE_OP:
                start = place + 1
        return [self.volumes[key.patient][visit] for visit in course[start:] if visit < key.visit]


def volume_calls(cases: tuple[Case, ...], history: VolumeHistory) -> tuple[list[Response], dict[str, int]]:
    """The rule's call for every case, and how often it could not be applied.

    A case without a current volume, or without any earlier one since the operation, is called PD, the most frequent
    response; an unknown volume between known ones is passed over.

    Returns:
        calls, and counts of each fallback.
    """
    counts = Counter({"volume unknown, called PD": 0, "no earlier volume since surgery, called PD": 0})
    counts["some earlier volumes unknown"] = 0
    calls = []
    for case in cases:
        now, earlier = history.volume(case.current_study), np.array(history.earlier(case.current_study))
        known = earlier[~np.isnan(earlier)]
        if np.isnan(now):
            counts["volume unknown, called PD"] += 1
            calls.append(FALLBACK)
        elif not len(known):
            counts["no earlier volume since surgery, called PD"] += 1
            calls.append(FALLBACK)
        else:
            counts["some earlier volumes unknown"] += len(known) < len(earlier)
            calls.append(volume_response(float(known[0]), float(known.min()), now))
    return calls, dict(counts)


def previous_scan_calls(cases: tuple[Case, ...], history: VolumeHistory) -> tuple[list[Response], dict[str, int]]:
    """The same thresholds with the prior study as both nadir and baseline: all that two studies allow.

    Returns:
        calls, and counts of each fallback.
    """
    counts = {"a volume unknown, called PD": 0}
    calls = []
    for case in cases:
        prior, now = history.volume(case.prior_study), history.volume(case.current_study)
        if np.isnan(prior) or np.isnan(now):
            counts["a volume unknown, called PD"] += 1
            calls.append(FALLBACK)
        else:
            calls.append(volume_response(prior, prior, now))
    return calls, counts
