"""Masked cubes restored from the trunk's last map, for every network; pairs learnt from in all other steps."""

from __future__ import annotations

import pytest
import torch

from ranoscope.learning.networks import NETWORKS
from ranoscope.learning.pretraining.change import masking
from ranoscope.learning.pretraining.change.masking import ChangeModule, last_map, trunk_images


def pairs_for(recipe, count=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 2, len(recipe.sequences), *recipe.grid.shape, generator=generator)


@pytest.fixture(scope="module")
def module_of(small):
    def make(name, share=0.5):
        recipe = small(name)
        torch.manual_seed(1)
        module = ChangeModule(recipe, share)
        module.log = lambda *_, **__: None
        return recipe, module

    return make


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_restored_teaches_every_networks_trunk(module_of, name):
    recipe, module = module_of(name)
    learner = module.learner
    loss = learner.restoring_loss(pairs_for(recipe), recipe.grid.voxel_mm)
    assert 0.01 < float(loss.detach()) < 1, "images of variance 1, averaged over 8 voxels or more"
    loss.backward()
    first = learner.pair.get_submodule(learner.pair.first_layer).weight
    assert float(first.grad.abs().sum()) > 0
    assert float(learner.restorer.writing.weight.grad.abs().sum()) > 0


def test_only_masked_cubes_inside_the_brain_count(module_of, monkeypatch):
    recipe, module = module_of("change-aware")
    learner, pairs = module.learner, pairs_for(recipe)
    monkeypatch.setattr(masking, "_MASKED", 0.0)
    assert float(learner.restoring_loss(pairs, 5.0).detach()) == 0
    monkeypatch.setattr(masking, "_MASKED", 1.0)
    learner.restorer.writing.weight.data.zero_()
    learner.restorer.writing.bias.data.zero_()
    halved = torch.nn.functional.adaptive_avg_pool3d(pairs.flatten(0, 1), [edge // 2 for edge in recipe.grid.shape])
    expected = float(halved.square().mean())
    assert float(learner.restoring_loss(pairs, 5.0).detach()) == pytest.approx(expected, rel=1e-4)
    pairs[..., : recipe.grid.shape[2] // 2] = 0
    inside = halved[..., halved.shape[-1] // 2 + 1 :].square().mean()
    assert float(learner.restoring_loss(pairs, 5.0).detach()) == pytest.approx(float(inside), rel=0.15)


def test_the_trunk_does_not_see_what_is_masked(module_of, monkeypatch):
    recipe, module = module_of("change-aware")
    seen = []
    monkeypatch.setattr(masking, "last_map", lambda trunk, images: seen.append(images) or last_map(trunk, images))
    pairs = pairs_for(recipe) + 5
    module.learner.restoring_loss(pairs, 5.0)
    images = trunk_images(module.learner.pair, pairs)
    assert 0.15 < float((seen[0] == 0).float().mean()) < 0.65
    assert torch.equal(seen[0][seen[0] != 0], images[seen[0] != 0])


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.25, 3), (0.5, 6), (0.9, 10)])
def test_so_many_steps_are_masked_and_never_an_epochs_first(module_of, monkeypatch, share, expected):
    recipe, module = module_of("change-aware", share)
    asked = []
    if share:
        monkeypatch.setattr(module.learner, "restoring_loss", lambda *_: asked.append(True) or torch.zeros(()))
    batch = (pairs_for(recipe), torch.zeros(2, 0), torch.tensor([0, 1]))
    masked = []
    for step in range(12):
        asked.clear()
        module.training_step(batch, step)
        masked.append(bool(asked))
    assert sum(masked) == expected
    assert not masked[0]


def test_every_parameter_has_a_gradient_in_every_step(module_of):
    """Processes that train together wait for each."""
    recipe, module = module_of("change-aware")
    batch = (pairs_for(recipe), torch.zeros(2, 0), torch.tensor([0, 1]))
    for step in (0, 1):
        module.zero_grad(set_to_none=True)
        module.training_step(batch, step).backward()
        assert all(parameter.grad is not None for parameter in module.network.parameters())


def test_without_a_share_there_is_no_decoder(module_of):
    assert module_of("change-aware", 0.0)[1].learner.restorer is None
