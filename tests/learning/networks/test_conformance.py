"""Checks every network must pass, generated from the one list."""

from __future__ import annotations

from copy import deepcopy
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ranoscope.config import Arrangement, NetworkSettings, StackSettings
from ranoscope.errors import RecipeError
from ranoscope.learning.checkpoints import load_weights, save_weights
from ranoscope.learning.networks import NETWORKS, build_network, build_trunk, require_fitting_grid

ALL = pytest.mark.parametrize("name", NETWORKS)


def arrangements(name):
    return list(Arrangement) if issubclass(NETWORKS[name].settings, StackSettings) else [None]


COMBINATIONS = [(name, way, facts) for name in NETWORKS for way in arrangements(name) for facts in (False, True)]
# Behind the first layer an arrangement decides nothing: one is trained without facts, another with.
TRAINED = [c for c in COMBINATIONS if c[1:] in ((Arrangement.STACKED, False), (Arrangement.BOTH, True), (None, True))]


def arranged(way):
    return {} if way is None else {"network": {"arrangement": way}}


def test_every_network_that_a_recipe_can_name_is_in_the_list():
    union = get_args(get_args(NetworkSettings)[0])
    assert {entry.settings for entry in NETWORKS.values()} == set(union)
    assert all(entry.settings().name == name for name, entry in NETWORKS.items())


@pytest.mark.parametrize(("name", "way", "facts"), COMBINATIONS)
def test_pairs_become_four_logits(make_recipe, name, way, facts):
    """On the meta device: shapes alone."""
    recipe = make_recipe(name, facts, **arranged(way))
    with torch.device("meta"):
        network = build_network(recipe)
        pair, told = torch.empty(3, 2, 2, *recipe.grid.shape), torch.empty(3, 3) if facts else None
    assert network(pair, told).shape == (3, 4)
    for layer in (network.first_layer, *network.beside_first):
        assert isinstance(network.get_submodule(layer), nn.Conv3d)
        assert network.get_submodule(layer).in_channels == (2 if way is None else way.channels(2))


@ALL
def test_pd_against_the_rest_is_two_logits(make_recipe, name):
    recipe = make_recipe(name, target="pd-versus-rest")
    with torch.device("meta"):
        assert build_network(recipe)(torch.empty(2, 2, 2, *recipe.grid.shape)).shape == (2, 2)


@pytest.mark.parametrize(("name", "way", "facts"), TRAINED)
def test_every_parameter_learns_also_in_bf16(make_network, make_batch, name, way, facts):
    """Where the last layers see a handful of voxels, oneDNN's channels-last weight gradients were NaN."""
    network = deepcopy(make_network(name, facts, **arranged(way))).train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(*make_batch(name, 3, facts))
    assert logits.isfinite().all()
    F.cross_entropy(logits.float(), torch.tensor([0, 1, 3])).backward()
    for parameter, value in network.named_parameters():
        assert value.grad is not None, parameter
        assert value.grad.isfinite().all(), parameter


@ALL
def test_the_seed_decides_the_weights(make_recipe, make_network, name):
    first, other = (list(make_network(name, facts=True, seed=seed).parameters()) for seed in (0, 1))
    torch.manual_seed(0)
    again = list(build_network(make_recipe(name, facts=True)).parameters())
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@ALL
@torch.no_grad()
def test_weights_survive_a_checkpoint(make_network, make_batch, name, tmp_path):
    network, other = make_network(name, facts=True), deepcopy(make_network(name, facts=True, seed=1))
    batch = make_batch(name, 2, facts=True)
    save_weights(tmp_path / "weights.safetensors", network)
    assert not torch.equal(network(*batch), other(*batch))
    load_weights(tmp_path / "weights.safetensors", other)
    assert torch.equal(network(*batch), other(*batch))


@ALL
@torch.no_grad()
def test_a_case_is_judged_by_itself(make_network, make_batch, name):
    """Whoever else is in the batch; but its own studies are told apart, and its facts matter."""
    network = make_network(name, facts=True)
    pair, facts = make_batch(name, 3, facts=True)
    everyone, some = network(pair, facts), network(pair[1:], facts[1:])
    swapped, elsewise = network(pair[1:].flip(1), facts[1:]), network(pair[1:], facts[1:] + 1)
    torch.testing.assert_close(everyone[1:], some, rtol=1e-5, atol=1e-5)
    assert (some - swapped).abs().max() > 1e-4
    assert (some - elsewise).abs().max() > 1e-2


@ALL
@torch.no_grad()
def test_dropout_is_for_training_alone(make_network, make_batch, name):
    network = deepcopy(make_network(name, network={"dropout": 0.5}))
    pair, _ = make_batch(name, 2)
    assert torch.equal(network(pair), network(pair))
    for module in network.modules():  # batch norm would make any two training passes differ
        module.training = not isinstance(module, nn.BatchNorm3d)
    assert not torch.equal(network(pair), network(pair))


@pytest.mark.parametrize("name", ["alexnet", "change-aware"])  # with a stack, and without
def test_only_the_facts_it_was_built_for_are_taken(make_recipe, name):
    with torch.device("meta"):
        told, untold = (build_network(make_recipe(name, facts)) for facts in (True, False))
        pair = torch.empty(2, 2, 2, *make_recipe(name).grid.shape)
        with pytest.raises(ValueError, match="Expected 3 facts per case, got 0"):
            told(pair)
        with pytest.raises(ValueError, match="Expected 0 facts per case, got 3"):
            untold(pair, torch.empty(2, 3))
        assert untold(pair, torch.empty(2, 0)).shape == (2, 4)


@ALL
def test_a_trunk_alone_has_the_names_that_its_network_has(make_recipe, name):
    recipe = make_recipe(name, facts=True)
    with torch.device("meta"):
        network = build_network(recipe)
        trunk = build_trunk(recipe.network, 1, recipe.grid.shape, recipe.grid.voxel_mm)
        assert trunk(torch.empty(2, 1, *recipe.grid.shape)).shape == (2, trunk.width)
    prefix = network.trunk_prefix
    inside = {key.removeprefix(prefix): t for key, t in network.state_dict().items() if key.startswith(prefix)}
    own = trunk.state_dict()
    assert own.keys() == inside.keys()
    first = {f"{layer}.weight" for layer in (trunk.first_layer, *trunk.beside_first)}
    assert {key for key in own if own[key].shape != inside[key].shape} == first
    assert network.first_layer == prefix + trunk.first_layer
    assert {own[key].shape[1] for key in first} == {1}


@ALL
def test_a_grid_is_judged_before_anything_is_computed(make_recipe, name):
    require_fitting_grid(make_recipe(name, facts=True))
    require_fitting_grid(make_recipe(name, shape=(40, 48, 40), voxel_mm=4.0))
    coarse = make_recipe(name, shape=(27, 32, 27), voxel_mm=6.0)
    if name == "densenet":
        with pytest.raises(RecipeError, match=r"27x32x27 voxels.*voxel_mm"):
            require_fitting_grid(coarse)
    else:
        require_fitting_grid(coarse)
    if name == "mednext":  # one voxel left, which is no group to normalise over
        with pytest.raises(RecipeError, match="16x16x16 voxels"):
            require_fitting_grid(make_recipe(name, shape=(16, 16, 16)))


def test_batch_norm_over_a_single_voxel_is_found_before_training(make_recipe):
    tight = {"shape": (32, 32, 32), "training": {"batch_size": 1}}
    with pytest.raises(RecipeError, match="32x32x32 voxels"):
        require_fitting_grid(make_recipe("densenet", **tight))
    require_fitting_grid(make_recipe("densenet", shape=(32, 32, 32), training={"batch_size": 2}))
