"""From a folder as published to the full comparison with one command, small."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from ranoscope.benchmarking.arms import find_arms, group_arms
from ranoscope.benchmarking.cohorts import bring_cohort
from ranoscope.benchmarking.request import Request
from ranoscope.cohort.files import write_cohort
from ranoscope.cohort.pairing import build_cohort
from ranoscope.config import CohortSettings, FoldProtocol, recipes_folder
from ranoscope.errors import RunError

PUBLISHED, BY_PATIENT = "1-paper/as-published", "1-paper/by-patient"
SMALL = ["grid.voxel_mm=6", "training.epochs=1", "training.batch_size=8", "training.accelerator=cpu", "folds.count=2",
         "evaluation.bootstrap=100"]  # fmt: skip


def options(changes: list[str]) -> list[str]:
    return [part for change in changes for part in ("--set", change)]


@pytest.fixture(scope="module")
def recipes(tmp_path_factory) -> Path:
    """The comparison as shipped, its networks and its pretraining as small as can be."""
    home = shutil.copytree(recipes_folder(), tmp_path_factory.mktemp("recipes") / "recipes")
    small = {
        "paper/base.yaml": {
            "network": {"name": "vit", "hidden": 24, "heads": 2, "layers": 1, "patch_mm": [60, 60, 60]}
        },
        "change/base.yaml": {"network": {"name": "change-aware", "tissues": True, "widths": [4, 8], "findings": 4}},
        "change/2-information/timeline.yaml": {
            "network": {"name": "change-aware-timeline", "tissues": True, "widths": [4, 8], "findings": 4}
        },
        "change/3-pretraining/change.yaml": {
            "pretraining": {"name": "change", "epochs": 1, "pairs_per_epoch": 8, "batch_size": 4}
        },
    }
    for name, changes in small.items():
        content = yaml.safe_load((home / name).read_text())
        (home / name).write_text(yaml.safe_dump({**content, **changes}))
    return home / "comparison"


def test_the_papers_two_arms_differ_in_the_protocol_alone_and_no_arm_is_trained_twice():
    arms = {arm.name: arm for arm in find_arms("comparison")}
    published, honest = arms[PUBLISHED].recipe, arms[BY_PATIENT].recipe
    assert honest.folds.protocol is FoldProtocol.PATIENT
    assert published.folds.protocol is FoldProtocol.AS_PUBLISHED
    named = {"name", "description", "folds"}
    assert published.model_dump(exclude=named) == honest.model_dump(exclude=named)
    assert [name for name, arm in arms.items() if arm.reference] == [BY_PATIENT]
    assert len(group_arms(list(arms.values()))) == len(arms)
    ours = [arm.recipe for name, arm in arms.items() if arm.approach == "2-ours"]
    assert {one.folds.protocol for one in ours} == {FoldProtocol.PATIENT}
    assert {one.grid.voxel_mm for one in ours} <= {1.5, 2.0}


def test_one_command_goes_from_the_published_folder_to_the_comparison(ranoscope, phantom_folder, recipes, tmp_path):
    command = ("benchmark", recipes, "--images", phantom_folder, "--out", tmp_path / "out", "--seeds", "1")
    first = ranoscope(*command, *options(SMALL))
    assert first.code == 0, first.err
    said = " ".join(first.out.split())
    assert "rating rows" in said
    assert "as published: folds by visit" in said.lower()
    content = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert content["failures"] == []
    assert {arm["name"] for arm in content["arms"]} == {arm.name for arm in find_arms(recipes)}
    own = tmp_path / "own"
    write_cohort(own, build_cohort(phantom_folder, CohortSettings()), CohortSettings())
    assert (tmp_path / "out" / "cohort" / "cohort.csv").read_bytes() == (own / "cohort.csv").read_bytes()
    # Every arm stands beside the same network by patient, and the protocol's own share is told.
    assert [(one["as_published"], one["patient"]) for one in content["optimism"]] == [(PUBLISHED, BY_PATIENT)]
    compared = {arm["name"] for arm in content["arms"] if "balanced_accuracy" in (arm["minus_reference"] or {})}
    assert compared == {arm["name"] for arm in content["arms"]} - {BY_PATIENT}
    page = (tmp_path / "out" / "benchmark.html").read_text()
    assert "What the published protocol adds" in page
    table = pd.read_csv(tmp_path / "out" / "tables" / "1-paper.csv")
    marked = table[table["kind"] == "model"].set_index("name")["watermark"].notna()
    assert marked.to_dict() == {PUBLISHED: True, BY_PATIENT: False}
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")
             if path.name in ("cohort.csv", "model.safetensors")}  # fmt: skip
    again = ranoscope(*command, *options(SMALL))
    assert again.code == 0, again.err
    assert len(files) > 10
    assert all(path.stat().st_mtime_ns == made for path, made in files.items() if "arms" not in str(path) or
               path.name != "cohort.csv")  # fmt: skip


def test_another_folders_cohort_is_refused_and_the_zip_is_as_good_as_the_folder(phantom_folder, tmp_path):
    request = Request("comparison", None, tmp_path / "out", images=phantom_folder)
    run = bring_cohort(request)
    made = {path: path.stat().st_mtime_ns for path in run.iterdir()}
    assert bring_cohort(request) == run
    assert {path: path.stat().st_mtime_ns for path in run.iterdir()} == made
    zipped = tmp_path / "zipped"
    zipped.mkdir()
    for table in phantom_folder.glob("*.csv"):
        shutil.copy(table, zipped)
    shutil.make_archive(str(zipped / "Imaging-v202211"), "zip", phantom_folder, "Imaging")
    assert bring_cohort(Request("comparison", None, tmp_path / "out", images=zipped)) == run
    (name,) = [path.name for path in zipped.glob("*Rating*.csv")]
    rows = (zipped / name).read_text().splitlines(keepends=True)
    (zipped / name).write_text("".join(rows[:-3]))
    with pytest.raises(RunError, match=r"got another, in .*cohort; choose another --out"):
        bring_cohort(Request("comparison", None, tmp_path / "out", images=zipped))


def test_neither_cohort_nor_images_and_a_place_without_images_are_said(ranoscope, tmp_path):
    answer = ranoscope("benchmark", "comparison", "--out", tmp_path / "out")
    assert answer.code == 2
    assert "Expected a cohort, or images to select it from, got neither" in " ".join(answer.err.split())
    lost = ranoscope("benchmark", "comparison", "--out", tmp_path / "out", "--images", tmp_path / "nowhere")
    assert lost.code == 2
    assert "got nothing" in " ".join(lost.err.split())
    assert not (tmp_path / "out").exists()
