"""Estimates against counts made by hand, and what a dry run leaves: nothing."""

from __future__ import annotations

import itertools
import time

import pytest
import torch

from ranoscope.benchmarking import estimate
from ranoscope.benchmarking.arms import find_arms
from ranoscope.benchmarking.estimate import Footprint, Speed, calibrate, cell_seconds, measure_step
from ranoscope.learning.networks import build_network


def only(recipes, delta):
    (arm,) = find_arms(recipes({"a/one": delta}))
    return arm.recipe


def test_a_steps_operations_and_memory_are_those_of_its_layers(recipes):
    # One patch embedding and one block: small enough to be counted by hand where it matters.
    vit = {"name": "vit", "hidden": 24, "heads": 2, "layers": 1, "patch_mm": [60, 60, 60]}
    delta = {"network": vit, "training": {"precision": "32-true", "batch_size": 3}}
    recipe = only(recipes, delta)
    step = measure_step(recipe)
    weights = sum(parameter.numel() for parameter in build_network(recipe).parameters())
    assert step.parameters == weights
    assert step.layers > 5
    pair = 3 * 2 * 2 * 27 * 32 * 27
    assert step.memory_bytes == 4 * (4 * weights + pair) + step.kept_bytes
    # The image is padded to whole patches and kept for the embedding's weight gradient.
    assert step.kept_bytes > 4 * pair
    tokens, hidden, patch = 3 * 4 * 3, 24, 10**3
    embedding = 2 * 3 * tokens * 4 * patch * hidden
    assert step.flops > 2 * embedding


def test_batches_channels_and_precision_cost_what_they_should(recipes):
    single = measure_step(only(recipes, {"training": {"batch_size": 1, "precision": "32-true"}}))
    four = measure_step(only(recipes, {"training": {"batch_size": 4, "precision": "32-true"}}))
    half = measure_step(only(recipes, {"training": {"batch_size": 4, "precision": "bf16-mixed"}}))
    averaged = measure_step(only(recipes, {"training": {"batch_size": 4, "weight_averaging": 0.5,
                                                        "precision": "32-true"}}))  # fmt: skip
    assert four.flops == pytest.approx(4 * single.flops, rel=0.01)
    assert four.kept_bytes == pytest.approx(4 * single.kept_bytes, rel=0.05)
    assert half.memory_bytes < four.memory_bytes
    assert averaged.memory_bytes - four.memory_bytes == 4 * four.parameters


def test_a_cells_time_counts_its_cases_and_epochs(recipes):
    step, speed = Footprint(1, 1, 10, 100, 5), Speed(per_flop=0.01, per_byte=0.1, per_layer=0.2)
    assert speed.seconds(step) == pytest.approx(100 * 0.01 + 10 * 0.1 + 5 * 0.2)
    settings = {"epochs": 7, "batch_size": 4, "inner_validation": 0.2}
    honest = only(recipes, {"training": settings, "folds": {"count": 5}})
    # 80 of 100 cases are not tested; 64 are learnt from, and 16 pass forward alone.
    assert cell_seconds(honest, step, speed, 100) == pytest.approx(7 * (64 + 16 / 3) / 4 * 3)
    published = only(recipes, {"training": settings, "folds": {"count": 5, "protocol": "as-published"}})
    assert cell_seconds(published, step, speed, 100) == pytest.approx(7 * (80 + 20 / 3) / 4 * 3)


def test_this_machine_has_a_speed():
    speed = calibrate("cpu", bf16=True)
    assert 1e-14 < speed.per_flop < 1e-7
    assert 1e-13 < speed.per_byte < 1e-5
    assert 1e-7 < speed.per_layer < 1


def test_a_busy_machine_does_not_look_slow(monkeypatch):
    """Four steps of five are disturbed, as when cells are being trained beside the estimate."""
    step, calls, threads = estimate._step, itertools.count(), set()

    def disturbed(block, images, bf16):
        if images.shape[2] == 2:
            threads.add(torch.get_num_threads())
        if next(calls) % 5:
            time.sleep(0.1)
        step(block, images, bf16)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(estimate, "_step", disturbed)
    try:
        speed = calibrate("cpu", bf16=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert speed.per_layer < 0.03
    assert threads == {1}


def test_a_dry_run_names_the_arms_that_cannot_begin_and_goes_on(ranoscope, cohort, recipes, tmp_path):
    coarse = {"network": {"name": "densenet", "depth": 121}, "grid": {"voxel_mm": 10.0}}
    lost = {"network": {"name": "resnet"}, "pretraining": {"name": "medicalnet", "weights": "nowhere.pth"}}
    folder = recipes({"a/coarse": coarse, "a/plain": {}, "b/no-file": lost})
    answer = ranoscope("benchmark", folder, "--cohort", cohort, "--out", tmp_path / "out", "--dry-run", "--seeds", "1")
    assert answer.code == 0, answer.err
    assert "2 cells on" in answer.out
    said = " ".join((answer.out + answer.err).split())
    assert "a/coarse cannot begin: Expected a grid large enough for densenet" in said
    assert "b/no-file cannot begin: Expected the file of pretrained weights" in said


def test_a_dry_run_shows_the_grid_and_leaves_nothing(ranoscope, cohort, recipes, tmp_path):
    folder = recipes({"a/plain": {}, "b/same": {}, "b/other": {"training": {"epochs": 3}}})
    before = sorted(cohort.rglob("*"))
    answer = ranoscope("benchmark", folder, "--cohort", cohort, "--out", tmp_path / "out", "--dry-run")
    assert answer.code == 0, answer.err
    assert "= b/same" in answer.out
    assert "12 cells on" in answer.out
    assert "Nothing was trained" in " ".join(answer.out.split())
    assert sorted(cohort.rglob("*")) == before
    assert not (tmp_path / "out").exists()
