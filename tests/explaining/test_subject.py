"""A network bound to one case: the facts held fixed, and a logit for each of the four responses."""

from __future__ import annotations

import pytest
import torch

from ranoscope.config import MethodName, MethodSettings, Target, parse_recipe
from ranoscope.domain import RESPONSES, Response
from ranoscope.explaining.examples import _network_name, how_to_read
from ranoscope.explaining.methods import Question, compute_maps
from ranoscope.explaining.subject import CaseNetwork
from ranoscope.learning.networks import History, build_network

NETWORKS = {
    "change-aware": {"name": "change-aware", "widths": [4, 8], "findings": 4},
    "vit": {"name": "vit", "hidden": 24, "layers": 2, "heads": 2},
}


def recipe_of(network, **settings):
    grid = {"voxel_mm": 5, "box_mm": [60, 55, 50]}
    content = {"name": "n", "description": "t", "sequences": ["T1", "CT1"], "network": network, "grid": grid}
    return parse_recipe({**content, **settings}, "test")


@pytest.fixture(params=sorted(NETWORKS))
def told(request):
    """A network that is told two facts per case."""
    torch.manual_seed(0)
    return build_network(recipe_of(NETWORKS[request.param], clinical={"age": True})).eval()


def test_the_facts_are_the_cases_own_in_every_pair(told):
    pairs, facts = torch.randn(3, 2, 2, 12, 11, 10), torch.tensor([0.5, -2.0])
    with torch.no_grad():
        torch.testing.assert_close(
            CaseNetwork(told, facts, Target.FOUR_CLASSES)(pairs), told(pairs, facts.repeat(3, 1))
        )


def test_maps_are_of_the_images_under_these_facts(told):
    pair, facts = torch.randn(2, 2, 12, 11, 10), torch.tensor([0.5, -2.0])
    bound = CaseNetwork(told, facts, Target.FOUR_CLASSES).eval()
    images = pair[None].requires_grad_()
    logit = told(images, facts[None])[0, Response.PR.class_index]
    slopes = torch.autograd.grad(logit, images)[0][0].abs()
    brains = torch.ones(2, 12, 11, 10, dtype=torch.bool)
    question = Question(bound, pair, brains, 5.0, (Response.PR,), MethodSettings())
    maps = compute_maps(question, (MethodName.SALIENCY, MethodName.GRADCAM))
    torch.testing.assert_close(maps[MethodName.SALIENCY, Response.PR], slopes)
    assert maps[MethodName.GRADCAM, Response.PR].shape == (1, 1, 12, 11, 10)


@pytest.mark.parametrize("others", [0, 3])
def test_a_timelines_earlier_studies_are_the_cases_own_in_every_pair(others):
    """Also where the volumes' empty part is left out: an earlier study may fill more of it than the pair does."""
    torch.manual_seed(0)
    network = build_network(recipe_of({**NETWORKS["change-aware"], "name": "change-aware-timeline"})).eval()
    pairs, images = torch.randn(2, 2, 2, 12, 11, 10), torch.randn(others, 2, 12, 11, 10)
    pairs[..., :4] = 0
    dates = torch.tensor([[9.0, 1, 0, 0], [30.0, 0, 1, 0], [60.0, 0, 0, 1], [70.0, 0, 0, 1]])[: 1 + others]
    history = History(images, dates, torch.ones(1 + others, dtype=torch.bool))
    bound = CaseNetwork(network, torch.empty(0), Target.FOUR_CLASSES, history).eval()
    several = History(*(part.expand(2, *part.shape) for part in history))
    brains = torch.zeros(2, 12, 11, 10, dtype=torch.bool)
    brains[..., 4:] = True
    fresh = CaseNetwork(network, torch.empty(0), Target.FOUR_CLASSES, history).eval()
    question = Question(fresh, pairs[0], brains, 5.0, (Response.PR,), MethodSettings())
    assert question.box[2] == (slice(0, 10) if others else slice(4, 10))
    with torch.no_grad():
        expected = network(pairs, None, several)
        torch.testing.assert_close(bound(pairs), expected)
        torch.testing.assert_close(bound.judge(bound.see(pairs[:, 0]), bound.see(pairs[:, 1])), expected)
        with question.passes(gradients=False):
            torch.testing.assert_close(fresh(pairs), expected)


def test_a_timelines_earlier_studies_are_seen_once_in_each_precision(monkeypatch):
    torch.manual_seed(0)
    network = build_network(recipe_of({**NETWORKS["change-aware"], "name": "change-aware-timeline"})).eval()
    dates = torch.tensor([[9.0, 1, 0, 0], [30.0, 0, 1, 0], [60.0, 0, 0, 1], [70.0, 0, 0, 1]])
    history = History(torch.randn(3, 2, 12, 11, 10), dates, torch.ones(4, dtype=torch.bool))
    bound, seen, see = CaseNetwork(network, torch.empty(0), Target.FOUR_CLASSES, history).eval(), [], network.see
    monkeypatch.setattr(network, "see", lambda studies: seen.append(studies is history.images) or see(studies))
    pairs = torch.randn(1, 2, 2, 12, 11, 10)
    for half in (False, False, True, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            again = bound(pairs)
            torch.testing.assert_close(again, network(pairs, None, History(*(part[None] for part in history))))
    assert sum(seen) == 2


def test_the_rest_shares_a_logit():
    torch.manual_seed(0)
    network = build_network(recipe_of(NETWORKS["change-aware"], target="pd-versus-rest")).eval()
    pair = torch.randn(1, 2, 2, 12, 11, 10)
    with torch.no_grad():
        own, answers = network(pair)[0], CaseNetwork(network, torch.empty(0), Target.PD_VERSUS_REST)(pair)[0]
    assert [float(answers[response.class_index]) for response in RESPONSES] == [
        float(own[0 if response is Response.PD else 1]) for response in RESPONSES
    ]


@pytest.mark.parametrize(
    ("network", "name", "sentence"),
    [
        ({"name": "densenet", "depth": 169}, "densenet169", "stacks both studies in its first convolution"),
        ({"name": "resnet"}, "resnet18", "stacks both studies in its first convolution"),
        ({"name": "mednext", "arrangement": "difference"}, "mednext-S", "is shown the difference of both studies"),
        ({"name": "change-aware"}, "change-aware", "has merged both studies in the layer it is read from"),
        (
            {"name": "change-aware-timeline"},
            "change-aware-timeline",
            "the studies before the prior; the maps hold them",
        ),
    ],
)
def test_readers_are_told_what_the_network_saw(network, name, sentence):
    recipe = recipe_of(network)
    assert _network_name(recipe) == name
    said = " ".join(how_to_read(recipe, (MethodName.SALIENCY, MethodName.GRADCAM), {"gradcam": (8.0, 8.0, 9.0)}))
    assert sentence in said
    assert "in cells of 8 × 8 × 9 mm" in said
    assert "both signs" not in said
    assert "Grad-CAM" not in " ".join(how_to_read(recipe, (MethodName.OCCLUSION,), {}))


def test_the_rest_has_one_probability():
    torch.manual_seed(0)
    network = build_network(recipe_of(NETWORKS["change-aware"], target="pd-versus-rest")).eval()
    bound, pair = CaseNetwork(network, torch.empty(0), Target.PD_VERSUS_REST), torch.randn(3, 2, 2, 12, 11, 10)
    with torch.no_grad():
        own, found = network(pair).softmax(dim=1), bound.probabilities(bound(pair))
    for response in RESPONSES:
        expected = own[:, 0 if response is Response.PD else 1]
        torch.testing.assert_close(found[:, response.class_index], expected)


def test_four_classes_have_a_softmax():
    torch.manual_seed(0)
    network = build_network(recipe_of(NETWORKS["change-aware"])).eval()
    bound, pair = CaseNetwork(network, torch.empty(0), Target.FOUR_CLASSES), torch.randn(2, 2, 2, 12, 11, 10)
    with torch.no_grad():
        torch.testing.assert_close(bound.probabilities(bound(pair)), network(pair).softmax(dim=1))
