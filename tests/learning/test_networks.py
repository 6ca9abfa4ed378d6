"""Checks every network must pass, generated from one list."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ranoscope.config import GridSettings, parse_recipe
from ranoscope.errors import RecipeError
from ranoscope.learning.networks import build_network, require_fitting_grid

NETWORKS = {
    "change-aware": {"name": "change-aware", "widths": [4, 8, 8]},
    "densenet121": {"name": "densenet", "depth": 121},
}


def recipe(name: str, sequences=("CT1", "FLAIR")):
    return parse_recipe(
        {"name": name, "description": "test", "sequences": list(sequences), "network": NETWORKS[name]}, "test"
    )


@pytest.fixture(params=sorted(NETWORKS))
def network(request):
    torch.manual_seed(0)
    return build_network(recipe(request.param))


def test_a_pair_becomes_four_logits_and_every_parameter_learns(network):
    logits = network.train()(torch.randn(2, 2, 2, 33, 34, 32))
    assert logits.shape == (2, 4)
    (logits * torch.tensor([1.0, -2, 3, -4])).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_the_seed_decides_the_weights(network, request):
    name = request.node.callspec.params["network"]
    torch.manual_seed(0)
    again = build_network(recipe(name))
    torch.manual_seed(1)
    other = build_network(recipe(name))
    same = [torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True)]
    different = [not torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True)]
    assert all(same)
    assert any(different)


def test_saliency_layers_give_one_map_per_pair_and_the_finer_is_finer(network):
    shapes = {}
    for kind, layer in network.saliency_layers.items():
        network.get_submodule(layer).register_forward_hook(
            lambda _module, _inputs, output, kind=kind: shapes.__setitem__(kind, output.shape)
        )
    network.eval()(torch.randn(1, 2, 2, 33, 34, 32))
    assert all(shape[0] == 1 and len(shape) == 5 for shape in shapes.values())
    assert network.gradcam_layer in network.saliency_layers.values()
    assert np.prod(shapes["finer"][2:]) > np.prod(shapes["coarse"][2:])


def test_prior_and_current_are_told_apart(network):
    pair = torch.randn(1, 2, 2, 33, 34, 32)
    network.eval()
    assert not torch.allclose(network(pair), network(pair.flip(1)))


def test_densenet264_with_six_volumes_has_the_published_size():
    big = parse_recipe(
        {"name": "paper", "description": "x", "sequences": ["T1", "T2", "FLAIR"],
         "network": {"name": "densenet", "depth": 264}}, "test",
    )  # fmt: skip
    count = sum(p.numel() for p in build_network(big).parameters())
    assert count / 1e6 == pytest.approx(40.4, abs=0.1)


def test_a_grid_too_coarse_for_the_network_is_refused_before_anything_is_read():
    coarse = recipe("densenet121").model_copy(update={"grid": GridSettings(voxel_mm=6)})
    with pytest.raises(RecipeError, match=r"27x32x27 voxels.*voxel_mm"):
        require_fitting_grid(coarse)
    require_fitting_grid(recipe("densenet121").model_copy(update={"grid": GridSettings(voxel_mm=3)}))
    require_fitting_grid(recipe("change-aware").model_copy(update={"grid": GridSettings(voxel_mm=6)}))


def test_gradients_stay_finite_in_bf16_on_a_grid_as_coarse_as_the_network_takes(network):
    """Where the last blocks see a handful of voxels, oneDNN's channels-last weight gradients were NaN."""
    for seed in range(3):
        torch.manual_seed(seed)
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = network.train()(torch.randn(4, 2, 2, 40, 48, 40))
        F.cross_entropy(logits.float(), torch.tensor([0, 1, 2, 3])).backward()
        bad = [name for name, parameter in network.named_parameters() if not parameter.grad.isfinite().all()]
        assert bad == []
