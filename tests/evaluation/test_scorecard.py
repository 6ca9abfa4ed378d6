"""The whole of `ranoscope evaluate` on a small run folder, and the numbers it writes against libraries."""

from __future__ import annotations

import io
import json
import shutil
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from ranoscope.config import EvaluationSettings
from ranoscope.evaluation.scorecard import Contender, assemble, evaluate_run
from ranoscope.evaluation.tables import render_scoreboard

SETTINGS = EvaluationSettings(bootstrap=200)


def make_studies(predictions, volume=1000.0):
    """A volume for every study of the cases."""
    keys = sorted({key for case in predictions.cases for key in (case.prior_study, case.current_study)})
    return [
        {"patient": key.patient, "visit": str(key.visit), "week": str(key.visit.week), "enhancing_mm3": str(volume)}
        for key in keys
    ]


@pytest.fixture(scope="module")
def predictions(make_cohort_predictions):
    return make_cohort_predictions(seeds=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory, predictions, make_run):
    folder = make_run(tmp_path_factory.mktemp("run"), predictions, make_studies(predictions))
    recipe = {"name": "tiny", "description": "A tiny network.", "level": "pair"}
    (folder / "settings.yaml").write_text(yaml.safe_dump({"crossval": recipe}))
    evaluate_run(folder, SETTINGS)
    return folder


@pytest.fixture(scope="module")
def scorecard(run):
    return json.loads((run / "scorecard.json").read_text())


def entry(scorecard, name):
    return next(one for one in scorecard["contenders"] if one["name"] == name)


def render(scorecard, width=100):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(render_scoreboard(scorecard))
    return console.export_text()


def test_the_model_stands_beside_every_rival_with_its_level(scorecard):
    assert [(one["name"], one["level"]) for one in scorecard["contenders"]] == [
        ("model", "pair"), ("always_pd", "nothing"), ("timing", "pair"), ("volume_rule", "timeline"),
        ("persistence", "reader"),
    ]  # fmt: skip
    assert entry(scorecard, "model")["title"] == "tiny"
    assert entry(scorecard, "model")["knew"] == "A tiny network."
    assert [one["rival"] for one in scorecard["comparisons"] if one["same_level"]] == ["timing"]
    assert scorecard["rivals_not_shown"] == []
    assert scorecard["warnings"] == []


def test_the_headline_equals_scikit_learn(scorecard, predictions):
    found = entry(scorecard, "model")["metrics"]["balanced_accuracy"]
    expected = np.mean([balanced_accuracy_score(predictions.truth, calls) for calls in predictions.calls])
    assert found["estimate"] == pytest.approx(expected)
    assert found["low"] < found["estimate"] < found["high"]
    assert found["reason"] is None
    matrices = [confusion_matrix(predictions.truth, calls) for calls in predictions.calls]
    assert np.array(entry(scorecard, "model")["confusion"]) == pytest.approx(np.mean(matrices, axis=0))


def test_always_pd_is_what_it_must_be(scorecard, predictions):
    rival = entry(scorecard, "always_pd")
    share = float((predictions.truth == 0).mean())
    values = {name: found["estimate"] for name, found in rival["metrics"].items()}
    assert values == pytest.approx(
        {
            "balanced_accuracy": 0.25, "macro_f1": 2 * share / (1 + share) / 4, "accuracy": share, "quadratic_kappa": 0,
            "pd_balanced_accuracy": 0.5, "pd_auc": 0.5, "first_progression_auc": 0.5, "ece": 1 - share,
            "brier": 2 * (1 - share),
            "recall_CR": 0, "recall_PR": 0, "recall_SD": 0, "recall_PD": 1,
        }
    )  # fmt: skip
    assert rival["probabilities"] == "hard calls"
    assert "0 and 1" in rival["probabilities_note"]
    assert entry(scorecard, "timing")["probabilities"] == "probabilities"


def test_differences_are_those_of_the_estimates(scorecard):
    for comparison in scorecard["comparisons"]:
        for name, found in comparison["differences"].items():
            values = [entry(scorecard, who)["metrics"][name]["estimate"] for who in ("model", comparison["rival"])]
            assert found["estimate"] == pytest.approx(values[0] - values[1])
    against = next(one for one in scorecard["comparisons"] if one["rival"] == "always_pd")["differences"]
    assert against["balanced_accuracy"]["better"] == 1.0
    assert against["balanced_accuracy"]["low"] > 0
    assert against["recall_PD"]["better"] == 0.0


def test_rivals_calls_have_the_columns_of_calls_csv(run, predictions):
    columns = list(pd.read_csv(run / "calls.csv").columns)
    for name in ("always_pd", "timing", "volume_rule", "persistence"):
        table = pd.read_csv(run / f"calls_{name}.csv")
        assert list(table.columns) == columns
        assert len(table) == 2 * len(predictions.cases)
    assert set(pd.read_csv(run / "calls_always_pd.csv")["call"]) == {"PD"}


def test_scoreboard_csv_repeats_the_scorecard(run, scorecard):
    table = pd.read_csv(run / "scoreboard.csv").set_index("name")
    for one in scorecard["contenders"]:
        for name, found in one["metrics"].items():
            assert table.loc[one["name"], name] == pytest.approx(found["estimate"])
            assert table.loc[one["name"], f"{name}_low"] == pytest.approx(found["low"])


def test_figures_are_svg_with_text_and_the_same_bytes_again(run, tmp_path):
    shutil.copytree(run, tmp_path / "again")
    shutil.rmtree(tmp_path / "again" / "figures")
    evaluate_run(tmp_path / "again", SETTINGS)
    names = sorted(path.name for path in (run / "figures").iterdir())
    assert names == ["calibration.svg", "confusion.svg", "recall.svg", "scoreboard.svg"]
    for name in names:
        payload = (run / "figures" / name).read_bytes()
        assert payload == (tmp_path / "again" / "figures" / name).read_bytes()
        root = ElementTree.fromstring(payload)
        texts = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
        assert any("tiny" in text for text in texts)
        assert root.get("viewBox")
    for name in ("scorecard.json", "scoreboard.csv"):
        assert (run / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_provenance_names_the_inputs(run):
    known = json.loads((run / "provenance.json").read_text())["evaluate"]
    assert set(known["inputs"]) == {"cohort.csv", "studies.csv", "folds.csv", "calls.csv"}
    assert yaml.safe_load((run / "settings.yaml").read_text())["evaluate"]["bootstrap"] == 200


def test_scoreboard_for_the_terminal(scorecard):
    text = render(scorecard)
    headline = entry(scorecard, "model")["metrics"]["balanced_accuracy"]["estimate"]
    assert f"{100 * headline:.1f} %" in text
    for title in ("tiny", "Always PD", "Timing only", "Volume rule", "Persistence"):
        assert title in text
    assert "for comparison only" in text
    assert "Research use only" in text


def test_progress_counts_to_its_end(run, tmp_path):
    shutil.copytree(run, tmp_path / "again")
    told = []
    evaluate_run(tmp_path / "again", SETTINGS, lambda done, total, what: told.append((done, total)))
    assert told == [(step, 9) for step in range(1, 10)]


def test_classes_that_are_absent_are_null_with_a_reason(tmp_path, make_cases, make_predictions, make_run):
    cases = make_cases([0, 1] * 8, [f"P{place // 2:03d}" for place in range(16)])
    probabilities = np.tile([[0.6, 0.2, 0.1, 0.1], [0.3, 0.5, 0.1, 0.1]], (8, 1))
    predictions = make_predictions(cases, probabilities, folds=[[place // 2 % 2 for place in range(16)]])
    run = make_run(tmp_path, predictions)
    scorecard = evaluate_run(run, SETTINGS)
    assert scorecard == json.loads((run / "scorecard.json").read_text())
    found = entry(scorecard, "model")["metrics"]
    assert found["balanced_accuracy"] == {
        "estimate": None, "low": None, "high": None, "left_out": 200, "resamples": 200, "reason": "no case of PR, CR",
    }  # fmt: skip
    assert found["recall_CR"]["reason"] == "no case of CR"
    assert found["accuracy"]["estimate"] == 1.0
    difference = scorecard["comparisons"][0]["differences"]["balanced_accuracy"]
    assert (difference["estimate"], difference["better"], difference["reason"]) == (None, None, "no case of PR, CR")
    assert entry(scorecard, "model")["level"] is None
    assert [one["name"] for one in scorecard["rivals_not_shown"]] == ["volume_rule"]
    assert not (run / "calls_volume_rule.csv").exists()
    text = render(scorecard)
    assert "no case of PR, CR" in text
    assert "Not shown: Volume rule" in text


def test_resamples_that_lack_a_rare_class_are_counted(tmp_path, make_cases, make_predictions, make_run):
    """CR in one patient of ten: a resample misses it with probability 0.9 ** 10 = 0.35."""
    truth = [3, *[0, 1, 2] * 3]
    predictions = make_predictions(make_cases(truth), np.eye(4)[truth], folds=[[n % 2 for n in range(10)]])
    scorecard = evaluate_run(make_run(tmp_path, predictions), EvaluationSettings(bootstrap=2000))
    found = entry(scorecard, "model")["metrics"]
    assert found["recall_CR"]["left_out"] == pytest.approx(2000 * 0.9**10, abs=100)
    assert found["balanced_accuracy"]["left_out"] > found["recall_CR"]["left_out"]
    assert (found["recall_CR"]["low"], found["recall_CR"]["high"]) == (1.0, 1.0)
    named = {line.split(" occurs in ")[0]: line.split(" occurs in ")[1].split(":")[0] for line in scorecard["warnings"]}
    assert named == {"CR": "1 patient", "PD": "3 patients", "SD": "3 patients", "PR": "3 patients"}


def test_contenders_over_other_cases_are_refused(make_cohort_predictions):
    rows = [make_cohort_predictions(patients=number) for number in (6, 7)]
    contenders = [Contender(str(n), str(n), "model", None, "", one, "", {}) for n, one in enumerate(rows)]
    with pytest.raises(ValueError, match="same cases in the same order"):
        assemble(contenders, SETTINGS)
