"""The ceiling of a synthetic cohort: against libraries and by hand, and where it shows and where it does not."""

from __future__ import annotations

import io
import json
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from ranoscope.config import EvaluationSettings, PhantomSettings
from ranoscope.domain import RESPONSES, Response
from ranoscope.evaluation.ceiling import Ceiling, read_ceiling
from ranoscope.evaluation.rivals import Unavailable
from ranoscope.evaluation.scorecard import evaluate_run
from ranoscope.evaluation.tables import render_scoreboard
from ranoscope.phantom.plans import plan_cohort
from ranoscope.reporting.board import describe_board, headline_tiles

SETTINGS = EvaluationSettings(bootstrap=100)
NOISE = 0.1
# Given PD is read as SD when misread, CR as PR, and SD and PR as the worse neighbour four times in five.
CHANCES = np.array([[0.9, 0.1, 0, 0], [0.08, 0.9, 0.02, 0], [0, 0.08, 0.9, 0.02], [0, 0, 0.1, 0.9]])


def write_source(run, folder, cases, truth, noise=NOISE):
    """What a run keeps of the synthetic cohort it was made from, and that cohort's own two files."""
    (folder / "Imaging").mkdir(parents=True)
    (run / "source.json").write_text(json.dumps({"images": f"{folder.name}/Imaging", "synthetic": True}))
    (folder / "phantom.json").write_text(json.dumps({"patients": 3, "reader_noise": noise}))
    rows = [(c.patient, str(c.current), str(RESPONSES[true])) for c, true in zip(cases, truth, strict=True)]
    rows.append(("P000", "week-012", "Post-Op"))
    pd.DataFrame(rows, columns=["patient", "visit", "response"]).to_csv(folder / "phantom_truth.csv", index=False)


@pytest.fixture(scope="module")
def read(make_cohort_predictions):
    """Ratings, and the truth they are noisy readings of."""
    predictions = make_cohort_predictions(patients=40, visits=6, seeds=2)
    generator = np.random.default_rng(1)
    truth = np.array(
        [generator.choice(4, p=CHANCES[:, label] / CHANCES[:, label].sum()) for label in predictions.truth]
    )
    return predictions, truth


@pytest.fixture(scope="module")
def run(tmp_path_factory, read, make_run):
    predictions, truth = read
    folder = make_run(tmp_path_factory.mktemp("run"), predictions)
    (folder / "settings.yaml").write_text(yaml.safe_dump({"crossval": {"name": "tiny", "level": "pair"}}))
    write_source(folder, folder / "cohort", predictions.cases, truth)
    evaluate_run(folder, SETTINGS)
    return folder


@pytest.fixture(scope="module")
def scorecard(run):
    return json.loads((run / "scorecard.json").read_text())


def row(scorecard):
    return next((one for one in scorecard["contenders"] if one["name"] == "ceiling"), None)


def test_the_row_scores_the_truth_against_the_ratings(read, scorecard):
    predictions, truth = read
    label, first = predictions.truth, predictions.first_progression
    p_progressive = CHANCES[truth, 0]
    expected = {
        "balanced_accuracy": balanced_accuracy_score(label, truth),
        "macro_f1": f1_score(label, truth, average="macro"),
        "accuracy": (label == truth).mean(),
        "pd_auc": roc_auc_score(label == 0, p_progressive),
        "first_progression_auc": roc_auc_score(label[first] == 0, p_progressive[first]),
    }
    found = row(scorecard)["metrics"]
    assert {name: found[name]["estimate"] for name in expected} == pytest.approx(expected)
    assert 0.8 < found["balanced_accuracy"]["low"] < found["balanced_accuracy"]["high"] < 1


def test_the_file_states_the_same_bound(read, run, scorecard):
    predictions, truth = read
    content = json.loads((run / "ceiling.json").read_text())
    assert (content["cases"], content["reader_noise"]) == (len(truth), NOISE)
    assert content["rated_otherwise"] == (predictions.truth != truth).sum()
    assert list(content["scores"]) == ["balanced_accuracy", "macro_f1", "pd_auc", "first_progression_auc"]
    for name, value in content["scores"].items():
        assert value == pytest.approx(row(scorecard)["metrics"][name]["estimate"])
    assert "synthetic cohorts only" in content["note"]
    calls = pd.read_csv(run / "calls_ceiling.csv")
    assert list(calls.columns) == list(pd.read_csv(run / "calls.csv").columns)
    assert calls["call"].tolist() == [str(RESPONSES[true]) for true in truth] * 2


def test_it_is_no_rival_and_is_labelled(scorecard):
    found = row(scorecard)
    assert (found["kind"], found["level"], found["title"]) == ("ceiling", "truth", "Ceiling (truth)")
    assert "Exists for synthetic cohorts only" in found["knew"]
    assert "ceiling" not in {one["rival"] for one in scorecard["comparisons"]}
    assert scorecard["rivals_not_shown"][0]["name"] == "volume_rule"
    assert not [tile for tile in headline_tiles(scorecard) if "ceiling" in tile["name"].lower()]
    rows = [
        one for table in describe_board(scorecard)["tables"] for one in table["rows"] if one["title"] == found["title"]
    ]
    assert [(one["level"], one["is_model"]) for one in rows] == [("truth", False)] * 2
    assert "Exists for synthetic cohorts only" in rows[0]["knew"]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(render_scoreboard(scorecard))
    assert "Ceiling (truth): Knew the simulated truth" in " ".join(console.export_text().split())


def test_a_cohort_of_patients_has_none(read, make_run, tmp_path):
    folder = make_run(tmp_path / "run", read[0])
    for name in ("calls_ceiling.csv", "ceiling.json"):
        (folder / name).write_text("of an earlier cohort")
    (folder / "source.json").write_text(json.dumps({"images": None, "synthetic": False}))
    scorecard = evaluate_run(folder, SETTINGS)
    assert row(scorecard) is None
    assert "ceiling" not in {one["name"] for one in scorecard["rivals_not_shown"]}
    assert not (folder / "calls_ceiling.csv").exists()
    assert not (folder / "ceiling.json").exists()
    (folder / "source.json").unlink()
    assert read_ceiling(folder) is None


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / "cohort/phantom_truth.csv").unlink(), "phantom_truth.csv is not where"),
        (lambda folder: (folder / "cohort/phantom.json").unlink(), "phantom_truth.csv is not where"),
        (
            lambda folder: (folder / "source.json").write_text(json.dumps({"images": None, "synthetic": True})),
            "phantom_truth.csv is not where",
        ),
        (
            lambda folder: (folder / "cohort/phantom_truth.csv").write_text("patient,visit,response\n"),
            "has no response for P000/",
        ),
    ],
)
def test_without_its_truth_it_is_not_shown_and_the_reason_is(read, make_run, tmp_path, spoil, reason):
    folder = make_run(tmp_path, read[0])
    write_source(folder, folder / "cohort", read[0].cases, read[1])
    spoil(folder)
    answer = read_ceiling(folder)
    assert isinstance(answer, Unavailable)
    assert reason in answer.reason


def test_a_scorecard_says_why_it_has_no_ceiling(read, make_run, tmp_path):
    folder = make_run(tmp_path, read[0])
    write_source(folder, folder / "cohort", read[0].cases, read[1])
    (folder / "cohort/phantom_truth.csv").unlink()
    answer, scorecard = read_ceiling(folder), evaluate_run(folder, SETTINGS)
    assert row(scorecard) is None
    assert {"name": "ceiling", "title": "Ceiling (truth)", "reason": answer.reason} in (scorecard["rivals_not_shown"])


def test_without_reader_noise_the_ceiling_is_the_best_value_of_every_score(make_cohort_predictions, make_run, tmp_path):
    predictions = make_cohort_predictions(patients=20)
    folder = make_run(tmp_path, predictions)
    write_source(folder, folder / "cohort", predictions.cases, predictions.truth, noise=0.0)
    found = read_ceiling(folder)
    assert isinstance(found, Ceiling)
    assert set(found.describe()["scores"].values()) == {1.0}
    assert found.read_otherwise == 0


def test_scores_that_lack_a_class_are_null(make_cases, make_predictions, make_run, tmp_path):
    predictions = make_predictions(make_cases([0, 1]), np.eye(4)[[0, 1]])
    folder = make_run(tmp_path, predictions)
    write_source(folder, folder / "cohort", predictions.cases, [0, 1])
    scores = read_ceiling(folder).describe()["scores"]
    assert np.isnan(scores["balanced_accuracy"])
    assert scores["pd_auc"] == 1.0


def test_no_other_call_of_the_truth_beats_it_on_large_synthetic_cohorts():
    """Of all 24 ways to rename the four true categories, to keep them scores best against the noisy ratings."""
    pairs = []
    for plan in plan_cohort(PhantomSettings(patients=300, seed=2, reader_noise=0.1)):
        written = {r.visit: r.rating for r in plan.rows}
        rated = ((v.planned.truth, written.get(str(v.planned.visit))) for v in plan.visits)
        pairs += [(true, Response(r)) for true, r in rated if isinstance(true, Response) and r in set(Response)]
    truth, label = (np.array([one[k].class_index for one in pairs]) for k in range(2))
    best = max(permutations(range(4)), key=lambda to: balanced_accuracy_score(label, np.array(to)[truth]))
    assert best == (0, 1, 2, 3)
