"""The scanner: tissue to signal, and signal to images on whatever grid they are asked for on.

Signals are relative to white matter on T1; the numbers follow the usual look of each sequence at 1.5 to 3 T (white
matter brightest on T1, fluid brightest on T2 and suppressed on FLAIR), not any one protocol.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the library's own abbreviation
from numpy.typing import NDArray
from scipy import ndimage

from ranoscope.domain import SEQUENCES, Sequence, Tissue
from ranoscope.phantom.anatomy import Anatomy, Image, smooth_noise
from ranoscope.phantom.tumour import CAVITY

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
_VESSEL_UPTAKE = 0.55
_THICK_SLICE_MM = 5.0
# Intensities of the release reach about 1,000 (CT1); white matter then lies near here.
_SCALE = 420.0


@dataclass(frozen=True)
class Frame:
    """A grid to sample on: shape, voxel-to-RAS-world affine (mm), and the head's pose there.

    ``pose`` maps atlas world to this frame's world (RAS, mm, 4 x 4, rigid).
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    pose: NDArray[np.float64]


def signal(generator: np.random.Generator, anatomy: Anatomy, tissue: NDArray[np.uint8], sequence: Sequence) -> Image:
    """One sequence of one visit on the atlas grid, without noise: contrasts, tissue texture, gain and bias field."""
    white, grey, fluid = (value * np.exp(generator.normal(0, 0.03)) for value in _NORMAL[sequence])
    image = white * anatomy.white + grey * anatomy.grey + fluid * anatomy.fluid
    if sequence is Sequence.CT1:
        image += _VESSEL_UPTAKE * anatomy.vessels
    for kind, value in _LESION[sequence].items():
        share = ndimage.gaussian_filter((tissue == kind).astype(np.float32), 0.45 / min(anatomy.voxel_mm, 1.5))
        own = value * np.exp(generator.normal(0, 0.04))
        image = image * (1 - share) + own * share
    shape = anatomy.brain.shape
    texture = 1 + 0.025 * smooth_noise(generator, shape, 40)
    bias = np.exp(0.10 * smooth_noise(generator, shape, 4))
    gain = _SCALE * np.exp(generator.normal(0, 0.25))
    return np.asarray(np.clip(image * texture * bias * gain, 0, None) * anatomy.brain, dtype=np.float32)


def with_noise(generator: np.random.Generator, image: Image, brain: NDArray[np.bool_]) -> Image:
    """Rician noise: magnitude of the signal with complex Gaussian noise of 2 to 4 % of its 90th percentile."""
    if not brain.any():
        return image
    sigma = np.float32(generator.uniform(0.02, 0.04) * np.percentile(image[brain], 90))
    real, imaginary = (generator.standard_normal(image.shape, dtype=np.float32) * sigma for _ in range(2))
    return np.asarray(np.hypot(image + real, imaginary) * brain, dtype=np.float32)


def thick_slices(image: Image, voxel_mm: float) -> Image:
    """What a 2D acquisition loses: the signal averaged over the slice along the head-foot axis."""
    size = max(round(_THICK_SLICE_MM / voxel_mm), 1)
    return np.asarray(ndimage.uniform_filter1d(image, size, axis=2), dtype=np.float32)


def sample(data: Image, affine: NDArray[np.float64], frame: Frame, order: int) -> Image:
    """``data`` (atlas grid, ``affine``) seen from ``frame``: linear (order 1) or nearest neighbour (order 0)."""
    mapping = np.linalg.inv(affine) @ np.linalg.inv(frame.pose) @ frame.affine
    moved = ndimage.affine_transform(data, mapping[:3, :3], mapping[:3, 3], output_shape=frame.shape, order=order)
    return np.asarray(moved, dtype=np.float32)


def draw_pose(generator: np.random.Generator, degrees: float, millimetres: float) -> sitk.Euler3DTransform:
    """A random rigid motion about the head's centre as ITK holds it (LPS world), standard deviations per axis."""
    pose = sitk.Euler3DTransform()
    pose.SetCenter((0.0, 18.0, 10.0))
    pose.SetRotation(*(float(angle) for angle in np.deg2rad(generator.normal(0, degrees, 3))))
    pose.SetTranslation(tuple(float(step) for step in generator.normal(0, millimetres, 3)))
    return pose


def as_matrix(pose: sitk.Euler3DTransform) -> NDArray[np.float64]:
    """The 4 x 4 matrix of a rigid transform in RAS world millimetres."""
    rotation = np.array(pose.GetMatrix()).reshape(3, 3)
    centre, translation = np.array(pose.GetCenter()), np.array(pose.GetTranslation())
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = centre + translation - rotation @ centre
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    return np.asarray(turn @ matrix @ turn, dtype=np.float64)


def native_frames(
    generator: np.random.Generator, voxel_mm: float, poses: dict[Sequence, sitk.Euler3DTransform]
) -> dict[Sequence, Frame]:
    """Scanner grids of a visit: CT1 3D and isotropic, the others oblique 2D stacks of 5 to 6 mm slices."""
    frames = {}
    tilt = float(generator.normal(0, 6))
    for sequence in SEQUENCES:
        thickness = voxel_mm if sequence is Sequence.CT1 else max(float(generator.choice((5.0, 6.0))), voxel_mm)
        in_plane = voxel_mm if sequence is Sequence.CT1 else 0.9 * voxel_mm
        size = (round(230 / in_plane), round(230 / in_plane), round(180 / thickness))
        angle = np.deg2rad(0 if sequence is Sequence.CT1 else tilt)
        turn = np.array(((1, 0, 0), (0, np.cos(angle), -np.sin(angle)), (0, np.sin(angle), np.cos(angle))))
        affine = np.eye(4)
        affine[:3, :3] = turn @ np.diag((-in_plane, -in_plane, thickness))
        middle = (np.array(size) - 1) / 2
        affine[:3, 3] = np.array((0.0, -18.0, 8.0)) - affine[:3, :3] @ middle
        frames[sequence] = Frame(size, affine, as_matrix(poses[sequence]))
    return frames
