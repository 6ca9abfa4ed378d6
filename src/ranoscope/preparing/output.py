"""A prepared study on disk: LUMIERE's names, so that whatever reads LUMIERE reads it, and each file whole or not there.

Native images are without skull and bias corrected, as LUMIERE's are; atlas images were interpolated once, from the
scanner's grid, with all transforms composed.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813 - the library's own abbreviation
from numpy.typing import NDArray

from ranoscope import runs
from ranoscope.cohort import layout
from ranoscope.domain import LABELS, Segmenter, Sequence, Tissue
from ranoscope.imaging.grid import Grid
from ranoscope.imaging.itk import rigid_to_itk
from ranoscope.imaging.nifti import Volume

Affine = NDArray[np.float64]

# The MNI152 atlas at 1 mm, axes towards Left, Anterior, Superior: LUMIERE's atlas grid (domain notes A4: shape as
# published; affine as in FSL's atlas of that name).
ATLAS = Grid((182, 218, 182), np.array([[-1.0, 0, 0, 90], [0, 1, 0, -126], [0, 0, 1, -72], [0, 0, 0, 1]]))
PICTURE = "quality.png"
_MEASURED = {
    "Enhancing_Core": Tissue.ENHANCING,
    "Necrotic_NonEnhancing": Tissue.NECROSIS_NONENHANCING,
    "Edema_Compartment": Tissue.EDEMA,
}


@dataclass(frozen=True)
class Prepared:
    """What is written of one study.

    ``images``: on their own grids, bias corrected, skull on or off; ``to_atlas``: of each, points of its RAS world to
    the atlas, rigid 4 x 4, mm. ``brain``: 1 inside, on the grid of ``reference``. ``tumour``: ``Tissue`` values on a
    grid of the reference's world; None where there is no mask.
    """

    images: Mapping[Sequence, Volume]
    to_atlas: Mapping[Sequence, Affine]
    reference: Sequence
    brain: Volume
    tumour: Volume | None = None


@dataclass(frozen=True)
class OnAtlas:
    """The study on the atlas grid: images without skull, brain, and tumour where there is a mask."""

    images: Mapping[Sequence, NDArray[np.float32]]
    brain: NDArray[np.bool_]
    tumour: NDArray[np.uint8] | None


def on_atlas(study: Prepared) -> OnAtlas:
    """Bring a study to the atlas grid, each image by one linear interpolation."""
    there = study.to_atlas[study.reference]
    # Between slices of 5 mm the nearest voxel would leave steps; half way between inside and outside does not.
    brain = ATLAS.bring(study.brain.data, study.brain.moved(there)) > 0.5
    images = {
        sequence: np.where(brain, np.maximum(ATLAS.bring(volume.data, volume.moved(study.to_atlas[sequence])), 0), 0)
        for sequence, volume in study.images.items()
    }
    tumour = None if study.tumour is None else bring_labels(study.tumour, there, ATLAS)
    return OnAtlas(images, brain, tumour)


def bring_labels(labels: Volume, moved_by: Affine, grid: Grid) -> NDArray[np.uint8]:
    """``Tissue`` values on ``grid``: each voxel has the tissue that fills most of it, of those in the mask."""
    source = labels.moved(moved_by)
    best = np.full(grid.shape, 0.0, np.float32)
    found = np.zeros(grid.shape, np.uint8)
    for tissue in Tissue:
        share = grid.bring((labels.data == tissue).astype(np.float32), source)
        if tissue is Tissue.BACKGROUND:
            # Beyond the mask's field there is nothing.
            share = np.maximum(share, 1 - grid.bring(np.ones_like(labels.data), source))
        found = np.where(share > best, np.uint8(tissue), found)
        best = np.maximum(best, share)
    return found


def write_study(folder: Path, study: Prepared, atlas: OnAtlas, about: Mapping[str, object], picture: bytes) -> None:
    """Write a visit folder: all of it or nothing (it is made beside its place and moved there).

    Raises:
        StorageError: the disk is full or not writable.
    """
    with runs.atomic_folder(folder) as part:
        _write_native(part, study)
        _write_atlas(part, atlas)
        (part / PICTURE).write_bytes(picture)
        runs.write_json(part / layout.PREPARED, dict(about))


def _write_native(folder: Path, study: Prepared) -> None:
    for sequence, volume in study.images.items():
        back = np.asarray(np.linalg.inv(study.to_atlas[sequence]), dtype=np.float64)
        here = study.brain.moved(back @ study.to_atlas[study.reference])
        brain = Grid.of(volume).bring(study.brain.data, here) > 0.5
        _write_image(folder / layout.sequence_file(sequence), np.where(brain, volume.data, 0), volume.affine)
        _write_image(folder / layout.native_brain_mask(sequence), brain.astype(np.uint8), volume.affine)
        path = folder / layout.native_transform(sequence)
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteTransform(rigid_to_itk(back), str(path))


def _write_atlas(folder: Path, atlas: OnAtlas) -> None:
    for sequence, image in atlas.images.items():
        _write_image(folder / layout.atlas_file(sequence), image, ATLAS.affine)
    _write_image(folder / layout.ATLAS_BRAIN_MASK, atlas.brain.astype(np.uint8), ATLAS.affine)
    if atlas.tumour is None:
        return
    codes = {tissue: label for label, tissue in LABELS[Segmenter.DEEPBRATUMIA].items()}
    # That convention has no label of its own for non-enhancing tumour without necrosis; both are one there.
    codes[Tissue.NONENHANCING_T2] = codes[Tissue.EDEMA]
    table = np.array([codes[tissue] for tissue in Tissue], np.uint8)
    labels = table[atlas.tumour]
    _write_image(folder / layout.ATLAS_MASK, labels, ATLAS.affine)
    # Voxels of the atlas grid are of 1 mm^3.
    volumes = {key: float(np.count_nonzero(labels == codes[tissue])) for key, tissue in _MEASURED.items()}
    runs.write_text(folder / layout.VOLUMES_JSON, json.dumps(volumes))


def _write_image(path: Path, data: NDArray[np.generic], affine: Affine) -> None:
    """Gzipped NIfTI whose bytes depend on data and affine alone (no time stamp)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))
