"""One visit to files: LUMIERE's exact tree, names, grids, types and label conventions."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813 - the library's own abbreviation
from numpy.typing import NDArray

from ranoscope import runs
from ranoscope.domain import SEQUENCES, Sequence, Tissue
from ranoscope.phantom import scanner
from ranoscope.phantom.anatomy import Anatomy, Image
from ranoscope.phantom.scanner import Frame, as_matrix, draw_pose, native_frames, sample
from ranoscope.phantom.tumour import segment

Affine = NDArray[np.float64]
# Each visit was registered to the atlas on its own; what is left between visits is about this much.
_RESIDUAL_DEGREES, _RESIDUAL_MM = 0.6, 0.5
_HEAD_DEGREES, _HEAD_MM = 5.0, 6.0


@dataclass(frozen=True)
class VisitContent:
    """What is on disk for one visit: which sequences, and whether both segmentation tools ran on it."""

    tissue: NDArray[np.uint8]
    sequences: tuple[Sequence, ...] = SEQUENCES
    segmented: bool = True


def write_visit(folder: Path, anatomy: Anatomy, content: VisitContent, generator: np.random.Generator) -> None:
    """Write one visit folder: all of it or nothing (it is made beside its place and moved there).

    Raises:
        StorageError: the disk is full or not writable.
    """
    part = folder.with_name(f".{folder.name}.part")
    with runs.storage_errors(folder):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        scan = _Scan(part, anatomy, content, generator)
        scan.write_native_images()
        if content.segmented:
            scan.write_deepbratumia()
            scan.write_hd_glio_auto()
        part.rename(folder)


class _Scan:
    """The images of one visit, drawn once and written in every space LUMIERE has them in."""

    def __init__(self, folder: Path, anatomy: Anatomy, content: VisitContent, generator: np.random.Generator) -> None:
        self.folder = folder
        self.anatomy = anatomy
        self.content = content
        self.generator = generator
        self.brain = anatomy.brain.astype(np.float32)
        self.labels = segment(generator, content.tissue, anatomy.voxel_mm)
        self.signals = {s: scanner.signal(generator, anatomy, content.tissue, s) for s in SEQUENCES}
        self.poses = dict.fromkeys(SEQUENCES, draw_pose(generator, _HEAD_DEGREES, _HEAD_MM))
        self.frames = native_frames(generator, anatomy.voxel_mm, self.poses)
        residual = as_matrix(draw_pose(generator, _RESIDUAL_DEGREES, _RESIDUAL_MM))
        self.atlas = Frame(_shape(self.brain), anatomy.affine, residual)
        self.native: dict[Sequence, Image] = {}

    def write_native_images(self) -> None:
        for sequence in self.content.sequences:
            frame = self.frames[sequence]
            clean = self._seen(self.signals[sequence], frame, 1)
            inside = self._seen(self.brain, frame, 0) > 0.5
            noisy = scanner.with_noise(self.generator, clean, inside)
            self.native[sequence] = np.rint(noisy).clip(0, 65535)
            _write_image(self.folder / f"{sequence}.nii.gz", self.native[sequence].astype(np.uint16), frame.affine)

    def write_deepbratumia(self) -> None:
        root = self.folder / "DeepBraTumIA-segmentation"
        self._write_atlas(root / "atlas")
        for sequence in SEQUENCES:
            frame, name = self.frames[sequence], sequence.lower()
            mask = self._seen(self.labels.astype(np.float32), frame, 0).astype(np.uint8)
            brain = (self._seen(self.brain, frame, 0) > 0.5).astype(np.uint8)
            _write_image(root / f"native/segmentation/{name}_seg_mask.nii.gz", mask, frame.affine)
            _write_image(root / f"native/skull_strip/{name}_brain_mask.nii.gz", brain, frame.affine)
            _write_transform(root / f"native/transformation/{name}.tfm", self.poses[sequence])

    def write_hd_glio_auto(self) -> None:
        root = self.folder / "HD-GLIO-AUTO-segmentation"
        reference = self.frames[self._reference_sequence()]
        for sequence in SEQUENCES:
            frame = self.frames[sequence]
            origin = _hd_glio(self._seen(self.labels.astype(np.float32), frame, 0))
            _write_image(root / f"native/segmentation_{sequence}_origspace.nii.gz", origin, frame.affine)
            standard, affine = _to_standard(self.native[sequence].astype(np.float32), frame.affine)
            _write_image(root / f"registered/{sequence}_r2s_bet.nii.gz", standard, affine)
            registered = self._seen(self.signals[sequence], reference, 1)
            _write_image(root / f"registered/{sequence}_r2s_bet_reg.nii.gz", registered, reference.affine)
            _write_flirt(root / f"registered/{sequence}_r2s_bet_reg.mat", affine, reference.affine)
        mask = _hd_glio(self._seen(self.labels.astype(np.float32), reference, 0))
        _write_image(root / "registered/segmentation.nii.gz", mask, reference.affine)

    def _write_atlas(self, atlas: Path) -> None:
        labels = self._seen(self.labels.astype(np.float32), self.atlas, 0).astype(np.uint8)
        brain = self._seen(self.brain, self.atlas, 0) > 0.5
        voxel_mm = self.anatomy.voxel_mm
        _write_image(atlas / "segmentation/seg_mask.nii.gz", labels, self.atlas.affine)
        _write_image(atlas / "skull_strip/brain_mask.nii.gz", brain.astype(np.uint8), self.atlas.affine)
        measured = {
            "Enhancing_Core": Tissue.ENHANCING,
            "Necrotic_NonEnhancing": Tissue.NECROSIS_NONENHANCING,
            "Edema_Compartment": Tissue.EDEMA,
        }
        volumes = {key: float((labels == tissue).sum() * voxel_mm**3) for key, tissue in measured.items()}
        runs.write_text(atlas / "segmentation/measured_volumes_in_mm3.json", json.dumps(volumes))
        for sequence in SEQUENCES:
            image = self._seen(self.signals[sequence], self.atlas, 1)
            if sequence is not Sequence.CT1:
                image = scanner.thick_slices(image, voxel_mm)
            noisy = scanner.with_noise(self.generator, image, brain)
            _write_image(atlas / f"skull_strip/{sequence.lower()}_skull_strip.nii.gz", noisy, self.atlas.affine)

    def _seen(self, data: Image, frame: Frame, order: int) -> Image:
        return sample(data, self.anatomy.affine, frame, order)

    def _reference_sequence(self) -> Sequence:
        """HD-GLIO-AUTO's choice: in order T1, CT1, T2, FLAIR the smallest voxel volume cut to an integer."""
        order = (Sequence.T1, Sequence.CT1, Sequence.T2, Sequence.FLAIR)
        return min(order, key=lambda s: int(abs(np.linalg.det(self.frames[s].affine[:3, :3]))))


def _shape(image: Image) -> tuple[int, int, int]:
    return image.shape[0], image.shape[1], image.shape[2]


def _hd_glio(labels: Image) -> NDArray[np.uint8]:
    """HD-GLIO-AUTO's convention: 1 non-enhancing T2/FLAIR abnormality, 2 enhancing."""
    whole = (labels == Tissue.EDEMA) | (labels == Tissue.NECROSIS_NONENHANCING)
    return np.where(labels == Tissue.ENHANCING, 2, whole).astype(np.uint8)


def _to_standard(image: Image, affine: Affine) -> tuple[Image, Affine]:
    """Axes flipped, not resampled, towards those of the standard space (L-A-S)."""
    clean = nib.Nifti1Image(image, affine)
    target = nib.orientations.axcodes2ornt(("L", "A", "S"))
    turned = clean.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(affine), target))
    return np.asarray(turned.dataobj, dtype=np.float32), np.asarray(turned.affine)


def _write_image(path: Path, data: NDArray[np.generic], affine: Affine) -> None:
    """Gzipped NIfTI whose bytes depend on data and affine alone (no time stamp)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(nib.Nifti1Image(data, affine).to_bytes(), compresslevel=1, mtime=0))


def _write_transform(path: Path, pose: sitk.Euler3DTransform) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteTransform(pose, str(path))


def _write_flirt(path: Path, moving: Affine, reference: Affine) -> None:
    """FLIRT's 4 x 4 text matrix between the scaled-millimetre frames of two images of one head position."""
    scale = [np.diag([*np.sqrt((a[:3, :3] ** 2).sum(axis=0)), 1.0]) for a in (moving, reference)]
    matrix = scale[1] @ np.linalg.inv(reference) @ moving @ np.linalg.inv(scale[0])
    path.write_text("".join("  ".join(f"{value:.10f}" for value in row) + "  \n" for row in matrix))
