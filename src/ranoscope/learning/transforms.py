"""Augmentation split in two: ``decide`` draws every random number, ``apply`` is pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ranoscope.config import AugmentationSettings
from ranoscope.domain import Sequence
from ranoscope.imaging.store import AlignedStudy, Box


@dataclass(frozen=True)
class Change:
    """One drawn augmentation of a case: geometry shared by all studies, intensities per study and sequence.

    ``flips``: whether i, j and k are mirrored. ``shift_voxels``: along i, j, k. ``scale``, ``offset``, ``gamma``:
    float32 (study, sequence). ``noise``: standard deviation in units of the brain's own; 0 = none. ``noise_seed`` seeds
    it. ``kept``: bool (study, sequence), the sequences that are neither missing nor dropped.
    """

    flips: tuple[bool, bool, bool]
    shift_voxels: tuple[int, int, int]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    gamma: NDArray[np.float32]
    noise: float
    noise_seed: int
    kept: NDArray[np.bool_]

    @property
    def mirror(self) -> Box:
        """Index that mirrors a volume (i, j, k) along the flipped axes."""
        i, j, k = (slice(None, None, -1 if flip else 1) for flip in self.flips)
        return i, j, k

    def of(self, study: int, sequence: int) -> tuple[float, float, float]:
        """Gamma, scale and offset of one volume."""
        return (
            float(self.gamma[study, sequence]),
            float(self.scale[study, sequence]),
            float(self.offset[study, sequence]),
        )


def decide(
    settings: AugmentationSettings, acquired: NDArray[np.bool_], voxel_mm: float, generator: np.random.Generator
) -> Change:
    """Draw one augmentation for a case; every random number comes from ``generator``.

    Args:
        settings: chances and ranges.
        acquired: bool (study, sequence): which sequences each study has.
        voxel_mm: edge of a voxel, mm.
        generator: of this sample and epoch alone.
    """
    shape = acquired.shape
    reach = int(settings.shift_mm / voxel_mm)
    shift = generator.integers(-reach, reach + 1, 3)
    left_right = bool(generator.random() < settings.flip_left_right)
    return Change(
        shift_voxels=(int(shift[0]), int(shift[1]), int(shift[2])),
        scale=_uniform(generator, 1 - settings.scale_intensity, 1 + settings.scale_intensity, shape),
        offset=_uniform(generator, -settings.shift_intensity, settings.shift_intensity, shape),
        gamma=_uniform(generator, *settings.gamma, shape),
        noise=float(generator.uniform(0, settings.noise)),
        noise_seed=int(generator.integers(2**31)),
        flips=(
            left_right,
            bool(generator.random() < settings.flip_anterior_posterior),
            bool(generator.random() < settings.flip_superior_inferior),
        ),
        kept=_drop(acquired, settings.sequence_dropout, generator),
    )


def _drop(acquired: NDArray[np.bool_], chance: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Take sequences out, each with this chance; of a study that would lose all it has, one at random is kept."""
    draws = generator.random(acquired.shape)
    kept = acquired & (draws >= chance)
    for study in np.flatnonzero(acquired.any(axis=1) & ~kept.any(axis=1)):
        kept[study, np.where(acquired[study], draws[study], -1).argmax()] = True
    return kept


def apply(studies: tuple[AlignedStudy, ...], sequences: tuple[Sequence, ...], change: Change) -> Tensor:
    """The changed studies, float32 (study, sequence, i, j, k), 0 outside the brain and where a sequence is not kept.

    Only the box that holds a brain is worked on: everything else is 0 before and after. Gamma acts on intensities
    mapped to 0..1 between each volume's own extremes, as is usual for images with negative values.

    Args:
        studies: prior, current and, of a timeline, others, on one grid.
        sequences: channels, in this order.
        change: what ``decide`` drew.

    Raises:
        ImageError: a study lacks a sequence that is to be kept.
    """
    # numpy's zeros take no time where nothing is written; torch's do.
    result = np.zeros((len(studies), len(sequences), *studies[0].brain.shape), dtype=np.float32)
    noise = np.random.default_rng(change.noise_seed)
    for which, study in enumerate(studies):
        take, put = _move(study.brain_box, study.brain.shape, change.shift_voxels)
        brain = torch.from_numpy(study.brain[take].astype(np.float32))
        if not brain.numel():
            continue
        values = torch.empty_like(brain)  # for one channel after the other: fresh memory costs more than the sums
        for channel in np.flatnonzero(change.kept[which]).tolist():
            sequence = sequences[channel]
            _adjust(study.volume(sequence)[take].copy(), change.of(which, channel), values)
            _add_noise(values, change.noise, noise)
            place = result[which, channel]
            place[change.mirror][put] = values.mul_(brain).numpy()
    return torch.from_numpy(result)


def apply_to_labels(studies: tuple[AlignedStudy, AlignedStudy], change: Change) -> Tensor:
    """The tumour labels of both studies where ``apply`` puts their images, uint8 (study, i, j, k)."""
    result = np.zeros((2, *studies[0].brain.shape), dtype=np.uint8)
    for place, study in zip(result, studies, strict=True):
        whole = tuple(slice(0, size) for size in study.brain.shape)
        take, put = _move((whole[0], whole[1], whole[2]), study.brain.shape, change.shift_voxels)
        place[change.mirror][put] = study.tumour[take]
    return torch.from_numpy(result)


def _uniform(generator: np.random.Generator, low: float, high: float, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return generator.uniform(low, high, shape).astype(np.float32)


def _adjust(values: NDArray[np.float16], drawn: tuple[float, float, float], out: Tensor) -> None:
    """Gamma, then scale, then offset, into ``out`` (float32, same shape).

    Half precision knows 65,536 numbers: each is worked out once and then looked up, which is a fifth of the time that
    powers of every voxel take.
    """
    gamma, scale, offset = drawn
    if gamma == 1:
        table = _half_numbers() * scale + offset
    else:
        low, high = (float(extreme) for extreme in torch.from_numpy(values).aminmax())
        span = max(high - low, 1e-6)
        table = ((_half_numbers() - low) / span).clamp_(0, 1).pow_(gamma).mul_(span * scale).add_(low * scale + offset)
    # No bits lie outside the table; "clip" merely spares numpy a second buffer.
    table.numpy().take(values.view(np.uint16), out=out.numpy(), mode="clip")


@cache
def _half_numbers() -> Tensor:
    """Every half-precision number at the place of its bits, as float32."""
    return torch.from_numpy(np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32))


def _add_noise(values: Tensor, deviation: float, generator: np.random.Generator) -> None:
    """Add Gaussian noise in place: a stretch of the bank from a drawn place and with a drawn sign per piece.

    Drawing every number anew would take longer than all the rest together.
    """
    if deviation <= 0:
        return
    bank = _noise_bank()
    for piece in values.view(-1).split(len(bank) // 2):
        start = int(generator.integers(len(bank) - len(piece)))
        sign = 1 if generator.random() < 0.5 else -1
        piece.add_(bank[start : start + len(piece)], alpha=sign * deviation)


@cache
def _noise_bank() -> Tensor:
    """4 million standard normal numbers, always the same."""
    return torch.randn(1 << 22, generator=torch.Generator().manual_seed(0))


def _move(box: Box, shape: tuple[int, ...], voxels: tuple[int, int, int]) -> tuple[Box, Box]:
    """The part of a box that stays inside the grid when moved by whole voxels: where it is, and where it goes."""
    put, take = [], []
    for side, size, step in zip(box, shape, voxels, strict=True):
        low, high = max(side.start + step, 0), min(side.stop + step, size)
        put.append(slice(low, max(low, high)))
        take.append(slice(low - step, max(low, high) - step))
    return (take[0], take[1], take[2]), (put[0], put[1], put[2])
