"""From a trained run to folders of explained cases: the right network, the right place, whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from ranoscope import runs
from ranoscope.config import ExplanationSettings, KeptMaps, PerturbationSettings
from ranoscope.domain import Response, StudyKey, Tissue, Visit
from ranoscope.errors import RunError
from ranoscope.explaining import examples, explain
from ranoscope.explaining.cases import read_called
from ranoscope.explaining.explain import explain_run
from ranoscope.explaining.maps import nifti
from ranoscope.explaining.outputs import read_charts, read_findings
from ranoscope.explaining.record import CHOSEN, RECORD, classes_without_a_case, read_explanations
from ranoscope.explaining.tables import find
from ranoscope.imaging.store import StudyStore
from ranoscope.learning.checkpoints import (
    FOLD,
    WEIGHTS,
    fold_folder,
    load_fold,
    load_run_recipe,
    save_weights,
    training_fingerprint,
)  # fmt: skip
from ranoscope.learning.data import case_tensor
from ranoscope.learning.studies import open_run_store

FAST = ("saliency", "gradcam", "occlusion")
QUICK = ExplanationSettings(
    cases_per_class=1, methods=FAST, randomisation=0, method={"window_mm": 60, "stride_mm": 60},
    perturbation={"steps": 2, "orders": 1},
)  # fmt: skip
FULL = QUICK.model_copy(update={"cases_per_class": None, "randomisation": 2})


def silent(*_told) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def explained_run(finished_run, tmp_path_factory):
    folder = shutil.copytree(finished_run, tmp_path_factory.mktemp("explained") / "run")
    told: list[tuple[int, int, str]] = []
    explain_run(folder, FULL, lambda *args: told.append(args))
    return folder, told


def test_every_case_is_scored_and_examples_of_each_class_are_kept(explained_run):
    run, told = explained_run
    cases = read_explanations(run)
    assert [(case.role, case.response) for case in cases] == [
        ("best", "PD"), ("median", "PD"), ("worst", "PD"), ("best", "SD"), ("worst", "SD"), ("best", "CR"),
    ]  # fmt: skip
    assert classes_without_a_case(run) == [Response.PR]
    assert told[0] == (0, 6, "no case of PR in the calls")
    assert [done for done, _, _ in told] == list(range(19))  # 6 scored, 6 kept, 6 against random networks
    assert told[-1][1] == 18
    assert "explain" in json.loads((run / runs.PROVENANCE).read_text())
    assert yaml.safe_load((run / runs.SETTINGS).read_text())["explain"]["randomisation"] == 2


def test_examples_are_chosen_by_the_scores_in_the_table(explained_run):
    run, _ = explained_run
    table = pd.read_csv(run / runs.EXPLANATIONS / "scores.csv")
    rows = table.query("explained == 'called' and view == 'both' and mask == 'whole tumour' and score == 'auc'")
    mean = rows.groupby("patient")["value"].mean()
    shown = [mean[case.patient] for case in read_explanations(run) if case.response is Response.PD]
    assert len(shown) == 3
    assert shown == sorted(shown, reverse=True)


def test_the_table_agrees_with_the_files(explained_run):
    """Scores of the kept maps, computed from the files."""
    run, _ = explained_run
    table = pd.read_csv(run / runs.EXPLANATIONS / "scores.csv").set_index(
        ["patient", "method", "explained", "view", "mask", "score"]
    )["value"]
    store, case = open_run_store(run, load_run_recipe(run)), read_explanations(run)[0]
    studies = [store[StudyKey(case.patient, Visit.parse(visit))] for visit in (case.prior, case.current)]
    maps = {
        (entry.method, entry.study): np.clip(nib.load(case.folder / entry.file).get_fdata(), 0, None)
        for entry in case.maps
        if entry.response is case.call
    }
    for view, study in zip(("prior", "current"), studies, strict=True):
        tumour = study.tumour > 0
        for method, name in (("saliency", view), ("occlusion", view), ("gradcam", None)):
            own = maps[method, name]
            expected = own[tumour & study.brain].sum() / own[study.brain].sum() if own[study.brain].any() else np.nan
            found = table[case.patient, method, "called", view, "whole tumour", "mass"]
            assert found == pytest.approx(expected, rel=1e-4, nan_ok=True)
    both = maps["saliency", "prior"] + maps["saliency", "current"]
    tumour, brain = (np.any([getattr(s, name) for s in studies], axis=0) for name in ("tumour", "brain"))
    found = table[case.patient, "saliency", "called", "both", "whole tumour", "mass"]
    assert found == pytest.approx(both[tumour & brain].sum() / both[brain].sum(), rel=1e-4)


def test_a_right_call_has_the_same_scores_for_the_called_and_the_true_class(explained_run):
    run, _ = explained_run
    table = pd.read_csv(run / runs.EXPLANATIONS / "scores.csv")
    one, other = (
        table.query(f"patient == 'Patient-002' and explained == '{role}'")["value"].to_numpy()
        for role in ("called", "true")
    )
    np.testing.assert_array_equal(one, other)
    wrong = [table.query(f"patient == 'Patient-003' and explained == '{role}'")["value"] for role in ("called", "true")]
    assert len(wrong[0]) == len(wrong[1]) > 0
    assert not np.array_equal(*wrong, equal_nan=True)


def test_findings_are_pooled_drawn_and_read_back(explained_run):
    run, _ = explained_run
    content = read_findings(run)
    assert (content["cases"], content["patients"], content["cases_per_response"]["PD"]) == (6, 6, 3)
    auc = find(content, method="saliency", mask="whole tumour", score="auc")
    assert auc["cases"] == 6
    assert auc["chance"] == 0.5
    assert auc["mean"]["low"] < auc["mean"]["estimate"] < auc["mean"]["high"]
    assert find(content, method="gradcam", mask="whole tumour", score="rank")["ceiling"] < 1
    assert {row["method"] for row in content["randomisation"]} == {"saliency", "gradcam"}
    assert {row["step"] for row in content["randomisation"]} == {1, 2}
    drop = find(content, method="volumes", view="current", mask="CT1", score="drop")
    assert drop["cases"] == 6
    charts = read_charts(run)
    assert set(charts) == {"localisation", "paths", "spread", "volumes", "randomisation"}
    assert all(drawing.startswith(b"<?xml") for drawing in charts.values())


def test_what_volumes_are_worth_is_what_the_output_loses_without_them(explained_run):
    run, _ = explained_run
    recipe = load_run_recipe(run)
    store = open_run_store(run, recipe)
    entry = next(e for e in read_called(run) if e.case.patient == "Patient-002")
    network, pair = load_fold(run, 3, entry.fold), case_tensor(store, entry.case, recipe)
    filled = pair.clone()
    inside = torch.from_numpy(store[entry.case.current_study].brain.copy())
    filled[1, 1] = torch.where(inside, pair[1, 1][inside].mean(), 0)
    with torch.no_grad():
        expected = (network(pair[None]) - network(filled[None]))[0, entry.call.class_index]
    table = pd.read_csv(run / runs.EXPLANATIONS / "scores.csv")
    mine = table[(table["patient"] == "Patient-002") & (table["explained"] == "called")]
    (found,) = mine.query("method == 'volumes' and view == 'current' and mask == 'CT1'")["value"]
    assert found == pytest.approx(float(expected), rel=1e-3, abs=1e-6)


def test_files_and_record_agree(explained_run):
    run, _ = explained_run
    for case in read_explanations(run):
        classes = {case.call, case.response}
        kinds = ("saliency_prior", "saliency_current", "gradcam", "occlusion_prior", "occlusion_current")
        expected = {f"{kind}_{name}.nii.gz" for kind in kinds for name in classes}
        assert {path.name for path in case.folder.iterdir()} == expected | {RECORD, "figure.png"}
        assert {entry.file for entry in case.maps} == expected
        assert (case.folder / case.figure).read_bytes().startswith(b"\x89PNG")
        assert set(case.explained) == classes
        assert sum(case.probabilities.values()) == pytest.approx(1)
        assert case.layers["gradcam"] == "scales.1.evidence"
        assert case.cell_mm["gradcam"] == (24, 24, 24)
        assert case.shown_sequence == "CT1"
        assert any("cannot say from which study" in sentence for sentence in case.sentences)
        assert any("scanner's grids were left out" in sentence for sentence in case.sentences)
        for entry in case.maps:
            data = nib.load(case.folder / entry.file).get_fdata()
            assert (data.min(), data.max()) == pytest.approx((entry.lowest, entry.highest))


def test_cases_can_be_asked_for_by_name(run):
    cases = explain_run(run, QUICK, silent, ("Patient-004", "Patient-002/week-015"))
    assert [(case.patient, case.role) for case in cases] == [("Patient-002", "asked for"), ("Patient-004", "asked for")]


def test_maps_of_all_cases_are_kept_where_asked(run):
    settings = QUICK.model_copy(update={"cases_per_class": None, "maps": KeptMaps.ALL})
    cases = explain_run(run, settings, silent, ())
    folders = {path.parent.name for path in (run / runs.EXPLANATIONS).glob("*/" + RECORD)}
    assert len(folders) == 6
    assert {case.folder.name for case in cases} <= folders


def test_maps_lie_where_the_study_lies(explained_run):
    run, _ = explained_run
    case = read_explanations(run)[0]
    grid = load_run_recipe(run).grid
    study = StudyStore(run / "store", grid)[StudyKey(case.patient, Visit.parse(case.current))]
    for entry in case.maps:
        image = nib.load(case.folder / entry.file)
        assert image.get_data_dtype() == np.float32
        assert image.shape == study.brain.shape
        np.testing.assert_allclose(image.affine, study.affine)
    i, j, k = (int(place[0]) for place in np.nonzero(study.tumour == Tissue.ENHANCING))
    assert k == case.slice_index
    np.testing.assert_allclose(image.affine @ (i, j, k, 1), (-42, 24, 12, 1), atol=grid.voxel_mm / 2)


def test_a_planted_voxel_is_read_at_its_world_position(tmp_path):
    affine = np.array([[3.0, 0, 0, -80], [0, 3, 0, -110], [0, 0, 3, -70], [0, 0, 0, 1]])
    data = np.zeros((20, 22, 24), np.float32)
    data[5, 11, 17] = 0.25
    (tmp_path / "map.nii.gz").write_bytes(nifti(data, affine))
    image = nib.load(tmp_path / "map.nii.gz")
    (place,) = np.argwhere(image.get_fdata() == 0.25)
    assert nib.affines.apply_affine(image.affine, place).tolist() == [-65, -77, -19]
    np.testing.assert_allclose(image.get_qform(), affine)
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    assert nifti(data, affine) == nifti(data, affine)


def test_the_network_is_the_one_that_never_saw_the_patient(explained_run):
    run, _ = explained_run
    recipe = load_run_recipe(run)
    store = open_run_store(run, recipe)
    for case in read_explanations(run)[:2]:
        entry = next(e for e in read_called(run) if e.case.patient == case.patient)
        written = nib.load(case.folder / case.map_file("saliency", "prior", case.call).file).get_fdata()
        own, other = (gradient(load_fold(run, 3, f), store, entry, recipe) for f in (case.fold, 1 - case.fold))
        np.testing.assert_allclose(written, own * store[entry.case.prior_study].brain, rtol=1e-4, atol=1e-7)
        assert not np.allclose(written, other, rtol=1e-2)


def gradient(network, store, entry, recipe) -> np.ndarray:
    """Largest absolute gradient over the prior study's sequences."""
    pair = case_tensor(store, entry.case, recipe)[None].requires_grad_()
    network(pair)[0, entry.call.class_index].backward()
    return pair.grad[0, 0].abs().amax(dim=0).numpy()


def test_an_interrupted_explanation_goes_on_where_it_stopped(run, monkeypatch):
    made = Counter()
    original = explain.score_case

    def counted(case):
        made[case.called.case.patient] += 1
        return original(case)

    monkeypatch.setattr(explain, "score_case", counted)

    def interrupt(done: int, *_rest) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explain_run(run, QUICK, interrupt)
    assert made.total() == 2
    with pytest.raises(RunError, match=r"chosen\.json.*ranoscope explain"):
        read_explanations(run)
    assert len(explain_run(run, QUICK, silent)) == 3
    assert made.total() == 3
    explain_run(run, QUICK, silent)
    assert made.total() == 3
    explain_run(run, QUICK.model_copy(update={"perturbation": PerturbationSettings(steps=3)}), silent)
    assert made.total() == 6


def test_scores_read_again_are_those_that_were_made(run):
    explain_run(run, QUICK, silent)
    before = [(run / runs.EXPLANATIONS / name).read_bytes() for name in ("scores.csv", "scores.json")]
    explain_run(run, QUICK, silent)
    assert [(run / runs.EXPLANATIONS / name).read_bytes() for name in ("scores.csv", "scores.json")] == before


def test_a_case_killed_in_mid_writing_is_made_again(run, monkeypatch):
    explain_run(run, QUICK, silent)
    case = read_explanations(run)[0]
    file = case.map_file("saliency", "prior", case.call).file
    before = (case.folder / file).read_bytes()
    train_again(run, case.fold, "another key")

    def full_disk(*_args) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(examples, "as_png", full_disk)
    with pytest.raises(KeyboardInterrupt):
        explain_run(run, QUICK, silent)
    assert not (case.folder / RECORD).exists()
    monkeypatch.undo()
    assert read_again(run, case.patient).fold_key == "another key"
    assert (case.folder / file).read_bytes() != before


def test_a_damaged_record_is_made_again(run):
    explain_run(run, QUICK, silent)
    record = read_explanations(run)[0].folder / RECORD
    record.write_text('{"patient": "Patient-002"}')
    with pytest.raises(RunError, match="explain` again"):
        read_explanations(run)
    assert len(explain_run(run, QUICK, silent)) == 3


def train_again(run, fold: int, key: str) -> None:
    folder = fold_folder(run, 3, fold)
    network = load_fold(run, 3, fold)
    for parameter in network.parameters():
        parameter.data *= 1.3
    save_weights(folder / WEIGHTS, network)
    runs.write_json(folder / FOLD, json.loads((folder / FOLD).read_text()) | {"key": key})


def read_again(run, patient: str):
    return next(case for case in explain_run(run, QUICK, silent) if case.patient == patient)


def test_maps_of_an_earlier_training_are_refused_and_made_again(run):
    explain_run(run, QUICK, silent)
    stale = read_explanations(run)[0]
    train_again(run, stale.fold, "another key")
    with pytest.raises(RunError, match=r"an earlier one's.*ranoscope explain"):
        read_explanations(run)
    fresh = read_again(run, stale.patient)
    assert fresh.key != stale.key
    assert fresh.map_file("saliency", "prior", fresh.call).highest != pytest.approx(
        stale.map_file("saliency", "prior", stale.call).highest, rel=1e-3
    )


def test_other_weights_under_the_same_key_are_explained_afresh(run):
    """The same settings on another machine give the same key and slightly other weights."""
    stale = explain_run(run, QUICK, silent)[0]
    train_again(run, stale.fold, stale.fold_key)
    assert read_again(run, stale.patient).key != stale.key


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (runs.CHECKPOINTS, r"fold\.json.*ranoscope crossval"),
        (runs.CALLS, r"calls\.csv.*ranoscope crossval"),
        (runs.SETTINGS, r"settings\.yaml.*ranoscope crossval"),
        ("store", "store of aligned studies.*ranoscope crossval"),
    ],
)
def test_a_run_that_is_not_trained_is_refused_by_name(run, gone, message):
    path = run / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(RunError, match=message):
        explain_run(run, QUICK, silent)
    assert not (run / runs.EXPLANATIONS / CHOSEN).exists()


def test_lost_weights_are_refused_by_name(run):
    (fold_folder(run, 3, 1) / WEIGHTS).unlink()
    with pytest.raises(RunError, match=r"fold's weights.*model\.safetensors"):
        explain_run(run, QUICK, silent)


def test_nothing_explained_is_said(run):
    with pytest.raises(RunError, match=r"chosen\.json.*ranoscope explain"):
        read_explanations(run)


def test_the_sequence_shown_without_ct1_is_the_last(run):
    settings = yaml.safe_load((run / runs.SETTINGS).read_text())
    settings["crossval"]["sequences"] = ["T1", "FLAIR"]
    runs.write_yaml(run / runs.SETTINGS, settings)
    fingerprint = training_fingerprint(load_run_recipe(run))
    for fold in (0, 1):
        path = fold_folder(run, 3, fold) / FOLD
        runs.write_json(path, json.loads(path.read_text()) | {"recipe": fingerprint})
    assert {case.shown_sequence for case in explain_run(run, QUICK, silent)} == {"FLAIR"}
