"""From a trained run to folders of explained cases: the right network, the right place, whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import nibabel as nib
import numpy as np
import pytest
import yaml

from ranoscope import runs
from ranoscope.config import ExplanationSettings
from ranoscope.domain import Response, StudyKey, Tissue, Visit
from ranoscope.errors import RunError
from ranoscope.explaining import explain
from ranoscope.explaining.cases import CHOSEN, RECORD
from ranoscope.explaining.explain import classes_without_a_case, explain_run, read_explanations
from ranoscope.explaining.maps import nifti
from ranoscope.explaining.methods import METHODS
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

ONE, TWO = ExplanationSettings(cases_per_class=1), ExplanationSettings(cases_per_class=2)


def silent(*_told) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def explained_run(finished_run, tmp_path_factory):
    folder = shutil.copytree(finished_run, tmp_path_factory.mktemp("explained") / "run")
    told: list[tuple[int, int, str]] = []
    explain_run(folder, TWO, lambda *args: told.append(args))
    return folder, told


def test_the_chosen_cases_are_told_and_read_back(explained_run):
    run, told = explained_run
    cases = read_explanations(run)
    assert [(case.patient[-1], case.response, case.call) for case in cases] == [
        ("2", "PD", "PD"), ("3", "PD", "SD"), ("5", "SD", "CR"), ("4", "SD", "PD"), ("6", "CR", "CR"),
    ]  # fmt: skip
    assert classes_without_a_case(run) == [Response.PR]
    assert told[0] == (0, 5, "no case of PR in the calls")
    assert [done for done, _, _ in told] == [0, 1, 2, 3, 4, 5]
    assert "explain" in json.loads((run / runs.PROVENANCE).read_text())
    assert yaml.safe_load((run / runs.SETTINGS).read_text())["explain"] == {"cases_per_class": 2}


def test_files_and_record_agree(explained_run):
    run, _ = explained_run
    for case in read_explanations(run):
        classes = {case.call, case.response}
        expected = {f"{kind}_{name}.nii.gz" for kind in ("saliency_prior", "saliency_current", "gradcam")
                    for name in classes}  # fmt: skip
        assert {path.name for path in case.folder.iterdir()} == expected | {RECORD, "figure.png"}
        assert {entry.file for entry in case.maps} == expected
        assert (case.folder / case.figure).read_bytes().startswith(b"\x89PNG")
        assert set(case.explained) == set(case.shares) == classes
        assert sum(part for row in case.shares[case.call].values() for part in row.values()) == pytest.approx(1)
        assert sum(case.probabilities.values()) == pytest.approx(1)
        assert case.layers["gradcam"] == "evidence.0"
        assert case.cell_mm["gradcam"] == (12, 12, 12)
        assert case.shown_sequence == "CT1"
        assert any("cannot say from which study" in sentence for sentence in case.sentences)
        for entry in case.maps:
            data = nib.load(case.folder / entry.file).get_fdata()
            assert (data.min(), data.max()) == pytest.approx((entry.lowest, entry.highest))


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
        entry = next(e for e in explain.read_called(run) if e.case.patient == case.patient)
        pair = case_tensor(store, entry.case, recipe)
        written = nib.load(case.folder / case.map_file("saliency", "prior", case.call).file).get_fdata()
        own, other = (
            METHODS["saliency"].compute(load_fold(run, 3, fold), pair, case.call)[0].amax(dim=0).numpy()
            for fold in (case.fold, 1 - case.fold)
        )
        np.testing.assert_allclose(written, own, rtol=1e-4, atol=1e-7)
        assert not np.allclose(written, other, rtol=1e-2)


def test_an_interrupted_explanation_goes_on_where_it_stopped(run, monkeypatch):
    made = Counter()
    original = explain.make_maps

    def counted(network, pair, explained, *rest):
        made[explained] += 1
        return original(network, pair, explained, *rest)

    monkeypatch.setattr(explain, "make_maps", counted)

    def interrupt(done: int, *_rest) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explain_run(run, ONE, interrupt)
    assert made.total() == 1
    with pytest.raises(RunError, match=r"case\.json.*ranoscope explain"):
        read_explanations(run)
    assert len(explain_run(run, ONE, silent)) == 3
    assert made.total() == 3
    explain_run(run, ONE, silent)
    assert made.total() == 3


def test_a_case_killed_in_mid_writing_is_made_again(run, monkeypatch):
    explain_run(run, ONE, silent)
    case = read_explanations(run)[0]
    before = (case.folder / "gradcam_PD.nii.gz").read_bytes()
    train_again(run, case.fold, "another key")

    def full_disk(*_args) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(explain, "as_png", full_disk)
    with pytest.raises(KeyboardInterrupt):
        explain_run(run, ONE, silent)
    assert not (case.folder / RECORD).exists()
    monkeypatch.undo()
    assert read_again(run, case.patient).fold_key == "another key"
    assert (case.folder / "gradcam_PD.nii.gz").read_bytes() != before


def test_a_damaged_record_is_made_again(run):
    explain_run(run, ONE, silent)
    record = read_explanations(run)[0].folder / RECORD
    record.write_text('{"patient": "Patient-002"}')
    with pytest.raises(RunError, match="explain` again"):
        read_explanations(run)
    assert len(explain_run(run, ONE, silent)) == 3


def train_again(run, fold: int, key: str) -> None:
    folder = fold_folder(run, 3, fold)
    network = load_fold(run, 3, fold)
    for parameter in network.parameters():
        parameter.data *= 1.3
    save_weights(folder / WEIGHTS, network)
    runs.write_json(folder / FOLD, json.loads((folder / FOLD).read_text()) | {"key": key})


def read_again(run, patient: str):
    return next(case for case in explain_run(run, ONE, silent) if case.patient == patient)


def test_maps_of_an_earlier_training_are_refused_and_made_again(run):
    explain_run(run, ONE, silent)
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
    stale = explain_run(run, ONE, silent)[0]
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
        explain_run(run, ONE, silent)
    assert not (run / runs.EXPLANATIONS / CHOSEN).exists()


def test_lost_weights_are_refused_by_name(run):
    (fold_folder(run, 3, 1) / WEIGHTS).unlink()
    with pytest.raises(RunError, match=r"fold's weights.*model\.safetensors"):
        explain_run(run, ONE, silent)


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
    assert {case.shown_sequence for case in explain_run(run, ONE, silent)} == {"FLAIR"}
