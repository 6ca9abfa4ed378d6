"""What all networks share: a trunk from images to an embedding, facts fused late, and named layers."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ranoscope.errors import problem

Shape = tuple[int, int, int]
# Below this prefix of a pair network's parameters is its trunk, with the names that ``build_trunk``'s own have.
TRUNK_PREFIX = "trunk."
# Units that read the facts, one layer of them, as in the reference paper's code.
_FACT_FEATURES = 256
# On the CPU, oneDNN's bf16 weight gradients of a 3x3x3 convolution over a few voxels, as the last dense blocks have on
# a coarse grid, come back NaN now and then (torch 2.13, seen at 2x3x2); such maps are computed in float32 instead.
_FEW_VOXELS = 128


@dataclass(frozen=True)
class Images:
    """What a trunk is shown: channels, voxels along i, j, k (Right, Anterior, Superior), and the voxel edge in mm."""

    channels: int
    shape: Shape
    voxel_mm: float


class Trunk(nn.Module):
    """From images, float (batch, channels, i, j, k), to embeddings (batch, ``width``).

    ``first_layer``: name of the convolution, an ``nn.Conv3d``, that takes the channels; ``beside_first``: of others
    that take them, too. ``saliency_layers``: names of sub-modules whose output (batch, feature, i', j', k') is a map:
    ``coarse`` the last, ``finer``, where there is one, of higher resolution.
    """

    width: int
    first_layer: str
    beside_first: tuple[str, ...] = ()
    saliency_layers: dict[str, str]


class PairNetwork(nn.Module):
    """A pair of studies, and facts where the recipe gives any, to logits.

    ``saliency_layers``: sub-modules whose output (batch, feature, i', j', k'), one map per pair,
    Grad-CAM can read, as in ``Trunk``. ``trunk_prefix``: what the names of pretrainable parameters begin with.
    ``first_layer``, ``beside_first``: the convolutions that take the image channels, as in ``Trunk``. ``sees_apart``:
    whether each study is seen by itself before both are compared, so that ``see`` and ``judge`` are there.
    """

    sees_apart: bool = False
    trunk_prefix: str = TRUNK_PREFIX
    first_layer: str
    beside_first: tuple[str, ...] = ()
    saliency_layers: dict[str, str]

    def forward(self, pair: Tensor, facts: Tensor | None = None) -> Tensor:
        """Logits (batch, class), PD first.

        Args:
            pair: float (batch, study, sequence, i, j, k), study 0 = prior, 1 = current, axes i, j, k towards Right,
                Anterior, Superior.
            facts: float (batch, fact) in the order of ``fact_names``; None when the recipe has none.
        """
        raise NotImplementedError

    def see(self, studies: Tensor) -> list[Tensor]:
        """What ``judge`` needs of each study, from float (batch, sequence, i, j, k)."""
        raise NotImplementedError

    def judge(self, prior: list[Tensor], current: list[Tensor], facts: Tensor | None = None) -> Tensor:
        """Logits as ``forward`` gives, from what was seen of the prior and of the current studies."""
        raise NotImplementedError


class LateFusion(nn.Module):
    """Puts what one layer makes of the facts behind the image embedding; without facts it has no parameters.

    Late, because a fact is about the whole case; one layer of 256 units, as in the reference paper's code.
    """

    def __init__(self, width: int, facts: int) -> None:
        super().__init__()
        self.count = facts
        self.reading = nn.Sequential(nn.Linear(facts, _FACT_FEATURES), nn.ReLU()) if facts else None
        self.width = width + (_FACT_FEATURES if facts else 0)

    def forward(self, embedding: Tensor, facts: Tensor | None) -> Tensor:
        """Embedding (batch, ``width``) from the images' and the facts (batch, ``count``).

        Raises:
            ValueError: facts of another number than the network was built for.
        """
        given = 0 if facts is None else facts.shape[1]
        if given != self.count:
            do = "give it what facts.fact_names lists"
            raise ValueError(problem(f"{self.count} facts per case", str(given), "the network's input", do))
        if self.reading is None or facts is None:
            return embedding
        return torch.cat([embedding, self.reading(facts).to(embedding.dtype)], dim=1)


def guarded(layer: nn.Module, maps: Tensor) -> Tensor:
    """``layer(maps)``, outside bf16 autocast where the CPU's gradients are not to be trusted (``_FEW_VOXELS``)."""
    few = not maps.is_cuda and maps[0, 0].numel() < _FEW_VOXELS
    with torch.autocast("cpu", enabled=False) if few else nullcontext():
        return cast(Tensor, layer(maps.float() if few else maps))


def averaged(maps: Tensor) -> Tensor:
    """Mean over the volume: (batch, feature) from (batch, feature, i, j, k)."""
    return F.adaptive_avg_pool3d(maps, 1).flatten(1)


class Patches(nn.Conv3d):
    """One vector per patch: a convolution whose stride is its kernel.

    A volume that is not whole patches is padded with zeros, the value outside the brain, at the far end of each axis
    (right, anterior, superior): nothing is cut off, and patches stay where they are.
    """

    def __init__(self, channels: int, width: int, patch: Shape) -> None:
        super().__init__(channels, width, kernel_size=patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, width, i', j', k'), one cell per patch."""
        missing = [-size % edge for size, edge in zip(images.shape[2:], self.kernel_size, strict=True)]
        return super().forward(F.pad(images, (0, missing[2], 0, missing[1], 0, missing[0])))
