"""Which slice, which way round, how bright."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ranoscope.domain import Tissue
from ranoscope.explaining.slices import AXIAL_EDGES, axial, brain_box, tumour_slice, window

RAS = np.array([[2.0, 0, 0, -20], [0, 2, 0, -30], [0, 0, 2, -10], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("world", "row", "column"),
    [((-18, 28, 0), "top", "right"), ((-18, -28, 0), "bottom", "right"), ((16, 28, 0), "top", "left")],
)
def test_the_patients_left_is_at_the_right_and_anterior_on_top(world, row, column):
    """World is RAS: x < 0 is the patient's left, y > 0 anterior. The volume is not square, so axes cannot swap."""
    volume = np.zeros((20, 31, 8))
    i, j, k = np.rint(np.linalg.inv(RAS) @ (*world, 1)).astype(int)[:3]
    volume[i, j, k] = 1
    picture = axial(volume, k)
    assert picture.shape == (31, 20)
    (found_row,), (found_column,) = np.nonzero(picture)
    assert ("top" if found_row < 15 else "bottom") == row
    assert ("left" if found_column < 10 else "right") == column


def test_the_letters_at_the_edges_agree_with_the_picture():
    volume = np.zeros((4, 4, 1))
    volume[0, 1:3, 0], volume[1:3, 3, 0] = 1, 2  # i = 0 is the patient's left, j = 3 anterior
    picture = axial(volume, 0)
    edges = {"left": picture[1:3, 0], "right": picture[1:3, -1], "top": picture[0, 1:3], "bottom": picture[-1, 1:3]}
    of_letter = {letter: set(edges[edge].tolist()) for edge, letter in AXIAL_EDGES.items()}
    assert of_letter == {"L": {1}, "R": {0}, "A": {2}, "P": {0}}


def test_the_window_is_of_the_brain_alone():
    volume = np.zeros((10, 10, 11), np.float32)
    brain = np.zeros(volume.shape, bool)
    brain[:, :, :10] = True
    volume[brain] = np.random.default_rng(0).permutation(1000)
    volume[~brain] = 1e6
    # 1000 values 0..999: the 1st percentile lies at 0.01 * 999, the 99.5th at 0.995 * 999.
    assert window(volume, brain) == pytest.approx((9.99, 994.005), abs=1e-3)


def test_a_window_is_never_of_width_zero():
    flat = np.full((3, 3, 3), 7.0)
    assert window(flat, np.ones_like(flat, bool)) == (7.0, 8.0)
    assert window(flat, np.zeros_like(flat, bool)) == (0.0, 1.0)


def tumours(**areas: tuple[int, int, int]) -> np.ndarray:
    """``prior_ENHANCING=(slice, first, count)``: so many voxels in a row of that slice."""
    labels = np.zeros((2, 9, 4, 6), np.uint8)
    for name, (k, first, count) in areas.items():
        visit, tissue = name.split("_", 1)
        labels[("prior", "current").index(visit), first : first + count, 1, k] = Tissue[tissue]
    return labels


BRAIN = np.zeros((9, 4, 6), bool)
BRAIN[:, :, 2:5] = True


@pytest.mark.parametrize(
    ("labels", "index", "because"),
    [
        (tumours(prior_ENHANCING=(1, 0, 3), current_ENHANCING=(4, 0, 2)), 1, "largest enhancing"),
        # The union counts: 3 + 3 apart in slice 5 beat 5 in slice 1, which only one visit has.
        (tumours(prior_ENHANCING=(5, 0, 3), current_ENHANCING=(5, 4, 3)) + tumours(current_ENHANCING=(1, 0, 5)), 5, ""),
        # ... and is no sum: the same three voxels twice do not beat five.
        (tumours(prior_ENHANCING=(5, 0, 3), current_ENHANCING=(5, 0, 3)) + tumours(current_ENHANCING=(1, 0, 5)), 1, ""),
        (tumours(prior_ENHANCING=(1, 0, 1), current_EDEMA=(4, 0, 5)), 1, "largest enhancing"),
        (tumours(prior_EDEMA=(2, 0, 1), current_NECROSIS_NONENHANCING=(4, 0, 5)), 4, "no enhancement"),
        (tumours(), 3, "no tumour"),
    ],
)
def test_the_slice_through_the_tumour(labels, index, because):
    choice = tumour_slice(labels, BRAIN)
    assert choice.index == index
    assert because in choice.because


@given(hnp.arrays(np.uint8, (2, 5, 4, 6), elements=st.sampled_from([0, 0, 0, 1, 2, 3])))
def test_no_slice_has_more_enhancement_than_the_chosen_one(labels):
    chosen = tumour_slice(labels, np.ones((5, 4, 6), bool)).index
    counts = [len(set(zip(*np.nonzero((labels[:, :, :, k] == 1).any(axis=0)), strict=True))) for k in range(6)]
    assert counts[chosen] == max(counts)


@given(hnp.arrays(bool, (5, 4, 6)), st.integers(0, 2))
def test_the_box_holds_the_brain_and_no_more_than_the_margin(brain, margin):
    box = brain_box(brain, margin)
    assert brain[box].sum() == brain.sum()
    if not brain.any():
        assert brain[box].shape == brain.shape
        return
    for axis, places in enumerate(np.nonzero(brain)):
        assert box[axis].start == max(places.min() - margin, 0)
        assert box[axis].stop == min(places.max() + margin + 1, brain.shape[axis])
