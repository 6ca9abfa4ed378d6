"""The layers that every network names for Grad-CAM: one map per pair, in the right place, explained finitely."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from ranoscope.config import MethodName, MethodSettings, Target
from ranoscope.domain import Response
from ranoscope.explaining.cells import watch_cells
from ranoscope.explaining.methods import METHODS, Question, compute_maps, methods_for, volume_drops
from ranoscope.explaining.scores.sanity import cascade
from ranoscope.explaining.subject import CaseNetwork
from ranoscope.learning.networks import NETWORKS, build_network

ALL = pytest.mark.parametrize("name", NETWORKS)
# Large enough for three cells along an axis of at least one of each network's layers.
PLACED = {"densenet": (46, 40, 43), "alexnet": (46, 40, 43)}


@torch.no_grad()
def maps_of(network, pairs):
    """Per kind of saliency layer, its output for these pairs, and where the cells are."""
    maps = {}
    hooks = [
        network.get_submodule(layer).register_forward_hook(
            lambda _module, _inputs, output, kind=kind: maps.__setitem__(kind, output)
        )
        for kind, layer in network.saliency_layers.items()
    ]
    with watch_cells(network, pairs.shape[3:]) as places:
        network(pairs)
    for hook in hooks:
        hook.remove()
    return maps, places


def middle(weights):
    """Centre of mass along each axis."""
    lines = [torch.arange(size, dtype=weights.dtype) for size in weights.shape]
    return [
        float(torch.einsum(f"ijk,{axis}->", weights, line) / weights.sum())
        for axis, line in zip("ijk", lines, strict=True)
    ]


@ALL
def test_what_changes_in_a_corner_changes_the_maps_there(make_network, name):
    """A bright cube in the current study, in the first corner and moved from there along each axis alone.

    Brought to the pair's grid, the change of the maps moves along the same axis, and along it the most.
    """
    shape = PLACED.get(name, (26, 22, 24))
    network = make_network(name, shape=shape)
    pairs = torch.randn(1, 2, 2, *shape, generator=torch.Generator().manual_seed(0)).repeat(5, 1, 1, 1, 1, 1)
    near, far = [4, 4, 4], [size - 5 for size in shape]
    spots = [near] + [[*near[:axis], far[axis], *near[axis + 1 :]] for axis in range(3)]
    for pair, (i, j, k) in zip(pairs[1:], spots, strict=True):
        pair[1, :, i - 4 : i + 5, j - 4 : j + 5, k - 4 : k + 5] += 8
    maps, places = maps_of(network, pairs)
    assert "finer" not in maps or maps["finer"][0, 0].numel() > maps["coarse"][0, 0].numel()
    placed = 0
    for kind, found in maps.items():
        assert found.ndim == 5
        assert len(found) == len(pairs), "one map per pair"
        if min(found.shape[2:]) < 2:
            continue
        placed += 1
        changes = (found[1:] - found[:1]).abs().sum(dim=1)
        centres = torch.tensor([middle(places.bring(change, torch.Size(shape))) for change in changes])
        moved = centres[1:] - centres[0]
        assert (moved.diagonal() > 0).all(), (kind, moved)
        assert moved.argmax(dim=1).tolist() == [0, 1, 2], (kind, moved)
    assert placed > 0


# First cell's centre and step from cell to cell in voxels at the coarse layer, from kernels, strides and padding.
BY_HAND = {
    "densenet": ((14, 32),) * 3,  # 7x7x7 and 3x3x3 of stride 2, centred on their first voxel; three averages of 2
    "alexnet": ((15, 16),) * 3,  # 11 of stride 4, padded by 2: 3; two maxima of 3 with stride 2: 3 + 4 + 8
    "vit": ((1.5, 4), (1.5, 4), (0.5, 2)),  # patches of 4 x 4 x 2 voxels of 5 mm
    "resnet": ((0, 8),) * 3,
    "swin": ((15.5, 32),) * 3,  # five times two cells into one
    "mednext": ((0, 16),) * 3,
    "change-aware": ((0, 4),) * 3,
    "change-aware-timeline": ((0, 4),) * 3,
}


@ALL
@pytest.mark.parametrize("shape", [(64, 64, 64), (45, 51, 47)])
def test_cells_are_where_kernels_and_strides_put_them(make_recipe, name, shape):
    """Also where the last cells reach beyond the volume."""
    with torch.device("meta"):
        network = build_network(make_recipe(name, shape=shape)).eval()
        maps, places = maps_of(network, torch.empty(1, 2, 2, *shape))
    assert places.of(maps["coarse"].shape[2:]) == BY_HAND[name]


CLASSES = (Response.PD, Response.CR)


def ask(network, pair, facts=None, **settings) -> Question:
    """For two classes of a pair that is all brain."""
    subject = CaseNetwork(network, torch.empty(0) if facts is None else facts, Target.FOUR_CLASSES).eval()
    brains = torch.ones(2, *pair.shape[2:], dtype=torch.bool)
    settings = {"steps": 2, "samples": 2, "window_mm": 40, "stride_mm": 40, "batch": 3, **settings}
    return Question(subject, pair, brains, 5.0, CLASSES, MethodSettings(**settings))


@ALL
@pytest.mark.parametrize("facts", [False, True])
def test_every_network_can_be_explained_by_every_method(make_network, make_batch, name, facts):
    network, (pairs, told) = make_network(name, facts), make_batch(name, 1, facts)
    question = ask(network, pairs[0], None if told is None else told[0])
    before = [parameter.clone() for parameter in network.parameters()]
    methods = methods_for(question.network, tuple(MethodName))
    assert set(MethodName) - set(methods) <= {MethodName.GRADCAM_FINER}
    for (method, response), values in compute_maps(question, methods).items():
        assert response in CLASSES
        assert values.shape[2:] == pairs.shape[3:]
        assert len(values) == (1 if METHODS[method].layer else 2)
        assert values.isfinite().all()
        assert METHODS[method].signed or (values >= 0).all()
        assert not values.requires_grad
        if method is MethodName.SALIENCY:
            assert (values.amax(dim=(2, 3, 4)) > 0).all(), "every volume matters"
    assert all(drops.shape == (3, 3) and drops.isfinite().all() for drops in volume_drops(question).values())
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), before, strict=True))
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


@ALL
def test_a_network_can_be_forgotten_from_the_output_down(make_network, make_batch, name):
    """Every step changes the output; the last leaves nothing as it was, and the network itself stays."""
    network, pairs = make_network(name), make_batch(name, 1)[0]
    with torch.no_grad():
        before = network(pairs)
        seen = [before]
        for _, changed in cascade(network, 0, 3):
            seen.append(changed(pairs))
        assert torch.equal(network(pairs), before)
    assert len(seen) == 4
    assert all(not torch.allclose(one, other) for one, other in pairwise(seen))
