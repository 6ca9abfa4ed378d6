"""Heads brought together: against poses that are known, on images made from formulas and on a patient scanned twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ranoscope.imaging.nifti import Volume, decode
from ranoscope.measuring.alignment import Alignment, Outlined, align, on_one_grid
from ranoscope.measuring.linking import TrackingSettings
from ranoscope.measuring.tracking import track
from ranoscope.preparing.registration import Registration, RegistrationSettings

MS = Path("/work/shared/data/ms_two_timepoints")
SETTINGS = RegistrationSettings(fine_mm=3.0)
COARSE = RegistrationSettings(rough_mm=8.0, fine_mm=4.0)
GENERATOR = np.random.default_rng(3)
SPOTS = GENERATOR.uniform(-55, 55, (60, 3))
WIDTHS = GENERATOR.uniform(6, 16, 60)
HEIGHTS = GENERATOR.uniform(-1, 1, 60)
RADII_MM = np.array([65.0, 80.0, 62.0])
FIRST_GRID = ((56, 66, 52), (3.0, 3.0, 3.0))


def anatomy(points: np.ndarray) -> np.ndarray:
    """Intensity at points (n, 3) of the head's own millimetres: an ellipsoid of soft spots, 0 outside.

    It fades over 3 mm at its edge, as voxels that lie half in it do.
    """
    edge = np.clip((1 - np.sqrt(((points / RADII_MM) ** 2).sum(axis=1))) * RADII_MM.mean() / 3 + 0.5, 0, 1)
    value = np.full(len(points), 5.0)
    for spot, width, height in zip(SPOTS, WIDTHS, HEIGHTS, strict=True):
        value += height * np.exp(-((points - spot) ** 2).sum(axis=1) / (2 * width**2))
    return edge * value


def tumour(points: np.ndarray) -> np.ndarray:
    return np.where(((points - (25, 20, 10)) ** 2).sum(axis=1) < 18**2, 4.0, 0.0)


def image(pose: np.ndarray, grid=FIRST_GRID, extra=None) -> Volume:
    """The head, moved by ``pose`` (head to world), as sampled on a grid about the world's middle."""
    shape, edges = grid
    affine = np.diag([*edges, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) * edges / 2
    world = np.indices(shape).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    head = (world - pose[:3, 3]) @ pose[:3, :3]
    data = anatomy(head) + (0 if extra is None else extra(head) * (anatomy(head) > 0))
    return Volume(data.reshape(shape).astype(np.float32), affine, "Patient-001/week-000")


def pose(degrees: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def errors_mm(found: Alignment, truth: np.ndarray) -> np.ndarray:
    """Distance between where points of the head land and where they should. ``truth``: head to the later world."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 15)] * 3), axis=-1).reshape(-1, 3)
    points = np.c_[grid[(grid**2).sum(axis=1) < 1] * RADII_MM, np.ones(((grid**2).sum(axis=1) < 1).sum())]
    return np.linalg.norm((found.to_first @ truth @ points.T - points.T)[:3], axis=0)


@pytest.fixture(scope="module")
def first() -> Volume:
    return image(np.eye(4))


@pytest.mark.parametrize(
    ("moved", "grid", "extra"),
    [
        (pose((1, -2, 1.5), (2, -1, 3)), FIRST_GRID, tumour),
        (pose((6, -4, 8), (9, -7, 11)), ((70, 80, 24), (2.3, 2.3, 6.0)), None),
        (pose((-14, 10, 12), (-15, 12, 8)), ((60, 66, 60), (3.0, 3.0, 3.0)), None),
    ],
    ids=["residual of an atlas, and a tumour that came", "thick slices", "another scanner"],
)
def test_a_known_pose_is_found_within_a_millimetre(first, moved, grid, extra):
    found = align(first, image(moved, grid, extra), SETTINGS)
    assert found.note is None
    assert errors_mm(found, moved).max() < 1.0
    assert found.similarity_after > found.similarity_before
    turn = found.to_first[:3, :3]
    assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(turn) == pytest.approx(1.0)


def test_the_same_head_twice_stays_where_it_is_without_a_note(first):
    found = align(first, first, COARSE)
    assert found.note is None
    assert np.abs(found.to_first - np.eye(4)).max() < 0.05


def test_the_same_images_give_the_same_transform(first):
    later = image(pose((2, 2, -3), (3, 0, -2)))
    assert align(first, later, COARSE).to_first.tobytes() == align(first, later, COARSE).to_first.tobytes()


@pytest.mark.parametrize("which", ["first", "later"])
def test_an_empty_image_is_taken_as_it_lies_and_said_so(first, which):
    empty = Volume(np.zeros_like(first.data), first.affine, "Patient-001/week-010")
    found = align(empty, first, SETTINGS) if which == "first" else align(first, empty, SETTINGS)
    assert np.array_equal(found.to_first, np.eye(4))
    assert "in Patient-001/week-010" in found.note
    assert found.note.endswith("It is taken as it lies.")


@pytest.mark.parametrize("problem", [None, "there and back differ by 9.0 mm (at most 1 mm)"])
def test_a_registration_that_is_not_to_be_trusted_is_not_used(first, monkeypatch, problem):
    wild = pose((20, 0, 0), (30, 0, 0))
    similarity = 1.1 if problem is None else 1.3
    made = Registration(wild, 9.0, similarity, 1.2, 0.9, problem)
    monkeypatch.setattr("ranoscope.measuring.alignment.register", lambda *_: made)
    found = align(first, first, SETTINGS)
    assert np.array_equal(found.to_first, np.eye(4))
    assert (found.similarity_before, found.similarity_after) == (1.2, 1.2)
    assert found.note == (None if problem is None else f"registration failed ({problem}); taken as it lies")


# -- a patient scanned twice -------------------------------------------------------------------------------------------


def published(name: str) -> np.ndarray:
    """An ITK text transform (LPS, about a centre) as a RAS matrix; it maps the target's points to the source's."""
    lines = (MS / name).read_text().splitlines()
    values, centre = (np.array([float(one) for one in line.split()[1:]]) for line in lines[3:5])
    lps = np.eye(4)
    lps[:3, :3] = values[:9].reshape(3, 3)
    lps[:3, 3] = values[9:] + centre - lps[:3, :3] @ centre
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    return flip @ lps @ flip


@pytest.mark.skipif(not MS.is_dir(), reason="the two-visit MRI of Lesjak et al. is not here")
@pytest.mark.parametrize(("sequence", "limit_mm"), [("T1W", 0.8)])
def test_a_patient_scanned_twice_lands_where_the_published_transforms_say(sequence, limit_mm):
    """Raw MRI of two visits on different grids, 10 mm apart. Mean over the brain."""
    brain = decode((MS / "brainmask.nii.gz").read_bytes(), "brainmask")
    points = np.argwhere(brain.data > 0)[::200]
    common = brain.affine @ np.c_[points, np.ones(len(points))].T
    images, places = [], []
    for study in ("study1", "study2"):
        to_scanner = published(f"{study}_FLAIR_to_common_space.txt")
        if sequence != "FLAIR":
            to_scanner = published(f"{study}_{sequence}_intrastudy_to_FLAIR.txt") @ to_scanner
        images.append(decode((MS / f"{study}_{sequence}.nii.gz").read_bytes(), study))
        places.append(to_scanner @ common)
    found = align(images[0], images[1], SETTINGS)
    assert np.linalg.norm((places[1] - places[0])[:3], axis=0).mean() > 10
    assert np.linalg.norm((found.to_first @ places[1] - places[0])[:3], axis=0).mean() < limit_mm


# -- one grid for all scans --------------------------------------------------------------------------------------------


def outlined(labels: np.ndarray, edges=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0), to_first=None) -> Outlined:
    affine = np.diag([*edges, 1.0])
    affine[:3, 3] = origin
    return Outlined(labels.astype(np.int32), affine, np.eye(4) if to_first is None else to_first)


def box(shape, low, high, label=1) -> np.ndarray:
    labels = np.zeros(shape, np.int32)
    labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = label
    return labels


def test_scans_of_one_grid_are_not_resampled():
    """Voxels of 1 x 1 x 3 mm, one scan whole and one cut out of the same lattice: cut to what holds both lesions."""
    one, other = box((9, 9, 9), (2, 2, 2), (5, 5, 5)), box((9, 9, 9), (4, 2, 2), (7, 5, 6), label=2)
    arrays, edges = on_one_grid([outlined(one, (1, 1, 3)), outlined(other[3:], (1, 1, 3), origin=(3, 0, 0))])
    assert edges == (1.0, 1.0, 3.0)
    both = np.stack(arrays)
    both = both[:, *(slice(a.min(), a.max() + 1) for a in np.nonzero(both.any(axis=0)))]
    assert np.array_equal(both[0], one[2:7, 2:5, 2:6])
    assert np.array_equal(both[1], other[2:7, 2:5, 2:6])


def test_grids_that_lie_half_a_voxel_apart_are_not_one():
    one = box((9, 9, 9), (2, 2, 2), (5, 5, 5))
    _, edges = on_one_grid([outlined(one, (3, 3, 3)), outlined(one, (3, 3, 3), origin=(1.5, 0, 0))])
    assert edges == (1.0, 1.0, 1.0)


def test_another_grid_and_a_moved_head_land_on_the_same_voxels():
    """A cube of 8 mm in two worlds 100 mm apart, on grids of 1 and 2 mm, one of them turned by a quarter."""
    first = outlined(box((20, 20, 20), (5, 6, 7), (13, 14, 15)), origin=(10, 10, 10))
    turned = np.array([[0.0, -1, 0, 36], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    back = pose((0, 0, 0), (-100, 0, 0)) @ turned
    later = outlined(box((20, 20, 20), (8, 1, 7), (12, 5, 11)), (2, 2, 2), (0.5, 10 + 0.5 - 100 + 99.5, 3.5), back)
    arrays, edges = on_one_grid([first, later])
    centres = [np.argwhere(one).mean(axis=0) for one in arrays]
    truth = (back @ later.affine @ (9.5, 2.5, 8.5, 1))[:3] - (first.affine @ (8.5, 9.5, 10.5, 1))[:3]
    assert edges == (1.0, 1.0, 1.0)
    assert arrays[0].shape == arrays[1].shape
    assert np.allclose(centres[1] - centres[0], truth, atol=0.5)
    assert [int((one > 0).sum()) for one in arrays] == [512, 512]


def test_a_lesion_outside_the_first_scans_grid_is_not_lost():
    first = outlined(box((9, 9, 9), (2, 2, 2), (5, 5, 5)))
    later = outlined(box((9, 9, 9), (2, 2, 2), (5, 5, 5), label=7), origin=(40, 0, 0))
    arrays, _ = on_one_grid([first, later])
    assert (arrays[1] == 7).sum() == 27


def test_a_lesion_that_falls_between_the_voxels_keeps_one():
    thin = box((40, 9, 9), (20, 2, 2), (21, 5, 5), label=3)
    arrays, _ = on_one_grid(
        [outlined(thin, (0.2, 1, 1), (0.45 - 4.0, 0, 0)), outlined(box((9, 9, 9), (2, 2, 2), (5, 5, 5)))]
    )
    assert (arrays[0] == 3).sum() >= 1


def test_scans_without_any_lesion_have_a_grid_too():
    nothing = outlined(np.zeros((4, 4, 4)))
    arrays, _ = on_one_grid([nothing, outlined(np.zeros((4, 4, 4)), (2, 2, 2))])
    assert [int(one.sum()) for one in arrays] == [0, 0]


def test_small_lesions_are_followed_through_a_head_that_moved(first):
    """Lesions of 6 mm across; the head moved by 8 mm and more. Without registration none is found again (C4)."""
    moved = pose((4, -5, 6), (6, -4, 5))
    spots = np.array([(20, 30, 10), (-30, 10, 5), (10, -40, 20), (-20, -20, -25), (35, -5, -10)], float)

    def labels(volume: Volume, where: np.ndarray) -> np.ndarray:
        world = np.indices(volume.data.shape).reshape(3, -1).T @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        far = np.linalg.norm(world[:, None] - where[None], axis=2)
        return np.where(far.min(axis=1) <= 3.5, far.argmin(axis=1) + 1, 0).reshape(volume.data.shape).astype(np.int32)

    later = image(moved)
    there = spots @ moved[:3, :3].T + moved[:3, 3]
    found = align(first, later, COARSE)
    for to_first, kept in ((found.to_first, 5), (np.eye(4), 0)):
        scans = [
            Outlined(labels(first, spots), first.affine, np.eye(4)),
            Outlined(labels(later, there), later.affine, to_first),
        ]
        arrays, edges = on_one_grid(scans)
        before, after = track(arrays, edges, TrackingSettings()).ids
        assert sum(before.get(label) == name for label, name in after.items()) == kept
