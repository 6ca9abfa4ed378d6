"""A prepared study on disk: LUMIERE's names and grid, one interpolation, volumes as they were."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the library's own abbreviation
from scipy.spatial.transform import Rotation

from ranoscope.cohort import layout
from ranoscope.domain import LABELS, Segmenter, Sequence, Tissue
from ranoscope.imaging.itk import itk_to_rigid, rigid_to_itk
from ranoscope.imaging.nifti import Volume, decode_labels, require_measured_volumes
from ranoscope.preparing.output import ATLAS, PICTURE, Prepared, bring_labels, on_atlas, write_study

RADII_MM, TUMOUR_MM3 = (60.0, 75.0, 60.0), 4 / 3 * np.pi * 15**3


def rigid(degrees, shift):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def places(shape, affine):
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return indices @ affine[:3, :3].T + affine[:3, 3]


def scan(shape, edges, to_atlas, where):
    """A bright ball in an ellipsoid, drawn in the atlas and scanned where ``to_atlas`` says; tumour labels beside."""
    affine = np.diag([*edges, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) * edges / 2
    world = places(shape, to_atlas @ affine)
    brain = ((world - (0, -17, 8)) ** 2 / np.square(RADII_MM)).sum(axis=-1) < 1
    near = np.linalg.norm(world - (20, -10, 20), axis=-1)
    labels = np.select([near < 8, near < 15], [Tissue.ENHANCING, Tissue.EDEMA], Tissue.BACKGROUND)
    data = np.where(brain, 100.0 + 50 * (near < 15), 30.0)
    return tuple(Volume(one.astype(np.float32), affine, where) for one in (data, brain, labels))


@pytest.fixture(scope="module")
def study():
    to_atlas = {Sequence.CT1: rigid((4, -3, 8), (3, -15, 12)), Sequence.T2: rigid((2, 5, -6), (-2, -18, 9))}
    fine, brain, tumour = scan((150, 170, 140), (1.0, 1.0, 1.2), to_atlas[Sequence.CT1], "CT1")
    thick, _, _ = scan((160, 180, 30), (1.0, 1.0, 5.0), to_atlas[Sequence.T2], "T2")
    return Prepared({Sequence.CT1: fine, Sequence.T2: thick}, to_atlas, Sequence.CT1, brain, tumour)


@pytest.fixture(scope="module")
def atlas(study):
    return on_atlas(study)


@pytest.fixture(scope="module")
def written(study, atlas, tmp_path_factory):
    folder = tmp_path_factory.mktemp("written") / "week-000"
    write_study(folder, study, atlas, {"made_from": "x"}, b"PNG")
    return folder


def test_all_that_lumiere_readers_look_for_is_there(written):
    expected = {layout.PREPARED, PICTURE, layout.ATLAS_MASK, layout.ATLAS_BRAIN_MASK, layout.VOLUMES_JSON}
    for sequence in (Sequence.CT1, Sequence.T2):
        expected |= {make(sequence) for make in (layout.sequence_file, layout.atlas_file)}
        expected |= {make(sequence) for make in (layout.native_brain_mask, layout.native_transform)}
    found = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    assert found == expected
    for name in (layout.atlas_file(Sequence.T2), layout.ATLAS_BRAIN_MASK, layout.ATLAS_MASK):
        image = nib.load(written / name)
        assert image.shape == (182, 218, 182)
        assert nib.aff2axcodes(image.affine) == ("L", "A", "S")
        assert np.array_equal(image.affine, ATLAS.affine)


def test_every_sequence_lies_where_its_transform_says(atlas):
    """The ball is at its place in the atlas, whichever grid it was scanned on; the images were interpolated once."""
    for sequence, image in atlas.images.items():
        ball = np.argwhere(image > 125)
        centre = ATLAS.affine[:3, :3] @ ball.mean(axis=0) + ATLAS.affine[:3, 3]
        assert centre == pytest.approx((20, -10, 20), abs=0.3), sequence
        assert image[~atlas.brain].max() == 0
        assert image.dtype == np.float32


def test_volumes_stay_as_they_were(study, atlas):
    native = study.tumour.voxel_volume_mm3
    for tissue in (Tissue.ENHANCING, Tissue.EDEMA):
        before = np.count_nonzero(study.tumour.data == tissue) * native
        assert np.count_nonzero(atlas.tumour == tissue) == pytest.approx(before, rel=0.01)
    assert np.count_nonzero(atlas.tumour) == pytest.approx(TUMOUR_MM3, rel=0.01)
    assert atlas.brain.sum() == pytest.approx(4 / 3 * np.pi * np.prod(RADII_MM), rel=0.01)


def test_masks_and_their_table_agree_for_the_readers_of_lumiere(written):
    path = written / layout.ATLAS_MASK
    labels, mask = decode_labels(path.read_bytes(), "mask", Segmenter.DEEPBRATUMIA)
    measured = (written / layout.VOLUMES_JSON).read_bytes()
    require_measured_volumes(labels, mask.voxel_volume_mm3, measured, "table")
    assert json.loads(measured)["Enhancing_Core"] == pytest.approx(4 / 3 * np.pi * 8**3, rel=0.03)
    assert set(np.unique(nib.load(path).dataobj)) <= set(LABELS[Segmenter.DEEPBRATUMIA])


def test_native_images_are_stripped_on_their_own_grids(study, written):
    for sequence, volume in study.images.items():
        image = nib.load(written / layout.sequence_file(sequence))
        mask = np.asarray(nib.load(written / layout.native_brain_mask(sequence)).dataobj) > 0
        data = np.asarray(image.dataobj)
        assert np.allclose(image.affine, volume.affine, atol=1e-5)
        assert np.array_equal(data[mask], volume.data[mask])
        assert not data[~mask].any()
        # The brain's mask came from the other grid: it covers what was brain there, and no air.
        assert np.mean(data[mask] > 50) > 0.98


def test_transforms_are_itks_from_atlas_to_scanner(study, written):
    for sequence, to_atlas in study.to_atlas.items():
        read = itk_to_rigid(sitk.ReadTransform(str(written / layout.native_transform(sequence))))
        assert np.allclose(read, np.linalg.inv(to_atlas), atol=1e-6)


def test_itk_and_back_is_the_same_motion():
    matrix = rigid((10, -20, 30), (5, -7, 11))
    assert np.allclose(itk_to_rigid(rigid_to_itk(matrix)), matrix)


def test_labels_beyond_their_field_are_background():
    labels = Volume(np.full((4, 4, 4), float(Tissue.EDEMA), np.float32), np.eye(4), "mask")
    found = bring_labels(labels, np.eye(4), ATLAS)
    assert np.count_nonzero(found == Tissue.EDEMA) == pytest.approx(64, abs=1)


def test_a_study_written_again_replaces_the_first_whole(study, atlas, written, tmp_path):
    folder = tmp_path / "week-000"
    folder.mkdir()
    (folder / "old.nii.gz").write_bytes(b"old")
    (folder.with_name(".week-000.part")).mkdir()
    write_study(folder, study, atlas, {"made_from": "y"}, b"PNG")
    assert not (folder / "old.nii.gz").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["week-000"]
    assert (folder / layout.ATLAS_MASK).read_bytes() == (written / layout.ATLAS_MASK).read_bytes()
