"""The maps against values worked out by hand, and that every network can be explained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ranoscope.config import parse_recipe
from ranoscope.domain import RESPONSES, Response, Sequence
from ranoscope.explaining.cells import cell_steps, watch_cells
from ranoscope.explaining.maps import keep, volume_shares
from ranoscope.explaining.methods import METHODS, gradcam, saliency
from ranoscope.learning.networks import PairNetwork, build_network

NETWORKS = {
    "change-aware": {"name": "change-aware", "widths": [4, 8, 8]},
    "densenet121": {"name": "densenet", "depth": 121},
}
SHAPE = (8, 6, 4)


class Linear(PairNetwork):
    """Four logits, each a weighted sum of all input voxels."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(4, 2, 3, *SHAPE, generator=torch.Generator().manual_seed(0)))

    def forward(self, pair):
        return torch.einsum("nsqijk,csqijk->nc", pair, self.weights)


class Pooled(PairNetwork):
    """Prior and current as two channels on cells of 2³ voxels; logit c = sum over channels of weight × mean."""

    def __init__(self, weights) -> None:
        super().__init__()
        self.cells = nn.AvgPool3d(2)
        self.weights = torch.tensor(weights)
        self.saliency_layers = {"coarse": "cells"}
        self.gradcam_layer = "cells"

    def forward(self, pair):
        return self.cells(pair[:, :, 0]).mean(dim=(2, 3, 4)) @ self.weights.T


@pytest.mark.parametrize("response", RESPONSES)
def test_saliency_of_a_linear_network_is_its_absolute_weights(response):
    network = Linear()
    assert torch.equal(
        saliency(network, torch.randn(2, 3, *SHAPE), response), network.weights[response.class_index].detach().abs()
    )


def pooled_by_hand(volume: np.ndarray) -> np.ndarray:
    return volume.reshape(4, 2, 3, 2, 2, 2).mean(axis=(1, 3, 5))


def between_centres(coarse: np.ndarray) -> np.ndarray:
    """Cells of two voxels are centred at 0.5, 2.5, 4.5 …; numpy's own interpolation, axis by axis."""
    for axis in range(3):
        cells = coarse.shape[axis]
        centres = 0.5 + 2 * np.arange(cells)
        voxels = np.arange(2 * cells)
        coarse = np.apply_along_axis(lambda line, c=centres, v=voxels: np.interp(v, c, line), axis, coarse)
    return coarse


@pytest.mark.parametrize("response", RESPONSES)
def test_gradcam_is_the_weighted_activation_cut_at_zero_in_the_right_place(response):
    weights = [[1.0, -2.0], [-3.0, 0.5], [0.0, 4.0], [2.0, 1.0]]
    pair = torch.randn(2, 3, *SHAPE, generator=torch.Generator().manual_seed(1))
    answer = gradcam(Pooled(weights), pair, response)
    prior, current = (pooled_by_hand(pair[study, 0].numpy()) for study in (0, 1))
    w = np.array(weights[response.class_index]) / (4 * 3 * 2)  # the gradient of a mean over 24 cells
    expected = between_centres(np.maximum(w[0] * prior + w[1] * current, 0))
    assert answer.shape == (1, 1, *SHAPE)
    assert expected.max() > 0
    np.testing.assert_allclose(answer[0, 0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("value", [3.0, -3.0, 0.0])
def test_a_map_that_is_the_same_everywhere_is_zero(value):
    answer = gradcam(Pooled([[1.0, 1.0]] * 4), torch.full((2, 1, *SHAPE), value), Response.PD)
    assert torch.equal(answer, torch.zeros(1, 1, *SHAPE))


def test_cells_are_where_averaging_kernels_say():
    """Through kernels of equal weights a ramp of positions comes out as each cell's centre, away from the borders."""
    network = nn.Sequential(
        nn.Conv3d(1, 1, 7, stride=2, padding=3, bias=False), nn.Conv3d(1, 1, 3, stride=2, padding=1, bias=False),
        nn.AvgPool3d(2), nn.Conv3d(1, 1, 3, padding=1, bias=False),
    )  # fmt: skip
    for module in network:
        if isinstance(module, nn.Conv3d):
            nn.init.constant_(module.weight, 1 / module.weight.numel())
    ramp = torch.arange(64.0)[:, None, None].expand(64, 64, 64)
    with watch_cells(network, ramp.shape) as places, torch.no_grad():
        out = network(ramp[None, None])[0, 0]
    first, step = places.of(out.shape)[0]
    assert out[2:5, 4, 4].tolist() == pytest.approx([first + step * cell for cell in (2, 3, 4)], abs=1e-3)


def test_cells_of_our_networks_by_hand():
    """Change-aware: two strides of 2, each centred on its first voxel. DenseNet: two such, then three 2³ averages."""
    expected = {"change-aware": (0.0, 4.0), "densenet121": (14.0, 32.0)}
    for name, network in ((name, network_of(name)) for name in NETWORKS):
        pair = torch.zeros(2, 1, 64, 64, 64)
        with watch_cells(network, pair.shape[2:]) as places, torch.no_grad():
            network(pair[None])
        side = {"change-aware": 16, "densenet121": 2}[name]
        assert places.of(torch.Size([side] * 3)) == (expected[name],) * 3
        assert cell_steps(network, network.saliency_layers["coarse"], pair) == (expected[name][1],) * 3


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(8, 17), st.tuples(*[st.floats(-5, 5)] * 4))
def test_a_linear_map_stays_linear_between_the_outermost_cells(stride, size, plane):
    network = nn.Conv3d(1, 1, 3, stride=stride, padding=1)
    shape = torch.Size([size, size + 1, size + 2])
    with watch_cells(network, shape) as places, torch.no_grad():
        cells = network(torch.zeros(1, 1, *shape)).shape[2:]

    def at(*axes):
        i, j, k = torch.meshgrid(*axes, indexing="ij")
        return plane[0] + plane[1] * i + plane[2] * j + plane[3] * k

    coarse = at(*(stride * torch.arange(n, dtype=torch.float64) for n in cells))
    fine = places.bring(coarse, shape)
    inner = [stride * (n - 1) + 1 for n in cells]
    truth = at(*(torch.arange(n, dtype=torch.float64) for n in inner))
    assert fine.shape == shape
    torch.testing.assert_close(fine[: inner[0], : inner[1], : inner[2]], truth)


def network_of(name: str) -> PairNetwork:
    torch.manual_seed(0)
    recipe = parse_recipe({"name": name, "description": "t", "sequences": ["T1"], "network": NETWORKS[name]}, "test")
    return build_network(recipe).eval()


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_can_be_explained_by_every_method(name):
    network = network_of(name)
    before = [parameter.clone() for parameter in network.parameters()]
    pair = torch.randn(2, 1, 33, 34, 32)
    kept = pair.clone()
    for method in METHODS.values():
        answer = method.compute(network, pair, Response.SD)
        assert answer.shape[2:] == pair.shape[2:]
        assert answer.shape[0] in (1, 2)
        assert torch.isfinite(answer).all()
        assert (answer >= 0).all()
        assert not answer.requires_grad
    assert torch.equal(pair, kept)
    assert not pair.requires_grad
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), before, strict=True))
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


def test_saliency_and_gradcam_differ_between_classes():
    network, pair = network_of("change-aware"), torch.randn(2, 1, 33, 34, 32)
    for method in METHODS.values():
        assert not torch.equal(method.compute(network, pair, Response.PD), method.compute(network, pair, Response.CR))


def test_per_study_the_largest_sequence_is_kept_and_both_studies_share_a_scale():
    values = np.zeros((2, 3, 2, 2, 2), np.float32)
    values[0, 1, 0, 0, 0], values[0, 2, 0, 0, 0] = 5, 7
    values[1, 0, 1, 1, 1] = 2
    values[1, 0, 1, 1, 0] = 99  # outside the brain: in the file, not in the scale
    brain = np.ones((2, 2, 2), bool)
    brain[1, 1, 0] = False
    (prior, first), (current, second) = keep("saliency", Response.PD, values, brain)
    assert (prior.file, current.file) == ("saliency_prior_PD.nii.gz", "saliency_current_PD.nii.gz")
    assert first[0, 0, 0] == 7
    assert second[1, 1, 0] == current.highest == 99
    # 14 values in both brains together, 7 the largest, 2 the next: linear between them at rank 0.995 * 13.
    assert prior.shown_up_to == current.shown_up_to == pytest.approx(2 + (0.995 * 13 - 12) * 5)


def test_a_map_of_both_studies_together_is_one_file_scaled_to_its_maximum():
    values = np.arange(8, dtype=np.float32).reshape(1, 1, 2, 2, 2)
    brain = np.ones((2, 2, 2), bool)
    brain[1, 1, 1] = False
    ((entry, data),) = keep("gradcam", Response.CR, values, brain)
    assert (entry.study, entry.file, entry.shown_up_to, entry.highest) == (None, "gradcam_CR.nii.gz", 6, 7)
    assert data.shape == (2, 2, 2)


@pytest.mark.parametrize(("heights", "top"), [((4.0, 0.0), 4), ((0.0, 0.0), 0)])
def test_a_map_of_a_single_voxel_is_not_scaled_to_nothing(heights, top):
    """In 2000 voxels one alone is beyond the percentile, which is 0; only a map that is 0 has a scale of 0."""
    values = np.zeros((2, 1, 10, 10, 10), np.float32)
    values[:, 0, 5, 5, 5] = heights
    assert {entry.shown_up_to for entry, _ in keep("saliency", Response.PD, values, np.ones((10,) * 3, bool))} == {top}


def test_shares_add_up_inside_the_brain():
    values = np.zeros((2, 2, 1, 1, 2), np.float32)
    values[0, 0, 0, 0], values[1, 1, 0, 0] = (1, 50), (3, 50)
    brain = np.array([[[True, False]]])
    shares = volume_shares(values, brain, (Sequence.CT1, Sequence.T2))
    assert shares == {"prior": {"CT1": 0.25, "T2": 0}, "current": {"CT1": 0, "T2": 0.75}}
    assert volume_shares(0 * values, brain, (Sequence.CT1, Sequence.T2))["prior"]["CT1"] == 0
