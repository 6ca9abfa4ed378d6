"""From a LUMIERE folder to a report, with the commands a person gives."""

from __future__ import annotations

import getpass
import json
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ranoscope import runs


def test_the_whole_journey(ranoscope, phantom_folder, tiny_options, tmp_path):
    run = tmp_path / "run"
    cohort = ranoscope("cohort", phantom_folder, "--out", run)
    assert (cohort.code, "cases of" in cohort.out) == (0, True), cohort.err
    crossval = ranoscope("crossval", "demo", *tiny_options, "--cohort", run, "--out", run)
    assert crossval.code == 0, crossval.err
    evaluate = ranoscope("evaluate", run)
    assert evaluate.code == 0, evaluate.err
    for rival in ("Always PD", "Timing only", "Volume rule", "Persistence"):
        assert rival in evaluate.out
    explain = ranoscope("explain", run)
    assert explain.code == 0, explain.err
    report = ranoscope("report", run)
    assert report.code == 0, report.err
    assert str(run / "report.html") in report.out.replace("\n", "")

    flow = json.loads((run / "flow.json").read_text())
    assert flow["kept"] + sum(step["excluded"] for step in flow["steps"]) == flow["rating_rows"]
    calls = runs.read_csv(run / "calls.csv", "crossval", runs.CALL_COLUMNS)
    assert len(calls) == flow["kept"]
    assert (calls.groupby("patient")["fold"].nunique() == 1).all()
    assert len(list((run / "checkpoints").glob("*/model.safetensors"))) == 2
    scorecard = json.loads((run / "scorecard.json").read_text())
    assert scorecard["cohort"]["cases"] == flow["kept"]
    assert {"cohort", "crossval", "evaluate", "explain"} <= set(json.loads((run / "provenance.json").read_text()))
    some_map = next((run / "explanations").rglob("saliency_current_*.nii.gz"))
    assert np.asarray(nib.load(some_map).dataobj).max() > 0
    page = (run / "report.html").read_text()
    assert "Research use only" in page
    assert "Synthetic cohort" in page


def test_a_second_call_finds_everything_done(ranoscope, finished_run, tiny_options, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    weights = {path: path.stat().st_mtime_ns for path in run.rglob("model.safetensors")}
    before = (run / "calls.csv").read_bytes()
    again = ranoscope(
        "crossval", "demo", *tiny_options, "--cohort", run, "--out", run, "--images", images_of(finished_run)
    )
    assert again.code == 0, again.err
    assert (run / "calls.csv").read_bytes() == before
    assert weights == {path: path.stat().st_mtime_ns for path in run.rglob("model.safetensors")}


def test_settings_and_provenance_name_no_person_or_place(finished_run):
    text = (finished_run / "provenance.json").read_text() + (finished_run / "settings.yaml").read_text()
    text += (finished_run / "report.html").read_text()
    for private in (str(finished_run), str(Path.home()), str(Path(__file__).parents[1]), f"user: {getpass.getuser()}"):
        assert private not in text
    keys = set(re.findall(r'"(\w+)":', (finished_run / "provenance.json").read_text()))
    assert not keys & {"user", "host", "hostname", "node", "path"}


def test_the_help_reads_as_the_journey(ranoscope):
    answer = ranoscope("--help")
    assert answer.code == 0
    places = [answer.out.index(f" {verb} ") for verb in ("cohort", "crossval", "evaluate", "explain", "report")]
    assert places == sorted(places)
    assert "Research use only" in answer.out


@pytest.mark.parametrize("command", ["demo", "phantom", "download", "cohort", "crossval", "evaluate", "explain"])
def test_every_command_explains_itself(ranoscope, command):
    assert ranoscope(command, "--help").code == 0


def test_the_licence_note_comes_before_any_download(ranoscope, tmp_path, monkeypatch):
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    answer = ranoscope("download", tmp_path / "LUMIERE")
    assert answer.code == 2
    assert "non-commercial" in answer.out
    assert not list(tmp_path.rglob("*.part"))


def images_of(run):
    return (run / json.loads((run / "source.json").read_text())["images"]).resolve().parent
