"""That the first layer may leave the air around the head out, and that a study seen once is seen as ever."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ranoscope.config import MethodSettings, Target, parse_recipe
from ranoscope.domain import Response
from ranoscope.explaining.methods import Question, compute_maps, methods_for
from ranoscope.explaining.methods.gradients import run_pass
from ranoscope.explaining.methods.inside import filled_box, looking_inside
from ranoscope.explaining.subject import CaseNetwork
from ranoscope.learning.networks import PairNetwork, build_network

NETWORKS = {
    "change-aware": {"name": "change-aware", "widths": [4, 8], "findings": 4},
    "densenet": {"name": "densenet", "depth": 121},
    "resnet": {"name": "resnet"},
    "vit": {"name": "vit", "hidden": 24, "layers": 2, "heads": 2},
}
SHAPE = (33, 35, 34)
CLASSES = (Response.PD, Response.CR)


class Convolution(PairNetwork):
    """One convolution of a single study's images."""

    first_layer, saliency_layers = "layer", {}

    def __init__(self, layer: nn.Conv3d) -> None:
        super().__init__()
        self.layer = layer


def spans(size: int) -> st.SearchStrategy[slice]:
    return st.tuples(st.integers(0, size - 1), st.integers(1, size)).map(
        lambda ends: slice(min(ends[0], ends[1] - 1), max(ends[0] + 1, ends[1]))
    )


def three(low: int, high: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[st.integers(low, high)] * 3)


@settings(max_examples=150, deadline=None)
@given(three(1, 7), three(1, 4), three(0, 4), three(1, 2), st.booleans(), three(14, 19), st.data())
def test_a_convolution_of_a_box_is_that_of_the_volume(kernel, stride, padding, dilation, bias, shape, data):
    box = tuple(data.draw(spans(size)) for size in shape)
    layer = nn.Conv3d(2, 3, kernel, stride, padding, dilation, bias=bias).double()
    images = torch.zeros(1, 2, *shape, dtype=torch.float64)
    images[(..., *box)] = torch.randn(images[(..., *box)].shape, dtype=torch.float64)
    images.requires_grad_()
    whole = layer(images)
    with looking_inside(Convolution(layer), box, torch.Size(shape)):
        inner = layer(images)
    torch.testing.assert_close(inner, whole)
    weights = torch.randn_like(whole)
    ours, theirs = (torch.autograd.grad(out, images, weights)[0][(..., *box)] for out in (inner, whole))
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(layer(images), whole)


def test_the_box_leaves_most_of_the_work_out():
    layer, seen = nn.Conv3d(1, 1, 3, stride=2, padding=1), []
    cut = layer._conv_forward
    layer._conv_forward = lambda images, *rest: seen.append(images.shape) or cut(images, *rest)
    box = (slice(10, 16), slice(0, 5), slice(19, 30))
    with looking_inside(Convolution(layer), box, torch.Size((30, 30, 30))):
        layer(torch.zeros(1, 1, 30, 30, 30))
    assert all(size <= place.stop - place.start + 3 for size, place in zip(seen[0][2:], box, strict=True))


def test_volumes_of_another_size_are_seen_whole():
    layer, images = nn.Conv3d(1, 1, 3), torch.randn(1, 1, 8, 8, 8)
    whole = layer(images)
    with looking_inside(Convolution(layer), (slice(0, 2),) * 3, torch.Size((9, 9, 9))):
        assert torch.equal(layer(images), whole)


def test_the_box_holds_both_brains_and_whatever_else_is_there():
    brains, pair = torch.zeros(2, 9, 9, 9, dtype=torch.bool), torch.zeros(2, 1, 9, 9, 9)
    brains[0, 2, 3, 4], brains[1, 5, 3, 6], pair[1, 0, 5, 8, 5] = True, True, 0.1
    assert filled_box(pair, brains) == (slice(2, 6), slice(3, 9), slice(4, 7))


def ask(name: str, **told) -> Question:
    torch.manual_seed(0)
    grid = {"voxel_mm": 5, "box_mm": [5 * size for size in SHAPE]}
    content = {"name": "n", "description": "t", "sequences": ["T1", "CT1"], "network": NETWORKS[name], "grid": grid}
    recipe = parse_recipe({**content, **told}, "test")
    network = build_network(recipe)
    brains = torch.zeros(2, *SHAPE, dtype=torch.bool)
    brains[0, 9:22, 6:30, 11:28], brains[1, 8:20, 7:31, 12:29] = True, True
    pair = torch.randn(2, 2, *SHAPE) * brains[:, None]
    facts = torch.tensor([0.5, 1.5]) if "clinical" in told else torch.empty(0)
    method = MethodSettings(steps=2, samples=2, window_mm=40, stride_mm=40, batch=3)
    return Question(CaseNetwork(network, facts, recipe.target).eval(), pair, brains, 5.0, CLASSES, method)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_networks_are_asked_as_if_they_saw_everything(name):
    """Gradients inside the brain, layers and logits are those of a plain pass."""
    question = ask(name)
    layers = tuple(question.network.saliency_layers.values())
    done = run_pass(question, question.cut(question.pair)[None], layers)
    images = question.pair[None].requires_grad_()
    logits = question.network(images)[0]
    for response in CLASSES:
        (plain,) = torch.autograd.grad(logits[response.class_index], images, retain_graph=True)
        expected = plain[0] * question.brains[:, None]
        assert expected.abs().max() > 0
        torch.testing.assert_close(
            question.put(done.inputs[response][0]), expected, rtol=1e-3, atol=1e-5 * float(plain.abs().max())
        )
    for module in question.network.modules():
        assert "forward" not in vars(module)


@pytest.mark.parametrize("target", list(Target))
@pytest.mark.parametrize("clinical", [{}, {"age": True}])
def test_a_study_that_is_not_covered_is_seen_once(monkeypatch, target, clinical):
    """Where a network sees studies apart, occlusion gives what covering whole pairs gives, in half the work."""
    told = {"clinical": clinical} if clinical else {}
    question = ask("change-aware", target=target, **told)
    methods = methods_for(question.network, ("occlusion",))
    counts = []
    see = type(question.network.network).see
    monkeypatch.setattr(
        type(question.network.network), "see", lambda self, studies: counts.append(len(studies)) or see(self, studies)
    )
    apart = compute_maps(question, methods)
    question.network.sees_apart = False
    seen_apart, counts[:] = sum(counts), []
    whole = compute_maps(question, methods)
    assert seen_apart < 0.6 * sum(counts)
    for key, values in apart.items():
        assert values.abs().max() > 0
        torch.testing.assert_close(values, whole[key], rtol=1e-3, atol=1e-5)


def test_pairs_without_any_brain_have_no_windows():
    question = ask("change-aware")
    question.brains[:] = False
    assert all((values == 0).all() for values in compute_maps(question, ("occlusion",)).values())
