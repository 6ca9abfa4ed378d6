"""The explanation methods, in one registry: each takes a network, a pair and a class, and returns a map.

A map is non-negative float32 (study, sequence, i, j, k) on the pair's grid and in its own units, never rescaled.
Where a method cannot tell studies or sequences apart, that axis has length 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from captum.attr import LayerGradCam
from captum.attr import Saliency as CaptumSaliency
from torch import Tensor

from ranoscope.domain import Response
from ranoscope.explaining.cells import watch_cells
from ranoscope.learning.networks import PairNetwork


@dataclass(frozen=True)
class Method:
    """How a map is made (network, pair, class → map), what it is called, and the unit of its values."""

    compute: Callable[[PairNetwork, Tensor, Response], Tensor]
    title: str
    unit: str


def saliency(network: PairNetwork, pair: Tensor, response: Response) -> Tensor:
    """Absolute gradient of the class's logit with respect to every input voxel (Simonyan 2014), one map per volume.

    Args:
        network: in evaluation mode.
        pair: (study, sequence, i, j, k) on the network's device.
        response: the class explained.

    Returns:
        (study, sequence, i, j, k): logit per unit of standardised intensity.
    """
    batch = pair.unsqueeze(0).requires_grad_()
    gradients: Tensor = CaptumSaliency(network).attribute(batch, target=response.class_index, abs=True)
    return gradients[0].detach()


def gradcam(network: PairNetwork, pair: Tensor, response: Response) -> Tensor:
    """Grad-CAM (Selvaraju 2017) at the network's ``gradcam_layer``, brought to the pair's grid linearly.

    The layer's channels are weighted with the mean gradient of the class's logit, summed, and cut at zero. A map that
    is the same everywhere says nothing about place and becomes 0, as min-max scaling would make it. Cells are put where
    their receptive fields are centred (``CellPlaces``), not where a stretch to the full width would put them: with
    strided convolutions that differs by up to half a cell.

    Args:
        network: in evaluation mode.
        pair: (study, sequence, i, j, k) on the network's device.
        response: the class explained.

    Returns:
        (1, 1, i, j, k): neither studies nor sequences can be told apart where the layer has mixed them.
    """
    layer = network.get_submodule(network.gradcam_layer)
    batch = pair.unsqueeze(0).requires_grad_()
    with watch_cells(network, pair.shape[2:]) as places:
        coarse = LayerGradCam(network, layer).attribute(
            batch, target=response.class_index, relu_attributions=True
        )[0, 0].detach()  # fmt: skip
    if torch.isclose(coarse.amax(), coarse.amin(), rtol=1e-5, atol=0):
        coarse = torch.zeros_like(coarse)
    return places.bring(coarse, pair.shape[2:])[None, None]


METHODS: dict[str, Method] = {
    "saliency": Method(saliency, "Saliency", "logit per SD"),
    "gradcam": Method(gradcam, "Grad-CAM", "weighted activation"),
}
