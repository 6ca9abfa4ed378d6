"""Does a map depend on what the network learnt? It is compared with networks that learnt nothing (Adebayo 2018)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from ranoscope.learning.networks import PairNetwork

CONSTANT_MAP = "one of the maps is the same everywhere"
# SSIM's window as Wang 2004 has it: a Gaussian of 1.5 voxels, which torchmetrics cuts at 5 voxels from its centre.
_REACH = 5


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
    a, b = (np.asarray(part, dtype=np.float64) * brain for part in (first, second))
    if min(np.ptp(a[brain]), np.ptp(b[brain])) == 0:
        return Similarity(np.nan, np.nan, CONSTANT_MAP)
    rank = float(stats.spearmanr(a[brain], b[brain]).statistic)
    return Similarity(rank, _ssim(a / np.abs(a).max(), b / np.abs(b).max(), brain))


def _ssim(a: NDArray[np.float64], b: NDArray[np.float64], brain: NDArray[np.bool_]) -> float:
    """Mean over the brain's voxels; zeros around the volume, as there are outside the brain, make room for windows."""
    first, second = (torch.from_numpy(np.pad(part, _REACH))[None, None] for part in (a, b))
    span = float(max(a.max(), b.max()) - min(a.min(), b.min()))
    answer = structural_similarity_index_measure(first, second, data_range=span, return_full_image=True)
    assert isinstance(answer, tuple)
    whole = answer[1][0, 0].numpy()
    inner = tuple(
        slice((have - want) // 2, (have - want) // 2 + want) for have, want in zip(whole.shape, a.shape, strict=True)
    )
    return float(whole[inner][brain].mean())


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
