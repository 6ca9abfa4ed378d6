"""One visit to files: LUMIERE's exact tree, names, grids, types and label conventions."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813 - the library's own abbreviation
from numpy.typing import NDArray

from ranoscope import runs
from ranoscope.domain import SEQUENCES, Sequence, Tissue
from ranoscope.phantom import scanner
from ranoscope.phantom.anatomy import Anatomy, Image
from ranoscope.phantom.mark import add_mark
from ranoscope.phantom.scanner import Affine, Frame, Look, draw_pose, native_frames, sample
from ranoscope.phantom.skull_strip import strip
from ranoscope.phantom.tumour import segment

Labels = NDArray[np.uint8]
Whole = TypeVar("Whole", np.uint8, np.uint16)
_HEAD_DEGREES, _HEAD_MM = 5.0, 6.0
_IN_BRAIN = np.uint8(128)
# Atlas intensities are kept to a fraction of a unit, far below the noise: files shrink by a third.
_STEPS = 4


@dataclass(frozen=True)
class VisitContent:
    """What is on disk for one visit: which sequences, whether both segmentation tools ran on it, whether the planted
    mark is in its images, and how it is scanned.
    """

    tissue: NDArray[np.uint8]
    sequences: tuple[Sequence, ...] = SEQUENCES
    segmented: bool = True
    marked: bool = False
    look: Look = field(default_factory=Look)


def write_visit(folder: Path, anatomy: Anatomy, content: VisitContent, generator: np.random.Generator) -> None:
    """Write one visit folder: all of it or nothing (it is made beside its place and moved there).

    Raises:
        StorageError: the disk is full or not writable.
    """
    with runs.atomic_folder(folder) as part:
        scan = _Scan(part, anatomy, content, generator)
        scan.write_native_images()
        if content.segmented:
            scan.write_deepbratumia()
            scan.write_hd_glio_auto()


class _Scan:
    """The images of one visit, drawn once and written in every space LUMIERE has them in."""

    def __init__(self, folder: Path, anatomy: Anatomy, content: VisitContent, generator: np.random.Generator) -> None:
        self.folder = folder
        self.content = content
        self.traits = content.look.traits
        self.generator = generator
        self.apart = generator.spawn(1)[0]
        self.anatomy = anatomy = strip(self.apart, anatomy, self.traits.strip_error)
        self.moved = self.apart.random() < self.traits.moved
        tissue = np.where(anatomy.brain, content.tissue, np.uint8(0))
        labels = segment(generator, tissue, anatomy.voxel_mm)
        # One map for both masks: each grid is then sampled once.
        self.marked = np.where(anatomy.brain, labels | _IN_BRAIN, labels).astype(np.uint8)
        head = draw_pose(generator, _HEAD_DEGREES, _HEAD_MM)
        self.frames = native_frames(generator, anatomy.voxel_mm, head, self.traits)
        shares = scanner.lesion_shares(tissue, anatomy.voxel_mm)
        self.signals = {s: self._signal(shares, s) for s in SEQUENCES}
        # Each visit was registered to the atlas on its own; what is left between visits is about this much.
        residual = draw_pose(generator, self.traits.residual_degrees, self.traits.residual_mm)
        self.atlas = Frame(anatomy.brain.shape, anatomy.affine, residual)
        self.native: dict[Sequence, NDArray[np.uint16]] = {}
        self.masks: dict[Sequence, tuple[Labels, NDArray[np.bool_]]] = {}

    def write_native_images(self) -> None:
        for sequence in self.content.sequences:
            frame = self.frames[sequence]
            self.masks[sequence] = self._masks(frame)
            clean = sample(self.signals[sequence], self.anatomy.affine, frame, 1)
            if self.moved:
                clean = scanner.with_ghosts(self.apart, clean, self.traits)
            noisy = scanner.with_noise(self.generator, clean, self.masks[sequence][1], self.traits)
            self.native[sequence] = np.rint(noisy).clip(0, 65535).astype(np.uint16)
            _write_image(self.folder / f"{sequence}.nii.gz", self.native[sequence], frame.affine)

    def write_deepbratumia(self) -> None:
        root = self.folder / "DeepBraTumIA-segmentation"
        self._write_atlas(root / "atlas")
        for sequence in SEQUENCES:
            frame, name = self.frames[sequence], sequence.lower()
            labels, brain = self.masks[sequence]
            _write_image(root / f"native/segmentation/{name}_seg_mask.nii.gz", labels, frame.affine)
            _write_image(root / f"native/skull_strip/{name}_brain_mask.nii.gz", brain.astype(np.uint8), frame.affine)
            to_native = frame.pose @ np.linalg.inv(self.atlas.pose)
            _write_transform(root / f"native/transformation/{name}.tfm", to_native)

    def write_hd_glio_auto(self) -> None:
        root = self.folder / "HD-GLIO-AUTO-segmentation"
        chosen = self._reference_sequence()
        mask, grid = _to_standard(_hd_glio(self.masks[chosen][0]), self.frames[chosen].affine)
        _write_image(root / "registered/segmentation.nii.gz", mask, grid)
        for sequence in SEQUENCES:
            frame = self.frames[sequence]
            origin = _hd_glio(self.masks[sequence][0])
            _write_image(root / f"native/segmentation_{sequence}_origspace.nii.gz", origin, frame.affine)
            standard, affine = _to_standard(self.native[sequence], frame.affine)
            _write_image(root / f"registered/{sequence}_r2s_bet.nii.gz", standard, affine)
            reference = Frame(mask.shape, grid, self.frames[chosen].pose @ np.linalg.inv(frame.pose))
            registered = np.rint(sample(standard.astype(np.float32), affine, reference, 1))
            _write_image(root / f"registered/{sequence}_r2s_bet_reg.nii.gz", registered, grid)
            _write_flirt(root / f"registered/{sequence}_r2s_bet_reg.mat", (standard.shape, affine), reference)

    def _write_atlas(self, atlas: Path) -> None:
        labels, brain = self._masks(self.atlas)
        _write_image(atlas / "segmentation/seg_mask.nii.gz", labels, self.atlas.affine)
        _write_image(atlas / "skull_strip/brain_mask.nii.gz", brain.astype(np.uint8), self.atlas.affine)
        measured = {
            "Enhancing_Core": Tissue.ENHANCING,
            "Necrotic_NonEnhancing": Tissue.NECROSIS_NONENHANCING,
            "Edema_Compartment": Tissue.EDEMA,
        }
        voxel_mm3 = self.anatomy.voxel_mm**3
        volumes = {key: float((labels == tissue).sum() * voxel_mm3) for key, tissue in measured.items()}
        runs.write_text(atlas / "segmentation/measured_volumes_in_mm3.json", json.dumps(volumes))
        for sequence in SEQUENCES:
            stripped = np.rint(self._atlas_image(sequence, brain) * _STEPS) / np.float32(_STEPS)
            _write_image(atlas / f"skull_strip/{sequence.lower()}_skull_strip.nii.gz", stripped, self.atlas.affine)

    def _atlas_image(self, sequence: Sequence, brain: NDArray[np.bool_]) -> Image:
        """One sequence on the atlas grid, stripped: the scanner's slices resampled, or drawn there with own noise."""
        if self.traits.resampled:
            frame = self.frames[sequence]
            back = Frame(self.atlas.shape, self.atlas.affine, self.atlas.pose @ np.linalg.inv(frame.pose))
            return sample(self.native[sequence].astype(np.float32), frame.affine, back, 1) * brain
        image = sample(self.signals[sequence], self.anatomy.affine, self.atlas, 1)
        return scanner.with_noise(self.generator, image, brain, self.traits)

    def _signal(self, shares: dict[int, Image], sequence: Sequence) -> Image:
        whole = scanner.signal(self.generator, self.anatomy, shares, sequence, self.content.look)
        if self.content.marked:
            whole = add_mark(whole, self.anatomy)
        imaged_mm = self.frames[sequence].slice_mm * (1 - self.traits.gap)
        return scanner.average_over_slices(whole, imaged_mm, self.anatomy.voxel_mm)

    def _masks(self, frame: Frame) -> tuple[Labels, NDArray[np.bool_]]:
        """Labels, in ``Tissue``'s numbers, and brain on the grid of ``frame``."""
        marked = sample(self.marked, self.anatomy.affine, frame, 0)
        return marked & ~_IN_BRAIN, (marked & _IN_BRAIN) > 0

    def _reference_sequence(self) -> Sequence:
        """HD-GLIO-AUTO's choice: in order T1, CT1, T2, FLAIR the smallest voxel volume cut to an integer."""
        order = (Sequence.T1, Sequence.CT1, Sequence.T2, Sequence.FLAIR)
        return min(order, key=lambda s: int(abs(np.linalg.det(self.frames[s].affine[:3, :3]))))


def _hd_glio(labels: Labels) -> Labels:
    """HD-GLIO-AUTO's convention: 1 non-enhancing T2/FLAIR abnormality, 2 enhancing."""
    whole = (labels == Tissue.EDEMA) | (labels == Tissue.NECROSIS_NONENHANCING)
    return np.where(labels == Tissue.ENHANCING, 2, whole).astype(np.uint8)


def _to_standard(image: NDArray[Whole], affine: Affine) -> tuple[NDArray[Whole], Affine]:
    """Axes turned, not resampled, towards MNI152's as fslreorient2std does: by half turns, handedness kept."""
    clean = nib.Nifti1Image(image, affine)
    target = nib.orientations.axcodes2ornt(("R" if np.linalg.det(affine) > 0 else "L", "A", "S"))
    turned = clean.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(affine), target))
    return np.asarray(turned.dataobj, dtype=image.dtype), np.asarray(turned.affine)


def _write_image(path: Path, data: NDArray[np.generic], affine: Affine) -> None:
    """Gzipped NIfTI whose bytes depend on data and affine alone (no time stamp)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(nib.Nifti1Image(data, affine).to_bytes(), compresslevel=1, mtime=0))


def _write_transform(path: Path, pose: Affine) -> None:
    """ITK's text file of a rigid transform (LPS world): atlas points to scanner points, as ITK resamples."""
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    lps = turn @ pose @ turn
    transform = sitk.Euler3DTransform()
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteTransform(transform, str(path))


def _write_flirt(path: Path, moving: tuple[tuple[int, ...], Affine], reference: Frame) -> None:
    """FLIRT's 4 x 4 text matrix, which maps the moving image's millimetre frame to the reference's."""
    world = np.linalg.inv(_flirt_to_world(reference.shape, reference.affine)) @ reference.pose
    matrix = world @ _flirt_to_world(*moving)
    path.write_text("".join("  ".join(f"{value:.10f}" for value in row) + "  \n" for row in matrix))


def _flirt_to_world(shape: tuple[int, ...], affine: Affine) -> Affine:
    """From FLIRT's frame (voxel times edge, i counted from the other end where the determinant is positive) to RAS.

    Source: FSL's documentation of FLIRT's coordinate conventions.
    """
    edges = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    voxel = np.diag([*(1 / edges), 1.0])
    if np.linalg.det(affine[:3, :3]) > 0:
        voxel[0] = (-1 / edges[0], 0, 0, shape[0] - 1)
    return np.asarray(affine @ voxel, dtype=np.float64)
