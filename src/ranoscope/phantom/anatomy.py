"""Brains: the MNI152 tissue maps that ship with nilearn, deformed differently for every patient."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import BSpline
from scipy.sparse import csr_array

from ranoscope.phantom.difficulty import STANDARD, BrainTraits

Image = NDArray[np.float32]

# LUMIERE's atlas grid at 1 mm: 182 x 218 x 182, axes L-A-S, the affine of FSL's MNI152.
_SHAPE_1MM = np.array((182, 218, 182))
_ORIGIN = (90.0, -126.0, -72.0)
# Third ventricle and bodies of the lateral ventricles in MNI space, the centre from which ventricles widen.
_VENTRICLES_MM = np.array((0.0, -15.0, 14.0))
# Where one side's ventricle becomes the other's: the septum is thin.
_SEPTUM_MM = 10.0


@dataclass(frozen=True)
class Anatomy:
    """Tissue fractions 0..1 on the atlas grid (axes L, A, S), which sum to 1 inside ``brain`` and are 0 outside.

    ``vessels``: 0..1, sulcal vessels and choroid plexus, which take up contrast in everybody.
    ``affine``: voxel to RAS world, mm.
    """

    grey: Image
    white: Image
    fluid: Image
    vessels: Image
    brain: NDArray[np.bool_]
    affine: NDArray[np.float64]

    @property
    def voxel_mm(self) -> float:
        """Isotropic voxel edge, mm."""
        return float(abs(self.affine[0, 0]))


def atlas_grid(voxel_mm: float) -> tuple[tuple[int, int, int], NDArray[np.float64]]:
    """Shape and affine (voxel to RAS mm, axes L-A-S) of the atlas grid at this voxel size."""
    shape = np.rint(_SHAPE_1MM / voxel_mm).astype(int)
    affine = np.diag([-voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = _ORIGIN
    return (int(shape[0]), int(shape[1]), int(shape[2])), affine


def make_anatomy(generator: np.random.Generator, voxel_mm: float, traits: BrainTraits = STANDARD.brain) -> Anatomy:
    """Draw one patient's brain."""
    apart = generator.spawn(1)[0]
    shape, affine = atlas_grid(voxel_mm)
    places = _deformed_places(generator, apart, (shape, affine), traits)
    grey, white, head = (_sample(name, places, voxel_mm) for name in ("grey", "white", "t1"))
    brain = ndimage.binary_fill_holes(ndimage.binary_opening(head > 0.15, ndimage.generate_binary_structure(3, 2)))
    brain = largest_piece(np.asarray(brain, dtype=bool))
    total = np.maximum(grey + white, 1e-3)
    lost = apart.uniform(*traits.atrophy)
    solid = np.clip((np.clip(grey + white, 0, 1) - lost) / (1 - lost), 0, 1)
    white = np.where(brain, white / total * solid, 0).astype(np.float32)
    grey = np.where(brain, grey / total * solid, 0).astype(np.float32)
    fluid = np.where(brain, 1 - grey - white, 0).astype(np.float32)
    return Anatomy(grey, white, fluid, _vessels(generator, fluid, brain, voxel_mm), brain, affine)


def smooth_noise(generator: np.random.Generator, shape: tuple[int, ...], points: int) -> Image:
    """Random cubic spline field of mean near 0 and standard deviation 1 with ``points`` intervals along each axis.

    Sparse products, one axis after the other: fast, and the same bytes on any number of threads.
    """
    field = generator.standard_normal((points + 3,) * 3, dtype=np.float32)
    for size in shape:
        along = _spline_basis(size, points) @ field.reshape(points + 3, -1)
        field = np.ascontiguousarray(np.moveaxis(along.reshape(size, *field.shape[1:]), 0, -1))
    return np.asarray(field / field.std(), dtype=np.float32)


@cache
def _spline_basis(size: int, points: int) -> csr_array:
    """Cubic B-splines (``points`` + 3 of them) at the centres of ``size`` voxels."""
    places = (np.arange(size) + 0.5) * points / size
    basis = BSpline.design_matrix(places, np.arange(-3.0, points + 4.0), 3)
    return csr_array(basis, dtype=np.float32)


@cache
def _template(name: str) -> tuple[Image, NDArray[np.float64]]:
    load = {"grey": load_mni152_gm_template, "white": load_mni152_wm_template, "t1": load_mni152_template}[name]
    image = load(resolution=1)
    return np.asarray(image.get_fdata(dtype=np.float32)), np.asarray(image.affine)


@cache
def _blurred_template(name: str, voxel_mm: float) -> tuple[Image, NDArray[np.float64]]:
    """The template, smoothed so that sampling it every ``voxel_mm`` does not alias."""
    data, affine = _template(name)
    return np.asarray(ndimage.gaussian_filter(data, (voxel_mm - 1) / 2.5)), affine


def _sample(name: str, places: NDArray[np.float64], voxel_mm: float) -> Image:
    data, affine = _blurred_template(name, voxel_mm)
    back = np.linalg.inv(affine)
    indices = np.einsum("ab,b...->a...", back[:3, :3], places) + back[:3, 3][:, None, None, None]
    return np.asarray(ndimage.map_coordinates(data, indices, order=1), dtype=np.float32)


def _deformed_places(
    generator: np.random.Generator,
    apart: np.random.Generator,
    grid: tuple[tuple[int, int, int], NDArray[np.float64]],
    traits: BrainTraits,
) -> NDArray[np.float64]:
    """World place in the template (3, i, j, k) that each voxel of the patient shows; ``apart``: for asymmetry."""
    shape, affine = grid
    indices = np.indices(shape, dtype=np.float64)
    world = np.einsum("ab,b...->a...", affine[:3, :3], indices) + affine[:3, 3][:, None, None, None]
    scale = 1 + generator.normal(0, traits.scale_sd, 3)
    centre = np.array((0.0, -18.0, 10.0))
    places = (world - centre[:, None, None, None]) * scale[:, None, None, None] + centre[:, None, None, None]
    mean, spread, least, most = traits.ventricles
    widening = np.clip(generator.normal(mean, spread), least, most)
    away = world - _VENTRICLES_MM[:, None, None, None]
    near = np.exp(-(away**2).sum(axis=0) / (2 * 28.0**2))
    sides = 1 + np.clip(apart.normal(0, traits.asymmetry_sd), -0.5, 0.5) * np.tanh(away[0] / _SEPTUM_MM)
    places -= widening * near * sides * away
    for axis in range(3):
        for size_mm, points in traits.deformations:
            places[axis] += size_mm * smooth_noise(generator, shape, points)
    return np.asarray(places, dtype=np.float64)


def _vessels(generator: np.random.Generator, fluid: Image, brain: NDArray[np.bool_], voxel_mm: float) -> Image:
    """Thin winding lines where two random fields cross zero, in the fluid near tissue (sulci, choroid plexus)."""
    points = 30
    first, second = (smooth_noise(generator, fluid.shape, points) for _ in range(2))
    width = 0.22 * max(voxel_mm, 1.5) / 1.5
    lines = np.exp(-((first / width) ** 2) - (second / width) ** 2)
    return np.asarray(lines * np.clip(4 * fluid * (1 - fluid), 0, 1) * brain, dtype=np.float32)


def largest_piece(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected piece (faces touch) of a mask."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    return np.asarray(labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:])), dtype=bool)
