"""Which cases are explained, and for which classes."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranoscope import runs
from ranoscope.domain import RESPONSES, Case, Response, Visit
from ranoscope.errors import RunError
from ranoscope.explaining.cases import CalledCase, choose_cases, read_called


def called(patient: str, response: str, call: str, sure: float) -> CalledCase:
    case = Case(patient, Visit(0), Visit(9), Response(response), 9, Response.SD, True)
    chances = {name: sure if name == call else (1 - sure) / 3 for name in RESPONSES}
    return CalledCase(case, Response(call), chances, seed=0, fold=0)


CALLED = [
    called("a", "PD", "SD", 0.9), called("b", "PD", "PD", 0.6), called("c", "PD", "PD", 0.8),
    called("d", "PD", "CR", 0.95), called("e", "PD", "PD", 0.7), called("f", "CR", "PD", 0.5),
    called("g", "CR", "SD", 0.7), called("h", "SD", "SD", 0.5), called("i", "SD", "SD", 0.5),
]  # fmt: skip


@pytest.mark.parametrize(
    ("per_class", "patients"), [(1, "c h g"), (2, "c d h i g f"), (3, "c d e h i g f"), (9, "c d e a b h i g f")]
)
def test_surest_correct_first_then_surest_wrong_class_by_class(per_class, patients):
    chosen, absent = choose_cases(CALLED, per_class)
    assert [entry.case.patient for entry in chosen] == patients.split()
    assert absent == [Response.PR]


@given(
    st.lists(st.tuples(st.sampled_from(RESPONSES), st.sampled_from(RESPONSES), st.floats(0.3, 1)), max_size=25),
    st.integers(1, 4),
)
def test_every_class_that_occurs_is_shown_as_often_as_it_can(rows, per_class):
    everyone = [called(f"p{i:02}", *row) for i, row in enumerate(rows)]
    chosen, absent = choose_cases(everyone, per_class)
    for response in RESPONSES:
        of_class = [entry for entry in everyone if entry.case.response is response]
        picked = [entry for entry in chosen if entry.case.response is response]
        assert len(picked) == min(per_class, len(of_class))
        assert (response in absent) == (not of_class)
        if any(entry.is_correct for entry in of_class):
            assert picked[0].is_correct
    assert choose_cases(everyone[::-1], per_class)[0] == chosen


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
