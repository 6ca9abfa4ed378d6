"""The brain found in made-up heads of which it is known, in images without skull, in noise, and in two real scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nilearn.datasets import load_mni152_template
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ranoscope.errors import ImageError
from ranoscope.imaging.nifti import Volume, decode
from ranoscope.preparing.brain import BrainSettings, extract_brain

REAL = Path(__file__).parents[3] / "shared" / "data"
WHERE = "Patient-001/week-000/T1"
SPACING, SHAPE = np.array((2.0, 2.0, 4.0)), (108, 124, 48)
# Brightness of fluid, grey and white matter, skull, scalp and muscle.
T1 = {"fluid": 120, "grey": 340, "white": 450, "skull": 60, "scalp": 900, "muscle": 330}
T2 = {"fluid": 900, "grey": 430, "white": 300, "skull": 50, "scalp": 600, "muscle": 200}


def dice(one, other):
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def head(bright, nod=0.0, shift=(0.0, 0.0, 0.0), seed=0):
    """A head with its brain: that of the atlas, smaller, bent by up to 4 mm, turned; skull and scalp 6 and 5 mm.

    Below, 4 mm of bone and then muscle of changing brightness.
    """
    template = load_mni152_template(resolution=2)
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = -SPACING * np.array(SHAPE) / 2 + shift
    world = np.moveaxis(np.indices(SHAPE), 0, -1) * SPACING + affine[:3, 3] - shift
    world = world @ Rotation.from_euler("x", nod, degrees=True).as_matrix() / np.array((0.95, 0.9, 0.92))
    world = world + 4 * np.sin(world[..., [1, 2, 0]] / 25) + (0, -18, 8)
    voxels = (world - template.affine[:3, 3]) @ np.linalg.inv(template.affine[:3, :3]).T
    tissue = ndimage.map_coordinates(np.asarray(template.dataobj), voxels.reshape(-1, 3).T, order=1).reshape(SHAPE)
    brain = ndimage.binary_fill_holes(tissue > 0.02)
    out = ndimage.distance_transform_edt(~brain, sampling=SPACING)
    low = (world[..., 2] < -25 + 0.2 * world[..., 1]) & ~brain
    neck = low & (out > 4) & (np.hypot(world[..., 0], world[..., 1] + 10) < 70)
    data = np.select(
        [brain & (tissue > 0.72), brain & (tissue > 0.45), brain | (~low & (out < 2.5)), ~low & (out < 8.5),
         ~low & (out < 13.5), neck],
        [bright["white"], bright["grey"], bright["fluid"], bright["skull"], bright["scalp"], bright["muscle"]], 0.0,
    )  # fmt: skip
    random = np.random.default_rng(seed)
    data = np.where(neck, data * (0.4 + 1.2 * random.random(SHAPE)), data) + random.normal(0, 12, SHAPE)
    return Volume(np.maximum(data, 0).astype(np.float32), affine, WHERE), brain


def with_tumour(volume, brain, brightness):
    """A ball of 15 mm about the middle of the right side's surface."""
    middle = np.argwhere(brain).mean(axis=0).astype(int)
    edge = np.nonzero(brain[:, middle[1], middle[2] + 4])[0].max()
    apart = (np.moveaxis(np.indices(SHAPE), 0, -1) - (edge - 4, middle[1], middle[2] + 4)) * SPACING
    tumour = (np.linalg.norm(apart, axis=-1) < 15) & brain
    return Volume(np.where(tumour, np.float32(brightness), volume.data), volume.affine, WHERE), tumour


def test_a_turned_and_shifted_head_with_a_bright_tumour_at_its_surface():
    volume, brain = head(T1, nod=20, shift=(8.0, -30.0, 45.0))
    volume, tumour = with_tumour(volume, brain, T1["scalp"])
    found = extract_brain(volume, BrainSettings())
    assert dice(found.mask, brain) >= 0.95
    assert np.count_nonzero(found.mask & tumour) >= 0.9 * np.count_nonzero(tumour)
    assert found.problem is None
    assert not found.already_stripped


def test_a_head_of_another_contrast_that_the_scan_holds_in_part():
    whole, known = head(T2)
    kept = slice(0, known.any(axis=(0, 1)).nonzero()[0].max() - 10)
    volume = Volume(whole.data[:, :, kept], whole.affine, WHERE)
    found = extract_brain(volume, BrainSettings())
    assert dice(found.mask, known[:, :, kept]) >= 0.95
    assert "% of the brain lie outside the scan" in (found.problem or found.note)


def test_noise_is_no_head():
    noise = np.random.default_rng(0).random((48, 52, 36), dtype=np.float32)
    found = extract_brain(Volume(noise, np.diag([3.0, 3.0, 4.0, 1.0]), WHERE), BrainSettings())
    assert "does not look like a head" in found.problem


def ball(litres, value=300.0):
    radius = (litres * 1e6 * 3 / 4 / np.pi) ** (1 / 3)
    apart = (np.moveaxis(np.indices((72, 72, 60)), 0, -1) - (36, 36, 30)) * np.array((3.0, 3.0, 4.0))
    inside = np.linalg.norm(apart, axis=-1) < radius
    return inside, Volume(np.where(inside, np.float32(value), np.float32(0)), np.diag([3.0, 3.0, 4.0, 1.0]), WHERE)


def test_an_image_without_skull_keeps_what_is_not_blank_with_its_holes():
    inside, volume = ball(1.4)
    volume.data[34:38, 34:38, 28:32] = 0
    volume.data[2:4, 2:4, 2:4] = 50
    found = extract_brain(volume, BrainSettings(method="hd-bet"))
    assert found.already_stripped
    assert np.array_equal(found.mask, inside)
    assert found.problem is None


def test_an_odd_volume_is_a_problem():
    assert "a brain of 6" in extract_brain(ball(0.65)[1], BrainSettings()).problem


def test_an_empty_image_is_refused():
    with pytest.raises(ImageError, match="intensities that vary"):
        extract_brain(Volume(np.zeros((9, 9, 9), np.float32), np.eye(4), WHERE), BrainSettings())


@pytest.mark.skipif(not REAL.is_dir(), reason="the real scans (shared/data beside the checkout) are not here")
@pytest.mark.parametrize(("image", "mask"), [("CT1", "CT1_brain_mask")])
def test_a_real_scan_with_a_tumour(image, mask):
    volume, reference = (decode((REAL / f"glioma_raw/{name}.nii.gz").read_bytes(), name) for name in (image, mask))
    found = extract_brain(volume, BrainSettings())
    assert dice(found.mask, reference.data > 0) >= 0.94
    assert found.problem is None
