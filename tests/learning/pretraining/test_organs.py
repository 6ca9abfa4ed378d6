"""OrganMNIST3D: the published file in, a trunk's weights out, and into a recipe's network."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ranoscope import provenance
from ranoscope.config import OrganPretraining
from ranoscope.errors import RunError
from ranoscope.learning.module import ResponseModule
from ranoscope.learning.networks import NETWORKS, build_network, build_trunk
from ranoscope.learning.pretraining import prepare_initial_weights, require_fitting_pretraining
from ranoscope.learning.pretraining.organs import OrganImages, input_shape, pretrain_organs, read_organs

EPOCHS = 6


@pytest.fixture(scope="module")
def recipe(small):
    return small("change-aware", network={"widths": [4, 16]}, training={"epochs": EPOCHS, "learning_rate": 0.02})


@pytest.fixture(scope="module")
def made(recipe, organs, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "organs.safetensors"
    told = []
    about = pretrain_organs(recipe, organs, out, lambda *what: told.append(what))
    return out, about, told


def begun(recipe, weights):
    return recipe.model_copy(update={"pretraining": OrganPretraining(weights=weights)})


def load(recipe, network):
    return prepare_initial_weights(recipe, network, None, [], None, 0, lambda *_: None)


def test_it_learns_and_says_how_it_was_made(made, recipe, organs):
    out, about, told = made
    assert json.loads(out.with_suffix(".json").read_text()) == about
    assert about["accuracy"]["test"] > 3 / 11
    assert about["data"] == {"name": "organmnist3d.npz", "sha256": provenance.file_hash(organs)}
    assert about["cases"] == {"train": 44, "val": 22, "test": 33}
    assert about["network"] == {"name": "change-aware", "widths": [4, 16]}
    losses = [entry["inner_loss"] for entry in about["history"]]
    assert losses[about["best_epoch"] - 1] == min(losses)
    assert np.isfinite(losses).all()
    assert [done for done, *_ in told][:EPOCHS] == list(range(1, EPOCHS + 1))
    assert sorted(path.name for path in out.parent.iterdir()) == ["organs.json", "organs.safetensors"]


def test_the_network_starts_from_what_was_learnt(made, recipe):
    out, about, _ = made
    recipe = begun(recipe, out)
    torch.manual_seed(3)
    network = build_network(recipe)
    report = load(recipe, network)
    learnt = load_file(out)
    assert set(report.matched) == set(learnt)
    assert report.sha256 == about["sha256"] == provenance.file_hash(out)
    for name, tensor in learnt.items():
        own = network.state_dict()[f"trunk.{name}"]
        torch.testing.assert_close(own, tensor.expand_as(own) / (2 if name in report.adapted else 1))
    assert set(report.adapted) == {"stages.0.conv.unit0.conv.weight", "stages.0.residual.weight"}
    fresh = build_trunk(recipe.network, 1, recipe.grid.shape, 5.0).state_dict()
    assert learnt.keys() == fresh.keys()


def test_the_same_call_again_does_nothing_and_other_settings_are_refused(made, recipe, organs, monkeypatch):
    out, about, _ = made
    monkeypatch.setattr(ResponseModule, "training_step", lambda *_: pytest.fail("it was trained again"))
    again = pretrain_organs(recipe, organs, out, lambda *_: None)
    assert again == about
    changed = recipe.model_copy(update={"training": recipe.training.model_copy(update={"learning_rate": 0.5})})
    with pytest.raises(RunError, match=r"made with other settings or from other data.*choose another --out"):
        pretrain_organs(changed, organs, out, lambda *_: None)
    assert sorted(path.name for path in out.parent.iterdir()) == ["organs.json", "organs.safetensors"]


def test_interrupted_it_goes_on_and_ends_with_the_same_weights(made, recipe, organs, tmp_path):
    def pull(done, total, what):
        if done == 3:
            raise KeyboardInterrupt

    out = tmp_path / "organs.safetensors"
    with pytest.raises(KeyboardInterrupt):
        pretrain_organs(recipe, organs, out, pull)
    assert not out.exists()
    told = []
    pretrain_organs(recipe, organs, out, lambda done, *_: told.append(done))
    assert told[0] == 3, "the epochs before the interruption are not trained again"
    assert out.read_bytes() == made[0].read_bytes()


def test_images_are_standardised_enlarged_and_never_mirrored(organs):
    data = read_organs(organs)
    train = OrganImages(data.splits["train"], data.scale, (28, 28, 28), seed=0)
    stacked = torch.stack([train[place][0] for place in range(len(train))])
    assert float(stacked.mean()) == pytest.approx(0, abs=1e-3)
    assert float(stacked.std()) == pytest.approx(1, abs=1e-3)
    raw = torch.from_numpy(data.splits["train"].images[4]).float()
    for epoch in range(4):
        train.epoch.fill_(epoch)
        torch.testing.assert_close(train[4][0][0] * data.scale[1] + data.scale[0], raw)
    larger = OrganImages(data.splits["train"], data.scale, (56, 56, 56))[4][0]
    assert larger.shape == (1, 56, 56, 56)
    halves = torch.nn.functional.avg_pool3d(larger[None], 2)[0]
    assert torch.corrcoef(torch.stack([halves.flatten(), train[4][0].flatten()]))[0, 1] > 0.9


@pytest.mark.parametrize("name", NETWORKS)
def test_the_shape_shown_is_one_that_the_network_works_on_with_the_same_tensors(small, name):
    recipe = small(name)
    shape = input_shape(recipe, 28)
    expected = {"densenet": (32, 32, 32), "vit": recipe.grid.shape, "swin": recipe.grid.shape}
    assert shape == expected.get(name, (28, 28, 28))
    assert input_shape(recipe, 64) == (recipe.grid.shape if name in ("vit", "swin") else (64, 64, 64))


def test_another_networks_weights_and_a_torn_pair_of_files_are_refused(made, recipe, small, tmp_path):
    out, *_ = made
    other = small("change-aware", network={"widths": [4, 8]})
    with pytest.raises(RunError, match=r"weights of name change-aware, widths \[4, 8\].*got .*\[4, 16\]"):
        require_fitting_pretraining(begun(other, out))
    copy = tmp_path / out.name
    shutil.copy(out, copy)
    with pytest.raises(RunError, match=r"the file organs.json, got none.*run `ranoscope pretrain organmnist`"):
        load(begun(recipe, copy), build_network(recipe))
    shutil.copy(out.with_suffix(".json"), copy.with_suffix(".json"))
    copy.write_bytes(copy.read_bytes()[:-40])
    with pytest.raises(RunError, match="the weights that the file beside it is about, got others"):
        load(begun(recipe, copy), build_network(recipe))
    about = json.loads(copy.with_suffix(".json").read_text())
    copy.with_suffix(".json").write_text(json.dumps({**about, "sha256": provenance.file_hash(copy)}))
    with pytest.raises(RunError, match="Expected safetensors"):
        load(begun(recipe, copy), build_network(recipe))
    with pytest.raises(RunError, match="the file of pretrained weights, got none"):
        require_fitting_pretraining(begun(recipe, tmp_path / "gone.safetensors"))


def changed(organs, **changes):
    with np.load(organs) as archive:
        return {**archive, **changes}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: {k: v for k, v in a.items() if k != "val_labels"}, "none named val_labels"),
        (lambda a: {**a, "train_images": a["train_images"].astype(np.float32)}, "cubes of uint8 in train_images"),
        (lambda a: {**a, "test_images": a["test_images"][:, :20]}, "got uint8 33x20x28x28"),
        (lambda a: {**a, "train_labels": a["train_labels"][:-1]}, "a label for each of 44 images"),
        (lambda a: {**a, "val_labels": a["val_labels"] + 1}, "labels 0 to 10 in val_labels, got 1 to 11"),
        (lambda a: {**a, "train_images": np.array([{}], object)}, "damaged one"),
    ],
)
def test_files_of_another_layout_are_refused(organs, tmp_path, change, words):
    path = tmp_path / "data.npz"
    np.savez(path, **change(changed(organs)))
    with pytest.raises(RunError, match=f"{words}.*data.npz; fetch organmnist3d.npz"):
        read_organs(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"text"])
def test_damaged_files_are_refused(tmp_path, content):
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(RunError, match="a damaged one"):
        read_organs(path)
    with pytest.raises(RunError, match="got none"):
        read_organs(tmp_path / "gone.npz")


def test_the_weights_need_a_name_that_says_what_they_are(recipe, organs, tmp_path):
    with pytest.raises(RunError, match=r"ends in .safetensors, got weights.pt"):
        pretrain_organs(recipe, organs, tmp_path / "weights.pt", lambda *_: None)
