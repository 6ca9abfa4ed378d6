from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranoscope.domain import LABELS, BratsYear, Segmenter, Tissue
from ranoscope.errors import ImageError, RecipeError
from ranoscope.measuring.labels import decode_tissue, fitting_conventions, named_convention

WHERE = "Patient-001/week-004/mask.nii.gz"
# Written down a second time from the tools' own descriptions: tissue → the labels that mean it.
PUBLISHED = {
    Segmenter.DEEPBRATUMIA: {"enhancing": [1], "necrosis": [2], "edema": [3]},
    Segmenter.HD_GLIO_AUTO: {"enhancing": [2], "t2": [1]},
    BratsYear.Y2012: {"enhancing": [4], "necrosis": [1, 3], "edema": [2]},
    BratsYear.Y2017: {"enhancing": [4], "necrosis": [1], "edema": [2]},
    BratsYear.Y2023: {"enhancing": [3], "necrosis": [1], "edema": [2]},
    BratsYear.Y2024: {"enhancing": [3], "necrosis": [1], "edema": [2], "nothing": [4]},
}
TISSUES = {
    "enhancing": Tissue.ENHANCING,
    "necrosis": Tissue.NECROSIS_NONENHANCING,
    "edema": Tissue.EDEMA,
    "t2": Tissue.NONENHANCING_T2,
    "nothing": Tissue.BACKGROUND,
}


def nifti(labels, affine=None) -> bytes:
    return gzip.compress(nib.Nifti1Image(np.asarray(labels), np.eye(4) if affine is None else affine).to_bytes())


def row(*values) -> np.ndarray:
    return np.array(values, dtype=np.float32).reshape(-1, 1, 1)


@pytest.mark.parametrize("convention", PUBLISHED, ids=str)
def test_every_convention_is_translated_as_published(convention):
    assert set(LABELS) == set(PUBLISHED)
    for name, labels in PUBLISHED[convention].items():
        tissue, _ = decode_tissue(nifti(row(0, *labels)), WHERE, convention)
        assert tissue.ravel().tolist() == [0] + [TISSUES[name]] * len(labels)


def test_axes_are_turned_towards_right_anterior_superior():
    tissue, volume = decode_tissue(nifti(row(0, 0, 1), np.diag([-2.0, 1, 1, 1])), WHERE, Segmenter.DEEPBRATUMIA)
    assert tissue.ravel().tolist() == [Tissue.ENHANCING, 0, 0]
    assert volume.affine[0, 0] == 2


def test_labels_that_do_not_fit_are_named_with_every_convention_that_would():
    with pytest.raises(ImageError) as caught:
        decode_tissue(nifti(row(0, 1, 2, 3, 4)), WHERE, Segmenter.DEEPBRATUMIA)
    text = str(caught.value)
    assert "DeepBraTumIA labels 0, 1, 2, 3" in text
    assert "also 4, in" in text
    assert WHERE in text
    assert "would fit BraTS-2012, BraTS-2024" in text


def test_labels_that_fit_nothing_say_so_and_a_long_list_is_cut():
    with pytest.raises(ImageError, match=r"also 0\.5, 6, 7, 8, 9 and 1 more.*fit no convention"):
        decode_tissue(nifti(row(0, 0.5, 6, 7, 8, 9, 10)), WHERE, BratsYear.Y2012)


@given(st.sets(st.integers(0, 5), min_size=1))
def test_a_convention_fits_exactly_where_decoding_succeeds(labels):
    payload = nifti(row(*labels))
    for convention in LABELS:
        if convention in fitting_conventions(row(*labels)):
            decode_tissue(payload, WHERE, convention)
        else:
            with pytest.raises(ImageError):
                decode_tissue(payload, WHERE, convention)


def test_a_damaged_file_is_reported_as_such_and_not_as_labels():
    with pytest.raises(ImageError, match="whole gzip file"):
        decode_tissue(nifti(row(0, 1))[:60], WHERE, Segmenter.DEEPBRATUMIA)


def test_conventions_by_name():
    for convention in LABELS:
        assert named_convention(f" {str(convention).upper()} ") is convention
    with pytest.raises(RecipeError, match=r"`brats2017` \(nearest: BraTS-2017\).*HD-GLIO-AUTO"):
        named_convention("brats2017")
    with pytest.raises(RecipeError, match="got `x`, in"):
        named_convention("x")
