"""The scanner: tissue to signal, and signal to images on whatever grid they are asked for on.

Signals are relative to white matter on T1; the numbers follow the usual look of each sequence at 1.5 to 3 T (white
matter brightest on T1, fluid brightest on T2 and suppressed on FLAIR), not any one protocol.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ranoscope.domain import SEQUENCES, Sequence, Tissue
from ranoscope.phantom.anatomy import Anatomy, Image, smooth_noise
from ranoscope.phantom.difficulty import SCANNERS, STANDARD, Scanner, ScanTraits
from ranoscope.phantom.tumour import AGED, BLOOD, CAVITY, TREATED

Affine = NDArray[np.float64]
Voxel = TypeVar("Voxel", np.float32, np.uint8)

# White matter, grey matter, fluid.
_NORMAL = {
    Sequence.CT1: (1.00, 0.72, 0.24),
    Sequence.T1: (1.00, 0.70, 0.24),
    Sequence.T2: (0.46, 0.62, 1.40),
    Sequence.FLAIR: (0.62, 0.80, 0.14),
}
# Enhancing, necrosis, oedema, cavity.
_LESION = {
    Sequence.CT1: {Tissue.ENHANCING: 1.65, Tissue.NECROSIS_NONENHANCING: 0.40, Tissue.EDEMA: 0.66, CAVITY: 0.26},
    Sequence.T1: {Tissue.ENHANCING: 0.64, Tissue.NECROSIS_NONENHANCING: 0.40, Tissue.EDEMA: 0.66, CAVITY: 0.25},
    Sequence.T2: {Tissue.ENHANCING: 0.85, Tissue.NECROSIS_NONENHANCING: 1.15, Tissue.EDEMA: 1.02, CAVITY: 1.38},
    Sequence.FLAIR: {Tissue.ENHANCING: 1.02, Tissue.NECROSIS_NONENHANCING: 0.72, Tissue.EDEMA: 1.28, CAVITY: 0.18},
}
# Blood (methaemoglobin: bright on T1 with and without contrast), white matter changed by treatment and by age.
_FINDINGS = {
    Sequence.CT1: {BLOOD: 1.45, TREATED: 0.80, AGED: 0.86},
    Sequence.T1: {BLOOD: 1.42, TREATED: 0.80, AGED: 0.86},
    Sequence.T2: {BLOOD: 1.10, TREATED: 0.84, AGED: 0.80},
    Sequence.FLAIR: {BLOOD: 1.05, TREATED: 1.06, AGED: 1.12},
}
_VESSEL_UPTAKE = 0.55
# A 3D acquisition of T1 beside a 2D one of CT1 is the exception in LUMIERE.
_T1_IN_3D = 0.15
_CENTRE_MM = np.array((0.0, -18.0, 10.0))
# Head movement between the sequences of one visit.
_BETWEEN_DEGREES, _BETWEEN_MM = 0.3, 0.4
# Intensities of the release reach about 1,000 (CT1); white matter then lies near here.
_SCALE = 420.0


@dataclass(frozen=True)
class Frame:
    """A grid to sample on: shape, voxel-to-RAS-world affine (mm), and the head's pose there.

    ``pose`` maps the world of what is sampled to this frame's world (RAS, mm, 4 x 4, rigid).
    """

    shape: tuple[int, ...]
    affine: Affine
    pose: Affine

    @property
    def slice_mm(self) -> float:
        """Distance of slices: voxel edge along k."""
        return float(np.linalg.norm(self.affine[:3, 2]))


@dataclass(frozen=True)
class Look:
    """How one visit is scanned: what scans are like in this cohort, and on which scanner."""

    traits: ScanTraits = STANDARD.scan
    scanner: Scanner = SCANNERS[0]

    def draw_steepness(self, generator: np.random.Generator, sequence: Sequence) -> float:
        """Exponent less 1 of brightness relative to white matter; 0 keeps this module's table."""
        own = self.traits.scanner_contrast * np.log(self.scanner.contrast[sequence])
        return float(np.exp(own + generator.normal(0, self.traits.contrast_sd)) - 1)


def lesion_shares(tissue: NDArray[np.uint8], voxel_mm: float) -> dict[int, Image]:
    """Share 0..1 of each kind of lesion tissue in each voxel, borders softened by partial volume."""
    kinds = (Tissue.ENHANCING, Tissue.NECROSIS_NONENHANCING, Tissue.EDEMA, CAVITY, BLOOD, TREATED, AGED)
    sigma = 0.45 / min(voxel_mm, 1.5)
    return {k: ndimage.gaussian_filter((tissue == k).astype(np.float32), sigma) for k in kinds if (tissue == k).any()}


def signal(
    generator: np.random.Generator,
    anatomy: Anatomy,
    shares: dict[int, Image],
    sequence: Sequence,
    look: Look = Look(),
) -> Image:
    """One sequence of one visit on the atlas grid, without noise: contrasts, tissue texture, gain and bias field."""
    traits, apart = look.traits, generator.spawn(1)[0]
    steepness, reference = look.draw_steepness(apart, sequence), _NORMAL[sequence][0]

    def drawn(value: float, spread: float, source: np.random.Generator) -> np.float32:
        return np.float32(value * (value / reference) ** steepness * np.exp(source.normal(0, spread)))

    white, grey, fluid = (drawn(value, traits.normal_sd, generator) for value in _NORMAL[sequence])
    image = white * anatomy.white + grey * anatomy.grey + fluid * anatomy.fluid
    if sequence is Sequence.CT1:
        image += _VESSEL_UPTAKE * anatomy.vessels
    shape = anatomy.brain.shape
    uneven = 1 + traits.uneven * smooth_noise(generator, shape, 30)
    for table, source in ((_LESION, generator), (_FINDINGS, apart)):
        for kind, value in table[sequence].items():
            own = drawn(value, traits.lesion_sd, source)
            if kind in shares:
                image += (own * uneven - image) * shares[kind]
    texture = 1 + traits.texture * smooth_noise(generator, shape, 40)
    bias = np.exp(traits.bias * smooth_noise(generator, shape, 3))
    gain = np.float32(_SCALE * np.exp(generator.normal(0, traits.gain_sd)))
    return np.asarray(np.clip(image * texture * bias * gain, 0, None) * anatomy.brain, dtype=np.float32)


def with_noise(
    generator: np.random.Generator, image: Image, brain: NDArray[np.bool_], traits: ScanTraits = STANDARD.scan
) -> Image:
    """Rician noise: magnitude of the signal with complex Gaussian noise of a share of its 90th percentile."""
    inside = image[brain]
    sigma = np.float32(generator.uniform(*traits.noise) * np.percentile(inside, 90))
    real, imaginary = generator.standard_normal((2, inside.size), dtype=np.float32) * sigma
    noisy = np.zeros_like(image)
    noisy[brain] = np.hypot(inside + real, imaginary)
    return noisy


def with_ghosts(generator: np.random.Generator, image: Image, traits: ScanTraits) -> Image:
    """What a patient who moves leaves: fainter copies, shifted along the phase-encoding axis (j), otherwise per slice.

    Half of the sequences of a visit with motion are spared.
    """
    if generator.random() < 0.5:
        return image
    strength = generator.uniform(*traits.ghosts) * generator.uniform(0.3, 1, image.shape[2])
    shift = image.shape[1] // int(generator.integers(2, 5))
    copies = (np.roll(image, shift, axis=1) + np.roll(image, -shift, axis=1)) / 2
    return np.asarray(image + strength * (copies - image), dtype=np.float32)


def average_over_slices(image: Image, slice_mm: float, voxel_mm: float) -> Image:
    """What thick slices lose: the mean over ``slice_mm`` along the head-foot axis, at every voxel."""
    half = (slice_mm / voxel_mm - 1) / 2
    if half <= 0:
        return image
    reach = int(np.ceil(half))
    weights = np.ones(2 * reach + 1)
    weights[[0, -1]] = half - (reach - 1)
    return np.asarray(ndimage.correlate1d(image, weights / weights.sum(), axis=2, mode="nearest"), dtype=np.float32)


def sample(data: NDArray[Voxel], affine: Affine, frame: Frame, order: int) -> NDArray[Voxel]:
    """``data`` (on the grid of ``affine``) seen from ``frame``: linear (order 1) or nearest neighbour (order 0).

    Only the box that can hold something else than air is looked at.
    """
    mapping = np.linalg.inv(affine) @ np.linalg.inv(frame.pose) @ frame.affine
    seen = np.zeros(frame.shape, dtype=data.dtype)
    box = _box_in_frame(data, np.linalg.inv(mapping), frame.shape)
    start = np.array([edge.start for edge in box])
    offset = mapping[:3, :3] @ start + mapping[:3, 3]
    ndimage.affine_transform(data, mapping[:3, :3], offset, output_shape=seen[box].shape, output=seen[box], order=order)
    return seen


def _box_in_frame(data: NDArray[Voxel], to_frame: NDArray[np.floating], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Slices of a grid of ``shape`` that hold all of ``data`` that is not 0; ``to_frame``: its voxels to the grid's."""
    axes = [np.flatnonzero(data.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    ends = [(places[0] - 1, places[-1] + 1) if places.size else (0, 0) for places in axes]
    corners = np.array(list(itertools.product(*ends, (1,)))) @ to_frame.T
    low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int)
    return tuple(slice(min(max(a, 0), n), min(max(b + 1, 0), n)) for a, b, n in zip(low, high, shape, strict=False))


def draw_pose(generator: np.random.Generator, degrees: float, millimetres: float) -> Affine:
    """A random rigid motion about the head's centre (RAS world, mm, 4 x 4), standard deviations per axis."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", generator.normal(0, degrees, 3), degrees=True).as_matrix()
    pose[:3, 3] = _CENTRE_MM - pose[:3, :3] @ _CENTRE_MM + generator.normal(0, millimetres, 3)
    return pose


def native_frames(
    generator: np.random.Generator, voxel_mm: float, head: Affine, traits: ScanTraits = STANDARD.scan
) -> dict[Sequence, Frame]:
    """Scanner grids of a visit, axes L-P-S and oblique: one sequence in 3D, the others stacks of thick slices.

    Args:
        generator: drives everything.
        voxel_mm: edge of the 3D sequence's voxels.
        head: atlas world to scanner world at this visit; each sequence moves a little from there.
        traits: which distances of slices there are.
    """
    frames = {}
    in_3d = Sequence.T1 if generator.random() < _T1_IN_3D else Sequence.CT1
    slice_mm = max(float(generator.choice(traits.slices_mm)), voxel_mm)
    tilts = np.deg2rad(generator.normal(0, (2, 6)))
    for sequence in SEQUENCES:
        flat = sequence is not in_3d
        in_plane, thickness = (0.9 * voxel_mm, slice_mm) if flat else (voxel_mm, voxel_mm)
        size = (round(230 / in_plane), round(230 / in_plane), round(200 / thickness))
        affine = np.eye(4)
        turn = Rotation.from_euler("x", tilts[int(flat)]).as_matrix()
        affine[:3, :3] = turn @ np.diag((-in_plane, -in_plane, thickness))
        affine[:3, 3] = _CENTRE_MM - affine[:3, :3] @ ((np.array(size) - 1) / 2)
        pose = draw_pose(generator, _BETWEEN_DEGREES, _BETWEEN_MM) @ head
        frames[sequence] = Frame(size, affine, pose)
    return frames
