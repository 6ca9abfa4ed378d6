"""What an explanation method is asked: which network, on which case, for which classes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from ranoscope.config import MethodSettings
from ranoscope.domain import Response
from ranoscope.explaining.fill import neutral
from ranoscope.explaining.methods.inside import Box, filled_box, looking_inside
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

    @cached_property
    def fill(self) -> Tensor:
        """The pair's neutral fill."""
        return neutral(self.pair, self.brains)

    @cached_property
    def box(self) -> Box:
        """Outside of it the pair is 0 and no brain is; so are, of a timeline, the studies before."""
        history = self.network.history
        return filled_box(self.pair if history is None else torch.cat([self.pair, history.images]), self.brains)

    def cut(self, volumes: Tensor) -> Tensor:
        """The part of volumes (..., i, j, k) that is in the box."""
        return volumes[(..., *self.box)]

    def put(self, parts: Tensor) -> Tensor:
        """Volumes (..., i, j, k) from their parts in the box, 0 outside of it."""
        sizes = self.pair.shape[2:]
        room = [(part.start, size - part.stop) for part, size in zip(self.box, sizes, strict=True)]
        return F.pad(parts, [edge for ends in reversed(room) for edge in ends])

    @property
    def batch(self) -> int:
        """How many pairs of this size go through the network at a time."""
        share = _FULL_BATCH_VOXELS / self.pair[0, 0].numel()
        return max(1, int(self.settings.batch * min(1.0, share)))

    @contextmanager
    def passes(self, gradients: bool) -> Iterator[None]:
        """What all passes through the network share.

        Pairs that go through inside the block are 0 wherever this one is 0 in both studies and no brain is. Where
        ``gradients`` are asked for and the settings allow it, 16 bits are enough.
        """
        with (
            looking_inside(self.network, self.box, self.pair.shape[2:]),
            torch.autocast(self.pair.device.type, dtype=torch.bfloat16, enabled=gradients and self.settings.bf16),
        ):
            yield
