"""calls.csv is scored only when it is the whole cohort's, called once, in the folds that were drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ranoscope.errors import RunError, TableError
from ranoscope.evaluation.predictions import Predictions, read_predictions, write_predictions


@pytest.fixture
def run(tmp_path, make_cohort_predictions, make_run):
    return make_run(tmp_path / "run", make_cohort_predictions(patients=6, visits=2, seeds=2))


def change(run, edit, name="calls.csv"):
    table = pd.read_csv(run / name, dtype=str, keep_default_na=False)
    edit(table).to_csv(run / name, index=False)


def put(place, **cells):
    def edit(table):
        for column, value in cells.items():
            table.loc[place, column] = value
        return table

    return edit


def test_what_is_written_is_read_back(run, tmp_path, make_cohort_predictions):
    expected = make_cohort_predictions(patients=6, visits=2, seeds=2)
    (run / "calls.csv").unlink()
    write_predictions(run / "calls.csv", expected)
    found = read_predictions(run)
    assert (found.cases, found.seeds) == (expected.cases, expected.seeds)
    assert (found.folds == expected.folds).all()
    assert (found.calls == expected.calls).all()
    assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-6)


def test_the_order_of_rows_does_not_matter(run):
    expected = read_predictions(run)
    change(run, lambda table: table.sample(frac=1, random_state=1))
    found = read_predictions(run)
    assert found.cases == expected.cases
    assert (found.probabilities == expected.probabilities).all()
    assert (found.folds == expected.folds).all()


def test_a_call_may_differ_from_the_most_probable_class(run):
    change(run, put(0, p_CR="0", p_PR="0", p_SD="0.4", p_PD="0.6", call="SD"))
    found = read_predictions(run)
    assert found.calls[0, 0] == 1
    assert found.probabilities[0, 0].argmax() == 0


def test_without_a_seed_column_calls_belong_to_the_only_seed(tmp_path, make_cohort_predictions, make_run):
    run = make_run(tmp_path, make_cohort_predictions(patients=4, visits=1))
    for name in ("calls.csv", "folds.csv"):
        change(run, lambda table: table.assign(seed="7"), name)
    change(run, lambda table: table.drop(columns="seed"))
    assert read_predictions(run).seeds == (7,)


@pytest.mark.parametrize(
    ("cells", "expected", "kind"),
    [
        ({"call": "NE"}, "Expected CR, PR, SD or PD, got call NE", TableError),
        ({"response": "Post-Op"}, "Expected CR, PR, SD or PD, got response Post-Op", TableError),
        ({"p_CR": "1.2"}, "Expected probabilities from 0 to 1, got", TableError),
        ({"p_SD": "-0.1"}, "Expected probabilities from 0 to 1, got", TableError),
        ({"p_SD": "nan"}, "Expected probabilities from 0 to 1, got", TableError),
        ({"p_PD": ""}, "Expected probabilities from 0 to 1, got", TableError),
        ({"p_PD": "0.1", "p_SD": "0.1", "p_PR": "0.1", "p_CR": "0.1"}, "probabilities that sum to 1", TableError),
        ({"seed": "one"}, "Expected a whole number, got seed one", TableError),
        ({"seed": "5"}, "Expected a seed of folds.csv, got seed 5", RunError),
        ({"fold": "1.5"}, "Expected a whole number, got fold 1.5", TableError),
        ({"patient": "P999"}, "Expected a kept case of cohort.csv", RunError),
        ({"prior": "week-001"}, "Expected the prior of cohort.csv, got prior week-001", RunError),
    ],
)
def test_a_bad_cell_is_named_with_patient_and_visit(run, cells, expected, kind):
    change(run, put(3, **cells))
    with pytest.raises(kind) as caught:
        read_predictions(run)
    assert expected in str(caught.value)
    assert f"calls.csv, {cells.get('patient', 'P001')}/week-036;" in str(caught.value)


def test_a_patient_in_two_folds_is_refused(run):
    change(run, put(3, fold="77"))
    with pytest.raises(
        RunError, match=r"Expected each patient in one fold per seed, got seed 0, fold .*, P001/week-024"
    ):
        read_predictions(run)


def test_a_rating_of_another_cohort_is_refused(run):
    table = pd.read_csv(run / "calls.csv", dtype=str)
    other = {"PD": "SD", "SD": "PD", "PR": "PD", "CR": "PD"}[table.loc[3, "response"]]
    change(run, put(3, response=other))
    with pytest.raises(RunError, match=r"Expected the response of cohort\.csv.*P001/week-036"):
        read_predictions(run)


def test_a_missing_call_is_refused(run):
    change(run, lambda table: table.drop(index=[3, 4]))
    with pytest.raises(RunError) as caught:
        read_predictions(run)
    assert "Expected a call of every kept case for every seed, got seed 0, call none and 1 more such rows" in str(
        caught.value
    )
    assert "P001/week-036" in str(caught.value)


def test_calls_of_a_part_of_the_seeds_are_refused(run):
    change(run, lambda table: table[table["seed"] == "0"])
    with pytest.raises(RunError, match="for every seed, got seed 1"):
        read_predictions(run)


def test_a_case_called_twice_is_refused(run):
    change(run, lambda table: pd.concat([table, table.iloc[[3]]]))
    with pytest.raises(RunError, match=r"Expected one call per case and seed, got .*P001/week-036"):
        read_predictions(run)


def test_folds_other_than_those_drawn_are_refused(run):
    change(
        run,
        lambda table: table.assign(
            fold=[9 if name == "P002" else f for name, f in table[["patient", "fold"]].to_numpy()]
        ),
    )
    with pytest.raises(RunError, match=r"Expected the fold of folds\.csv, got fold 9.*P002/week-024"):
        read_predictions(run)


@pytest.mark.parametrize("name", ["calls.csv", "folds.csv", "cohort.csv"])
def test_an_absent_file_is_named(run, name):
    (run / name).unlink()
    with pytest.raises(RunError, match=f"Expected the file {name}, got none"):
        read_predictions(run)


def test_an_absent_column_is_named(run):
    change(run, lambda table: table.drop(columns="p_CR"))
    with pytest.raises(TableError, match="Expected the column p_CR"):
        read_predictions(run)


def test_a_cohort_without_cases_is_refused(run):
    change(run, lambda table: table.assign(excluded_because="unrated"), "cohort.csv")
    with pytest.raises(RunError, match="Expected at least one kept case, got none"):
        read_predictions(run)


def test_arrays_that_do_not_belong_together_are_refused(make_cases):
    with pytest.raises(ValueError, match="Expected arrays over 1 seeds and 2 cases"):
        Predictions(make_cases([0, 1]), (0,), np.zeros((1, 2), int), np.zeros((1, 3, 4)), np.zeros((1, 2), int))
