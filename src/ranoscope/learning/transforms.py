"""Augmentation split in two: ``decide`` draws every random number, ``apply`` is pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ranoscope.config import AugmentationSettings


@dataclass(frozen=True)
class Change:
    """One drawn augmentation of a pair: geometry shared by both studies, intensities per study and sequence.

    ``shift_voxels``: along i, j, k. ``scale``, ``offset``, ``gamma``: float32 (study, sequence). ``noise``: standard
    deviation in units of the brain's own; 0 = none. ``noise_seed`` seeds it.
    """

    flip: bool
    shift_voxels: tuple[int, int, int]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    gamma: NDArray[np.float32]
    noise: float
    noise_seed: int


def decide(settings: AugmentationSettings, sequences: int, voxel_mm: float, generator: np.random.Generator) -> Change:
    """Draw one augmentation for a pair with this many sequences; every random number comes from ``generator``."""
    shape = (2, sequences)
    reach = int(settings.shift_mm / voxel_mm)
    shift = generator.integers(-reach, reach + 1, 3)
    return Change(
        flip=bool(generator.random() < settings.flip_left_right),
        shift_voxels=(int(shift[0]), int(shift[1]), int(shift[2])),
        scale=_uniform(generator, 1 - settings.scale_intensity, 1 + settings.scale_intensity, shape),
        offset=_uniform(generator, -settings.shift_intensity, settings.shift_intensity, shape),
        gamma=_uniform(generator, *settings.gamma, shape),
        noise=float(generator.uniform(0, settings.noise)),
        noise_seed=int(generator.integers(2**31)),
    )


def apply(pair: Tensor, change: Change) -> Tensor:
    """The changed copy of a pair (study, sequence, i, j, k), float32, z-scored inside the brain and 0 outside.

    Background stays exactly 0. Gamma acts on intensities mapped to 0..1 between each volume's own extremes, as is usual
    for images with negative values.
    """
    brain = pair != 0
    result = pair.float()
    if (change.gamma != 1).any():
        result = _gamma(result, torch.from_numpy(change.gamma))
    result = result * _column(change.scale) + _column(change.offset)
    if change.noise > 0:
        noise = torch.Generator().manual_seed(change.noise_seed)
        result = result + change.noise * torch.randn(result.shape, generator=noise)
    result = result * brain
    if any(change.shift_voxels):
        result = _shift(result, change.shift_voxels)
    return result.flip(2) if change.flip else result


def _uniform(generator: np.random.Generator, low: float, high: float, shape: tuple[int, int]) -> NDArray[np.float32]:
    return generator.uniform(low, high, shape).astype(np.float32)


def _column(values: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(values)[..., None, None, None]


def _gamma(pair: Tensor, gamma: Tensor) -> Tensor:
    low = pair.amin(dim=(2, 3, 4), keepdim=True)
    span = (pair.amax(dim=(2, 3, 4), keepdim=True) - low).clamp_min(1e-6)
    return ((pair - low) / span) ** gamma[..., None, None, None] * span + low


def _shift(pair: Tensor, voxels: tuple[int, int, int]) -> Tensor:
    """Move the content by whole voxels; what leaves is lost and what enters is background."""
    shifted = torch.zeros_like(pair)
    put = tuple(slice(max(step, 0), size + min(step, 0)) for step, size in zip(voxels, pair.shape[2:], strict=True))
    take = tuple(slice(max(-step, 0), size + min(-step, 0)) for step, size in zip(voxels, pair.shape[2:], strict=True))
    shifted[:, :, put[0], put[1], put[2]] = pair[:, :, take[0], take[1], take[2]]
    return shifted
