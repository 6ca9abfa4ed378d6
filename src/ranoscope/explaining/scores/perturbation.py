"""Does the output change as soon as what a map calls important is taken away? Deletion and insertion (Petsiuk 2018)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ranoscope.config import PerturbationSettings

Curve = NDArray[np.float64]
CONSTANT = "the probability is the same along the whole path"
# Probabilities closer than this cannot be told apart in the networks' arithmetic.
_SAME = 1e-6


@dataclass(frozen=True)
class Curves:
    """Probabilities of every class along the path, (steps + 1, class): as voxels go, and as they come."""

    deletion: Curve
    insertion: Curve

    def areas(self, column: int) -> tuple[float, float]:
        """Area under the deletion and the insertion curve of one class, by trapezoids, over a path of length 1.

        NaN for a curve that does not move: it says nothing of any order.
        """
        return _area(self.deletion[:, column]), _area(self.insertion[:, column])


@dataclass(frozen=True)
class Perturbation:
    """A case's voxels, taken away or brought in step by step.

    ``predict``: probabilities (n, class) of pairs (n, study, sequence, i, j, k), in batches of its own choice from a
    stream. ``pair``, ``fill``: (study, sequence, i, j, k); ``brains``: bool (study, i, j, k). A voxel of a study goes
    with all its sequences; voxels of a map of both studies together go in both.
    """

    predict: Callable[[Iterator[Tensor]], Curve]
    pair: Tensor
    fill: Tensor
    brains: Tensor
    settings: PerturbationSettings
    seed: int = 0
    _by_chance: dict[int, Curves] = field(default_factory=dict, repr=False)

    def curves(self, relevance: NDArray[np.floating]) -> Curves:
        """Both curves by descending positive relevance; equal voxels in a random order that the seed fixes.

        Args:
            relevance: (study, i, j, k), or (1, i, j, k) for both studies together.
        """
        inside = self._inside(len(relevance))
        values = np.clip(np.asarray(relevance, dtype=np.float64)[inside], 0, None)
        shuffled = np.random.default_rng(self.seed).permutation(len(values))
        return self._follow(shuffled[np.argsort(-values[shuffled], kind="stable")], inside)

    def by_chance(self, studies: int) -> Curves:
        """The mean of both curves over random orders of the same voxels.

        Args:
            studies: 2, or 1 for voxels of both studies together.
        """
        if studies not in self._by_chance:
            inside = self._inside(studies)
            generator = np.random.default_rng([self.seed, studies])
            found = [
                self._follow(generator.permutation(int(inside.sum())), inside) for _ in range(self.settings.orders)
            ]
            self._by_chance[studies] = Curves(
                np.mean([curves.deletion for curves in found], axis=0),
                np.mean([curves.insertion for curves in found], axis=0),
            )
        return self._by_chance[studies]

    def _inside(self, studies: int) -> NDArray[np.bool_]:
        brains = self.brains.cpu().numpy()
        return np.asarray(brains if studies == len(brains) else brains.any(axis=0, keepdims=True))

    def _follow(self, order: NDArray[np.intp], inside: NDArray[np.bool_]) -> Curves:
        """Both curves as the voxels of ``inside`` change in this order, in equal steps."""
        ranks = np.full(inside.shape, len(order))
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        ranks[inside] = place
        on_device = torch.from_numpy(ranks).to(self.pair.device)[:, None]
        ends = np.rint(np.linspace(0, len(order), self.settings.steps + 1)).astype(int)
        deleted = (torch.where(on_device < end, self.fill, self.pair) for end in ends)
        inserted = (torch.where(on_device < end, self.pair, self.fill) for end in ends)
        return Curves(self.predict(deleted), self.predict(inserted))


def _area(curve: Curve) -> float:
    if np.ptp(curve) < _SAME:
        return float("nan")
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))
