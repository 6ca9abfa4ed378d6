"""Does a map depend on what the network learnt? It is compared with networks that learnt nothing (Adebayo 2018)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, stats
from torch import Tensor, nn

from ranoscope.explaining.scores.localisation import NO_BRAIN
from ranoscope.learning.networks import PairNetwork

CONSTANT_MAP = "one of the maps is the same everywhere"
# Of SSIM as Wang 2004 has it: a Gaussian window, its standard deviation and where it is cut in voxels, and the shares
# of the values' range that keep both quotients from 0 / 0.
_WIDTH, _REACH = 1.5, 5
_MEAN_SHARE, _SPREAD_SHARE = 0.01, 0.03


@dataclass(frozen=True)
class Similarity:
    """How alike two maps are inside the brain; 1 = the same, both NaN where ``reason`` says why.

    ``spearman``: rank correlation over voxels. ``ssim``: structural similarity (Wang 2004) in three dimensions of the
    maps, each divided by its largest absolute value.
    """

    spearman: float
    ssim: float
    reason: str | None = None


def cascade(network: PairNetwork, seed: int, stages: int) -> Iterator[tuple[str, PairNetwork]]:
    """Copies of the network with ever more layers randomised, from the output down to the images.

    A layer is drawn again by its own initial rule, running statistics included; parameters without such a rule have
    their values shuffled. Layers follow the order in which the network names them, and are taken in equal portions.

    Args:
        network: stays as it is.
        seed: drives the drawing; torch's global state is left alone.
        stages: portions, at most; fewer where the network has fewer layers.

    Yields:
        The name of the layer that the portion ends with, nearest to the images, and the copy, in evaluation mode. The
        same copy is changed from step to step.
    """
    changed = copy.deepcopy(network).eval()
    layers = [(name, module) for name, module in changed.named_modules() if _has_own(module)][::-1]
    bounds = np.unique(np.rint(np.linspace(0, len(layers), stages + 1)).astype(int))
    devices = [torch.device("cuda", number) for number in range(torch.cuda.device_count())]
    for start, end in pairwise(bounds):
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed + int(start))
            for _, module in layers[start:end]:
                _randomise(module)
        yield layers[end - 1][0], changed


def similarity(first: NDArray[np.floating], second: NDArray[np.floating], brain: NDArray[np.bool_]) -> Similarity:
    """Compare two maps (i, j, k) of one case, with their signs, inside the brain."""
    if not brain.any():
        return Similarity(np.nan, np.nan, NO_BRAIN)
    a, b = (np.asarray(part, dtype=np.float64) * brain for part in (first, second))
    if min(np.ptp(a[brain]), np.ptp(b[brain])) == 0:
        return Similarity(np.nan, np.nan, CONSTANT_MAP)
    rank = float(stats.spearmanr(a[brain], b[brain]).statistic)
    return Similarity(rank, _ssim(a / np.abs(a).max(), b / np.abs(b).max(), brain))


def _ssim(a: NDArray[np.float64], b: NDArray[np.float64], brain: NDArray[np.bool_]) -> float:
    """Mean over the brain's voxels; what windows see outside the brain, or the volume, is 0 in both maps.

    Window by window along one axis after another: a volume of 1 mm voxels takes seconds, not hundreds of gigabytes.
    """
    (box,) = ndimage.find_objects(brain.astype(np.uint8))
    a, b = a[box], b[box]
    span = max(a.max(), b.max()) - min(a.min(), b.min())
    mean_a, mean_b = _smooth(a), _smooth(b)
    variances = np.maximum(_smooth(a * a) - mean_a**2, 0) + np.maximum(_smooth(b * b) - mean_b**2, 0)
    covariance = _smooth(a * b) - mean_a * mean_b
    small, floor = (_MEAN_SHARE * span) ** 2, (_SPREAD_SHARE * span) ** 2
    brightness = (2 * mean_a * mean_b + small) / (mean_a**2 + mean_b**2 + small)
    structure = (2 * covariance + floor) / (variances + floor)
    return float((brightness * structure)[brain[box]].mean())


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    smoothed: NDArray[np.float64] = ndimage.gaussian_filter(values, _WIDTH, mode="constant", radius=_REACH)
    return smoothed


def _has_own(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))


def _randomise(module: nn.Module) -> None:
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
        return
    for parameter in module.parameters(recurse=False):
        _shuffle(parameter)


@torch.no_grad()
def _shuffle(parameter: Tensor) -> None:
    values = parameter.flatten()
    parameter.copy_(values[torch.randperm(len(values)).to(values.device)].reshape(parameter.shape))
