"""The command on a synthetic cohort: its rows, its page, what it refuses, and that it goes on where it stopped."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from ranoscope.domain import InformationLevel
from ranoscope.errors import RanoscopeError, RunError
from ranoscope.evaluation.predictions import read_predictions
from ranoscope.fusing.fuse import fuse_run
from ranoscope.fusing.opinions import are_measured, one_hot, rule_calls
from ranoscope.fusing.request import Request
from ranoscope.learning import crossval
from ranoscope.response.calls import Category
from ranoscope.scoreboard.entrants import gather_run

from .conftest import LOGISTIC, silent

LEVELS = ("pair", "timeline", "reader")
OWN = [*(f"{kind}_{level}" for kind in ("fused", "mean") for level in LEVELS), "network"]


def fuse(run, **changes):
    return fuse_run(Request(run, **{"inner_folds": 2, **changes}), silent, LOGISTIC)


def change_settings(run, change):
    path = run / "settings.yaml"
    content = yaml.safe_load(path.read_text())
    change(content["crossval"])
    path.write_text(yaml.safe_dump(content))


def test_every_level_has_its_rows_beside_what_they_are_made_of(fused):
    board = fused.board
    names = [one["name"] for one in board["contenders"]]
    assert names[: len(OWN)] == OWN
    assert {"rano_hgg_pair", "volume_rule", "persistence", *(model.name for model in LOGISTIC)} < set(names)
    beside = {(one["model"], one["rival"]) for one in board["comparisons"]}
    for level in LEVELS:
        rule = "rano_hgg_pair" if level == "pair" else "rano_hgg_single"
        for other in ("network", f"{level}_logistic", f"mean_{level}", rule):
            assert (f"fused_{level}", other) in beside
        assert board["contenders"][names.index(f"fused_{level}")]["level"] == level
        assert board["contenders"][names.index(f"fused_{level}")]["knew"].startswith("Knew images + measurements")
    cases = read_predictions(fused.run).cases
    assert board["cohort"]["cases"] == len(cases)


def test_calls_are_files_of_the_journey_and_the_networks_are_the_runs(fused):
    own = pd.read_csv(fused.run / "calls.csv").sort_values(["patient", "current"], ignore_index=True)
    network = pd.read_csv(fused.run / "fusion/calls_network.csv").sort_values(["patient", "current"], ignore_index=True)
    pd.testing.assert_frame_equal(network[own.columns], own)
    for name in OWN:
        calls = pd.read_csv(fused.run / f"fusion/calls_{name}.csv")
        assert len(calls) == len(own)
        np.testing.assert_allclose(calls[[f"p_{one}" for one in ("CR", "PR", "SD", "PD")]].sum(axis=1), 1, atol=3e-6)


def test_how_each_was_weighed_is_told(fused):
    fusion = fused.board["fusion"]
    assert [one["level"] for one in fusion["levels"]] == list(LEVELS)
    for level in fusion["levels"]:
        assert [(one["seed"], one["fold"]) for one in level["folds"]] == [(0, 0), (0, 1)]
        assert sum(level["shares"].values()) == pytest.approx(1)
        assert level["shares"]["network"] == pytest.approx(np.mean([o["shares"]["network"] for o in level["folds"]]))


def test_the_page_stands_alone_and_shows_the_fusion(fused):
    page, board = (fused.run / "fusion/scoreboard.html").read_text(encoding="utf-8"), fused.board
    outside = re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    assert not re.search(r"(src|href)=|https?://|@import|url\(", outside)
    assert len(re.findall(r'<tr class="(?:model|rival)" data-level', page)) == len(board["contenders"])
    assert "How much is each believed?" in page
    for level in board["fusion"]["levels"]:
        assert f"{100 * level['shares']['network']:.0f} %" in page
    assert "images and measured volumes" in page
    assert "diameters" not in page
    assert "Synthetic cohort: no patient is in these figures" in page


def test_the_runs_own_files_stay_as_they_were(fused, finished_run):
    before = {p.relative_to(finished_run) for p in finished_run.rglob("*") if p.is_file()}
    for name in before:
        assert (fused.run / name).read_bytes() == (finished_run / name).read_bytes()


def test_an_interrupted_fusion_goes_on_and_ends_the_same(fused, run, monkeypatch):
    honest, trained = crossval.run_cell, []

    def killed(experiment, cell, told):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(cell.folder)
        honest(experiment, cell, told)

    with monkeypatch.context() as patch:
        patch.setattr(crossval, "run_cell", killed)
        with pytest.raises(KeyboardInterrupt):
            fuse(run)
    assert not (run / "fusion/scoreboard.json").exists()
    fitted, fit = [], crossval.fit_fold

    def watched(recipe, material, sides, folder, seed, told):
        fitted.append(folder.parent)
        return fit(recipe, material, sides, folder, seed, told)

    monkeypatch.setattr(crossval, "fit_fold", watched)
    fuse(run)
    assert len(fitted) == 2
    assert not set(fitted) & set(trained)
    for name in ("scoreboard.json", "scoreboard.html", "calls_fused_pair.csv"):
        assert (run / "fusion" / name).read_bytes() == (fused.run / "fusion" / name).read_bytes()
    fuse(run)
    assert len(fitted) == 2


def test_inner_networks_of_another_making_are_refused(fused, tmp_path):
    run = shutil.copytree(fused.run, tmp_path / "run")
    with pytest.raises(RunError, match="delete this folder to train afresh"):
        fuse(run, inner_folds=3)


def test_visits_that_are_not_measured_are_called_by_the_network_and_counted(fused, tmp_path):
    run = shutil.copytree(fused.run, tmp_path / "run")
    studies = pd.read_csv(run / "studies.csv", dtype=str, keep_default_na=False)
    lost = studies["patient"] == studies["patient"].iloc[0]
    studies.loc[lost, [name for name in studies if name.endswith("_mm3")]] = ""
    studies.to_csv(run / "studies.csv", index=False)
    board = fuse(run)
    cases = read_predictions(run).cases
    mine = [case.patient == studies["patient"].iloc[0] for case in cases]
    before = fused.board["fusion"]["not_measured"]
    assert board["fusion"]["not_measured"] >= before
    entry = gather_run(run, None, None)
    assert board["fusion"]["not_measured"] == (~are_measured(entry)).sum()
    assert not are_measured(entry)[mine].any()
    # The plain mean of an unmeasured case is the network's own answer.
    mean, network = (pd.read_csv(run / f"fusion/calls_{name}.csv") for name in ("mean_pair", "network"))
    assert (mean["call"] == network["call"])[~are_measured(entry)].all()


def test_the_rule_of_a_pair_saw_two_studies_and_unknown_is_no_category(fused):
    entry = gather_run(fused.run, None, None)
    pair, timeline = (rule_calls(entry, level) for level in (InformationLevel.PAIR, InformationLevel.TIMELINE))
    assert pair != timeline
    for case, call in zip(entry.cases, pair, strict=True):
        assert call.baseline in (None, str(case.prior))
    told = one_hot(pair, len(entry.cases))
    for call, row in zip(pair, told, strict=True):
        assert row.sum() == (call.category not in (None, Category.NE))
    assert not one_hot(None, 5).any()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda recipe: recipe["folds"].update(protocol="as-published"), "patient-level folds, got folds as published"),
        (lambda recipe: recipe.update(target="pd-versus-rest"), "four responses, got one of PD against the rest"),
        (lambda recipe: recipe.update(labels="permuted"), "expert's ratings, got one of permuted labels"),
    ],
)
def test_other_designs_are_refused_before_anything_is_written(run, change, expected):
    change_settings(run, change)
    with pytest.raises(RunError, match=expected):
        fuse(run)
    assert not (run / "fusion").exists()


def test_a_network_that_knew_the_timeline_is_not_fused_below_it(fused, tmp_path):
    run = shutil.copytree(fused.run, tmp_path / "run")
    change_settings(run, lambda recipe: recipe.update(level="timeline"))
    names = {one["name"] for one in fuse(run)["contenders"]}
    assert {"fused_timeline", "fused_reader"} < names
    assert "fused_pair" not in names


def test_the_command_line_refuses_in_one_sentence(ranoscope, tmp_path, run):
    answer = ranoscope("fuse", tmp_path)
    assert answer.code == 2
    assert "ranoscope crossval" in answer.err
    answer = ranoscope("fuse", run, "--volumes", tmp_path / "none.csv")
    assert (answer.code, "no such file" in answer.err) == (2, True)
    with pytest.raises(RanoscopeError, match="patients"):
        fuse(run, inner_folds=9)


def test_the_command_line_writes_and_shows(ranoscope, fused, tmp_path, monkeypatch):
    run = shutil.copytree(fused.run, tmp_path / "run")
    monkeypatch.setattr("ranoscope.fusing.fuse.MODELS", LOGISTIC)
    answer = ranoscope("fuse", run, "--inner-folds", 2)
    assert answer.code == 0, answer.err
    assert "Fused, two studies" in answer.out
    assert (run / "fusion/scoreboard.html").read_bytes() == (fused.run / "fusion/scoreboard.html").read_bytes()
