"""The first layer's work where there is something to see: volumes are 0 around the head, and stay so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ranoscope.explaining.slices import brain_box
from ranoscope.learning.networks import PairNetwork

Box = tuple[slice, slice, slice]


def filled_box(pair: Tensor, brains: Tensor) -> Box:
    """The smallest box that holds both brains and whatever else is not 0; the whole volume if nothing does.

    Args:
        pair: (study, sequence, i, j, k).
        brains: bool (study, i, j, k).
    """
    return brain_box((brains.any(dim=0) | (pair != 0).any(dim=1).any(dim=0)).cpu().numpy(), 0)


@contextmanager
def looking_inside(network: PairNetwork, box: Box, shape: torch.Size) -> Iterator[None]:
    """Inside the block the convolutions that take the images work on this box of volumes of ``shape`` alone.

    A large convolution at full resolution is much of what a deep network costs, and most of the grid is air. Outside of
    the box the volumes are 0, so that the layer's output is the same but for rounding; gradients of voxels outside are
    0, whatever the network would make of a change there.
    """
    modules = dict(network.named_modules())
    names = (network.first_layer, *network.beside_first)
    changed = [module for name in names if type(module := modules.get(name)) is nn.Conv3d and _can_be_cut(module)]
    for module in changed:
        vars(module)["forward"] = _convolution(module, box, shape)
    try:
        yield
    finally:
        for module in changed:
            del vars(module)["forward"]


def _can_be_cut(module: nn.Conv3d) -> bool:
    """Whether it pads with zeros, by no more than a kernel without its first voxel."""
    return (
        module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and all(module.padding[axis] <= _reach(module, axis) for axis in range(3))
    )


def _convolution(module: nn.Conv3d, box: Box, shape: torch.Size) -> Callable[[Tensor], Tensor]:
    """The module's convolution of images (n, channel, i, j, k) that are 0 outside of the box."""
    spans = [_span(module, axis, box[axis], shape[axis]) for axis in range(3)]
    cells = [_cells(module, axis, shape[axis]) for axis in range(3)]

    def forward(images: Tensor) -> Tensor:
        if images.shape[2:] != shape:
            return nn.Conv3d.forward(module, images)
        part = images[(slice(None), slice(None), *spans)]
        inner = module._conv_forward(part, module.weight, None)
        room: list[int] = []
        for axis in (2, 1, 0):
            first = spans[axis].start // module.stride[axis]
            room += [first, cells[axis] - first - inner.shape[axis + 2]]
        whole = F.pad(inner, room)
        return whole if module.bias is None else whole + module.bias.to(whole.dtype)[:, None, None, None]

    return forward


def _span(module: nn.Conv3d, axis: int, box: slice, size: int) -> slice:
    """Voxels that hold the box and make every cell that sees it; the first is a multiple of the stride."""
    reach, padding, stride = _reach(module, axis), int(module.padding[axis]), module.stride[axis]
    last = min((box.stop - 1 + padding) // stride, _cells(module, axis, size) - 1)
    first = min(max(0, -((reach - padding - box.start) // stride)), last, box.start // stride)
    return slice(first * stride, min(size, max(box.stop, last * stride - padding + reach + 1)))


def _cells(module: nn.Conv3d, axis: int, size: int) -> int:
    return (size + 2 * int(module.padding[axis]) - _reach(module, axis) - 1) // module.stride[axis] + 1


def _reach(module: nn.Conv3d, axis: int) -> int:
    """From the first voxel that a kernel sees to the last."""
    return int(module.dilation[axis] * (module.kernel_size[axis] - 1))
