"""Runs of another design: folds as published, which mark everything, and PD against the rest."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, roc_auc_score

from ranoscope.config import EvaluationSettings, FoldProtocol
from ranoscope.errors import RunError
from ranoscope.evaluation.predictions import read_predictions
from ranoscope.evaluation.scorecard import evaluate_run
from ranoscope.evaluation.tables import render_scoreboard

SETTINGS = EvaluationSettings(bootstrap=200)
WORDS = "as published: folds by visit"


def render(scorecard):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(render_scoreboard(scorecard))
    return console.export_text()


def write_design(run, **recipe):
    (run / "settings.yaml").write_text(yaml.safe_dump({"crossval": {"name": "tiny", "level": "pair", **recipe}}))


@pytest.fixture(scope="module")
def predictions(make_cohort_predictions):
    return make_cohort_predictions()


def mark(run, name):
    table = pd.read_csv(run / name, dtype=str, keep_default_na=False).assign(protocol="as-published")
    table.to_csv(run / name, index=False)


@pytest.fixture
def published(tmp_path, predictions, make_run):
    """As ``ranoscope crossval`` leaves it: visits dealt to folds whatever their patient, every row marked."""
    generator = np.random.default_rng(0)
    folds = generator.permutation(len(predictions.cases))[None] % 3
    by_visit = type(predictions)(predictions.cases, (0,), folds, predictions.probabilities, predictions.calls)
    run = make_run(tmp_path / "run", by_visit)
    mark(run, "folds.csv")
    mark(run, "calls.csv")
    write_design(run, folds={"protocol": "as-published"})
    return run


def test_a_run_as_published_is_marked_wherever_it_appears(published):
    evaluate_run(published, SETTINGS)
    scorecard = json.loads((published / "scorecard.json").read_text())
    assert WORDS in scorecard["watermark"]
    assert scorecard["protocol"]["folds"] == "as-published"
    assert WORDS in render(scorecard)
    assert pd.read_csv(published / "scoreboard.csv")["watermark"].str.contains(WORDS).all()
    for rival in ("always_pd", "timing", "persistence"):
        assert set(pd.read_csv(published / f"calls_{rival}.csv")["protocol"]) == {"as-published"}
    drawings = sorted((published / "figures").glob("*.svg"))
    assert len(drawings) == 4
    for path in drawings:
        assert "AS PUBLISHED" in path.read_text()
        assert "optimistic" in path.read_text()


def test_a_run_by_patient_is_marked_nowhere(tmp_path, predictions, make_run):
    run = make_run(tmp_path / "run", predictions)
    write_design(run)
    evaluate_run(run, SETTINGS)
    scorecard = json.loads((run / "scorecard.json").read_text())
    assert (scorecard["watermark"], scorecard["target"]) == (None, "four-classes")
    texts = [path.read_text().lower() for path in run.rglob("*") if path.suffix in (".svg", ".csv", ".json")]
    assert not any("published" in text for text in (*texts, render(scorecard).lower()))


def test_rivals_of_a_run_as_published_use_its_folds(published):
    evaluate_run(published, SETTINGS)
    folds = pd.read_csv(published / "folds.csv").set_index(["patient", "current"])["fold"]
    for name in ("calls.csv", "calls_timing.csv"):
        calls = pd.read_csv(published / name).set_index(["patient", "current"])["fold"]
        assert calls.sort_index().equals(folds.sort_index())


@pytest.mark.parametrize(
    ("recipe", "marked", "words"),
    [
        ({}, ("folds.csv", "calls.csv"), "patient-level folds, got folds of the protocol as-published"),
        ({}, ("calls.csv",), "calls of the protocol patient, got protocol as-published"),
        ({"protocol": "as-published"}, ("folds.csv",), "calls of the protocol as-published, got protocol patient"),
        ({"protocol": "as-published"}, ("calls.csv",), "folds of the protocol as-published, got .* patient"),
    ],
)
def test_the_recipe_the_folds_and_the_calls_must_be_of_one_protocol(
    tmp_path, predictions, make_run, recipe, marked, words
):
    run = make_run(tmp_path / "run", predictions)
    for name in marked:
        mark(run, name)
    write_design(run, folds=recipe)
    with pytest.raises(RunError, match=words):
        evaluate_run(run, SETTINGS)


def test_only_folds_as_published_may_part_a_patient(published):
    assert read_predictions(published, FoldProtocol.AS_PUBLISHED).cases
    for name in ("folds.csv", "calls.csv"):
        pd.read_csv(published / name, dtype=str).drop(columns="protocol").to_csv(published / name, index=False)
    with pytest.raises(RunError, match="each patient in one fold per seed"):
        read_predictions(published)


@pytest.fixture(scope="module")
def binary(tmp_path_factory, predictions, make_run):
    run = make_run(tmp_path_factory.mktemp("binary") / "run", predictions)
    write_design(run, target="pd-versus-rest")
    evaluate_run(run, SETTINGS)
    return run, json.loads((run / "scorecard.json").read_text())


def test_pd_against_the_rest_is_scored_for_model_and_rivals_alike(binary, predictions):
    run, scorecard = binary
    assert (scorecard["headline"], scorecard["classes"]) == ("pd_balanced_accuracy", ["PD", "rest"])
    progressive, first = predictions.truth == 0, predictions.first_progression
    for contender in scorecard["contenders"]:
        table = pd.read_csv(run / contender["calls"]).set_index(["patient", "current"])
        rows = table.loc[[(case.patient, str(case.current)) for case in predictions.cases]]
        p_pd, called = rows["p_PD"].to_numpy(), (rows["call"] == "PD").to_numpy()
        expected = {
            "pd_balanced_accuracy": balanced_accuracy_score(progressive, called),
            "pd_auc": roc_auc_score(progressive, p_pd),
            "first_progression_auc": roc_auc_score(progressive[first], p_pd[first]),
        }
        for name, value in expected.items():
            found = contender["metrics"][name]
            assert found["estimate"] == pytest.approx(value, abs=1e-5)
            assert found["low"] <= found["estimate"] <= found["high"]
        assert contender["confusion"] == confusion_matrix(~progressive, ~called).tolist()
    differences = scorecard["comparisons"][0]["differences"]
    assert differences["pd_balanced_accuracy"]["low"] is not None


def test_tables_say_that_only_pd_against_the_rest_means_something(binary):
    run, scorecard = binary
    assert "only figures of PD against the rest are meaningful" in scorecard["target_note"]
    model = scorecard["contenders"][0]["metrics"]
    for name in ("balanced_accuracy", "macro_f1", "quadratic_kappa", "recall_CR"):
        assert model[name]["estimate"] is None
        assert "PD from the rest alone" in model[name]["reason"]
        assert "PD from the rest alone" in scorecard["comparisons"][0]["differences"][name]["reason"]
    text = render(scorecard)
    assert "only figures of PD against the rest" in text
    assert "Kappa" not in text
    assert "rest" in text
    assert {path.name for path in (run / "figures").glob("*.svg")} == {
        "scoreboard.svg", "confusion.svg", "calibration.svg", "recall.svg",
    }  # fmt: skip
    assert "chance 50 %" in (run / "figures" / "scoreboard.svg").read_text()


def test_a_scorecard_of_four_classes_carries_the_two_class_figures_too(tmp_path, predictions, make_run):
    run = make_run(tmp_path / "run", predictions)
    found = evaluate_run(run, SETTINGS)["contenders"][0]["metrics"]["pd_balanced_accuracy"]
    expected = balanced_accuracy_score(predictions.truth == 0, predictions.calls[0] == 0)
    assert found["estimate"] == pytest.approx(expected)
