"""What a map made of a layer's cells could score at best, however good the network.

A tumour of 30 mm is smaller than one cell of DenseNet264's last block; no map of such cells can lie on it alone.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from ranoscope.explaining.cells import CellPlaces
from ranoscope.explaining.scores.localisation import NAMES, BoolVolume, localise

Shape = tuple[int, int, int]


def ceilings(
    mask: BoolVolume, brain: BoolVolume, places: CellPlaces, cells: Shape, tolerance: float = 0
) -> dict[str, float]:
    """Score name → the best of three maps that a network could give on a grid of cells if it saw the mask.

    One cell alone, the one with the largest share of its weight in the mask; in every cell the share of its weight that
    lies in the mask; in every cell how far its centre is from the mask, turned round. All are brought to the voxels as
    Grad-CAM's are and scored alike. Of mass the ceiling is a bound that no map of non-negative cells can pass: such a
    map is a mean of single cells, and a mean is no higher than its highest part. Of the other scores it is one that can
    be reached, and that a cleverer map may pass a little.

    Args:
        mask: (i, j, k).
        brain: (i, j, k).
        places: where the network's cells are centred.
        cells: number of cells along i, j, k.
        tolerance: of the pointing game, voxels.

    Returns:
        NaN in every place where ``localise`` is undefined.
    """
    inside = mask & brain
    shares = cell_shares(inside, brain, places, cells)
    found = [
        localise(_bring(part, places, mask.shape), mask, brain, tolerance)
        for part in (np.where(shares == shares.max(), shares, 0), shares, cell_nearness(inside, places, cells))
    ]
    defined = [score for score in found if score.reason is None]
    return {name: max((getattr(score, name) for score in defined), default=float("nan")) for name in NAMES}


def cell_shares(inside: BoolVolume, brain: BoolVolume, places: CellPlaces, cells: Shape) -> NDArray[np.float64]:
    """Share of the weight that a cell has on the brain's voxels which it has on those of the mask: (i', j', k').

    0 for a cell without weight in the brain.
    """
    of_mask, of_brain = (_weights(part, places, cells) for part in (inside, brain))
    return np.divide(of_mask, of_brain, out=np.zeros(cells), where=of_brain > 0)


def cell_nearness(inside: BoolVolume, places: CellPlaces, cells: Shape) -> NDArray[np.float64]:
    """How much nearer to the mask a cell's centre is than the farthest, voxels: (i', j', k'); deepest is nearest."""
    signed = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    centres = [
        first + step * np.arange(count)
        for count, (first, step) in zip(cells, places.of(torch.Size(cells)), strict=True)
    ]
    grid = np.meshgrid(*centres, indexing="ij")
    distances: NDArray[np.float64] = ndimage.map_coordinates(signed, grid, order=1, mode="nearest")
    return np.asarray(distances.max() - distances)


def _bring(coarse: NDArray[np.float64], places: CellPlaces, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return np.asarray(places.bring(torch.from_numpy(coarse), torch.Size(shape)).numpy())


def _weights(voxels: BoolVolume, places: CellPlaces, cells: Shape) -> NDArray[np.float64]:
    """Sum over these voxels of what every cell weighs there: the gradient of the brought map's sum over them."""
    coarse: Tensor = torch.zeros(cells, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        total = places.bring(coarse, torch.Size(voxels.shape))[torch.from_numpy(voxels)].sum()
    (gradient,) = torch.autograd.grad(total, coarse)
    return np.asarray(gradient.numpy())
