"""The earlier studies of a case: never a later one, one baseline, and operations in their place."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranoscope import runs
from ranoscope.cohort.earlier import (
    EARLIER,
    Operations,
    earlier_studies,
    read_earlier,
    read_operations,
    write_earlier,
)
from ranoscope.domain import Case, Response, StudyKey, Visit
from ranoscope.errors import TableError

VISITS = st.lists(st.builds(Visit, st.integers(0, 30), st.integers(0, 1)), min_size=2, max_size=9, unique=True)
SOME = st.lists(st.integers(0, 8), max_size=3)


def case_of(prior: Visit, current: Visit, patient="Patient-001") -> Case:
    return Case(patient, prior, current, Response.SD, current.week - prior.week, Response.SD, True)


def key(visit: Visit, patient="Patient-001") -> StudyKey:
    return StudyKey(patient, visit)


@given(VISITS, st.data(), SOME, SOME)
def test_what_is_shown_is_never_later_than_the_prior(visits, data, after, before):
    places = sorted(data.draw(st.lists(st.sampled_from(sorted(visits)), min_size=2, max_size=2, unique=True)))
    case = case_of(*places)
    usable = [*map(key, visits), *(key(visit, "Patient-002") for visit in visits)]
    operations = Operations(
        tuple(visits[place % len(visits)] for place in after), tuple(visits[place % len(visits)] for place in before)
    )
    found = earlier_studies(case, usable, operations)
    assert [one.key for one in found] == sorted(key(visit) for visit in visits if visit <= case.prior)
    assert [one.is_prior for one in found] == [False] * (len(found) - 1) + [True]
    assert [one.weeks for one in found] == [case.current.week - one.key.visit.week for one in found]
    # An operation behind one study is behind every one before it.
    assert [one.operated for one in found] == sorted((one.operated for one in found), reverse=True)
    (baseline,) = [place for place, one in enumerate(found) if one.is_baseline]
    assert baseline == 0 or found[baseline - 1].operated
    assert all(one.operated for one in found) or not found[baseline].operated


def test_the_prior_is_shown_though_it_is_not_usable():
    (one,) = earlier_studies(case_of(Visit(3), Visit(9)), [], Operations())
    assert (one.key.visit, one.is_prior, one.is_baseline, one.weeks) == (Visit(3), True, True, 6)


@pytest.mark.parametrize(
    ("ratings", "operated", "baseline"),
    [
        ({}, [False] * 4, 0),
        ({2: "Post-Op"}, [True, True, False, False], 2),
        ({1: "Pre-Op"}, [True, True, False, False], 2),
        ({1: "Pre-Op", 2: "Post-Op/PD"}, [True, True, False, False], 2),
        ({0: "Post-Op", 2: "PD"}, [False] * 4, 0),
        ({3: "Pre-Op"}, [True] * 4, 0),
        ({4: "Post-Op"}, [True] * 4, 0),
        ({5: "Post-Op"}, [False] * 4, 0),
    ],
)
def test_operations_are_read_from_the_states_around_them(ratings, operated, baseline):
    """Four earlier studies, a current one (4), and one after it."""
    visits = [Visit(10 * place) for place in range(6)]
    rows = [{"patient": "Patient-001", "visit": str(v), "rating": ratings.get(p, "")} for p, v in enumerate(visits)]
    operations = read_operations(pd.DataFrame(rows)).get("Patient-001", Operations())
    found = earlier_studies(case_of(visits[3], visits[4]), map(key, visits), operations)
    assert [one.operated for one in found] == operated
    assert [one.is_baseline for one in found].index(True) == baseline


def test_what_is_written_is_read(tmp_path):
    visits = [Visit(0), Visit(0, 2), Visit(7), Visit(30)]
    earlier = {
        key(visits[place]): earlier_studies(
            case_of(visits[place - 1], visits[place]), map(key, visits), Operations(after=(Visit(7),))
        )
        for place in (1, 3)
    }
    write_earlier(tmp_path, earlier)
    assert read_earlier(tmp_path) == earlier
    table = runs.read_csv(tmp_path / EARLIER, "x", ("visit",))
    runs.write_csv(tmp_path / EARLIER, table.assign(visit="week-090"))
    with pytest.raises(TableError, match=r"an earlier visit, got week-090, in earlier.csv, Patient-001"):
        read_earlier(tmp_path)
