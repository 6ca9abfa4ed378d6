"""The maps against values worked out by hand and against captum's, and where cells lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum import attr as captum
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ranoscope.config import MethodName, MethodSettings, Target
from ranoscope.domain import RESPONSES, Response
from ranoscope.explaining.cells import watch_cells
from ranoscope.explaining.fill import neutral
from ranoscope.explaining.maps import keep
from ranoscope.explaining.methods import Question, compute_maps, volume_drops
from ranoscope.explaining.subject import CaseNetwork
from ranoscope.learning.networks import PairNetwork

SHAPE = (8, 6, 4)
WHOLE = torch.ones(2, *SHAPE, dtype=torch.bool)


class Linear(PairNetwork):
    """Four logits, each a weighted sum of all input voxels."""

    first_layer, saliency_layers = "weights", {}

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(4, 2, 3, *SHAPE, generator=torch.Generator().manual_seed(0)))

    def forward(self, pair, facts=None):
        return torch.einsum("nsqijk,csqijk->nc", pair, self.weights)


class Curved(Linear):
    """Its logits bent, so that gradients differ from place to place; sixth powers, which few points integrate."""

    def forward(self, pair, facts=None):
        linear = super().forward(pair) / 10
        return linear + 0.3 * linear**2 - 0.01 * linear**6


class Pooled(PairNetwork):
    """Prior and current as two channels on cells of 2³ voxels; logit c = sum over channels of weight × mean."""

    first_layer = "cells"

    def __init__(self, weights) -> None:
        super().__init__()
        self.cells = nn.AvgPool3d(2)
        self.weights = torch.tensor(weights)
        self.saliency_layers = {"coarse": "cells"}

    def forward(self, pair, facts=None):
        return self.cells(pair[:, :, 0]).mean(dim=(2, 3, 4)) @ self.weights.T


def ask(network, pair, brains=WHOLE, classes=tuple(RESPONSES), **settings) -> Question:
    subject = CaseNetwork(network, torch.empty(0), Target.FOUR_CLASSES).eval()
    return Question(subject, pair, brains, 2.0, classes, MethodSettings(**settings), seed=5)


def maps_of(method: str, question: Question) -> dict[Response, torch.Tensor]:
    return {response: values for (_, response), values in compute_maps(question, (MethodName(method),)).items()}


def random_pair(seed: int = 1) -> torch.Tensor:
    return torch.randn(2, 3, *SHAPE, generator=torch.Generator().manual_seed(seed))


def a_brain() -> torch.Tensor:
    """Another in each study, neither the whole volume."""
    brains = WHOLE.clone()
    brains[0, 0], brains[1, :, :2] = False, False
    return brains


@pytest.mark.parametrize("response", RESPONSES)
def test_saliency_of_a_linear_network_is_its_absolute_weights(response):
    network = Linear()
    found = maps_of("saliency", ask(network, random_pair()))[response]
    torch.testing.assert_close(found, network.weights[response.class_index].detach().abs())


def test_one_pass_gives_what_captum_gives_method_by_method():
    network, pair = Curved(), random_pair()
    question = ask(network, pair)
    base = question.fill[None]
    for response in RESPONSES:
        target = response.class_index
        plain = captum.Saliency(network).attribute(pair[None].requires_grad_(), target=target)[0]
        torch.testing.assert_close(maps_of("saliency", question)[response], plain)
        signed = captum.Saliency(network).attribute(pair[None].requires_grad_(), target=target, abs=False)[0]
        torch.testing.assert_close(maps_of("input-x-gradient", question)[response], signed * (pair - base[0]))
        path = captum.IntegratedGradients(network).attribute(
            pair[None], baselines=base, target=target, n_steps=8, method="gausslegendre"
        )
        torch.testing.assert_close(maps_of("integrated-gradients", question)[response], path[0])


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_batches_change_nothing(batch):
    network, pair, brains = Curved(), random_pair(), a_brain()
    pair = pair * brains[:, None]
    for method in ("integrated-gradients", "smoothgrad", "occlusion"):
        settings = {"window_mm": 4, "stride_mm": 2}
        at_once = maps_of(method, ask(network, pair, brains, batch=64, **settings))
        for response, values in maps_of(method, ask(network, pair, brains, batch=batch, **settings)).items():
            torch.testing.assert_close(values, at_once[response], rtol=1e-4, atol=1e-5)


def test_integrated_gradients_add_up_to_the_difference_from_the_fill():
    network, brains = Curved(), a_brain()
    pair = random_pair() * brains[:, None]
    question = ask(network, pair, brains, steps=4)
    with torch.no_grad():
        expected = network(pair[None])[0] - network(question.fill[None])[0]
    for response, values in maps_of("integrated-gradients", question).items():
        assert float(values.sum()) == pytest.approx(float(expected[response.class_index]), rel=1e-4)


def test_smoothgrad_is_captums_noise_tunnel_over_the_same_noise(monkeypatch):
    """Captum draws for all voxels at once with ``torch.normal``; it is handed what ours drew."""
    seen, brains = [], a_brain()

    class Watched(Curved):
        def forward(self, pair, facts=None):
            seen.append(pair.detach())
            return super().forward(pair)

    network, pair = Curved(), random_pair() * brains[:, None]
    found = maps_of("smoothgrad", ask(Watched(), pair, brains, classes=(Response.PR,), samples=5, batch=2))[Response.PR]
    noise = torch.cat(seen) - pair
    monkeypatch.setattr(torch, "normal", lambda *_: noise)
    expected = captum.NoiseTunnel(captum.Saliency(network)).attribute(
        pair[None], nt_type="smoothgrad", nt_samples=5, stdevs=1.0, target=Response.PR.class_index
    )
    torch.testing.assert_close(found, expected[0] * brains[:, None])


def test_smoothgrad_is_the_mean_over_noise_inside_the_brain():
    """Of a linear network it is Saliency; of another it moves with the seed, and voxels outside stay without noise."""
    linear, brains = Linear(), a_brain()
    pair = random_pair() * brains[:, None]
    found = maps_of("smoothgrad", ask(linear, pair, brains, samples=3))[Response.PD]
    torch.testing.assert_close(found, linear.weights[0].detach().abs() * brains[:, None])

    seen = []

    class Watched(Curved):
        def forward(self, pair, facts=None):
            seen.append(pair.detach())
            return super().forward(pair)

    question = ask(Watched(), pair, brains, samples=400, noise=0.2, batch=100)
    one = maps_of("smoothgrad", question)
    noise = torch.cat(seen) - pair
    assert len(noise) == 400
    assert (noise * ~brains[:, None] == 0).all()
    for study in range(2):
        for sequence in range(3):
            inside = pair[study, sequence][brains[study]]
            spread = noise[:, study, sequence][:, brains[study]].std()
            assert float(spread) == pytest.approx(0.2 * float(inside.std(correction=0)), rel=0.05)
    other = maps_of("smoothgrad", replace(question, seed=6))
    again = maps_of("smoothgrad", question)
    assert torch.equal(one[Response.PD], again[Response.PD])
    assert not torch.equal(one[Response.PD], other[Response.PD])


def test_occlusion_of_a_linear_network_by_hand():
    """Cubes of 2 voxels side by side in one study: the sum of weight × (voxel − mean) over each, on its 8 voxels."""
    network, pair = Linear(), random_pair()
    question = ask(network, pair, window_mm=4, stride_mm=4)
    for response, values in maps_of("occlusion", question).items():
        added = network.weights[response.class_index].detach() * (pair - question.fill)
        cells = added.sum(dim=1).reshape(2, 4, 2, 3, 2, 2, 2).sum(dim=(2, 4, 6))
        expected = cells.repeat_interleave(2, 1).repeat_interleave(2, 2).repeat_interleave(2, 3)
        assert values.shape == (2, 1, *SHAPE)
        torch.testing.assert_close(values[:, 0], expected, rtol=1e-4, atol=1e-4)


def test_occlusion_is_captums_where_windows_overlap():
    network, pair = Curved(), random_pair()
    question = ask(network, pair, window_mm=4, stride_mm=2)
    for response, values in maps_of("occlusion", question).items():
        expected = captum.Occlusion(network).attribute(
            pair[None], (1, 3, 2, 2, 2), (1, 3, 1, 1, 1), question.fill[None], target=response.class_index
        )
        torch.testing.assert_close(values.expand(2, 3, *SHAPE), expected[0], rtol=1e-4, atol=1e-4)


def test_occlusion_covers_every_voxel_of_the_brain_and_skips_what_holds_none():
    brains = torch.zeros_like(WHOLE)
    brains[0, 4:, 3:, :] = True
    shown = []

    class Watched(Linear):
        def forward(self, pair, facts=None):
            shown.extend(pair.detach())
            return super().forward(pair)

    pair = random_pair()
    question = ask(Watched(), pair, brains, (Response.PD,), window_mm=6, stride_mm=4)
    maps_of("occlusion", question)
    changed = torch.stack([(part != pair).any(dim=1) for part in shown[1:]])
    assert not changed[:, 1].any(), "the other study has no brain"
    assert changed.any(dim=0)[0][brains[0]].all()
    assert all(bool((part[0] & brains[0]).any()) for part in changed)


def test_drops_of_a_linear_network_by_hand():
    network, brains = Linear(), a_brain()
    pair = random_pair() * brains[:, None]
    question = ask(network, pair, brains)
    for response, drops in volume_drops(question).items():
        added = (network.weights[response.class_index].detach() * (pair - question.fill)).sum(dim=(2, 3, 4))
        expected = torch.zeros(3, 4)
        expected[:2, :3], expected[2, :3] = added, added.sum(dim=0)
        expected[:2, 3], expected[2, 3] = added.sum(dim=1), added.sum()
        torch.testing.assert_close(drops, expected, rtol=1e-3, atol=1e-3)


def test_the_fill_is_each_volumes_mean_inside_its_own_brain():
    pair, brains = random_pair(), a_brain()
    pair[1, 2] = 0
    filled = neutral(pair, brains)
    for study in range(2):
        for sequence in range(3):
            inside = filled[study, sequence][brains[study]]
            assert float(inside[0]) == pytest.approx(float(pair[study, sequence][brains[study]].mean()), abs=1e-6)
            assert (inside == inside[0]).all()
            assert (filled[study, sequence][~brains[study]] == 0).all()
    assert (filled[1, 2] == 0).all(), "a sequence that was not acquired"
    assert (neutral(pair, torch.zeros_like(brains)) == 0).all()


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
    answer = maps_of("gradcam", ask(Pooled(weights), pair))[response]
    prior, current = (pooled_by_hand(pair[study, 0].numpy()) for study in (0, 1))
    w = np.array(weights[response.class_index]) / (4 * 3 * 2)  # the gradient of a mean over 24 cells
    expected = between_centres(np.maximum(w[0] * prior + w[1] * current, 0))
    assert answer.shape == (1, 1, *SHAPE)
    assert expected.max() > 0
    np.testing.assert_allclose(answer[0, 0].numpy(), expected, atol=1e-6)


def test_gradcam_is_captums_but_for_where_cells_are_put():
    network = Pooled([[1.0, -2.0], [-3.0, 0.5], [0.0, 4.0], [2.0, 1.0]])
    question = ask(network, random_pair())
    found = maps_of("gradcam", question)
    with watch_cells(network, torch.Size(SHAPE)) as places:
        for response in RESPONSES:
            coarse = captum.LayerGradCam(network, network.cells).attribute(
                question.pair[None], target=response.class_index, relu_attributions=True
            )[0, 0]
            expected = places.bring(coarse.detach(), torch.Size(SHAPE))
            torch.testing.assert_close(found[response][0, 0], expected)


@pytest.mark.parametrize("value", [3.0, -3.0, 0.0])
def test_a_map_that_is_the_same_everywhere_is_zero(value):
    answer = maps_of("gradcam", ask(Pooled([[1.0, 1.0]] * 4), torch.full((2, 1, *SHAPE), value)))[Response.PD]
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


def test_values_that_add_up_are_summed_over_sequences_with_their_signs():
    values = np.zeros((2, 2, 2, 2, 2), np.float32)
    values[0, :, 0, 0, 0], values[1, :, 1, 1, 1] = (3, -5), (4, 2)
    (prior, first), (_, second) = keep("input-x-gradient", Response.PD, values, np.ones((2, 2, 2), bool))
    assert (first[0, 0, 0], second[1, 1, 1]) == (-2, 6)
    assert (prior.lowest, prior.highest) == (-2, 0)
    assert 0 < prior.shown_up_to <= 6
