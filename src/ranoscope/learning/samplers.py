"""In which order, and how often, an epoch shows the training cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Sampler

_SAMPLED = ("sampler", "both")


def sampling_shares(classes: list[int], imbalance: str) -> npt.NDArray[np.float64] | None:
    """How probable each case is at every draw, summing to 1; None where each is shown once per epoch.

    ``sampler``: 1 / prevalence of its class, so that all classes are shown equally often. ``both``: 1 − prevalence, as
    in the code of arXiv 2504.18268, whose loss is weighted too.

    Args:
        classes: class index of each case.
        imbalance: the training setting of this name.
    """
    if imbalance not in _SAMPLED:
        return None
    counts = Counter(classes)
    prevalence = np.array([counts[one] / len(classes) for one in classes])
    weights = 1 / prevalence if imbalance == "sampler" else 1 - prevalence
    # With one class alone, 1 − prevalence is 0 everywhere.
    weights = weights if weights.any() else np.ones(len(classes))
    shares: npt.NDArray[np.float64] = weights / weights.sum()
    return shares


class EpochSampler(Sampler[int]):
    """An order of cases that depends on seed and epoch alone: the same in every process and after every restart.

    A permutation, or, where ``imbalance`` asks for a weighted sampler, as many draws with replacement as there are
    cases. In multi-GPU trainings Lightning deals this order out to the processes.
    """

    def __init__(self, classes: list[int], imbalance: str, seed: int, epoch: Tensor) -> None:
        """``epoch``: one whole number, which whoever trains keeps up to date."""
        self.size = len(classes)
        self.shares = sampling_shares(classes, imbalance)
        self.seed = seed
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng([self.seed, int(self.epoch)])
        if self.shares is None:
            return iter(generator.permutation(self.size).tolist())
        return iter(generator.choice(self.size, self.size, p=self.shares).tolist())
