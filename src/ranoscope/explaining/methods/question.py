"""What an explanation method is asked: which network, on which case, for which classes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from ranoscope.config import MethodSettings
from ranoscope.domain import Response
from ranoscope.explaining.fill import neutral
from ranoscope.explaining.subject import CaseNetwork

# Voxels of a pair's volume up to which ``MethodSettings.batch`` pairs go through a network together; larger ones go in
# proportion fewer at a time, so that activations take the same memory.
_FULL_BATCH_VOXELS = 500_000


@dataclass(frozen=True)
class Question:
    """A network in evaluation mode and one case.

    ``pair``: float32 (study, sequence, i, j, k) and ``brains``: bool (study, i, j, k), both on the network's device;
    ``classes``: to explain; ``seed``: drives the methods that draw at random.
    """

    network: CaseNetwork
    pair: Tensor
    brains: Tensor
    voxel_mm: float
    classes: tuple[Response, ...]
    settings: MethodSettings
    seed: int = 0

    @property
    def fill(self) -> Tensor:
        """The pair's neutral fill."""
        return neutral(self.pair, self.brains)

    @property
    def batch(self) -> int:
        """How many pairs of this size go through the network at a time."""
        share = _FULL_BATCH_VOXELS / self.pair[0, 0].numel()
        return max(1, int(self.settings.batch * min(1.0, share)))

    def precision(self) -> AbstractContextManager[None]:
        """Autocast to bf16 where the settings ask for it."""
        if not self.settings.bf16:
            return nullcontext()
        return torch.autocast(self.pair.device.type, dtype=torch.bfloat16)
