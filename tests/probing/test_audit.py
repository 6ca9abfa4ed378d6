"""The audit tells networks apart whose behaviour is known, resumes, and refuses runs that are not of one training."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ranoscope import runs
from ranoscope.errors import RunError
from ranoscope.learning.checkpoints import WEIGHTS, fold_folder
from ranoscope.probing import audit
from ranoscope.probing.audit import PARTS, SHORTCUT_CALLS, SHORTCUTS, read_shortcuts
from ranoscope.probing.tables import render_shortcuts


def verdicts(content: dict) -> dict[str, str]:
    return {entry["name"]: entry["verdict"] for entry in content["probes"]}


def entry_of(content: dict, name: str) -> dict:
    return next(entry for entry in content["probes"] if entry["name"] == name)


def test_a_network_that_reads_the_tumours_change_is_as_it_should_be(lab):
    content = lab.audited("honest")
    assert set(verdicts(content).values()) == {"as it should be"}
    assert content["balanced_accuracy"]["estimate"] == 1
    assert entry_of(content, "no-tumour")["balanced_accuracy"]["estimate"] == 0.25
    assert entry_of(content, "only-tumour")["balanced_accuracy"]["estimate"] == 1
    assert entry_of(content, "exchanged")["mirrored"]["estimate"] == 1
    # PD to PR; PR and CR to PD; SD as it was. Rows before, columns after, PD, SD, PR, CR.
    assert entry_of(content, "exchanged")["calls"] == [[0, 0, 24, 0], [0, 8, 0, 0], [8, 0, 0, 0], [8, 0, 0, 0]]
    assert content["verdicts"]["shortcut"] == 0
    assert content["identity"]["verdict"] != "noteworthy"


def test_a_mark_outside_the_tumour_is_found(lab):
    content = lab.audited("mark")
    found = verdicts(content)
    assert found["no-tumour"] == found["current-twice"] == "shortcut"
    assert found["prior-twice"] == "as it should be"
    assert found["only-tumour"] == "noteworthy"
    assert found["only-outline"] == "as it should be"
    assert found["no-CT1"] == found["no-T1"] == "noteworthy"
    assert entry_of(content, "no-tumour")["difference"]["estimate"] == 0
    assert "something else than the tumour" in entry_of(content, "no-tumour")["sentence"]


def test_a_network_that_reads_the_interval_is_found_and_so_is_the_cohorts_own_leak(lab):
    content = lab.audited("interval", telling_interval=True)
    found = verdicts(content)
    assert found["only-interval"] == found["no-tumour"] == found["only-outline"] == found["prior-twice"] == "shortcut"
    assert "only-week" not in found
    alone = {entry["fact"]: entry for entry in content["yardsticks"]}
    assert alone["interval"]["verdict"] == "noteworthy"
    assert alone["interval"]["balanced_accuracy"]["low"] > 0.25
    decoded = {entry["fact"]: entry for entry in content["weeks"]}
    assert decoded["interval"]["verdict"] == "noteworthy"
    assert decoded["interval"]["given"]
    assert decoded["interval"]["rank_correlation"] > 0.85
    assert not decoded["week"]["given"]


def test_an_interval_that_says_nothing_does_no_harm(lab):
    content = lab.audited("honest")
    alone, decoded = content["yardsticks"][0], content["weeks"][0]
    assert (alone["fact"], alone["verdict"], alone["balanced_accuracy"]["estimate"]) == (
        "interval", "as it should be", 0.25,
    )  # fmt: skip
    assert (decoded["verdict"], decoded["explained"]["estimate"]) == ("uncertain", None)
    assert "all weeks the same" in decoded["sentence"]
    assert "only-interval" not in verdicts(content)


def test_the_week_alone_is_judged_by_a_model_fitted_to_the_other_fold(lab, cases):
    truth = np.array([case.response.class_index for case in cases])
    weeks = np.array([[float(case.current.week)] for case in cases])
    fold = np.array([int(case.patient[-3:]) % 2 for case in cases])
    calls = np.zeros(48, int)
    for test in (fold == 0, fold == 1):
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
        calls[test] = model.fit(weeks[~test], truth[~test]).predict(weeks[test])
    found = lab.audited("honest")["yardsticks"][1]
    assert found["fact"] == "week"
    assert found["balanced_accuracy"]["estimate"] == pytest.approx(balanced_accuracy_score(truth, calls))
    assert found["balanced_accuracy"]["estimate"] != pytest.approx(0.25)


def test_a_network_that_knows_the_patient_is_found(lab):
    content = lab.audited("patient")
    assert content["identity"]["verdict"] == "noteworthy"
    assert content["identity"]["accuracy"]["estimate"] == 1
    assert content["identity"]["p"] < 0.01
    assert content["identity"]["chance"] == pytest.approx(1 / 23, abs=0.01)


def test_a_constant_network_calls_progression_where_nothing_changed(lab):
    content = lab.audited("constant")
    found = verdicts(content)
    assert found["prior-twice"] == found["current-twice"] == found["exchanged"] == "shortcut"
    # At chance there is nothing to lose: the probes of what it needs cannot speak.
    assert found["no-tumour"] == found["only-tumour"] == found["only-outline"] == found["no-CT1"] == "uncertain"
    assert content["identity"]["accuracy"]["estimate"] == 0
    assert content["agreement_with_calls"] == 1


def test_a_network_that_knows_one_side_is_noteworthy(lab):
    assert verdicts(lab.audited("side"))["mirrored"] == "noteworthy"


def test_two_classes(lab, monkeypatch):
    def two(network):
        inner = network.forward

        def forward(pair, facts=None):
            logits = inner(pair, facts)
            return torch.stack([logits[:, 0], logits[:, 1:].amax(dim=1)], dim=1)

        network.forward = forward
        return network

    lab.prepare("honest", target="pd-versus-rest")
    load = audit.load_trained
    monkeypatch.setattr(audit, "load_trained", lambda *given: (two((found := load(*given)).network), found)[1])
    content = lab.audit()
    assert content["classes"] == ["PD", "rest"]
    assert content["chance"] == 0.5
    assert entry_of(content, "exchanged")["calls"] == [[0, 24], [16, 8]]
    assert entry_of(content, "exchanged")["mirrored"]["estimate"] == 1
    found = verdicts(content)
    assert {found[name] for name in ("prior-twice", "exchanged", "no-tumour", "only-tumour")} == {"as it should be"}


def test_files_say_what_was_asked(lab):
    content = lab.audited("mark")
    assert json.loads((lab.run / SHORTCUTS).read_text())["probes"][0]["name"] == content["probes"][0]["name"]
    calls = pd.read_csv(lab.run / SHORTCUT_CALLS)
    assert len(calls) == 48 * (1 + len(content["probes"]))
    marked = calls[(calls.probe == "no-tumour") & (calls.call == "PD")]
    assert set(marked.response) == {"PD"}
    assert calls.filter(like="p_").sum(axis=1).round(4).eq(1).all()
    assert b"Tumour covered" in (lab.run / runs.FIGURES / "shortcuts.svg").read_bytes()
    made = json.loads((lab.run / runs.PROVENANCE).read_text())["audit-shortcuts"]
    assert set(made["inputs"]) == {runs.CALLS, runs.FOLDS}
    assert content["agreement_with_calls"] == 0.5  # calls.csv says PD everywhere
    assert render_shortcuts(content) is not None


def test_finished_folds_are_not_asked_again(lab):
    first = lab.audited("honest")
    assert lab.asked == 2
    assert lab.audit() == first
    assert lab.asked == 2
    runs.write_bytes(fold_folder(lab.run, 3, 1) / WEIGHTS, b"other")
    lab.audit()
    assert lab.asked == 3
    part = lab.run / PARTS / "seed-3_fold-0.npz"
    part.write_bytes(part.read_bytes()[:100])
    assert lab.audit() == first
    assert lab.asked == 4


def test_progress_counts_cases(lab):
    lab.prepare("honest")
    seen = []
    lab.audit(lambda done, total, what: seen.append((done, total, what)))
    assert seen[-1] == (48, 48, "fold 1")
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)


def test_folds_as_published_carry_their_watermark(lab):
    folds = {"count": 2, "seeds": [3], "protocol": "as-published"}
    lab.prepare("honest", folds=folds)
    for name in (runs.FOLDS, runs.CALLS):
        table = pd.read_csv(lab.run / name, dtype=str).assign(protocol="as-published")
        table.to_csv(lab.run / name, index=False)
    content = lab.audit()
    assert content["watermark"].startswith("as published")
    assert b"AS PUBLISHED" in (lab.run / runs.FIGURES / "shortcuts.svg").read_bytes()


def test_a_run_without_an_audit_has_no_section(tmp_path):
    assert read_shortcuts(tmp_path) is None


def test_no_calls(lab):
    lab.prepare("honest")
    (lab.run / runs.CALLS).unlink()
    with pytest.raises(RunError, match="calls"):
        lab.audit()


def test_no_store_and_another_training(lab, monkeypatch):
    lab.prepare("honest")
    monkeypatch.undo()
    with pytest.raises(RunError, match="the store of aligned studies"):
        lab.audit()
    monkeypatch.setattr(audit, "open_run_store", lambda *_: {})
    about = fold_folder(lab.run, 3, 0) / "fold.json"
    runs.write_json(about, runs.read_json(about, "t") | {"recipe": "another"})
    with pytest.raises(RunError, match="a checkpoint of recipe fake"):
        lab.audit()
