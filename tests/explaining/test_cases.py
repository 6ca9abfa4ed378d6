"""Which cases are explained, and for which classes."""

from __future__ import annotations

from collections import Counter

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranoscope import runs
from ranoscope.domain import RESPONSES, Case, Response, Visit
from ranoscope.errors import RunError
from ranoscope.explaining.cases import CalledCase, draw_cases, named_cases, read_called


def called(patient: str, response: str, call: str, sure: float) -> CalledCase:
    case = Case(patient, Visit(0), Visit(9), Response(response), 9, Response.SD, True)
    chances = {name: sure if name == call else (1 - sure) / 3 for name in RESPONSES}
    return CalledCase(case, Response(call), chances, seed=0, fold=0)


CALLED = [
    called("d", "PD", "CR", 0.95), called("a", "PD", "SD", 0.9), called("c", "PD", "PD", 0.8),
    called("b", "PD", "PD", 0.6), called("f", "CR", "PD", 0.5), called("g", "CR", "SD", 0.7),
    called("h", "SD", "SD", 0.5),
]  # fmt: skip


def patients(chosen) -> str:
    return "".join(entry.case.patient for entry in chosen)


def test_all_cases_class_by_class_and_by_name():
    chosen, absent = draw_cases(CALLED, None, seed=0)
    assert patients(chosen) == "abcdhfg"
    assert absent == [Response.PR]


@given(st.lists(st.sampled_from(RESPONSES), max_size=25), st.integers(1, 4), st.integers(0, 9))
def test_a_draw_takes_so_many_of_each_class_whatever_their_order(responses, per_class, seed):
    everyone = [called(f"p{i:02}", response, "PD", 0.5) for i, response in enumerate(responses)]
    chosen, absent = draw_cases(everyone, per_class, seed)
    for response in RESPONSES:
        there = responses.count(response)
        assert sum(entry.case.response is response for entry in chosen) == min(per_class, there)
        assert (response in absent) == (there == 0)
    assert draw_cases(everyone[::-1], per_class, seed)[0] == chosen


def test_every_case_of_a_class_is_drawn_as_often():
    everyone = [called(f"p{i}", "PD", "PD", 0.5) for i in range(5)]
    drawn = Counter(entry.case.patient for seed in range(400) for entry in draw_cases(everyone, 2, seed)[0])
    assert set(drawn) == {f"p{i}" for i in range(5)}
    assert all(110 < count < 210 for count in drawn.values())


def test_cases_are_found_by_patient_and_by_visit():
    assert patients(named_cases(CALLED, ["g", "a/week-009", "a"])) == "ag"
    with pytest.raises(RunError, match=r"a case with a call.*a/week-010.*--cases"):
        named_cases(CALLED, ["b", "a/week-010"])


def test_the_called_class_is_explained_and_the_true_one_where_it_differs():
    assert called("a", "PD", "SD", 0.9).explained == (Response.SD, Response.PD)
    assert called("b", "PD", "PD", 0.9).explained == (Response.PD,)


def test_calls_of_the_first_seed_with_their_held_out_fold(run):
    entries = read_called(run)
    assert [(entry.case.patient, entry.call, entry.fold) for entry in entries][:3] == [
        ("Patient-001", "PD", 0), ("Patient-002", "PD", 1), ("Patient-003", "SD", 0),
    ]  # fmt: skip
    assert len(entries) == 6
    assert entries[0].probabilities[Response.PD] == pytest.approx(0.7)


def change(path, **cells: str) -> None:
    """Overwrite cells of Patient-002's row."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column, value in cells.items():
        table.loc[table["patient"] == "Patient-002", column] = value
    runs.write_csv(path, table)


@pytest.mark.parametrize(
    ("file", "cells", "message"),
    [
        (runs.FOLDS, {"fold": "0"}, "whose network has seen this patient.*Patient-002/week-015"),
        (runs.CALLS, {"fold": "0"}, "whose network has seen this patient.*Patient-002/week-015"),
        (runs.CALLS, {"prior": "week-001"}, "not in cohort.csv.*Patient-002/week-015"),
        (runs.CALLS, {"response": "CR"}, "not in cohort.csv.*Patient-002/week-015"),
    ],
)
def test_a_network_that_saw_the_patient_is_refused(run, file, cells, message):
    change(run / file, **cells)
    with pytest.raises(RunError, match=message):
        read_called(run)
