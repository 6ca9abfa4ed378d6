"""What lies between two scans of the same head: a residual misalignment, receive field, contrast, gain and noise.

``draw_scan`` decides, ``scan`` does. Images come out as the store has them: standardised inside the brain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ranoscope.learning.pretraining.change.fields import Field, Image, axes_of, draw_field

# Together at most about 2 mm at the brain's surface, 70 mm from its middle: what registration leaves.
_MOST_SHIFT_MM, _MOST_DEGREES = 1.1, 0.7
_MOVED = 0.5
_MOST_BIAS, _BIAS_MM, _BIAS_WAVES = 0.06, (40.0, 90.0), 8
_MOST_CURVE = 0.12
_MOST_NOISE = 0.2
# The brain's mean signal in its own standard deviations: what a receive field multiplies.
_SIGNAL = 3.5
_PERCENTILES = (0.5, 99.5)
_MOST_SAMPLES = 20_000


@dataclass(frozen=True)
class Scan:
    """One study's circumstances. ``turn``: (3, 3) rotation about the middle of the brain's box; ``shift_mm``: (3,).

    Per sequence: ``bias``, amplitude of ``receive`` as a logarithm; ``curve``: of the contrast, 0 = straight;
    ``noise``: standard deviation in those of the brain. ``moved``: whether it is misaligned at all.
    """

    moved: bool
    turn: NDArray[np.float64]
    shift_mm: NDArray[np.float64]
    receive: tuple[Field, ...]
    bias: Image
    curve: Image
    noise: Image
    noise_seed: int


def draw_scan(sequences: int, generator: np.random.Generator) -> Scan:
    """The circumstances of a study of so many sequences."""
    direction = generator.normal(0, 1, 3)
    direction /= np.linalg.norm(direction)
    axis = generator.normal(0, 1, 3)
    axis *= np.deg2rad(generator.uniform(0, _MOST_DEGREES)) / np.linalg.norm(axis)
    return Scan(
        moved=bool(generator.random() < _MOVED),
        turn=Rotation.from_rotvec(axis).as_matrix(),
        shift_mm=direction * generator.uniform(0, _MOST_SHIFT_MM),
        receive=tuple(
            draw_field(generator, float(generator.uniform(*_BIAS_MM)), _BIAS_WAVES) for _ in range(sequences)
        ),
        bias=generator.uniform(0, _MOST_BIAS, sequences).astype(np.float32),
        curve=generator.uniform(-_MOST_CURVE, _MOST_CURVE, sequences).astype(np.float32),
        noise=generator.uniform(0, _MOST_NOISE, sequences).astype(np.float32),
        noise_seed=int(generator.integers(2**31)),
    )


def scan(volumes: Image, brain: NDArray[np.bool_], made: Scan, voxel_mm: float) -> Image:
    """What a scanner makes of a study: float32 (sequence, i, j, k), z-scored inside the brain, 0 outside.

    Args:
        volumes: float32 (sequence, i, j, k) in the brain's box.
        brain: bool (i, j, k).
        made: what ``draw_scan`` drew.
        voxel_mm: voxel edge.
    """
    images = _move(volumes, made, voxel_mm) if made.moved else volumes.copy()
    axes = axes_of(brain.shape, voxel_mm)
    noise = np.random.default_rng(made.noise_seed)
    for channel, image in enumerate(images):
        field = made.receive[channel].on(axes)
        field *= made.bias[channel]
        image += (image + np.float32(_SIGNAL)) * np.expm1(field, out=field)
        if abs(made.curve[channel]) > 1e-3:
            np.expm1(made.curve[channel] * image, out=image)
            image /= made.curve[channel]
        rough = noise.standard_normal(image.shape, dtype=np.float32)
        rough *= made.noise[channel]
        image += rough
        _standardise(image, brain)
        image *= brain
    return images


def _move(volumes: Image, made: Scan, voxel_mm: float) -> Image:
    """Linear interpolation at places turned about the box's middle and shifted."""
    size = np.array(volumes.shape[1:])
    half = np.maximum(size - 1, 1) / 2
    matrix = np.zeros((3, 4))
    # From the grid's units, -1 to 1 along each axis, to voxels from the middle, moved, and back; torch takes k, j, i.
    matrix[:, :3] = made.turn * half[None, :] / half[:, None]
    matrix[:, 3] = made.shift_mm / voxel_mm / half
    theta = torch.from_numpy(matrix[::-1][:, [2, 1, 0, 3]].astype(np.float32).copy())[None]
    grid = F.affine_grid(theta, [1, 1, *map(int, size)], align_corners=True)
    moved = F.grid_sample(torch.from_numpy(volumes)[None], grid, align_corners=True, padding_mode="border")
    return np.asarray(moved[0].numpy())


def _standardise(image: Image, brain: NDArray[np.bool_]) -> None:
    """As the store does it, in place: mean and deviation between percentiles, on a part of the voxels if many."""
    values = image[brain]
    values = values[:: -(-len(values) // _MOST_SAMPLES)]
    low, high = np.percentile(values, _PERCENTILES)
    core = values[(values >= low) & (values <= high)]
    image -= core.mean()
    image /= max(float(core.std()), 1e-3)
