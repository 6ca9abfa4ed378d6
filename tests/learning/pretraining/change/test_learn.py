"""Synthetic change learnt inside a fold: from its own patients alone, once, resumed alike, and begun with."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ranoscope import provenance, runs
from ranoscope.cohort.files import read_cases
from ranoscope.domain import StudyKey, Visit
from ranoscope.errors import RanoscopeError, RunError
from ranoscope.imaging.store import StudyStore
from ranoscope.learning import fitting
from ranoscope.learning.crossval import cross_validate, prepare_experiment
from ranoscope.learning.module import ResponseModule
from ranoscope.learning.networks import NETWORKS, build_network
from ranoscope.learning.pretraining.change import learn, pretrain_in_fold
from ranoscope.learning.pretraining.change.learn import Pretext, split_patients
from ranoscope.learning.pretraining.change.pairs import ChangePairs
from ranoscope.learning.pretraining.pretext import studies_of
from ranoscope.learning.pretraining.transfer import PretrainedWeights, transfer_network


def silent(*_):
    pass


@pytest.fixture
def home(run, tmp_path):
    """A copy that a test may write to."""
    return shutil.copytree(run, tmp_path / "run")


def results(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))}


def test_no_study_of_a_case_that_is_tested_or_chooses_the_epoch_is_read(home, recipe_of, monkeypatch):
    recipe = recipe_of({"pairs_per_epoch": 40})
    experiment = prepare_experiment(recipe, home, home, silent)
    cell = experiment.cells[0]
    sides = cell.sides(recipe)
    read: set[StudyKey] = set()
    honest = StudyStore.__getitem__

    def watched(self, key):
        read.add(key)
        return honest(self, key)

    monkeypatch.setattr(StudyStore, "__getitem__", watched)
    path = pretrain_in_fold(recipe, experiment.material.store, sides.training, home / "fold", 0, silent)
    assert read == set(studies_of(sides.training))
    others = {case.patient for case in (*cell.test, *sides.inner)}
    assert others
    assert not {key.patient for key in read} & others
    about = json.loads(path.with_suffix(".json").read_text())
    assert not set(about["patients"]) & set(about["held_out"])
    assert {*about["patients"], *about["held_out"]} == {case.patient for case in sides.training}


def test_patients_that_choose_the_epoch_are_not_learnt_from(store, keys, recipe_of, tmp_path, monkeypatch):
    made = []
    honest = ChangePairs.__init__

    def watched(self, *arguments, **options):
        honest(self, *arguments, **options)
        made.append(self)

    monkeypatch.setattr(ChangePairs, "__init__", watched)
    pretext = Pretext(recipe_of(), store, keys, 3)
    learn.learn_change(pretext, tmp_path / "w.safetensors", tmp_path / "restart", {}, silent)
    training, inner = made
    assert training.seed == 3
    assert inner.seed is None
    assert not {key.patient for key in training.keys} & {key.patient for key in inner.keys}
    assert {*training.keys, *inner.keys} == set(keys)
    assert not (tmp_path / "restart").exists()
    about = json.loads((tmp_path / "w.json").read_text())
    losses = [entry["inner_loss"] for entry in about["history"]]
    assert losses[about["best_epoch"] - 1] == min(losses)
    assert about["held_out_balanced_accuracy"] == about["history"][about["best_epoch"] - 1]["inner_balanced_accuracy"]


def test_patients_are_split_and_one_alone_is_refused():
    keys = [StudyKey(f"Patient-{number:03d}", Visit(week)) for number in range(10) for week in range(3)]
    for seed in range(5):
        learnt, held_out = split_patients(keys, 0.2, seed)
        assert sorted([*learnt, *held_out]) == keys
        assert len({key.patient for key in held_out}) == 2
        assert not {key.patient for key in learnt} & {key.patient for key in held_out}
    assert split_patients(keys, 0.2, 1) == split_patients(keys, 0.2, 1)
    assert split_patients(keys, 0.2, 1) != split_patients(keys, 0.2, 2)
    with pytest.raises(RanoscopeError, match="at least 2 patients, got 1"):
        split_patients(keys[:3], 0.2, 0)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_interrupted_it_ends_with_the_weights_of_an_uninterrupted_one(store, run, recipe_of, tmp_path, share):
    recipe, cases = recipe_of({"masked_share": share, "epochs": 3}), read_cases(run)

    def pull(_, what):
        if "epoch 2 of 3" in what:
            raise KeyboardInterrupt

    pretrain_in_fold(recipe, store, cases, tmp_path / "whole", 1, silent)
    with pytest.raises(KeyboardInterrupt):
        pretrain_in_fold(recipe, store, cases, tmp_path / "torn", 1, pull)
    assert not list((tmp_path / "torn").glob("*.json"))
    told = []
    pretrain_in_fold(recipe, store, cases, tmp_path / "torn", 1, lambda *what: told.append(what[1]))
    assert [what.split(":")[0] for what in told] == [f"synthetic change, epoch {epoch} of 3" for epoch in (2, 3)]
    assert len(results(tmp_path / "whole")) == 1
    assert results(tmp_path / "torn") == results(tmp_path / "whole")


def test_weights_are_made_again_for_whatever_they_depend_on_and_for_nothing_else(store, keys, recipe_of):
    def key(task=None, seed=0, some=keys, **settings):
        return Pretext(recipe_of(task, **settings), store, some, seed).key

    first = key()
    assert first == key() == key({"weights": "elsewhere.safetensors"}) == key(labels="permuted")
    others = [
        key({"epochs": 3}), key({"masked_share": 0.1}), key(seed=1), key(some=keys[1:]), key(target="pd-versus-rest"),
        key(augmentation={"noise": 0.2}), key(sequences=["CT1", "T2"]), key(clinical={"age": True}),
        key(training={"weight_decay": 0.5}), key(network={"name": "change-aware", "widths": [4, 8], "dropout": 0.0}),
    ]  # fmt: skip
    assert len({first, *others}) == 1 + len(others)


def test_every_fold_begins_with_all_that_its_own_training_patients_taught(home, recipe_of, monkeypatch):
    recipe, begun = recipe_of(), []
    honest = fitting.prepare_initial_weights

    def watched(recipe, network, *rest):
        report = honest(recipe, network, *rest)
        begun.append((report, {name: tensor.clone() for name, tensor in network.state_dict().items()}))
        return report

    monkeypatch.setattr(fitting, "prepare_initial_weights", watched)
    cross_validate(recipe, home, home, silent)
    assert len(begun) == 2
    for fold, (report, state) in enumerate(begun):
        folder = home / runs.CHECKPOINTS / f"seed-0_fold-{fold}"
        (path,) = folder.glob("change-*.safetensors")
        learnt = load_file(path)
        assert set(report.matched) == set(learnt) == set(state)
        assert report.skipped == report.adapted == ()
        assert all(torch.equal(state[name], tensor) for name, tensor in learnt.items())
        about = json.loads((folder / "fold.json").read_text())["initial_weights"]
        assert about == report.as_dict()
        assert about["sha256"] == provenance.file_hash(path)
        assert about["task"] == "change"
        assert not list(folder.glob("restart-*"))
    assert begun[0][0].sha256 != begun[1][0].sha256
    with monkeypatch.context() as patch:
        patch.setattr(ResponseModule, "training_step", lambda *_: pytest.fail("it was learnt again"))
        cross_validate(recipe, home, home, silent)


def test_masks_teach_tissues_here_as_well(store, run, recipe_of, tmp_path):
    network = {"name": "change-aware", "widths": [4, 8], "tissues": True}
    training = {"accelerator": "cpu", "precision": "32-true", "auxiliary": {"segmentation": 0.5, "measures": 0.5}}
    recipe = recipe_of(network=network, training=training)
    dataset = ChangePairs(store, studies_of(read_cases(run)), recipe, 8, 0)
    for place in range(8):
        _, _, target, labels, measures = dataset[place]
        assert labels.shape == (2, *recipe.grid.shape)
        if target == 3:
            assert not (labels[1] == 1).any()
            assert measures[0] < 0
    path = pretrain_in_fold(recipe, store, read_cases(run), tmp_path, 0, silent)
    torch.manual_seed(0)
    fresh, learnt = build_network(recipe).state_dict(), load_file(path)
    assert not torch.equal(learnt["measures.weight"], fresh["measures.weight"])


@pytest.mark.parametrize("name", NETWORKS)
def test_whole_networks_are_transferred_and_what_another_target_shapes_otherwise_is_named(small, name):
    recipe = small(name)
    torch.manual_seed(1)
    taught = build_network(recipe).state_dict()
    weights = PretrainedWeights("change", Path("change.safetensors"), "0" * 64, taught, len(taught))
    torch.manual_seed(2)
    network = build_network(recipe)
    report = transfer_network(weights, network)
    assert set(report.matched) == set(taught)
    assert all(torch.equal(tensor, taught[key]) for key, tensor in network.state_dict().items())
    other = build_network(small(name, target="pd-versus-rest", clinical={"age": True}))
    before = {key: tensor.clone() for key, tensor in other.state_dict().items()}
    report = transfer_network(weights, other)
    assert report.skipped
    assert all(not key.startswith(other.trunk_prefix) for key in report.skipped)
    assert Counter([*report.matched, *report.skipped]) == Counter(list(taught))
    for key, tensor in other.state_dict().items():
        assert torch.equal(tensor, taught[key] if key in report.matched else before[key])


def test_a_trunk_that_does_not_fit_and_weights_that_are_not_finite_are_refused(small):
    recipe = small("change-aware")
    taught = build_network(recipe).state_dict()
    network = build_network(small("change-aware", sequences=["CT1"]))
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}

    def weights(tensors):
        return PretrainedWeights("change", Path("change.safetensors"), "0" * 64, tensors, len(tensors))

    with pytest.raises(RunError, match=r"all tensors of the trunk, trunk\.stages\.0.* among them"):
        transfer_network(weights(taught), network)
    broken = {**taught, "head.1.weight": taught["head.1.weight"] * np.nan}
    other = build_network(recipe)
    with pytest.raises(RunError, match=r"NaN or infinity in head\.1\.weight"):
        transfer_network(weights(broken), other)
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
