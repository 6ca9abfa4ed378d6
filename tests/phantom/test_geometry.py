"""Where things are: transforms that map, oblique thick slices, and the full-size grid of a real visit."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy import ndimage

from ranoscope.domain import SEQUENCES, Sequence, Tissue
from ranoscope.phantom.anatomy import Anatomy, atlas_grid, make_anatomy
from ranoscope.phantom.courses import Lesion
from ranoscope.phantom.scanner import draw_pose, native_frames
from ranoscope.phantom.tumour import draw_tissue, make_sites
from ranoscope.phantom.writer import VisitContent, write_visit

TOOL = "DeepBraTumIA-segmentation"


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One visit at 3 mm with one tumour of 40 ml, seed chosen so that the head is well off the atlas."""
    generator = np.random.default_rng(4)
    anatomy = make_anatomy(generator, 3.0)
    tissue = draw_tissue(anatomy, make_sites(generator, anatomy, 1), (Lesion(25_000, 15_000, 30_000),))
    folder = tmp_path_factory.mktemp("geometry") / "week-000"
    write_visit(folder, anatomy, VisitContent(tissue), np.random.default_rng(4))
    return folder


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ball in a ball on LUMIERE's own grid; the deformed brain is left to the coarser tests."""
    shape, affine = atlas_grid(1.0)
    distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(np.ogrid[:182, :218, :182], (90, 110, 80), strict=True)))
    brain, white = distance < 40, (distance < 30).astype(np.float32)
    grey = brain.astype(np.float32) - white
    nothing = np.zeros(shape, np.float32)
    tissue = np.where(distance < 12, Tissue.ENHANCING, Tissue.BACKGROUND).astype(np.uint8)
    tissue[distance < 8] = Tissue.NECROSIS_NONENHANCING
    folder = tmp_path_factory.mktemp("full") / "week-000"
    ball = Anatomy(grey, white, nothing, nothing, brain, affine)
    write_visit(folder, ball, VisitContent(tissue), np.random.default_rng(0))
    return folder


def centre(path: Path, *labels: int) -> NDArray[np.float64]:
    """Centre of the voxels with one of ``labels``, in ITK's world (LPS, mm)."""
    image = sitk.ReadImage(str(path))
    place = np.argwhere(np.isin(sitk.GetArrayFromImage(image), labels)).mean(axis=0)[::-1]
    return np.array(image.TransformContinuousIndexToPhysicalPoint(place.tolist()))


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Dice."""
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


@pytest.mark.parametrize("sequence", ["ct1", "t1", "t2", "flair"])
def test_tfm_brings_native_masks_onto_the_atlas(visit, sequence):
    """ITK resamples the scanner-space brain with the file as published: atlas points to scanner points."""
    atlas = sitk.ReadImage(str(visit / TOOL / "atlas/skull_strip/brain_mask.nii.gz"))
    native = sitk.ReadImage(str(visit / TOOL / f"native/skull_strip/{sequence}_brain_mask.nii.gz"))
    transform = sitk.ReadTransform(str(visit / TOOL / f"native/transformation/{sequence}.tfm"))
    brain = sitk.GetArrayFromImage(atlas) > 0

    def moved(by: sitk.Transform) -> NDArray[np.bool_]:
        return sitk.GetArrayFromImage(sitk.Resample(native, atlas, by, sitk.sitkNearestNeighbor)) > 0

    right = overlap(brain, moved(transform))
    assert right > 0.94
    assert right > overlap(brain, moved(sitk.Transform())) + 0.02
    assert right > overlap(brain, moved(transform.GetInverse())) + 0.02


def test_tfm_brings_the_tumour_centre_to_within_a_voxel(visit):
    transform = sitk.ReadTransform(str(visit / TOOL / "native/transformation/ct1.tfm"))
    here = centre(visit / TOOL / "atlas/segmentation/seg_mask.nii.gz", 1, 2)
    there = centre(visit / TOOL / "native/segmentation/ct1_seg_mask.nii.gz", 1, 2)
    assert np.linalg.norm(np.array(transform.TransformPoint(here.tolist())) - there) < 1.0
    assert np.linalg.norm(here - there) > 3.0


def test_tfm_holds_what_the_atlas_registration_left_over(full_size):
    """The rim that shines on CT1: its centre, taken over intensities, is mapped to a fifth of a millimetre.

    Masks are nearest neighbours and would not tell: they sit up to half a voxel beside the images.
    """
    transform = sitk.ReadTransform(str(full_size / TOOL / "native/transformation/ct1.tfm"))

    def shining(name: str) -> NDArray[np.float64]:
        image = sitk.ReadImage(str(full_size / name), sitk.sitkFloat32)
        data = sitk.GetArrayFromImage(image)
        excess = np.clip(data - 1.5 * np.median(data[data > 0]), 0, None)
        place = [
            float((excess.sum(axis=tuple({0, 1, 2} - {k})) * np.arange(n)).sum()) for k, n in enumerate(data.shape)
        ]
        return np.array(image.TransformContinuousIndexToPhysicalPoint((np.array(place[::-1]) / excess.sum()).tolist()))

    here, there = shining(f"{TOOL}/atlas/skull_strip/ct1_skull_strip.nii.gz"), shining("CT1.nii.gz")
    error = float(np.linalg.norm(np.array(transform.TransformPoint(here.tolist())) - there))
    assert error < 0.2


def test_tfm_is_rigid_itk_text(visit):
    for path in visit.glob(f"{TOOL}/native/transformation/*.tfm"):
        assert path.read_text().startswith("#Insight Transform File V1.0")
        matrix = np.array(sitk.Euler3DTransform(sitk.ReadTransform(str(path))).GetMatrix()).reshape(3, 3)
        assert np.linalg.det(matrix) == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)


@pytest.mark.parametrize("sequence", ["CT1", "T1", "T2", "FLAIR"])
def test_flirt_matrix_maps_moving_to_reference(visit, sequence):
    """Applied by FSL's rule, written here from FSL's documentation: mm = voxel x edge, i reversed where det > 0."""
    folder = visit / "HD-GLIO-AUTO-segmentation/registered"
    moving = nib.Nifti1Image.from_filename(folder / f"{sequence}_r2s_bet.nii.gz")
    fixed = nib.Nifti1Image.from_filename(folder / f"{sequence}_r2s_bet_reg.nii.gz")
    matrix = np.loadtxt(folder / f"{sequence}_r2s_bet_reg.mat")

    def to_mm(image: nib.Nifti1Image) -> NDArray[np.float64]:
        edges = np.array(image.header.get_zooms()[:3], dtype=float)
        scaled = np.diag([*edges, 1.0])
        if np.linalg.det(image.affine[:3, :3]) > 0:
            swap = np.diag([-1.0, 1.0, 1.0, 1.0])
            swap[0, 3] = (image.shape[0] - 1) * edges[0]
            scaled = swap @ scaled
        return scaled

    def resampled(by: NDArray[np.float64]) -> NDArray[np.float64]:
        pull = np.linalg.inv(to_mm(moving)) @ np.linalg.inv(by) @ to_mm(fixed)
        data = np.asarray(moving.dataobj, dtype=float)
        return ndimage.affine_transform(data, pull[:3, :3], pull[:3, 3], output_shape=fixed.shape, order=1)

    expected = np.asarray(fixed.dataobj, dtype=float)
    assert np.abs(resampled(matrix) - expected).max() <= 1.0
    if not np.allclose(matrix, np.eye(4), atol=1e-6):
        assert np.abs(resampled(np.linalg.inv(matrix)) - expected).max() > 20


def test_the_registered_grid_is_that_of_the_standard_turned_reference(visit):
    folder = visit / "HD-GLIO-AUTO-segmentation/registered"
    mask = nib.Nifti1Image.from_filename(folder / "segmentation.nii.gz")
    assert nib.aff2axcodes(mask.affine) == ("R", "A", "S")
    same = [s for s in SEQUENCES if np.allclose(np.loadtxt(folder / f"{s}_r2s_bet_reg.mat"), np.eye(4), atol=1e-6)]
    assert len(same) == 1
    own = nib.Nifti1Image.from_filename(folder / f"{same[0]}_r2s_bet.nii.gz")
    np.testing.assert_allclose(own.affine, mask.affine, atol=1e-4)


def test_native_grids_are_oblique_and_mostly_thick(visit):
    thick = 0
    for sequence in SEQUENCES:
        affine = nib.Nifti1Image.from_filename(visit / f"{sequence}.nii.gz").affine
        assert nib.aff2axcodes(affine) == ("L", "P", "S")
        turn = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        assert 0.2 < np.degrees(np.arccos(np.clip(turn[2, 2], -1, 1))) < 25
        slice_mm = np.linalg.norm(affine[:3, 2])
        assert slice_mm == pytest.approx(3, abs=1e-4) or 5 - 1e-4 <= slice_mm <= 6 + 1e-4
        thick += slice_mm > 4
    assert thick == 3


def test_now_and_then_t1_is_the_volumetric_sequence():
    generator = np.random.default_rng(0)
    drawn = [native_frames(generator, 1.0, draw_pose(generator, 5, 5)) for _ in range(200)]
    in_3d = [s for frames in drawn for s in SEQUENCES if frames[s].slice_mm < 2]
    assert len(in_3d) == 200
    assert set(in_3d) == {Sequence.CT1, Sequence.T1}
    assert 10 <= in_3d.count(Sequence.T1) <= 60


def test_poses_are_rigid_and_turn_about_the_head():
    pose = draw_pose(np.random.default_rng(1), 5.0, 0.0)
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(pose @ [0, -18, 10, 1], [0, -18, 10, 1], atol=1e-9)


def test_full_size_visit(full_size):
    place = full_size / TOOL / "atlas"
    mask = nib.Nifti1Image.from_filename(place / "segmentation/seg_mask.nii.gz")
    assert mask.shape == (182, 218, 182)
    np.testing.assert_array_equal(mask.affine, [[-1, 0, 0, 90], [0, 1, 0, -126], [0, 0, 1, -72], [0, 0, 0, 1]])
    volumes = json.loads((place / "segmentation/measured_volumes_in_mm3.json").read_text())
    counts = np.bincount(np.asarray(mask.dataobj).ravel(), minlength=4)
    assert list(volumes.values()) == counts[1:].tolist()
    assert sum(volumes.values()) == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.08)
    assert nib.Nifti1Image.from_filename(full_size / "CT1.nii.gz").header.get_zooms() == pytest.approx((1, 1, 1))
