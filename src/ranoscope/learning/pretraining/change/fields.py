"""Smooth random functions of place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
# So many waves make the sum of them nearly normal; more cost time.
WAVES = 24


@dataclass(frozen=True)
class Field:
    """A sum of plane waves: mean near 0, standard deviation near 1, the same on every grid.

    ``waves``: float32 (wave, 3), radians per mm towards Right, Anterior, Superior; ``phases``: (wave,), radians.
    """

    waves: Image
    phases: Image

    def on(self, axes_mm: tuple[Image, Image, Image]) -> Image:
        """Its values (i, j, k) at places whose coordinates along each axis are these, in mm.

        A plane wave is a product over the axes, so that all of them are one product of two matrices.
        """
        turned = [np.exp(1j * np.outer(self.waves[:, axis], places)) for axis, places in enumerate(axes_mm)]
        first = (turned[0] * np.exp(1j * self.phases)[:, None]).astype(np.complex64)
        both = (first[:, :, None] * turned[1][:, None, :].astype(np.complex64)).reshape(len(first), -1).T
        last = turned[2].astype(np.complex64)
        total = both.real @ last.real - both.imag @ last.imag
        size = tuple(len(places) for places in axes_mm)
        return np.asarray(total.reshape(size) * np.sqrt(2 / len(first)), dtype=np.float32)


def draw_field(generator: np.random.Generator, length_mm: float, waves: int = WAVES) -> Field:
    """A field whose values at places so many mm apart have a correlation of exp(−1/2): Gaussian in the distance.

    By Bochner's theorem its wave numbers are normal with standard deviation 1 / length (Rahimi and Recht 2007).
    """
    numbers = generator.normal(0, 1 / length_mm, (waves, 3)).astype(np.float32)
    return Field(numbers, generator.uniform(0, 2 * np.pi, waves).astype(np.float32))


def axes_of(shape: tuple[int, ...], voxel_mm: float, start: tuple[int, ...] = (0, 0, 0)) -> tuple[Image, Image, Image]:
    """Coordinates of the voxels of a box along each axis, mm from voxel 0 of what the box is part of."""
    i, j, k = (
        (np.arange(size, dtype=np.float32) + low) * np.float32(voxel_mm) for size, low in zip(shape, start, strict=True)
    )
    return i, j, k
