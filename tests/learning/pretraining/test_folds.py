"""Rotations inside cross-validation: learnt on each fold's training patients alone, once, and begun with."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch
from safetensors.torch import load_file

from ranoscope import provenance, runs
from ranoscope.cohort.files import read_cases, write_cohort
from ranoscope.cohort.pairing import build_cohort
from ranoscope.config import CohortSettings, FoldProtocol, OrganPretraining, RotationPretraining, parse_recipe
from ranoscope.domain import StudyKey, Visit
from ranoscope.errors import RecipeError, RunError
from ranoscope.imaging.store import StudyStore
from ranoscope.learning import fitting
from ranoscope.learning.cells import make_cells
from ranoscope.learning.crossval import cross_validate, prepare_experiment
from ranoscope.learning.module import ResponseModule
from ranoscope.learning.pretraining import rotations
from ranoscope.learning.pretraining.folds import pretrain_rotations
from ranoscope.learning.pretraining.rotations import TURNS, TurnedVolumes, pretrain_on_rotations, studies_of
from ranoscope.learning.studies import prepare_store


def silent(*_):
    pass


@pytest.fixture
def recipe(tiny):
    task = RotationPretraining(epochs=2, batch_size=8, learning_rate=0.01)
    return tiny(epochs=1).model_copy(update={"pretraining": task})


@pytest.fixture
def store(home, recipe):
    return prepare_store(recipe, home / "run", read_cases(home / "run"), silent)


def test_it_learns_to_tell_rotations_of_patients_it_did_not_see(phantom_folder, tmp_path):
    content = {
        "name": "learns",
        "description": "rotations on the phantom",
        "sequences": ["T1", "FLAIR"],
        "grid": {"voxel_mm": 6.0, "box_mm": [150, 186, 150], "centre_mm": [0, -17, 8]},
        "network": {"name": "change-aware", "widths": [8, 16, 16]},
        "pretraining": {"name": "rotations", "epochs": 6, "batch_size": 4, "learning_rate": 0.01},
        "training": {"accelerator": "cpu", "precision": "32-true"},
    }
    recipe = parse_recipe(content, "tests")
    write_cohort(tmp_path, build_cohort(phantom_folder, CohortSettings()), CohortSettings())
    cases = read_cases(tmp_path)
    store = prepare_store(recipe, tmp_path, cases, silent)
    path = pretrain_on_rotations(recipe, store, cases, tmp_path / "fold", 0, silent)
    about = json.loads(path.with_suffix(".json").read_text())
    assert about["held_out_accuracy"] > 0.5
    assert not set(about["patients"]) & set(about["held_out"])
    assert {*about["patients"], *about["held_out"]} == {case.patient for case in cases}


@pytest.mark.parametrize("protocol", FoldProtocol)
def test_no_study_of_a_case_that_is_tested_or_chooses_the_epoch_is_read(home, recipe, monkeypatch, protocol):
    folds = recipe.folds.model_copy(update={"protocol": protocol})
    recipe = recipe.model_copy(update={"folds": folds})
    experiment = prepare_experiment(recipe, home / "run", home / "run", silent)
    cell = experiment.cells[0]
    sides = cell.sides(recipe)
    read: set[StudyKey] = set()
    honest = StudyStore.__getitem__

    def watched(self, key):
        read.add(key)
        return honest(self, key)

    monkeypatch.setattr(StudyStore, "__getitem__", watched)
    steps = counted_steps(monkeypatch)
    pretrain_on_rotations(recipe, experiment.material.store, sides.training, home / "fold", 0, silent)
    assert steps
    assert read == set(studies_of(sides.training))
    if protocol is FoldProtocol.PATIENT:
        others = {case.patient for case in (*cell.test, *sides.inner)}
        assert others
        assert not {key.patient for key in read} & others


def counted_steps(monkeypatch):
    honest, steps = ResponseModule.training_step, []

    def step(self, batch, index):
        steps.append(index)
        return honest(self, batch, index)

    monkeypatch.setattr(ResponseModule, "training_step", step)
    return steps


def test_a_study_of_another_patient_is_not_shown(store, recipe, home):
    cases = read_cases(home / "run")
    mine = [case for case in cases if case.patient == "Patient-001"]
    dataset = TurnedVolumes(store, mine, recipe)
    dataset.volumes[0] = (StudyKey("Patient-002", Visit(20)), dataset.volumes[0][1])
    with pytest.raises(AssertionError, match="Patient-002/week-020 is no study of these patients"):
        dataset[0]


def test_every_volume_is_shown_once_an_epoch_and_every_turn_equally_often(store, recipe, home):
    dataset = TurnedVolumes(store, read_cases(home / "run"), recipe, seed=3)
    assert len(dataset) == len(dataset.volumes) == 8 * 3 * 2
    seen = []
    for epoch in range(3):
        dataset.epoch.fill_(epoch)
        order = [dataset._volume(place) for place in range(len(dataset))]
        assert Counter(order) == Counter(dataset.volumes)
        assert set(Counter(dataset.classes).values()) == {len(dataset) // len(TURNS)}
        assert [dataset[place][2] for place in (0, 1, 7)] == [0, 1, 1]
        seen.append(order)
    assert seen[0] != seen[1] != seen[2]
    dataset.epoch.fill_(1)
    assert [dataset._volume(place) for place in range(len(dataset))] == seen[1]
    whole = TurnedVolumes(store, read_cases(home / "run"), recipe)
    assert Counter((whole._volume(place), whole.classes[place]) for place in range(len(whole))) == Counter(
        (volume, which) for volume in dataset.volumes for which in range(len(TURNS))
    )


def test_every_fold_starts_from_what_its_own_training_patients_taught(home, recipe, monkeypatch):
    begun = []
    honest = fitting.prepare_initial_weights

    def watched(recipe, network, store, cases, folder, seed, told):
        report = honest(recipe, network, store, cases, folder, seed, told)
        begun.append((report, {name: tensor.clone() for name, tensor in network.state_dict().items()}, cases))
        return report

    monkeypatch.setattr(fitting, "prepare_initial_weights", watched)
    cross_validate(recipe, home / "run", home / "run", silent)
    cells = prepare_experiment(recipe, home / "run", home / "run", silent).cells
    assert len(begun) == len(cells) == 2
    for fold, (report, state, cases) in enumerate(begun):
        assert cases == cells[fold].sides(recipe).training
        folder = home / "run" / runs.CHECKPOINTS / f"seed-0_fold-{fold}"
        (path,) = folder.glob("rotations-*.safetensors")
        learnt = load_file(path)
        assert report.file == path.name
        assert set(report.matched) == set(learnt)
        for name, tensor in learnt.items():
            own = state[f"trunk.{name}"]
            assert torch.equal(own, tensor.expand_as(own) / 2 if name in report.adapted else tensor)
        about = json.loads((folder / "fold.json").read_text())
        assert about["initial_weights"] == report.as_dict()
        assert about["initial_weights"]["sha256"] == provenance.file_hash(path)
        record = json.loads(path.with_suffix(".json").read_text())
        assert {*record["patients"], *record["held_out"]} == {case.patient for case in cases}
        assert not list(folder.glob("restart-*"))
    assert begun[0][0].sha256 != begun[1][0].sha256


def results(run):
    folder = run / runs.CHECKPOINTS
    return {path.relative_to(run): path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))}


def test_the_command_first_or_crossval_alone_end_alike_and_nothing_is_learnt_twice(home, recipe, monkeypatch):
    alone, after = home / "alone", home / "after"
    cross_validate(recipe, home / "run", alone, silent)
    records = pretrain_rotations(recipe, home / "run", after, silent)
    assert [record["task"] for record in records] == ["rotations", "rotations"]
    with monkeypatch.context() as patch:
        patch.setattr(rotations, "fit_trunk", lambda *_: pytest.fail("rotations were learnt again"))
        assert pretrain_rotations(recipe, home / "run", after, silent) == records
        cross_validate(recipe, home / "run", after, silent)
    assert len(results(alone)) == 4
    assert results(alone) == results(after)


def test_interrupted_it_goes_on_after_the_last_epoch_and_ends_alike(home, recipe):
    def pull(done, total, what):
        if "fold 2 of 2: rotations, epoch 1 of 2" in what:
            raise KeyboardInterrupt

    whole, torn = home / "whole", home / "torn"
    pretrain_rotations(recipe, home / "run", whole, silent)
    with pytest.raises(KeyboardInterrupt):
        pretrain_rotations(recipe, home / "run", torn, pull)
    assert len(results(torn)) == 2, "the first fold's, and the second's best so far"
    told = []
    pretrain_rotations(recipe, home / "run", torn, lambda *what: told.append(what[2]))
    assert [what.split(":")[1] for what in told if "inner loss" in what] == [
        " rotations, epoch 1 of 2", " rotations, epoch 2 of 2",
    ]  # fmt: skip
    assert results(torn) == results(whole)


def test_other_recipes_are_refused(home, tiny):
    with pytest.raises(RecipeError, match=r"pretraining by rotations, got none, in recipe tiny; set pretraining"):
        pretrain_rotations(tiny(), home / "run", home / "run", silent)


def test_a_file_of_weights_counts_by_its_content_not_by_its_path(home, recipe):
    def keys(weights):
        changed = recipe.model_copy(update={"pretraining": OrganPretraining(weights=weights)})
        cells = make_cells(changed, experiment.material, cases, folds, home / "run")
        return [cell.key for cell in cells]

    experiment = prepare_experiment(recipe, home / "run", home / "run", silent)
    cases = read_cases(home / "run")
    folds = runs.read_csv(home / "run" / runs.FOLDS, "folds", ("seed", "patient", "current", "fold"))
    folds = folds.astype({"seed": int, "fold": int})
    one, moved, other = (home / name for name in ("one.safetensors", "elsewhere/two.safetensors", "other.safetensors"))
    moved.parent.mkdir()
    for path, content in ((one, b"weights"), (moved, b"weights"), (other, b"others")):
        path.write_bytes(content)
    assert keys(one) == keys(moved)
    assert not set(keys(one)) & set(keys(other))
    with pytest.raises(RunError, match="the file of pretrained weights, got none"):
        keys(home / "gone.safetensors")


def test_both_commands_say_what_they_did(ranoscope, home, organs, tmp_path):
    small = ["--set", "network={name: change-aware, widths: [4, 8]}", "--set", "training.accelerator=cpu",
             "--set", "training.precision=32-true", "--set", "grid={voxel_mm: 6, box_mm: [132, 156, 132]}"]  # fmt: skip
    out = tmp_path / "organs.safetensors"
    answer = ranoscope("pretrain", "organmnist", "demo", "--data", organs, "--out", out, *small,
                       "--set", "training.epochs=1")  # fmt: skip
    assert answer.code == 0, answer.err
    assert "accuracy" in answer.out
    assert out.is_file()
    task = ["--set", "pretraining={name: rotations, epochs: 1}", "--set", "folds.count=2"]
    answer = ranoscope("pretrain", "rotations", "demo", "--cohort", home / "run", "--out", tmp_path / "run",
                       *small, *task)  # fmt: skip
    assert answer.code == 0, answer.err
    assert "2 folds; right on held-out training patients:" in " ".join(answer.out.split())
    refused = ranoscope("pretrain", "organmnist", "demo", "--data", tmp_path / "gone.npz", "--out", out)
    assert refused.code == 2
    assert "fetch organmnist3d.npz" in refused.err
