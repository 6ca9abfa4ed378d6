"""The whole audit, from anybody's table to the exit code, on cohorts written without the code under test."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from ranoscope.auditing.audit import audit_folds
from ranoscope.auditing.splits import read_split
from ranoscope.cohort.pairing import COHORT_COLUMNS
from ranoscope.domain import RESPONSES
from ranoscope.errors import RunError, TableError
from ranoscope.evaluation.identity import identity_probabilities

PATIENTS, VISITS = 20, 5


def cohort_rows():
    """Every patient keeps one response over all visits: who knows the patient knows the answer."""
    names = ["PD", "SD", "PR", "CR"]
    return [
        {
            "patient": f"P{patient:03d}", "current": f"week-{12 * (visit + 1):03d}", "prior": f"week-{12 * visit:03d}",
            "response": names[patient % 4], "weeks_between": "12", "prior_rating": "SD", "first_progression": "true",
            "excluded_because": "",
        }
        for patient in range(PATIENTS)
        for visit in range(VISITS)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    run = tmp_path_factory.mktemp("audited")
    excluded = {"patient": "P000", "current": "week-000", "response": "Pre-Op", "excluded_because": "surgery-state"}
    pd.DataFrame([excluded, *cohort_rows()], columns=list(COHORT_COLUMNS)).to_csv(run / "cohort.csv", index=False)
    return run


@pytest.fixture
def table():
    """Patient-level folds in another's words: no seed, a visit column, folds with names."""
    rows = pd.DataFrame(cohort_rows())
    number = rows["patient"].str[1:].astype(int)
    part = (number // 4 % 3).astype(str)
    return pd.DataFrame({"patient": rows["patient"], "visit": rows["current"], "fold": "part " + part})


@pytest.fixture
def audited(cohort, tmp_path):
    def run(table):
        table.to_csv(tmp_path / "others.csv", index=False)
        return audit_folds(tmp_path / "others.csv", cohort)

    return run


def by_visit(table):
    return table.assign(fold=np.arange(len(table)) % VISITS)


def test_patient_level_folds_of_others_pass(audited, table):
    found = audited(table)
    assert not found["patients_leak"]
    assert list(found["overall"]["leaks"].values()) == [0, 0, 0]
    assert found["overall"]["patient_and_week"]["balanced_accuracy"] < 0.4
    assert [fold["fold"] for fold in found["seeds"][0]["folds"]] == ["part 0", "part 1", "part 2"]
    assert found["findings"][0].startswith("No patient is on both sides")


def test_folds_by_visit_fail_and_the_patients_name_is_enough(audited, table):
    found = audited(by_visit(table))
    assert found["patients_leak"]
    # Each patient's five visits are in five folds, each prior the one before; the first has no labelled prior.
    assert found["overall"]["leaks"] == {
        "patient_in_training": 1.0, "shares_a_scan": 1.0, "previous_visit_trained_on": 0.8,
    }  # fmt: skip
    assert found["overall"]["patient_and_week"]["balanced_accuracy"] == 1.0
    assert found["findings"][0] == "100.0 % of test visits have the same patient in training."
    assert found["seeds"][0]["leaks"]["previous_visit_trained_on"]["cases"] == 80


def test_one_leaking_patient_under_one_seed_is_enough(audited, table):
    leaky = table.copy()
    leaky.loc[0, "fold"] = "part 1"
    found = audited(pd.concat([table.assign(seed=4), leaky.assign(seed=11)]))
    assert found["patients_leak"]
    assert [seed["seed"] for seed in found["seeds"]] == [4, 11]
    assert [seed["leaks"]["patient_in_training"]["cases"] for seed in found["seeds"]] == [0, VISITS]
    assert found["overall"]["leaks"]["patient_in_training"] == pytest.approx(VISITS / len(table) / 2)


def test_class_counts_equal_pandas(audited, table):
    shuffled = table.assign(fold=np.random.default_rng(0).integers(0, 12, len(table)))
    found = audited(shuffled)
    expected = shuffled.merge(
        pd.DataFrame(cohort_rows()), left_on=["patient", "visit"], right_on=["patient", "current"]
    )
    counts = pd.crosstab(expected["fold"], expected["response"])
    assert [fold["fold"] for fold in found["seeds"][0]["folds"]] == [str(name) for name in counts.index]
    for fold in found["seeds"][0]["folds"]:
        assert {name: fold[name] for name in counts} == counts.loc[int(fold["fold"])].to_dict()
    assert found["cases_per_response"] == {"CR": 25, "PR": 25, "SD": 25, "PD": 25}


def test_the_identity_score_equals_scikit_learn(audited, table, cohort, tmp_path):
    found = audited(table.assign(fold=np.random.default_rng(1).integers(0, 3, len(table))))["seeds"][0]
    split = read_split(tmp_path / "others.csv", cohort)
    calls = identity_probabilities(split.cases, split.folds)[0].argmax(axis=1)
    assert found["patient_and_week"]["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(split.truth, calls))
    folds = [balanced_accuracy_score(split.truth[split.folds[0] == f], calls[split.folds[0] == f]) for f in range(3)]
    assert found["patient_and_week"]["median_of_folds"] == pytest.approx(np.median(folds))


def test_a_tested_patients_ratings_do_not_reach_its_own_identity_answer(table, cohort, tmp_path):
    table.to_csv(tmp_path / "others.csv", index=False)
    split = read_split(tmp_path / "others.csv", cohort)
    answers = identity_probabilities(split.cases, split.folds)[0]
    first_visits = [answers[place] for place, case in enumerate(split.cases) if case.current.week == 12]
    # Weeks being equal, patients never seen are all alike within a fold.
    folds = split.folds[0][[place for place, case in enumerate(split.cases) if case.current.week == 12]]
    for fold in range(3):
        of_fold = [answer for answer, place in zip(first_visits, folds, strict=True) if place == fold]
        assert np.ptp(of_fold, axis=0).max() == 0


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (lambda t: t.drop(columns="visit"), TableError, "the column visit, got only patient, fold"),
        (lambda t: t.drop(columns="fold"), TableError, "the column fold"),
        (lambda t: t.head(0), TableError, "at least one row, got none"),
        (lambda t: pd.concat([t, t.iloc[[7]]]), TableError, "each visit once per seed.*P001/week-036"),
        (lambda t: t.drop(index=7), RunError, "every case that the cohort keeps.*P001/week-036"),
        (lambda t: t.assign(visit=t["visit"].replace("week-036", "36")), TableError, "week-NNN.*36 and 19 more"),
        (lambda t: t.assign(visit=t["visit"].mask(t.index == 0, "week-000")), RunError, "excludes because of surgery"),
        (lambda t: t.assign(visit=t["visit"].mask(t.index == 0, "week-999")), RunError, "a visit without a row"),
        (lambda t: t.assign(patient=t["patient"].mask(t.index == 0, "Q1")), RunError, "a patient the cohort does not"),
        (lambda t: t.assign(patient="Q" + t["patient"]), RunError, "folds of this cohort, got none of its patients"),
        (lambda t: t.assign(fold=""), TableError, "the name of a fold"),
        (lambda t: t.assign(fold="one"), TableError, "at least 2 folds per seed, got 1 under seed 0"),
        (lambda t: t.assign(seed="first"), TableError, "a whole number as seed, got seed first"),
        (lambda t: t.assign(response="PD"), RunError, "the response of the cohort, got response PD, in cohort SD"),
        (lambda t: t.assign(protocol=["mine"] * 50 + ["yours"] * 50), TableError, "one protocol, got mine, yours"),
    ],
)  # fmt: skip
def test_bad_folds_are_refused_by_name(audited, table, spoil, kind, message):
    with pytest.raises(kind, match=message):
        audited(spoil(table))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'patient,visit,fold\n"P000,week-012,0\n'])
def test_a_file_that_is_no_table_is_refused(cohort, tmp_path, content):
    (tmp_path / "others.csv").write_bytes(content)
    with pytest.raises(TableError, match="a CSV table in UTF-8"):
        audit_folds(tmp_path / "others.csv", cohort)


def test_the_command_exits_with_3_when_patients_leak(cohort, tmp_path, table, ranoscope):
    by_visit(table).to_csv(tmp_path / "leaky.csv", index=False)
    table.to_csv(tmp_path / "sound.csv", index=False)
    leaky = ranoscope("audit", tmp_path / "leaky.csv", "--cohort", cohort, "--out", tmp_path / "audit")
    assert (leaky.code, leaky.err) == (3, "")
    assert "100.0 % of test visits have the same patient in training" in leaky.out
    written = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert written["patients_leak"]
    assert set(json.loads((tmp_path / "audit" / "provenance.json").read_text())["audit"]["inputs"]) == {
        "folds", "cohort.csv",
    }  # fmt: skip
    sound = ranoscope("audit", tmp_path / "sound.csv", "--cohort", cohort)
    assert sound.code == 0
    assert "No patient leaks" in sound.out
    assert ranoscope("audit", tmp_path / "absent.csv", "--cohort", cohort).code == 2


def test_folds_as_published_need_their_name_and_carry_their_warning(cohort, tmp_path, ranoscope):
    assert ranoscope("folds", cohort, "--out", tmp_path / "ours", "--seeds", 2).code == 0
    assert ranoscope("audit", tmp_path / "ours", "--cohort", cohort).code == 0
    assert ranoscope("folds", cohort, "--protocol", "published", "--out", tmp_path / "x").code == 2
    made = ranoscope("folds", cohort, "--protocol", "as-published", "--out", tmp_path / "theirs.csv")
    assert made.code == 0
    assert "cut by visit" in made.out
    audit = ranoscope("audit", tmp_path / "theirs.csv", "--cohort", cohort, "--out", tmp_path / "audit")
    assert audit.code == 3
    assert "cut by visit" in audit.out
    written = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert written["protocol"] == "as-published"
    assert "cut by visit" in written["warning"]


def test_sampling_error_is_that_of_the_counts_in_the_folds(audited, table):
    few, many = audited(by_visit(table))["sampling_error"], audited(table)["sampling_error"]
    assert few["one_visit"] == pytest.approx(1 / (len(RESPONSES) * 5))
    assert few["fold"]["low"] < 0.5 < few["fold"]["high"]
    assert few["median_of_folds"]["high"] < few["fold"]["high"]
    assert many["pooled"] == pytest.approx(few["pooled"], abs=0.01)
