"""Maps on the scanner's grids, against SimpleITK's own resampling and places worked out from the transform's text."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the library's own abbreviation

from ranoscope.cohort.archive import FolderArchive
from ranoscope.config import PhantomSettings
from ranoscope.domain import SEQUENCES, Sequence, StudyKey
from ranoscope.errors import ImageError
from ranoscope.explaining.native import native_grid, read_rigid
from ranoscope.phantom.cohort import make_phantom

# 6 mm is the coarsest grid of a phantom; its poses turn by degrees and move by millimetres.
SETTINGS = PhantomSettings(patients=2, voxel_mm=6.0, seed=3)
ATLAS = "DeepBraTumIA-segmentation/atlas/skull_strip/brain_mask.nii.gz"
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> tuple[Path, StudyKey]:
    """The imaging folder of a small phantom, and a visit of it that has both segmentations."""
    root = tmp_path_factory.mktemp("native")
    make_phantom(root, SETTINGS, 1, lambda *_: None)
    imaging = root / "Imaging"
    archive = FolderArchive(imaging)
    return imaging, next(key for key in archive.studies() if ATLAS in archive.names(key))


@pytest.fixture
def visit(written, tmp_path) -> tuple[FolderArchive, StudyKey, Path]:
    """A copy that a test may change, and where its files are."""
    imaging, key = written
    shutil.copytree(imaging / str(key), tmp_path / "Imaging" / str(key))
    return FolderArchive(tmp_path / "Imaging"), key, tmp_path / "Imaging" / str(key)


def transform_of(folder: Path, sequence: Sequence) -> Path:
    return folder / f"DeepBraTumIA-segmentation/native/transformation/{sequence.lower()}.tfm"


def atlas_affine(folder: Path) -> np.ndarray:
    return nib.load(folder / ATLAS).affine


def blob(shape: tuple[int, ...], affine: np.ndarray, world: np.ndarray, width_mm: float = 14.0) -> np.ndarray:
    """A ball of Gaussian fall-off around a place of the RAS world."""
    voxels = np.stack([*np.indices(shape), np.ones(shape)], axis=-1)
    distance = ((voxels @ affine.T)[..., :3] - world) ** 2
    return np.exp(-distance.sum(axis=-1) / (2 * width_mm**2)).astype(np.float32)


def centre(data: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Centre of mass in RAS mm."""
    middle = [float((np.arange(size) * data.sum(axis=others)).sum() / data.sum()) for size, others in _axes(data)]
    return (affine @ [*middle, 1.0])[:3]


def _axes(data: np.ndarray) -> list[tuple[int, tuple[int, ...]]]:
    return [(size, tuple({0, 1, 2} - {axis})) for axis, size in enumerate(data.shape)]


def moved_by_text(path: Path, world: np.ndarray) -> np.ndarray:
    """Where the transform's text sends a RAS point: Euler angles about x, y and z, z first, in LPS."""
    text = path.read_text()
    numbers = {name: [float(v) for v in values.split()] for name, values in re.findall(r"(\w+): ([-\d.e+ ]+)", text)}
    (ax, ay, az, *shift), fixed = numbers["Parameters"], np.array(numbers["FixedParameters"][:3])
    turn = np.eye(3)
    for axis, angle in ((2, az), (0, ax), (1, ay)):
        one, other = [place for place in range(3) if place != axis]
        step = np.eye(3)
        step[one, one] = step[other, other] = np.cos(angle)
        step[one, other], step[other, one] = -np.sin(angle), np.sin(angle)
        if axis == 1:
            step = step.T
        turn = turn @ step
    flip = LPS[:3, :3]
    return flip @ (turn @ (flip @ world - fixed) + fixed + np.array(shift))


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_a_blob_lands_where_the_transform_says(visit, sequence):
    archive, key, folder = visit
    affine, shape = atlas_affine(folder), nib.load(folder / ATLAS).shape
    world = np.array([-24.0, 18.0, 12.0])
    grid = native_grid(archive, key, sequence)
    assert grid.direction == "atlas to scanner"
    assert grid.dice > 0.95
    assert grid.dice > grid.other_dice + 0.05
    image = grid.bring(blob(shape, affine, world), affine)
    expected = moved_by_text(transform_of(folder, sequence), world)
    own = nib.load(folder / f"{sequence}.nii.gz")
    found = centre(np.asarray(image.dataobj), own.affine)
    assert np.abs(expected - world).max() > 1, "the visit lies elsewhere than the atlas"
    assert np.abs(found - expected).max() < 0.5 * min(own.header.get_zooms())
    np.testing.assert_allclose(image.affine, own.affine, atol=1e-4)
    assert image.shape == own.shape
    assert image.get_data_dtype() == np.float32
    assert [int(image.header[code]) for code in ("sform_code", "qform_code")] == [
        int(own.header[code]) or 1 for code in ("sform_code", "qform_code")
    ]


def test_values_are_those_of_simpleitk(visit, tmp_path):
    archive, key, folder = visit
    reference = nib.load(folder / ATLAS)
    data = np.random.default_rng(0).random(reference.shape, dtype=np.float32)
    nib.save(nib.Nifti1Image(data, reference.affine), tmp_path / "map.nii.gz")
    moving, fixed = (
        sitk.ReadImage(str(path), sitk.sitkFloat32) for path in (tmp_path / "map.nii.gz", folder / "CT1.nii.gz")
    )
    inverse = sitk.ReadTransform(str(transform_of(folder, Sequence.CT1))).GetInverse()
    expected = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, inverse, sitk.sitkLinear, 0.0)).T
    found = np.asarray(native_grid(archive, key, Sequence.CT1).bring(data, reference.affine).dataobj)
    # SimpleITK keeps the outermost half voxel's value where ours has ended; inside of that both interpolate linearly.
    inner = sitk.Resample(moving * 0 + 1, fixed, inverse, sitk.sitkLinear, 0.0)
    inside = (sitk.GetArrayFromImage(inner).T > 0) & (found > 0)
    assert inside.sum() > 10_000
    assert np.quantile(np.abs(found - expected)[inside], 0.999) < 1e-3


@pytest.mark.parametrize("turned", [(0,), (1,), (0, 1), (0, 1, 2)])
def test_an_atlas_with_axes_the_other_way_gives_the_same(visit, turned):
    """R-A-S, L-P-S and others: the same brain mask and map, their axes turned and their affines with them."""
    archive, key, folder = visit
    reference = nib.load(folder / ATLAS)
    data = blob(reference.shape, reference.affine, np.array([30.0, -20.0, 25.0]))
    before = native_grid(archive, key, Sequence.T2).bring(data, reference.affine)
    flip = np.eye(4)
    for axis in turned:
        flip[axis, axis], flip[axis, 3] = -1, reference.shape[axis] - 1
    affine = reference.affine @ flip
    nib.save(nib.Nifti1Image(np.flip(np.asarray(reference.dataobj), turned), affine), folder / ATLAS)
    grid = native_grid(archive, key, Sequence.T2)
    after = grid.bring(np.flip(data, turned), affine)
    assert grid.direction == "atlas to scanner"
    np.testing.assert_allclose(np.asarray(after.dataobj), np.asarray(before.dataobj), atol=1e-5)


def test_a_transform_written_the_other_way_is_found_out(visit):
    archive, key, folder = visit
    reference = nib.load(folder / ATLAS)
    data = blob(reference.shape, reference.affine, np.array([30.0, -20.0, 25.0]))
    before = native_grid(archive, key, Sequence.FLAIR)
    path = transform_of(folder, Sequence.FLAIR)
    sitk.WriteTransform(sitk.ReadTransform(str(path)).GetInverse(), str(path))
    after = native_grid(archive, key, Sequence.FLAIR)
    assert (before.direction, after.direction) == ("atlas to scanner", "scanner to atlas")
    assert (after.dice, after.other_dice) == pytest.approx((before.dice, before.other_dice))
    one, other = (np.asarray(grid.bring(data, reference.affine).dataobj) for grid in (before, after))
    np.testing.assert_allclose(one, other, atol=1e-4)


def scaled(text: str) -> str:
    head = "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
    return head + "Parameters: 1.2 0 0 0 1.2 0 0 0 1.2 0 0 0\nFixedParameters: 0 0 0\n"


def with_parameters(values: str):
    return lambda text: re.sub(r"^Parameters: .*$", f"Parameters: {values}", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda text: "not a transform\n", "ITK's text file of one transform"),
        (lambda text: text + text[text.index("Transform:") :], "ITK's text file of one transform"),
        (lambda text: text[: text.index("Parameters")], "6 finite numbers as Parameters"),
        (lambda text: text[: text.index("Fixed")], "3 finite numbers as FixedParameters"),
        (with_parameters("0.1 0 0 1"), "6 finite numbers as Parameters"),
        (with_parameters("0.1 0 0 1 2 3 4"), "6 finite numbers as Parameters"),
        (with_parameters("0.1 0 0 nan 2 3"), "6 finite numbers as Parameters"),
        (with_parameters("0.1 0 0 x 2 3"), "6 finite numbers as Parameters"),
        (scaled, "a rigid transform"),
        (lambda text: text.replace("Euler3DTransform_double_3_3", "Euler2DTransform_double_2_2"), "in 3-D"),
        (lambda text: text.replace("Euler3DTransform", "Similarity3DTransform"), "a rigid transform in 3-D"),
        (with_parameters("0 0 0 400 0 0"), "Dice 0.00 and 0.00"),
    ],
    ids=["text", "two", "cut", "cut late", "few", "many", "nan", "no number", "scales", "flat", "similarity", "afar"],
)
def test_a_spoilt_transform_is_refused_by_name(visit, spoil, expected):
    archive, key, folder = visit
    path = transform_of(folder, Sequence.CT1)
    path.write_text(spoil(path.read_text()))
    with pytest.raises(ImageError) as caught:
        native_grid(archive, key, Sequence.CT1)
    assert expected in str(caught.value)
    assert f"{key}/DeepBraTumIA-segmentation/native/transformation/ct1.tfm" in str(caught.value)


def test_an_absent_transform_is_refused_by_name(visit):
    archive, key, folder = visit
    transform_of(folder, Sequence.T1).unlink()
    with pytest.raises(ImageError, match=r"t1\.tfm"):
        native_grid(FolderArchive(archive.path), key, Sequence.T1)


def rigid_text(kind: str, values: list[float], fixed: list[float]) -> bytes:
    numbers = (" ".join(map(str, part)) for part in (values, fixed))
    head = f"#Insight Transform File V1.0\n#Transform 0\nTransform: {kind}_double_3_3\n"
    return (head + "Parameters: {}\nFixedParameters: {}\n".format(*numbers)).encode()


@pytest.mark.parametrize(
    ("kind", "turn"),
    [
        ("VersorRigid3DTransform", [0.0, 0.0, np.sin(0.2)]),
        ("QuaternionRigidTransform", [0.0, 0.0, np.sin(0.2), np.cos(0.2)]),
        ("Euler3DTransform", [0.0, 0.0, 0.4]),
        ("AffineTransform", [np.cos(0.4), -np.sin(0.4), 0, np.sin(0.4), np.cos(0.4), 0, 0, 0, 1]),
        ("MatrixOffsetTransformBase", [np.cos(0.4), -np.sin(0.4), 0, np.sin(0.4), np.cos(0.4), 0, 0, 0, 1]),
    ],
)
def test_every_way_of_writing_a_rigid_transform_is_read(kind, turn):
    """0.4 radians about z through (10, 20, 30), then a shift, in LPS; in RAS x and y change signs."""
    found = read_rigid(rigid_text(kind, [*turn, 1, 2, 3], [10, 20, 30]), "ct1.tfm")
    turned = np.array([[np.cos(0.4), -np.sin(0.4), 0], [np.sin(0.4), np.cos(0.4), 0], [0, 0, 1]])
    lps = turned @ (np.array([5.0, -7, 11]) - [10, 20, 30]) + [10, 20, 30] + np.array([1, 2, 3])
    assert (found @ [-5, 7, 11, 1]).tolist() == pytest.approx([-lps[0], -lps[1], lps[2], 1])


def test_a_shift_alone_is_read():
    found = read_rigid(rigid_text("TranslationTransform", [1, 2, 3], []), "ct1.tfm")
    assert (found @ [0, 0, 0, 1]).tolist() == [-1, -2, 3, 1]
