"""Estimates against counts made by hand and peaks measured in processes of their own; a dry run leaves nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from ranoscope.benchmarking.arms import find_arms
from ranoscope.benchmarking.estimate import (
    Cohort,
    Work,
    cell_seconds,
    estimate_grid,
    pretraining_seconds,
    training_work,
)
from ranoscope.benchmarking.footprint import Footprint
from ranoscope.benchmarking.machines import MACHINES, Machine, Speed, calibrate
from ranoscope.benchmarking.rehearsal import Rehearsal
from ranoscope.benchmarking.request import MachineName
from ranoscope.learning import consistency
from ranoscope.learning.networks import build_network

VIT = {"name": "vit", "hidden": 24, "heads": 2, "layers": 1, "patch_mm": [60, 60, 60]}
TAUGHT = {
    "network": {"name": "change-aware", "widths": [8, 16], "tissues": True},
    "training": {"auxiliary": {"segmentation": 1.0, "measures": 0.3}, "consistency": {"swap": 0.3, "same": 0.5}},
}
TIMELINE = {"network": {"name": "change-aware-timeline", "widths": [8, 16]}, "level": "timeline"}
# The peak of two training steps of a batch of the rehearsal's, in MiB, the process itself included.
STEPS = """
import sys, torch
from ranoscope.config import load_recipe
from ranoscope.learning.module import ResponseModule
from ranoscope.learning.networks import History, build_network
torch.set_num_threads(1)
torch.serialization.add_safe_globals([History])
recipe, batch = load_recipe(sys.argv[1]), torch.load(sys.argv[2], weights_only=True)
module = ResponseModule(build_network(recipe), recipe.training, torch.ones(4)).train()
optimiser = torch.optim.AdamW(module.network.parameters())
for _ in range(2):
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.training.precision == "bf16-mixed"):
        loss = module.training_step(batch, 0)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
print([int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
"""


def only(recipes, delta):
    (arm,) = find_arms(recipes({"a/one": delta}))
    return arm.recipe


@pytest.fixture(scope="module")
def rehearsal():
    with Rehearsal() as made:
        yield made


def test_a_steps_operations_and_memory_are_those_of_its_layers(recipes, rehearsal):
    # One patch embedding and one block: small enough to be counted by hand where it matters.
    recipe = only(recipes, {"network": VIT, "training": {"precision": "32-true", "batch_size": 3}})
    step = training_work(recipe, rehearsal).step
    assert step.parameters == sum(parameter.numel() for parameter in build_network(recipe).parameters())
    pair = 4 * 3 * 2 * 2 * 27 * 32 * 27
    # The batch, its channels in another order and, padded, as the embedding keeps them.
    assert step.memory_bytes > 4 * (4 * step.parameters) + 3 * pair
    tokens, hidden, patch = 3 * 4 * 3, 24, 10**3
    assert step.flops > 2 * 2 * 3 * tokens * 4 * patch * hidden


def test_batches_precision_averages_and_what_is_taught_cost_what_they_should(recipes, rehearsal):
    def step(delta, **training):
        changed = {**delta, "training": {**delta.get("training", {}), "precision": "32-true", **training}}
        return training_work(only(recipes, changed), rehearsal).step

    single, four = step({}, batch_size=1), step({}, batch_size=4)
    assert four.flops == pytest.approx(4 * single.flops, rel=0.01)
    assert four.memory_bytes == pytest.approx(4 * single.memory_bytes, rel=0.1)
    assert step({}, batch_size=4, precision="bf16-mixed").moved_bytes < 0.9 * four.moved_bytes
    large = {"network": {**VIT, "hidden": 96}}
    averaged, plain = step(large, weight_averaging=0.5), step(large)
    assert averaged.memory_bytes - plain.memory_bytes == pytest.approx(1.25 * 4 * plain.parameters, rel=0.1)
    assert step(TAUGHT).memory_bytes > 1.5 * step({"network": {**TAUGHT["network"], "tissues": False}}).memory_bytes


@pytest.mark.parametrize(
    "delta", [{"network": {"name": "resnet"}}, TAUGHT, TIMELINE], ids=["resnet", "taught", "timeline"]
)
def test_the_peak_of_a_training_step_is_within_half_as_much_again_of_the_estimate(delta, recipes, rehearsal, tmp_path):
    folder = recipes({"a/one": {**delta, "grid": {"voxel_mm": 4.0}}})
    (arm,) = find_arms(folder)
    estimated = training_work(arm.recipe, rehearsal).step.memory_bytes / 2**20 + 512
    torch.save(rehearsal.training(arm.recipe).batch, tmp_path / "batch.pt")
    command = [sys.executable, "-W", "ignore", "-c", STEPS, str(folder / "a" / "one.yaml"), str(tmp_path / "batch.pt")]
    measured = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
    assert measured > 600  # more than the process itself
    assert 1 / 1.5 < estimated / measured < 1.5


def test_what_is_played_without_contents_leaves_no_table_without_contents(recipes, rehearsal):
    consistency._table.cache_clear()
    training_work(only(recipes, TAUGHT), rehearsal)
    assert consistency._table.cache_info().currsize > 0
    table = consistency._table(consistency._EXCHANGED, 4)
    assert type(table) is torch.Tensor
    assert table.any(dim=1).all()
    assert not table.all(dim=1).any()


def machine(**changes) -> Machine:
    speed = Speed(per_flop=0.01, per_byte=0.1, per_operation=0.2)
    return Machine(**{"title": "m", "measured": True, "memory_bytes": 2**40, "process_bytes": 0, "cores": 4,
                      "bf16": speed, "float32": speed, **changes})  # fmt: skip


def test_a_cells_time_counts_its_cases_samples_and_epochs(recipes):
    step = Footprint(parameters=1, memory_bytes=1, moved_bytes=10, flops=100, operations=5)
    assert machine().speed(True).seconds(step) == pytest.approx(100 * 0.01 + 10 * 0.1 + 5 * 0.2)
    work, settings = Work(step, sample_seconds=0.5), {"epochs": 7, "batch_size": 4, "inner_validation": 0.2}
    honest = only(recipes, {"training": settings, "folds": {"count": 5}})
    # 80 of 100 cases are not tested; 64 are learnt from, and 16 pass forward alone.
    assert cell_seconds(honest, work, machine(), 100) == pytest.approx(7 * ((64 + 16 / 3) / 4 * 3 + 80 * 0.5))
    published = only(recipes, {"training": settings, "folds": {"count": 5, "protocol": "as-published"}})
    assert cell_seconds(published, work, machine(), 100) == pytest.approx(7 * ((80 + 20 / 3) / 4 * 3 + 100 * 0.5))
    beside = only(recipes, {"training": {**settings, "workers": 2}, "folds": {"count": 5}})
    assert cell_seconds(beside, work, machine(), 100) == pytest.approx(7 * (64 + 16 / 3) / 4 * 3)
    few = only(recipes, {"training": settings, "folds": {"count": 5, "training_cases": 20}})
    assert cell_seconds(few, work, machine(), 100) == pytest.approx(7 * ((16 + 4 / 3) / 4 * 3 + 20 * 0.5))


def test_pretraining_counts_its_own_samples(recipes):
    work = Work(Footprint(1, 1, 10, 100, 5), sample_seconds=0.5)
    change = {"name": "change", "epochs": 3, "pairs_per_epoch": 80, "batch_size": 8}
    pairs = only(recipes, {"pretraining": change, "training": {"inner_validation": 0.25}})
    assert pretraining_seconds(pairs, work, machine(), 50) == pytest.approx(3 * ((80 + 20 / 3) / 8 * 3 + 100 * 0.5))
    turns = {"name": "rotations", "epochs": 3, "batch_size": 8}
    turned = only(recipes, {"pretraining": turns, "training": {"inner_validation": 0.25}, "folds": {"count": 5}})
    # 40 of 50 studies, two sequences each; a quarter is held out and shown under all six turns.
    expected = 3 * ((60 + 120 / 3) / 8 * 3 + 180 * 0.5)
    assert pretraining_seconds(turned, work, machine(), 50) == pytest.approx(expected)


def test_an_arm_that_does_not_fit_is_told_what_to_set(recipes):
    folder = recipes({"a/one": {"training": {"batch_size": 8}}})
    groups = [(arm,) for arm in find_arms(folder)]

    def cost(memory: int):
        return estimate_grid(groups, Cohort(50, 80), lambda *_: None, machine(memory_bytes=memory))

    roomy = cost(2**40)
    (whole,) = roomy.cells
    assert whole.advice == ""
    assert roomy.reading_seconds > 0
    assert roomy.seconds == pytest.approx(roomy.reading_seconds + whole.cells * whole.seconds)
    assert cost(whole.memory_bytes - 1).cells[0].advice == "set training.batch_size=4 (now 8)"
    assert cost(10).cells[0].advice == "choose a smaller network"


def test_this_machine_and_the_named_ones_have_a_speed():
    speed = calibrate("cpu", True)
    assert 1e-14 < speed.per_flop < 1e-7
    assert 1e-13 < speed.per_byte < 1e-5
    assert 1e-7 < speed.per_operation < 1
    assert set(MACHINES) == set(MachineName)
    step = Footprint(parameters=1, memory_bytes=1, moved_bytes=10**10, flops=10**13, operations=1000)
    seconds = {name: one.speed(True).seconds(step) for name, one in MACHINES.items()}
    assert seconds[MachineName.H200] < seconds[MachineName.CONSUMER_GPU] < seconds[MachineName.CPU_2] / 10
    assert not any(one.measured for one in MACHINES.values())


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


def test_a_dry_run_from_the_published_folder_shows_the_grid_and_leaves_nothing(
    ranoscope, phantom_folder, recipes, tmp_path
):
    folder = recipes({"a/plain": {}, "b/same": {}, "b/other": {"training": {"epochs": 3}}})
    before = sorted(phantom_folder.rglob("*"))
    command = ("benchmark", folder, "--images", phantom_folder, "--out", tmp_path / "out", "--dry-run")
    answer = ranoscope(*command, "--machine", "h200")
    assert answer.code == 0, answer.err
    said = " ".join(answer.out.split())
    assert "= b/same" in said
    assert "12 cells on" in said
    assert "Estimated for one H200, 141 GB" in said
    assert "nothing was measured on it" in said
    assert "Nothing was trained" in said
    assert sorted(phantom_folder.rglob("*")) == before
    assert not (tmp_path / "out").exists()
