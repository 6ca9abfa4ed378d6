"""Where a network's coarse cells are: the geometry that Grad-CAM needs to put its map in the right place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from monai.networks.nets.swin_unetr import PatchMergingV2
from torch import Tensor, nn

_SHRINKING = (nn.Conv3d, nn.MaxPool3d, nn.AvgPool3d, PatchMergingV2)


class CellPlaces:
    """Where the cells of every resolution inside a network are centred, in input voxels.

    Per shape of feature maps and per axis: centre of the first cell, and step from cell to cell. Layers that keep the
    shape are taken to keep the centres (odd kernels, padded evenly).
    """

    def __init__(self, shape: torch.Size) -> None:
        self._known: dict[tuple[int, ...], tuple[tuple[float, float], ...]] = {tuple(shape): ((0.0, 1.0),) * 3}

    def follow(self, module: nn.Module, before: torch.Size, after: torch.Size) -> None:
        """Note the cells that a convolution, pooling or merging makes; parallel branches of one shape share theirs.

        Zeros that a module puts at the far end of an axis move no cell.
        """
        if tuple(after) in self._known:
            return
        self._known[tuple(after)] = tuple(
            (first + step * centre, step * stride)
            for (first, step), (centre, stride) in zip(self._known[tuple(before)], _window(module), strict=True)
        )

    def of(self, shape: torch.Size) -> tuple[tuple[float, float], ...]:
        """(centre of the first cell, step) per axis for feature maps of this shape."""
        return self._known[tuple(shape)]

    def bring(self, coarse: Tensor, shape: torch.Size) -> Tensor:
        """Interpolate a map (i', j', k') linearly between its cells' centres; constant beyond the outermost ones."""
        weights = []
        for size, cells, (first, step) in zip(shape, coarse.shape, self.of(coarse.shape), strict=True):
            voxels = torch.arange(size, dtype=coarse.dtype, device=coarse.device)
            place = ((voxels - first) / step).clamp(0, cells - 1)
            distance = (place[:, None] - torch.arange(cells, device=coarse.device)).abs()
            weights.append((1 - distance).clamp_min(0))
        return torch.einsum("abc,ia,jb,kc->ijk", coarse, *weights)


@contextmanager
def watch_cells(network: nn.Module, shape: torch.Size) -> Iterator[CellPlaces]:
    """Watch the network's forward passes inside the block on inputs of spatial ``shape``."""
    places = CellPlaces(shape)

    def watch(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        axes = slice(1, 4) if isinstance(module, PatchMergingV2) else slice(2, 5)  # the former has its features last
        places.follow(module, inputs[0].shape[axes], output.shape[axes])

    handles = [module.register_forward_hook(watch) for module in network.modules() if isinstance(module, _SHRINKING)]
    try:
        yield places
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def layer_cells(network: nn.Module, layer: str, pair: Tensor) -> tuple[CellPlaces, tuple[int, int, int]]:
    """Where the cells of this sub-module's feature maps are, and how many along i, j, k, for a pair of this shape.

    Args:
        network: takes pairs with a batch axis in front.
        layer: name of the sub-module.
        pair: (study, sequence, i, j, k) on the network's device.
    """
    shapes: list[torch.Size] = []
    handle = network.get_submodule(layer).register_forward_hook(
        lambda _module, _inputs, output: shapes.append(output.shape[2:])
    )
    try:
        with watch_cells(network, pair.shape[2:]) as places:
            network(pair.unsqueeze(0))
    finally:
        handle.remove()
    i, j, k = shapes[-1]
    return places, (i, j, k)


def cell_steps(places: CellPlaces, cells: tuple[int, int, int]) -> tuple[float, ...]:
    """Voxels from cell to cell along i, j, k."""
    return tuple(step for _, step in places.of(torch.Size(cells)))


def _window(module: nn.Module) -> tuple[tuple[float, int], ...]:
    """Per axis, in cells of its input: centre of the module's first window, and step from window to window."""
    if isinstance(module, PatchMergingV2):
        return ((0.5, 2),) * 3
    kernel, stride, padding = (_three(getattr(module, name)) for name in ("kernel_size", "stride", "padding"))
    dilation = _three(getattr(module, "dilation", 1))
    return tuple((dilation[axis] * (kernel[axis] - 1) / 2 - padding[axis], stride[axis]) for axis in range(3))


def _three(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return (value,) * 3 if isinstance(value, int) else value
