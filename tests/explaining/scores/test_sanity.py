"""Networks that forget layer by layer, and the similarity of maps against torchmetrics and scipy."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torchmetrics.functional.image import structural_similarity_index_measure

from ranoscope.config import parse_recipe
from ranoscope.explaining.scores.localisation import NO_BRAIN
from ranoscope.explaining.scores.sanity import CONSTANT_MAP, cascade, similarity
from ranoscope.learning.networks import build_network

RNG = np.random.default_rng(5)
SHAPE = (17, 15, 16)
BRAIN = np.zeros(SHAPE, bool)
BRAIN[2:15, :12, 3:14] = RNG.random((13, 12, 11)) > 0.1
NETWORKS = ({"name": "resnet", "depth": 18}, {"name": "vit"}, {"name": "swin"})


def trained(settings: dict) -> nn.Module:
    """A network none of whose parameters and running statistics are as its layers would draw them."""
    recipe = parse_recipe(
        {
            "name": "tiny", "description": "test", "sequences": ["CT1"], "network": settings,
            "grid": {"voxel_mm": 6.0, "box_mm": [162, 192, 162]}, "folds": {"count": 2, "seeds": [3]},
        },
        "test",
    )  # fmt: skip
    network = build_network(recipe)
    torch.manual_seed(0)
    with torch.no_grad():
        for values in (*network.parameters(), *network.buffers()):
            if values.is_floating_point():
                values.uniform_(3, 4)
    return network.train()


def changed_layers(before: nn.Module, after: nn.Module) -> set[str]:
    """Names of the sub-modules of which a parameter or running statistic differs."""
    pairs = zip(before.state_dict().items(), after.state_dict().values(), strict=True)
    return {name.rpartition(".")[0] for (name, old), new in pairs if not torch.equal(old, new)}


def with_parameters(network: nn.Module) -> list[str]:
    return [name for name, module in network.named_modules() if list(module.parameters(recurse=False))]


@pytest.mark.parametrize("settings", NETWORKS, ids=lambda settings: settings["name"])
def test_layers_are_randomised_from_the_output_down_and_stay_so(settings):
    network = trained(settings)
    kept, layers = copy.deepcopy(network.state_dict()), with_parameters(network)
    state = torch.get_rng_state()
    seen, ends = [], []
    for name, part in cascade(network, seed=1, stages=4):
        seen.append(changed_layers(network, part))
        ends.append(name)
        assert seen[-1] == set(layers[layers.index(name) :])
        assert not part.training
    assert len(seen) == 4
    assert ends[-1] == layers[0]
    sizes = np.diff([0, *map(len, seen)])
    assert sizes.max() - sizes.min() <= 1
    assert network.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(kept[name], values) for name, values in network.state_dict().items())


def test_what_was_randomised_is_as_its_layer_draws_it():
    network = trained({"name": "resnet", "depth": 18})
    *_, (_, forgotten) = cascade(network, seed=1, stages=3)
    for module in forgotten.modules():
        if isinstance(module, nn.BatchNorm3d):
            assert (module.running_mean == 0).all()
            assert (module.running_var == 1).all()
            assert (module.weight == 1).all()
        if isinstance(module, nn.Conv3d):
            assert module.weight.abs().max() <= (module.weight[0].numel()) ** -0.5
    *_, (_, again) = cascade(network, seed=1, stages=3)
    assert not changed_layers(forgotten, again)
    *_, (_, other) = cascade(network, seed=2, stages=3)
    assert changed_layers(forgotten, other)


def test_there_are_no_more_steps_than_layers():
    network = trained({"name": "swin"})
    assert [name for name, _ in cascade(network, 0, 99)] == with_parameters(network)[::-1]


@pytest.mark.parametrize("noise", [0.0, 0.3, 5.0])
def test_similarity_is_scipys_and_torchmetrics(noise):
    first = RNG.normal(size=SHAPE)
    second = 3 * first + noise * RNG.normal(size=SHAPE)
    found = similarity(first, second, BRAIN)
    assert found.spearman == pytest.approx(stats.spearmanr(first[BRAIN], second[BRAIN]).statistic)
    scaled = [part * BRAIN / np.abs(part[BRAIN]).max() for part in (first, second)]
    span = max(part.max() for part in scaled) - min(part.min() for part in scaled)
    padded = (torch.from_numpy(np.pad(part, 8))[None, None] for part in scaled)
    _, whole = structural_similarity_index_measure(*padded, data_range=float(span), return_full_image=True)
    assert found.ssim == pytest.approx(float(whole[0, 0, 8:-8, 8:-8, 8:-8].numpy()[BRAIN].mean()))
    assert (found.ssim == pytest.approx(1)) == (noise == 0)


def test_similarity_sees_signs_and_nothing_outside_the_brain():
    first = RNG.normal(size=SHAPE)
    assert similarity(first, -first, BRAIN).spearman == pytest.approx(-1)
    elsewhere = np.where(BRAIN, first, 99 * RNG.normal(size=SHAPE))
    assert similarity(first, elsewhere, BRAIN) == similarity(first, first, BRAIN)


def test_maps_without_an_order_have_no_similarity():
    first = RNG.normal(size=SHAPE)
    for pair in ((first, np.zeros(SHAPE)), (np.where(BRAIN, 2.0, first), first)):
        found = similarity(*pair, BRAIN)
        assert np.isnan([found.spearman, found.ssim]).all()
        assert found.reason == CONSTANT_MAP
    assert similarity(first, first, np.zeros(SHAPE, bool)).reason == NO_BRAIN
