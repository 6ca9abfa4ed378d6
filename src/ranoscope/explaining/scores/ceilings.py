"""What a map made of a layer's cells could score at best, however good the network.

A tumour of 30 mm is smaller than one cell of DenseNet264's last block; no map of such cells can lie on it alone.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ranoscope.explaining.cells import CellPlaces
from ranoscope.explaining.scores.localisation import NAMES, BoolVolume, localise

Shape = tuple[int, int, int]


def ceilings(
    mask: BoolVolume, brain: BoolVolume, places: CellPlaces, cells: Shape, tolerance: float = 0
) -> dict[str, float]:
    """Score name → the best of two maps that a perfect network could give on a grid of cells.

    One has in every cell the share of the cell's own voxels that the mask fills; the other the fullest cell alone. Both
    are brought to the voxels as Grad-CAM's are and scored alike. The first is a good map by rank and AUC, the second by
    mass and pointing; a cleverer map may be a little better, so that a ceiling is one that can be reached, not a bound
    that cannot be passed.

    Args:
        mask: (i, j, k).
        brain: (i, j, k).
        places: where the network's cells are centred.
        cells: number of cells along i, j, k.
        tolerance: of the pointing game, voxels.

    Returns:
        NaN in every place where ``localise`` is undefined.
    """
    shares = cell_shares(mask & brain, places, cells)
    alone = np.where(shares == shares.max(), shares, 0)
    found = [
        localise(places.bring(torch.from_numpy(part), torch.Size(mask.shape)).numpy(), mask, brain, tolerance)
        for part in (shares, alone)
    ]
    return {name: max(getattr(score, name) for score in found) for name in NAMES}


def cell_shares(mask: BoolVolume, places: CellPlaces, cells: Shape) -> NDArray[np.float32]:
    """Share of every cell's own voxels, those nearest to its centre, that lie in the mask: (i', j', k')."""
    totals, filled = np.ones(cells), mask.astype(np.float64)
    for axis, (size, count, (first, step)) in enumerate(
        zip(mask.shape, cells, places.of(torch.Size(cells)), strict=True)
    ):
        nearest = np.clip(np.rint((np.arange(size) - first) / step), 0, count - 1).astype(int)
        own = np.bincount(nearest, minlength=count).astype(np.float64)
        belongs = (nearest == np.arange(count)[:, None]).astype(np.float64)
        filled = np.moveaxis(np.tensordot(belongs, filled, axes=(1, axis)), 0, axis)
        totals = totals * own.reshape([-1 if place == axis else 1 for place in range(3)])
    return np.divide(filled, totals, out=np.zeros(cells), where=totals > 0).astype(np.float32)
