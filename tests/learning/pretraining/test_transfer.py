"""Transfer of a one-channel trunk into every network of the list."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ranoscope.errors import RunError
from ranoscope.learning.module import ResponseModule
from ranoscope.learning.networks import NETWORKS, build_network, build_trunk
from ranoscope.learning.pretraining.transfer import PretrainedWeights, transfer_trunk


@pytest.fixture(scope="module")
def one_channel(small):
    made = {}

    def make(name):
        if name not in made:
            recipe = small(name)
            torch.manual_seed(11)
            trunk = build_trunk(recipe.network, 1, recipe.grid.shape, recipe.grid.voxel_mm).eval()
            torch.manual_seed(12)
            made[name] = recipe, trunk, build_network(recipe).eval()
        return made[name]

    return make


def weights_of(trunk, **changes):
    tensors = {**trunk.state_dict(), **changes}
    return PretrainedWeights("test", Path("trunk.safetensors"), "0" * 64, tensors, len(trunk.state_dict()))


@pytest.mark.parametrize("name", NETWORKS)
def test_an_image_repeated_over_the_channels_gives_the_activations_it_gave_alone(one_channel, name):
    recipe, trunk, network = one_channel(name)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    report = transfer_trunk(weights_of(trunk), network)
    assert set(report.matched) == set(trunk.state_dict())
    assert report.skipped == ()
    assert set(report.adapted) == {f"{layer}.weight" for layer in (trunk.first_layer, *trunk.beside_first)}
    image = torch.randn(2, 1, *recipe.grid.shape, generator=torch.Generator().manual_seed(0))
    channels = network.get_submodule(network.first_layer).weight.shape[1]
    assert channels > 1
    with torch.inference_mode():
        torch.testing.assert_close(
            network.trunk(image.expand(-1, channels, -1, -1, -1)), trunk(image), rtol=1e-3, atol=1e-4
        )
    for key, tensor in network.state_dict().items():
        if not key.startswith(network.trunk_prefix):
            assert torch.equal(tensor, before[key]), f"{key} is no part of the trunk"


def test_one_channel_into_one_is_a_plain_copy(small):
    recipe = small("resnet", network={"arrangement": "difference"}, sequences=["CT1"])
    trunk = build_trunk(recipe.network, 1, recipe.grid.shape, 5.0)
    network = build_network(recipe)
    report = transfer_trunk(weights_of(trunk), network)
    assert report.adapted == ()
    assert torch.equal(network.trunk.conv1.weight, trunk.conv1.weight)


@pytest.mark.parametrize("name", ["densenet", "change-aware"])
@pytest.mark.parametrize("before", [True, False])
def test_the_first_layer_is_trained_whenever_the_optimiser_was_made(one_channel, name, before):
    recipe, trunk, network = one_channel(name)
    module = ResponseModule(network, recipe.training.model_copy(update={"schedule": "constant"}), torch.ones(4))
    optimiser = module.configure_optimizers() if before else None
    transfer_trunk(weights_of(trunk), network)
    optimiser = optimiser or module.configure_optimizers()
    first = network.get_submodule(network.first_layer).weight
    assert any(held is first for group in optimiser.param_groups for held in group["params"])
    start = first.detach().clone()
    pairs = torch.randn(3, 2, 2, *recipe.grid.shape, generator=torch.Generator().manual_seed(0))
    network.train()
    torch.nn.functional.cross_entropy(network(pairs), torch.tensor([0, 1, 2])).backward()
    optimiser.step()
    network.eval()
    assert not torch.equal(first, start)


def test_what_has_no_place_is_named_and_too_little_is_refused_with_the_network_as_it_was(one_channel):
    _, trunk, network = one_channel("change-aware")
    extra = weights_of(trunk, **{"fc.weight": torch.ones(3)})
    assert transfer_trunk(extra, network).skipped == ("fc.weight",)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    count = len(trunk.state_dict())
    renamed = PretrainedWeights("test", Path("f"), "", {f"module.{k}": v for k, v in trunk.state_dict().items()}, count)
    with pytest.raises(RunError, match=rf"Expected at least {count} tensors, .*got 0 of the file's {count} \(module\."):
        transfer_trunk(renamed, network)
    few = dict(list(trunk.state_dict().items())[:-1])
    with pytest.raises(RunError, match=f"got {count - 1} of the file's"):
        transfer_trunk(PretrainedWeights("test", Path("f"), "", few, count), network)
    name = f"{trunk.first_layer}.weight"
    with pytest.raises(RunError, match="NaN or infinity in " + name):
        transfer_trunk(weights_of(trunk, **{name: trunk.state_dict()[name] * float("nan")}), network)
    wide = {**trunk.state_dict(), "a": torch.ones(1), name: trunk.state_dict()[name].repeat(1, 3, 1, 1, 1)}
    with pytest.raises(RunError, match=f"{name} among them"):
        transfer_trunk(PretrainedWeights("test", Path("f"), "", wide, 1), network)
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
