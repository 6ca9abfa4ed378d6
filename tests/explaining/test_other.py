"""A run's maps beside those of another training: the right network, the right case, and only what can be compared."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from ranoscope import runs
from ranoscope.config import ExplanationSettings
from ranoscope.errors import RunError
from ranoscope.explaining.explain import explain_run
from ranoscope.explaining.outputs import read_charts, read_findings
from ranoscope.explaining.tables import other_run_sentence
from ranoscope.learning.checkpoints import (
    FOLD,
    WEIGHTS,
    fold_folder,
    load_fold,
    load_run_recipe,
    save_weights,
    training_fingerprint,
)

QUICK = ExplanationSettings(
    cases_per_class=1, methods=("saliency", "gradcam", "occlusion"), randomisation=0,
    method={"window_mm": 60, "stride_mm": 60}, perturbation={"steps": 2, "orders": 1},
)  # fmt: skip


def silent(*_told) -> None:
    """Nobody listens."""


@pytest.fixture
def other(finished_run, tmp_path):
    """The same training with each fold's weights shifted: other answers, the same folds."""
    return shift(shutil.copytree(finished_run, tmp_path / "other"), 0.2)


def shift(run, by):
    for fold in (0, 1):
        network = load_fold(run, 3, fold)
        for parameter in network.parameters():
            noise = np.random.default_rng(fold).normal(0, 1, tuple(parameter.shape))
            parameter.data += by * parameter.new_tensor(noise)
        save_weights(fold_folder(run, 3, fold) / WEIGHTS, network)
    return run


def change_recipe(run, **changes):
    settings = yaml.safe_load((run / runs.SETTINGS).read_text())
    settings["crossval"] |= changes
    runs.write_yaml(run / runs.SETTINGS, settings)


def compared(run) -> pd.DataFrame:
    return pd.read_csv(run / runs.EXPLANATIONS / "compared.csv")


def test_examples_are_compared_method_by_method_but_not_by_occlusion(run, other):
    explain_run(run, QUICK, silent, against=other)
    table = compared(run)
    assert set(table["method"]) == {"saliency", "gradcam"}
    assert table.groupby("method")["patient"].nunique().tolist() == [3, 3]
    saliency = table[table["method"] == "saliency"]["spearman"]
    assert saliency.between(-1, 0.95).all()
    content = read_findings(run)["other_run"]
    assert (content["recipe"], content["labels"], content["seed"], content["same_network"]) == (
        "tiny",
        "expert",
        3,
        True,
    )
    row = next(row for row in content["rows"] if row["method"] == "saliency")
    assert row["spearman"] == pytest.approx(saliency.mean())
    assert "randomisation" in read_charts(run)


def test_the_same_weights_give_the_same_maps(run, finished_run):
    """Only if the other run's network is that of the fold that held the patient out."""
    explain_run(run, QUICK, silent, against=finished_run)
    saliency = compared(run).query("method == 'saliency'")
    assert saliency["spearman"].tolist() == pytest.approx([1] * 3)
    assert saliency["ssim"].tolist() == pytest.approx([1] * 3)


def test_folds_of_the_other_run_are_its_own(run, finished_run, tmp_path):
    """There the folds have each other's number: held out is held out."""
    swapped = shutil.copytree(finished_run, tmp_path / "swapped")
    for name in (runs.CALLS, runs.FOLDS):
        table = pd.read_csv(swapped / name)
        table["fold"] = 1 - table["fold"]
        runs.write_csv(swapped / name, table)
    folders = [fold_folder(swapped, 3, fold) for fold in (0, 1)]
    folders[0].rename(swapped / "aside")
    folders[1].rename(folders[0])
    (swapped / "aside").rename(folders[1])
    explain_run(run, QUICK, silent, against=swapped)
    assert compared(run).query("method == 'saliency'")["spearman"].tolist() == pytest.approx([1] * 3)


def test_finished_comparisons_are_kept_until_the_other_weights_change(run, other, monkeypatch):
    explain_run(run, QUICK, silent, against=other)
    before = compared(run)
    files = sorted((run / runs.EXPLANATIONS / "compared").glob("*.json"))
    written = [path.stat().st_mtime_ns for path in files]
    explain_run(run, QUICK, silent, against=other)
    assert [path.stat().st_mtime_ns for path in files] == written
    shift(other, 0.5)
    explain_run(run, QUICK, silent, against=other)
    assert not compared(run)["spearman"].equals(before["spearman"])


def test_without_another_run_nothing_stays_of_the_last_comparison(run, other):
    explain_run(run, QUICK, silent, against=other)
    explain_run(run, QUICK, silent)
    assert len(compared(run)) == 0
    assert read_findings(run)["other_run"] is None
    assert other_run_sentence(read_findings(run)) is None


def test_cases_that_the_other_run_lacks_are_left_out_and_counted(run, other):
    calls = pd.read_csv(other / runs.CALLS)
    runs.write_csv(other / runs.CALLS, calls[calls["patient"] != "Patient-006"])
    explain_run(run, QUICK, silent, ("Patient-006", "Patient-003"), other)
    assert set(compared(run)["patient"]) == {"Patient-003"}
    assert "(1 cases)" in (other_run_sentence(read_findings(run)) or "")
    explain_run(run, QUICK, silent, ("Patient-006",), other)
    assert "no case in common" in (other_run_sentence(read_findings(run)) or "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sequences": ["T1", "T2"]}, r"sequences .*T1.*CT1.*--against"),
        ({"target": "pd-versus-rest"}, r"target four-classes.*pd-versus-rest.*--against"),
        ({"grid": {"voxel_mm": 4.0}}, r"grid .*--against"),
    ],
)
def test_a_run_on_other_images_is_refused_before_any_work(run, other, changes, message):
    change_recipe(other, **changes)
    with pytest.raises(RunError, match=message):
        explain_run(run, QUICK, silent, against=other)
    assert not list((run / runs.EXPLANATIONS).glob("scored/*"))


def test_the_run_itself_and_an_unfinished_run_are_refused(run, other):
    with pytest.raises(RunError, match=r"another run than the one.*--against"):
        explain_run(run, QUICK, silent, against=run / ".")
    (other / runs.SETTINGS).unlink()
    with pytest.raises(RunError, match=r"settings\.yaml.*crossval"):
        explain_run(run, QUICK, silent, against=other)


def test_permuted_labels_are_named(run, other):
    change_recipe(other, labels="permuted")
    for fold in (0, 1):
        path = fold_folder(other, 3, fold) / FOLD
        content = json.loads(path.read_text())
        runs.write_json(path, content | {"recipe": training_fingerprint(load_run_recipe(other))})
    explain_run(run, QUICK, silent, against=other)
    assert "the same network trained on permuted labels (recipe tiny, seed 3)" in other_run_sentence(read_findings(run))
