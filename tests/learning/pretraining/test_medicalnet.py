"""MedicalNet's file: what the reference paper's code loads nothing of."""

from __future__ import annotations

import os
import pickle

import pytest
import torch

from ranoscope.errors import RecipeError, RunError
from ranoscope.learning.networks import build_network
from ranoscope.learning.pretraining import prepare_initial_weights, require_fitting_pretraining


@pytest.fixture(scope="module")
def network(small):
    torch.manual_seed(0)
    return build_network(small("resnet"))


def load(recipe, network):
    return prepare_initial_weights(recipe, network, None, [], None, 0, lambda *_: None)


def test_all_102_tensors_of_the_published_format_find_their_place(small, medicalnet, network):
    first = network.trunk.conv1.weight
    initial = first.detach().clone()
    recipe = small("resnet", pretraining={"name": "medicalnet", "weights": str(medicalnet)})
    report = load(recipe, network)
    assert len(report.matched) == 102
    assert report.skipped == ()
    assert report.adapted == ("conv1.weight",)
    assert network.trunk.conv1.weight is first
    assert not torch.equal(first, initial)
    published = torch.load(medicalnet, weights_only=True)["state_dict"]["module.conv1.weight"]
    torch.testing.assert_close(first.detach(), published.repeat(1, 4, 1, 1, 1) / 4)
    assert float(network.trunk.layer4[1].conv2.weight.detach().unique()) == pytest.approx(0.004)
    assert int(network.trunk.bn1.num_batches_tracked) == 7
    assert report.as_dict() == {
        "task": "medicalnet", "file": medicalnet.name, "sha256": report.sha256, "matched": 102, "skipped": [],
        "adapted": ["conv1.weight"],
    }  # fmt: skip


class Trap:
    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return (os.mkdir, (str(self.place),))


def truncated(path, whole):
    path.write_bytes(whole.read_bytes()[:2000])


def empty(path, whole):
    path.write_bytes(b"")


def text(path, whole):
    path.write_text("<html>not found</html>")


def code(path, whole):
    torch.save({**torch.load(whole, weights_only=True), "trap": Trap(path.parent / "trapped")}, path)


def bare_pickle(path, whole):
    path.write_bytes(pickle.dumps(Trap(path.parent / "trapped"), protocol=2))


def no_state_dict(path, whole):
    torch.save(torch.load(whole, weights_only=True)["state_dict"], path)


def not_a_dictionary(path, whole):
    torch.save([torch.ones(2)], path)


def another_network(path, whole):
    torch.save({"state_dict": {f"module.features.{n}.weight": torch.ones(2) for n in range(120)}}, path)


def another_prefix(path, whole):
    state = torch.load(whole, weights_only=True)["state_dict"]
    torch.save({"state_dict": {name.replace("module.", "model."): tensor for name, tensor in state.items()}}, path)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (truncated, "a whole file|nothing but tensors"),
        (empty, "a whole file, got a damaged one"),
        (text, "nothing but tensors"),
        (code, "nothing but tensors, got other objects"),
        (bare_pickle, "nothing but tensors, got other objects"),
        (no_state_dict, "tensors under the key `state_dict`, got the keys module.conv1.weight"),
        (not_a_dictionary, "tensors under the key `state_dict`, got something else"),
        (another_network, "at least 100 tensors, conv1.weight among them.*got 0 of the file's 120"),
        (another_prefix, "at least 100 tensors.*got 0 of the file's 102"),
    ],
)
def test_wrong_files_are_refused_by_name_and_no_code_is_run(tmp_path, small, medicalnet, network, spoil, words):
    path = tmp_path / "weights.pth"
    spoil(path, medicalnet)
    recipe = small("resnet", pretraining={"name": "medicalnet", "weights": str(path)})
    before = network.trunk.conv1.weight.detach().clone()
    with pytest.raises(RunError, match=f"Expected ({words}).*weights.pth; "):
        load(recipe, network)
    assert torch.equal(network.trunk.conv1.weight, before)
    assert not (tmp_path / "trapped").exists()


def test_a_missing_file_and_another_network_are_named(tmp_path, small, medicalnet, network):
    recipe = small("resnet", pretraining={"name": "medicalnet", "weights": str(tmp_path / "gone.pth")})
    with pytest.raises(RunError, match=r"got none, in .*gone.pth; fetch MedicalNet's resnet_18_23dataset.pth"):
        load(recipe, network)
    other = small("densenet", pretraining={"name": "medicalnet", "weights": str(medicalnet)})
    with pytest.raises(RecipeError, match="the network resnet for MedicalNet's weights, got densenet"):
        require_fitting_pretraining(other)
