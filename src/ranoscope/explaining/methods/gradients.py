"""Methods that ask for the gradient of a class's logit: of the input voxels, and of a layer's feature maps.

One pass forward serves all of them that look at the same input, and every class takes one pass back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ranoscope.domain import Response
from ranoscope.explaining.cells import CellPlaces, watch_cells
from ranoscope.explaining.methods.question import Question


@dataclass(frozen=True)
class Pass:
    """What one pass leaves: gradients by class, and by layer the activations with their gradients by class.

    ``inputs``: (n, study, sequence, i, j, k) in the question's box, 0 outside the brain.
    """

    inputs: dict[Response, Tensor]
    activations: dict[str, Tensor]
    layers: dict[tuple[str, Response], Tensor]
    places: CellPlaces


def run_pass(question: Question, pairs: Tensor, layers: tuple[str, ...] = ()) -> Pass:
    """Gradients of every class's logit with respect to each pair and to the layers' outputs.

    Args:
        question: network, classes and precision.
        pairs: (n, study, sequence, i, j, k) in the question's box; in evaluation mode no pair sees another.
        layers: names of sub-modules of the network.
    """
    pairs = pairs.detach().requires_grad_()
    with (
        watch_cells(question.network, question.pair.shape[2:]) as places,
        _outputs(question, layers) as kept,
        question.passes(gradients=True),
    ):
        logits = question.network(question.put(pairs)).float()
    inside = question.cut(question.brains)[:, None]
    inputs: dict[Response, Tensor] = {}
    of_layers: dict[tuple[str, Response], Tensor] = {}
    for place, response in enumerate(question.classes):
        total = logits[:, response.class_index].sum()
        wanted = [pairs, *(kept[layer] for layer in layers)]
        more = place + 1 < len(question.classes)
        first, *others = torch.autograd.grad(total, wanted, retain_graph=more)
        inputs[response] = first.detach().float() * inside
        of_layers |= {
            (layer, response): gradient.detach().float() for layer, gradient in zip(layers, others, strict=True)
        }
    return Pass(inputs, {layer: kept[layer].detach().float() for layer in layers}, of_layers, places)


def saliency(question: Question, done: Pass, response: Response) -> Tensor:
    """Absolute gradient of the class's logit with respect to every input voxel (Simonyan 2014), one map per volume.

    Returns:
        (study, sequence, i, j, k): logit per unit of standardised intensity.
    """
    return question.put(done.inputs[response][0].abs())


def input_x_gradient(question: Question, done: Pass, response: Response) -> Tensor:
    """Gradient times what the voxel differs from the neutral fill (Shrikumar 2016, with a baseline).

    A voxel as bright as the brain's mean says nothing, as one of 0 would for a volume centred at 0.

    Returns:
        (study, sequence, i, j, k), signed: logit, to first order, that the voxel adds.
    """
    return question.put(done.inputs[response][0] * question.cut(question.pair - question.fill))


def gradcam(question: Question, done: Pass, response: Response, layer: str) -> Tensor:
    """Grad-CAM (Selvaraju 2017) at a layer, brought to the pair's grid linearly.

    The layer's channels are weighted with the mean gradient of the class's logit, summed, and cut at zero. A map that
    is the same everywhere says nothing about place and becomes 0, as min-max scaling would make it. Cells are put where
    their receptive fields are centred (``CellPlaces``), not where a stretch to the full width would put them: with
    strided convolutions that differs by up to half a cell.

    Returns:
        (1, 1, i, j, k): neither studies nor sequences can be told apart where the layer has mixed them.
    """
    weights = done.layers[layer, response][0].mean(dim=(1, 2, 3), keepdim=True)
    coarse = (weights * done.activations[layer][0]).sum(dim=0).clamp_min(0)
    if torch.isclose(coarse.amax(), coarse.amin(), rtol=1e-5, atol=0):
        coarse = torch.zeros_like(coarse)
    return done.places.bring(coarse, question.pair.shape[2:])[None, None]


def integrated_gradients(question: Question) -> dict[Response, Tensor]:
    """Integrated gradients (Sundararajan 2017) along the straight path from the neutral fill to the pair.

    The integral is taken by Gauss and Legendre's rule, which needs far fewer points than equal steps.

    Returns:
        Class → (study, sequence, i, j, k), signed: logit that the voxel adds; over all voxels these add up to the
        difference of the logit between pair and fill, but for the rule's error.
    """
    nodes, weights = np.polynomial.legendre.leggauss(question.settings.steps)
    fill = question.cut(question.fill)
    change = question.cut(question.pair) - fill
    sums = {response: torch.zeros_like(change) for response in question.classes}
    for points, shares in _in_batches((nodes + 1) / 2, weights / 2, size=question.batch):
        along = _column(points, question.pair)
        done = run_pass(question, fill + along * change)
        for response, gradients in done.inputs.items():
            sums[response] += (_column(shares, question.pair) * gradients).sum(dim=0)
    return {response: question.put(total * change) for response, total in sums.items()}


def smoothgrad(question: Question) -> dict[Response, Tensor]:
    """SmoothGrad (Smilkov 2017): the mean absolute gradient over noisy copies of the pair.

    Normal noise inside the brain, its standard deviation a share of each volume's own there.

    Returns:
        Class → (study, sequence, i, j, k): logit per unit of standardised intensity.
    """
    inside = question.brains[:, None].to(question.pair.dtype)
    counts = inside.sum(dim=(2, 3, 4), keepdim=True).clamp_min(1)
    spread = ((question.pair - question.fill).square() * inside).sum(dim=(2, 3, 4), keepdim=True).div(counts).sqrt()
    pair, deviation = question.cut(question.pair), question.settings.noise * spread * question.cut(inside)
    # Drawn on the CPU: the same noise whatever the device.
    generator = torch.Generator().manual_seed(question.seed)
    sums = {response: torch.zeros_like(pair) for response in question.classes}
    left = question.settings.samples
    while left:
        count = min(left, question.batch)
        # One copy at a time: torch's numbers depend on how many are drawn at once.
        noise = torch.stack([torch.randn(pair.shape, generator=generator) for _ in range(count)])
        done = run_pass(question, pair + noise.to(pair.device) * deviation)
        for response, gradients in done.inputs.items():
            sums[response] += gradients.abs().sum(dim=0)
        left -= count
    return {response: question.put(total / question.settings.samples) for response, total in sums.items()}


@contextmanager
def _outputs(question: Question, layers: tuple[str, ...]) -> Iterator[dict[str, Tensor]]:
    """What these sub-modules return inside the block."""
    kept: dict[str, Tensor] = {}
    handles = [
        question.network.get_submodule(layer).register_forward_hook(
            lambda _module, _inputs, output, layer=layer: kept.__setitem__(layer, output)
        )
        for layer in layers
    ]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def _in_batches(*columns: NDArray[np.float64], size: int) -> Iterator[tuple[NDArray[np.float64], ...]]:
    for start in range(0, len(columns[0]), size):
        yield tuple(column[start : start + size] for column in columns)


def _column(values: NDArray[np.float64], like: Tensor) -> Tensor:
    """Values (n,) to multiply pairs (n, study, sequence, i, j, k) with."""
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)[:, None, None, None, None, None]
