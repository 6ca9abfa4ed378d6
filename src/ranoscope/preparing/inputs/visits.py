"""The studies of one patient to visits: weeks from the first, numbered where several share a week."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ranoscope.domain import Visit
from ranoscope.errors import ImageError, problem
from ranoscope.preparing.inputs.study import Moment

# A week is written with three digits, as LUMIERE does: 19 years.
LAST_WEEK = 999


def number_visits(moments: Sequence[Moment], where: str) -> list[Visit]:
    """The visit of each study of a patient.

    Week = floor(days / 7) from the first study; where several fall into one week, they get suffixes from 1 in order of
    time (source of both: LUMIERE). Visits that the inputs name stay as they are.

    Args:
        moments: in any order.
        where: names the patient for messages.

    Raises:
        ImageError: two studies of one visit or of one time, visits beside days or days of several origins, or more than
            999 weeks.
    """
    named = [moment.visit for moment in moments if moment.visit is not None]
    if not named and len({moment.origin for moment in moments}) == 1:
        visits = _from_days(moments, where)
    elif len(named) == len(moments):
        visits = named
    else:
        got = f"{len(moments)} studies whose times cannot be compared"
        do = "give one folder that holds all of them, or list them in one manifest (CSV) with their weeks"
        raise ImageError(problem("studies on one time axis", got, where, do))
    twice = [visit for visit, count in Counter(visits).items() if count > 1]
    if twice:
        got = f"several of {', '.join(map(str, sorted(twice)))}"
        raise ImageError(problem("one study of each visit", got, where, "remove one, or give --patient for another"))
    return visits


def _from_days(moments: Sequence[Moment], where: str) -> list[Visit]:
    times = [(moment.day, moment.rank) for moment in moments]
    if len(set(times)) < len(times):
        do = "list the studies in a manifest (CSV), e.g. as week-010-1 and week-010-2"
        raise ImageError(problem("studies of different times", "several of one", where, do))
    first = min(moment.day for moment in moments)
    weeks = [(moment.day - first) // 7 for moment in moments]
    if max(weeks) > LAST_WEEK:
        got = f"{max(weeks)} weeks"
        raise ImageError(problem(f"studies within {LAST_WEEK} weeks", got, where, "check their dates"))
    sharing = Counter(weeks)
    visits = []
    for time, week in zip(times, weeks, strict=True):
        before = sum(other < time for other, other_week in zip(times, weeks, strict=True) if other_week == week)
        visits.append(Visit(week, before + 1 if sharing[week] > 1 else 0))
    return visits
