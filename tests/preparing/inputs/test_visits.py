"""Visit numbers as properties: of days alone, whatever their order, and never a guess."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranoscope.domain import Visit
from ranoscope.errors import ImageError
from ranoscope.preparing.inputs.pseudonyms import free_names
from ranoscope.preparing.inputs.study import Moment
from ranoscope.preparing.inputs.visits import number_visits

WHERE = "Patient-042"
times = st.lists(st.tuples(st.integers(-2000, 4000), st.integers(0, 3)), min_size=1, max_size=12, unique=True)


def moments(days):
    return [Moment("a", day, (rank,)) for day, rank in days]


@given(times, st.randoms(use_true_random=False), st.integers(-5000, 5000))
def test_visits_follow_from_days_alone(days, random, shift):
    visits = number_visits(moments(days), WHERE)
    first = min(day for day, _ in days)
    assert [visit.week for visit in visits] == [(day - first) // 7 for day, _ in days]
    assert len(set(visits)) == len(visits)
    assert [visit for _, visit in sorted(zip(days, visits, strict=True))] == sorted(visits)
    order = random.sample(range(len(days)), len(days))
    assert number_visits(moments([days[at] for at in order]), WHERE) == [visits[at] for at in order]
    assert number_visits(moments([(day + shift, rank) for day, rank in days]), WHERE) == visits


@given(times)
def test_suffixes_count_from_one_where_a_week_is_shared_and_are_left_out_elsewhere(days):
    visits = number_visits(moments(days), WHERE)
    for week in {visit.week for visit in visits}:
        suffixes = sorted(visit.suffix for visit in visits if visit.week == week)
        assert suffixes == ([0] if len(suffixes) == 1 else list(range(1, len(suffixes) + 1)))


def test_visits_that_an_input_names_stay():
    said = [Visit(44), Visit(0, 2), Visit(0, 1)]
    assert number_visits([Moment("a", visit=one) for one in said], WHERE) == said


@pytest.mark.parametrize(
    ("given_so", "words"),
    [
        (
            [Moment("a", visit=Visit(3)), Moment("b", visit=Visit(3))],
            "one study of each visit, got several of week-003",
        ),
        ([Moment("a", visit=Visit(3)), Moment("a", 21)], "studies on one time axis, got 2 studies"),
        ([Moment("a", 0), Moment("b", 70)], "studies on one time axis"),
        ([Moment("a", 5), Moment("a", 5)], "studies of different times"),
        ([Moment("a", 0), Moment("a", 7000)], "within 999 weeks, got 1000 weeks"),
    ],
)
def test_what_has_no_order_is_refused(given_so, words):
    with pytest.raises(ImageError, match=words) as caught:
        number_visits(given_so, WHERE)
    assert WHERE in str(caught.value)


@given(st.sets(st.sampled_from(["Patient-1", "Patient-002", "Patient-0004", "sub-01", "P3"])))
def test_a_made_up_pseudonym_is_nobodys(taken):
    made = free_names(taken)
    names = [next(made) for _ in range(5)]
    used = {int(name.split("-")[1]) for name in taken if name.startswith("Patient-")}
    assert not used & {int(name.removeprefix("Patient-")) for name in names}
    assert len(set(names)) == 5
    assert names[0] == ("Patient-003" if used == {1, 2, 4} else names[0])
