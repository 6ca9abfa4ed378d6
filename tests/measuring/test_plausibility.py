from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ranoscope.domain import BratsYear, Tissue
from ranoscope.errors import ImageError
from ranoscope.imaging.nifti import decode
from ranoscope.measuring.labels import decode_tissue
from ranoscope.measuring.plausibility import check_labels

REAL = Path(__file__).parents[3] / "shared" / "data" / "glioma_masks"
PATIENTS = sorted(folder.name for folder in REAL.glob("brats_*")) or ["absent"]
T = Tissue
BRAIN, BRIGHTNESS = 100.0, {T.BACKGROUND: 0, T.ENHANCING: 80, T.NECROSIS_NONENHANCING: -40, T.EDEMA: -15,
                            T.NONENHANCING_T2: -10}  # fmt: skip


def phantom(t1: bool = False, blood: bool = False, offset: float = 0.0):
    """A head of 24 voxels with a ring of enhancing tumour around necrosis in edema; its CT1 or T1 image."""
    far = np.sqrt(sum(axis**2 for axis in np.indices((24, 24, 24)) - 11.5))
    tissue = np.select([far < 3, far < 5, far < 8], [T.NECROSIS_NONENHANCING, T.ENHANCING, T.EDEMA], T.BACKGROUND)
    change = dict(BRIGHTNESS)
    if t1:
        change[T.ENHANCING] = -20
    if blood:
        change[T.NECROSIS_NONENHANCING] = 120
    image = BRAIN + np.vectorize(change.get)(tissue) + np.random.default_rng(int(t1)).normal(0, 8, tissue.shape)
    return tissue.astype(np.uint8), np.where(far < 11, image, 0) + offset


def renamed(tissue, *pairs):
    """Labels exchanged: every pair both ways."""
    result = tissue.copy()
    for one, other in pairs:
        result[tissue == one], result[tissue == other] = other, one
    return result


@pytest.mark.parametrize("offset", [0.0, -3.5], ids=["background 0", "background scaled"])
def test_correct_labels_give_no_finding(offset):
    assert check_labels(*phantom(offset=offset)) == ()


@pytest.mark.parametrize("other", [T.NECROSIS_NONENHANCING, T.EDEMA])
def test_swapped_labels_give_one_finding_that_names_the_tissue(other):
    tissue, ct1 = phantom()
    (finding,) = check_labels(renamed(tissue, (T.ENHANCING, other)), ct1)
    assert "may be swapped" in finding
    assert other.name.split("_")[0].casefold() in finding


def test_hd_glio_labels_read_the_wrong_way_round():
    tissue, ct1 = phantom()
    tissue[(tissue == T.EDEMA) | (tissue == T.NECROSIS_NONENHANCING)] = T.NONENHANCING_T2
    assert check_labels(tissue, ct1) == ()
    (finding,) = check_labels(renamed(tissue, (T.ENHANCING, T.NONENHANCING_T2)), ct1)
    assert "non-enhancing T2/FLAIR" in finding


def test_blood_is_bright_without_contrast_too_so_the_difference_decides():
    tissue, ct1 = phantom(blood=True)
    _, t1 = phantom(t1=True, blood=True)
    assert "swapped" in check_labels(tissue, ct1)[0]
    assert check_labels(tissue, ct1, t1) == ()
    assert check_labels(tissue, ct1, t1 / 50 + 300) == (), "T1's scale must not matter"
    (finding,) = check_labels(renamed(tissue, (T.ENHANCING, T.NECROSIS_NONENHANCING)), ct1, t1)
    assert "CT1 - T1" in finding


def test_the_share_of_pairs_is_exact():
    tissue, image = np.zeros((4, 100), dtype=np.uint8), np.full((4, 100), 5.0)
    tissue[1], tissue[2] = T.ENHANCING, T.EDEMA
    rng = np.random.default_rng(0)
    image[1], image[2] = rng.integers(0, 9, 100), rng.integers(2, 12, 100)
    pairs = np.subtract.outer(image[1], image[2])
    share = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    (finding,) = check_labels(tissue[..., None], image[..., None])
    assert f"only {share:.0%} of pairs" in finding


def test_enhancing_tumour_darker_than_the_brain_where_nothing_lies_beside_it():
    tissue, ct1 = phantom()
    alone = np.where(tissue == T.NECROSIS_NONENHANCING, T.ENHANCING, T.BACKGROUND)
    (finding,) = check_labels(alone, ct1)
    assert "darker than the brain" in finding


def test_too_few_voxels_say_nothing():
    tissue, ct1 = phantom()
    few = np.zeros_like(tissue)
    few[11, 11, 11:13] = T.ENHANCING
    assert check_labels(few, ct1) == ()


@pytest.mark.parametrize("offset", [0.0, -3.5], ids=["background 0", "background scaled"])
def test_an_empty_mask_and_a_mask_beside_the_head(offset):
    tissue, ct1 = phantom(offset=offset)
    assert "empty" in check_labels(np.zeros_like(tissue), ct1)[0]
    (finding,) = check_labels(np.roll(tissue, 12, axis=0), ct1)
    assert "outside the head" in finding


def test_air_with_noise_is_not_taken_for_an_emptied_background():
    """Necrosis as dark as the commonest value of the air is tumour in the head all the same."""
    tissue, ct1 = phantom()
    tissue[tissue == T.EDEMA] = T.BACKGROUND
    noise = np.random.default_rng(1).integers(0, 9, ct1.shape)
    raw = np.where(ct1 == 0, noise, ct1.astype(int))
    faces = np.concatenate([np.take(raw, end, axis).ravel() for axis in range(3) for end in (0, -1)])
    raw[tissue == T.NECROSIS_NONENHANCING] = np.bincount(faces).argmax()
    assert check_labels(tissue, raw.astype(float)) == ()


def test_an_image_on_another_grid_is_refused():
    tissue, ct1 = phantom()
    with pytest.raises(ImageError, match=r"CT1 on the mask's grid of 24x24x24, got 24x24x20"):
        check_labels(tissue, ct1[..., :20])
    with pytest.raises(ImageError, match="T1 on the mask's grid"):
        check_labels(tissue, ct1, ct1[:20])


@pytest.mark.skipif(not REAL.is_dir(), reason="the real glioma masks (shared/data beside the checkout) are not here")
@pytest.mark.parametrize("patient", PATIENTS)
def test_real_labels_give_no_finding_and_swapped_ones_one(patient):
    folder = REAL / patient
    tissue, _ = decode_tissue((folder / "OTMultiClass.nii.gz").read_bytes(), patient, BratsYear.Y2012)
    ct1 = decode((folder / "T1c_subtrMeanDivStd.nii.gz").read_bytes(), patient).data
    assert check_labels(tissue, ct1) == ()
    (finding,) = check_labels(renamed(tissue, (T.ENHANCING, T.NECROSIS_NONENHANCING)), ct1)
    assert "may be swapped: enhancing tumour is brighter than necrosis" in finding
