"""What masks say of change, on blocks whose volumes are counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranoscope.domain import SEQUENCES, StudyKey, Tissue, Visit
from ranoscope.imaging.store import AlignedStudy
from ranoscope.learning.measures import MEASURES, has_new_lesion, measure_change

SHAPE, VOXEL_MM = (24, 20, 18), 3.0
VOXEL_MM3 = VOXEL_MM**3


def study(*blocks, voxel_mm=VOXEL_MM) -> AlignedStudy:
    """Blocks are (corner, edges, tissue)."""
    tumour = np.zeros(SHAPE, np.uint8)
    for corner, edges, tissue in blocks:
        tumour[tuple(slice(a, a + b) for a, b in zip(corner, edges, strict=True))] = tissue
    whole = tuple(slice(0, size) for size in SHAPE)
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1])
    volumes = np.zeros((len(SEQUENCES), *SHAPE), np.float16)
    return AlignedStudy(StudyKey("Patient-001", Visit(3)), SEQUENCES, volumes, tumour == 0, tumour, affine, whole)


def block(corner, edges, tissue=Tissue.ENHANCING):
    return corner, edges, tissue


def growth(before, now):
    return math.log((now * VOXEL_MM3 + 500) / (before * VOXEL_MM3 + 500))


def test_growth_is_the_log_ratio_of_volumes():
    before = study(block((2, 2, 2), (4, 4, 4)), block((2, 6, 2), (4, 2, 4), Tissue.EDEMA))
    now = study(block((2, 2, 2), (4, 4, 6)), block((2, 6, 2), (4, 4, 4), Tissue.EDEMA))
    enhancing, whole, new = measure_change(before, now)
    assert enhancing == pytest.approx(growth(64, 96), rel=1e-5)
    assert whole == pytest.approx(growth(64 + 32, 96 + 64), rel=1e-5)
    assert new == 0
    assert len(MEASURES) == 3


@settings(deadline=None, max_examples=30)
@given(*[st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(1, 8))] * 2)
def test_exchanged_studies_have_the_opposite_growth(before, now):
    first, second = (study(block((3, 3, 3), edges)) for edges in (before, now))
    forth, back = measure_change(first, second), measure_change(second, first)
    np.testing.assert_allclose(forth[:2], -back[:2], atol=1e-6)
    assert (measure_change(first, first)[:2] == 0).all()


def test_nothing_has_a_finite_growth():
    assert np.isfinite(measure_change(study(), study(block((2, 2, 2), (5, 5, 5))))).all()
    assert measure_change(study(), study()).tolist() == [0, 0, 0]


OLD = block((2, 2, 2), (4, 4, 4))


@pytest.mark.parametrize(
    ("further", "is_new"),
    [
        ([], False),
        ([block((12, 12, 12), (2, 2, 2))], True),
        ([block((6, 2, 2), (2, 4, 4))], False),  # the old one has grown
        ([block((7, 2, 2), (3, 3, 3))], True),  # 6 mm from the old one's outermost voxels
        ([block((12, 12, 12), (1, 1, 1))], False),  # a voxel is noise
        ([block((12, 12, 12), (4, 4, 4), Tissue.EDEMA)], False),  # does not enhance
    ],
)
def test_new_is_what_enhances_away_from_all_that_was(further, is_new):
    assert has_new_lesion(study(OLD), study(OLD, *further)) == is_new


def test_what_is_within_five_millimetres_is_the_old_one_moved():
    near = block((7, 2, 2), (3, 3, 3))
    assert not has_new_lesion(study(OLD, voxel_mm=2.0), study(near, voxel_mm=2.0))
    assert has_new_lesion(study(OLD), study(near))


def test_enhancement_in_old_oedema_is_not_new():
    before = study(OLD, block((10, 10, 10), (6, 6, 6), Tissue.EDEMA))
    assert not has_new_lesion(before, study(OLD, block((12, 12, 12), (2, 2, 2))))


def test_the_first_lesion_of_all_is_new():
    assert has_new_lesion(study(), study(OLD))
    assert not has_new_lesion(study(OLD), study())


def test_sizes_are_in_millimetres():
    speck = block((12, 12, 12), (2, 1, 1))
    assert not has_new_lesion(study(OLD), study(OLD, speck))  # 54 mm3
    assert has_new_lesion(study(OLD, voxel_mm=4.0), study(OLD, speck, voxel_mm=4.0))  # 128 mm3
