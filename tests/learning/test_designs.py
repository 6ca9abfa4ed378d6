"""PD against the rest, and folds as published: from training to the report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from ranoscope import runs
from ranoscope.cli import stages
from ranoscope.cohort.files import read_cases
from ranoscope.cohort.folds import make_folds
from ranoscope.config import EvaluationSettings, ExplanationSettings, FoldSettings, Recipe, Target
from ranoscope.domain import RESPONSES, Case, Response, Visit
from ranoscope.errors import RunError
from ranoscope.evaluation.scorecard import evaluate_run
from ranoscope.explaining.explain import explain_run
from ranoscope.learning import crossval, studies
from ranoscope.learning.checkpoints import load_fold
from ranoscope.learning.crossval import cross_validate
from ranoscope.learning.data import case_tensor
from ranoscope.learning.studies import open_run_store
from ranoscope.learning.targets import as_called, class_names, class_of, four_probabilities, rest_shares
from ranoscope.reporting.report import write_report

BOOTSTRAP = EvaluationSettings(bootstrap=100)


def silent(*_):
    pass


def design(tiny, **changes) -> Recipe:
    content = tiny(epochs=2, weight_averaging=0.0).model_dump(mode="json")
    protocol = changes.pop("protocol", "patient")
    return Recipe.model_validate({**content, **changes, "folds": {"count": 2, "protocol": protocol}})


def make_home(original: Path, folder: Path, recipe: Recipe) -> Path:
    home = Path(shutil.copytree(original, folder / "home"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("joblib.cpu_count", lambda: 1)
        cross_validate(recipe, home / "run", home / "run", silent)
    return home


@pytest.fixture(scope="module")
def both(original, tiny, tmp_path_factory) -> Path:
    """PD against the rest, on folds as published, with facts: scored, explained and reported."""
    facts = {"age": True, "week": True}
    recipe = design(tiny, target="pd-versus-rest", protocol="as-published", clinical=facts)
    home = make_home(original, tmp_path_factory.mktemp("both"), recipe)
    run = home / "run"
    evaluate_run(run, BOOTSTRAP)
    few = {"cases_per_class": 1, "methods": ["saliency", "gradcam"], "perturbation": {"steps": 2}, "randomisation": 1}
    explain_run(run, ExplanationSettings.model_validate(few), silent)
    write_report(run, silent)
    return home


def record(run: Path, fold: int) -> dict:
    return json.loads((run / runs.CHECKPOINTS / f"seed-0_fold-{fold}" / "fold.json").read_text())


@given(st.lists(st.sampled_from(RESPONSES), max_size=30), st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_what_is_not_pd_is_dealt_out_by_its_shares(labels, chances):
    cases = [Case(f"P{n}", Visit(0), Visit(n + 1), label, n + 1, Response.SD, False) for n, label in enumerate(labels)]
    shares = rest_shares(cases)
    assert sum(shares.values()) == pytest.approx(1)
    rest = [label for label in labels if label is not Response.PD]
    for response, share in shares.items():
        assert share == pytest.approx(rest.count(response) / len(rest) if rest else 1 / 3)
    answers = torch.tensor([[p, 1 - p] for p in chances], dtype=torch.float64)
    four = four_probabilities(answers, shares)
    assert torch.equal(four[:, 0], answers[:, 0])
    torch.testing.assert_close(four.sum(dim=1), torch.ones(len(chances), dtype=torch.float64))
    for place, response in enumerate(RESPONSES[1:], start=1):
        torch.testing.assert_close(four[:, place], answers[:, 1] * shares[response])


def test_pd_is_the_first_of_two_classes():
    assert class_names(Target.PD_VERSUS_REST) == ("PD", "rest")
    assert [class_of(response, Target.PD_VERSUS_REST) for response in RESPONSES] == [0, 1, 1, 1]
    assert [as_called(response, Target.PD_VERSUS_REST) for response in RESPONSES] == ["PD", "SD", "SD", "SD"]
    assert [as_called(response, Target.FOUR_CLASSES) for response in RESPONSES] == list(RESPONSES)


def test_calls_of_pd_against_the_rest(both):
    run = both / "run"
    calls = pd.read_csv(run / runs.CALLS)
    assert list(calls.columns) == [*runs.CALL_COLUMNS, "seed", "protocol"]
    assert np.allclose(calls[["p_PD", "p_SD", "p_PR", "p_CR"]].sum(axis=1), 1, atol=3e-6)
    assert ((calls["p_PD"] >= 0.5) == (calls["call"] == "PD")).all()
    assert set(calls["call"]) <= {"PD", "SD"}
    cases = {(case.patient, str(case.current)): case for case in read_cases(run)}
    for fold in (0, 1):
        mine = calls[calls["fold"] == fold]
        tested = {(row.patient, row.current) for row in mine.itertuples()}
        learnt = [case.response for name, case in cases.items() if name not in tested and case.response != "PD"]
        shares = {name: learnt.count(name) / len(learnt) for name in ("SD", "PR", "CR")}
        assert record(run, fold)["rest_shares"] == pytest.approx(shares)
        assert record(run, fold)["target"] == "pd-versus-rest"
        for name, share in shares.items():
            assert mine[f"p_{name}"].to_numpy() == pytest.approx((1 - mine["p_PD"]).to_numpy() * share, abs=2e-6)


def test_folds_as_published_are_marked_everywhere(both):
    run = both / "run"
    for name in (runs.CALLS, runs.FOLDS, "calls_timing.csv"):
        assert set(pd.read_csv(run / name)["protocol"]) == {"as-published"}
    scorecard = json.loads((run / runs.SCORECARD).read_text())
    assert "checkpoint chosen on the reported fold" in scorecard["watermark"]
    assert all("AS PUBLISHED" in path.read_text() for path in (run / runs.FIGURES).glob("*.svg"))
    page = (run / runs.REPORT).read_text()
    assert "<strong>As published.</strong> as published: folds by visit" in page
    assert "only figures of PD against the rest are meaningful" in page
    assert "never saw" not in page
    assert "patient-level folds" not in page
    for path in (run / runs.EXPLANATIONS).rglob("case.json"):
        sentences = " ".join(json.loads(path.read_text())["sentences"])
        assert "As published: folds by visit" in sentences
        assert "SD stands for the rest" in sentences
        assert "told 3 numbers" in sentences


def test_explanations_of_two_classes_are_of_pd_and_of_the_rest(both):
    for path in (both / "run" / runs.EXPLANATIONS).rglob("case.json"):
        about = json.loads(path.read_text())
        assert set(about["probabilities"]) == {"PD", "SD"}
        assert sum(about["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        expected = "PD" if about["response"] == "PD" else "SD"
        assert about["explained"] == list(dict.fromkeys((about["call"], expected)))


def test_as_published_the_reported_fold_chooses_the_epoch(original, tiny, tmp_path):
    """The kept network's loss on the reported cases is the lowest that training saw on them."""
    home = make_home(original, tmp_path, design(tiny, protocol="as-published"))
    run, recipe = home / "run", design(tiny, protocol="as-published")
    store = open_run_store(run, recipe)
    calls = pd.read_csv(run / runs.CALLS)
    per_patient = calls.groupby("patient")["fold"].nunique()
    assert (per_patient > 1).any()
    for fold in (0, 1):
        rows = calls[calls["fold"] == fold].set_index(["patient", "current"]).index
        tested = [case for case in read_cases(run) if (case.patient, str(case.current)) in rows]
        learnt = [case.response.class_index for case in read_cases(run) if case not in tested]
        weights = torch.tensor([len(learnt) / (4 * learnt.count(place)) for place in range(4)])
        with torch.inference_mode():
            logits = load_fold(run, 0, fold)(torch.stack([case_tensor(store, case, recipe) for case in tested]))
        truth = torch.tensor([case.response.class_index for case in tested])
        history = [entry["inner_loss"] for entry in record(run, fold)["history"]]
        assert float(F.cross_entropy(logits, truth, weights)) == pytest.approx(min(history), rel=1e-3)


@pytest.mark.parametrize(("there", "asked"), [("as-published", "patient"), ("patient", "as-published")])
def test_folds_of_another_protocol_are_refused_before_any_image_is_read(home, tiny, monkeypatch, there, asked):
    run = home / "run"
    make_folds(run, FoldSettings(count=2, protocol=there), run)
    monkeypatch.setattr(studies, "build_store", lambda *_: pytest.fail("the store was built first"))
    with pytest.raises(RunError, match=f"got folds of the protocol {there}.*choose another --out"):
        cross_validate(design(tiny, protocol=asked), run, run, silent)
    assert not (run / runs.CHECKPOINTS).exists()


def test_folds_as_published_that_are_there_are_taken(home, tiny, monkeypatch):
    run = home / "run"
    make_folds(run, FoldSettings(count=2, protocol="as-published"), run)
    before = (run / runs.FOLDS).read_bytes()
    monkeypatch.setattr(crossval, "fit_fold", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        cross_validate(design(tiny, protocol="as-published"), run, run, silent)
    assert (run / runs.FOLDS).read_bytes() == before


@pytest.mark.parametrize(
    ("protocol", "words"), [("patient", "never saw them"), ("as-published", "other visits of theirs")]
)
def test_the_terminal_says_how_far_the_networks_were_from_what_they_called(
    original, monkeypatch, capsys, protocol, words
):
    calls = pd.DataFrame({"patient": ["Patient-001"]})
    monkeypatch.setattr(crossval, "cross_validate", lambda *_: calls)
    stages.run_crossval("demo", [f"folds.protocol={protocol}"], original / "run", original / "run", None)
    out = " ".join(capsys.readouterr().out.split())
    assert words in out
    assert ("cut by visit" in out) == (protocol == "as-published")
