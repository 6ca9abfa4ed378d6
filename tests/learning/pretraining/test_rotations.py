"""Six rotations: what they are, what is shown, and whose studies they are learnt from."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ranoscope.learning.pretraining.rotations import TURNS, centred, shown, turn

ORDERS = (1, 4, 2, 4, 2, 2)
# Axis (i, j, k towards R, A, S) and angle in degrees, counter-clockwise where the axis points at the onlooker.
ANGLES = (("z", 0), ("z", 90), ("z", 180), ("z", 270), ("x", 180), ("y", 180))
SIX = range(len(TURNS))


def asymmetric(shape):
    return np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)


@pytest.mark.parametrize("which", SIX)
@pytest.mark.parametrize("shape", [(5, 5, 3), (4, 4, 6)])
def test_each_is_the_rotation_its_name_says(which, shape):
    """Against rotation matrices: where each voxel's centre goes."""
    volume = asymmetric(shape)
    matrix = Rotation.from_euler(*ANGLES[which], degrees=True).as_matrix()
    middle = (np.array(shape) - 1) / 2
    expected = np.empty_like(volume)
    for place in np.ndindex(shape):
        target = np.rint(matrix @ (np.array(place) - middle) + middle).astype(int)
        expected[tuple(target)] = volume[place]
    assert np.array_equal(turn(volume, which), expected)


def test_they_are_six_none_a_mirror_image_the_first_the_identity():
    volume = asymmetric((3, 3, 2))
    assert len({turn(volume, which).tobytes() for which in SIX}) == 6
    assert np.array_equal(turn(volume, 0), volume)
    for which in SIX:
        again = volume
        for time in range(1, ORDERS[which] + 1):
            again = turn(again, which)
            assert np.array_equal(again, volume) == (time == ORDERS[which])


@given(
    shape=st.tuples(*[st.integers(2, 7)] * 3),
    low=st.tuples(*[st.floats(0, 0.6)] * 3),
    extent=st.tuples(*[st.floats(0.1, 1)] * 3),
)
def test_on_any_grid_the_same_part_is_shown_under_every_turn_and_keeps_its_values(shape, low, extent):
    starts = [int(part * size) for part, size in zip(low, shape, strict=True)]
    box = tuple(
        slice(start, min(size, start + max(1, int(part * size))))
        for start, part, size in zip(starts, extent, shape, strict=True)
    )
    volume = np.zeros(shape, np.float16)
    volume[box] = np.random.default_rng(0).permutation(asymmetric(volume[box].shape).ravel()).reshape(volume[box].shape)
    kept = centred(volume, box)
    views = [shown(volume, box, which) for which in SIX]
    edge = min(shape[:2])
    assert kept.shape == (edge, edge, shape[2])
    assert all(view.shape == shape and view.dtype == np.float32 for view in views)
    values = Counter(kept[kept > 0].tolist())
    assert all(Counter(view[view > 0].tolist()) == values for view in views)
    fits = all(side.stop - side.start <= size for side, size in zip(box, kept.shape, strict=True))
    if fits:
        assert values == Counter(volume[volume > 0].astype(np.float32).tolist())


def test_the_place_of_the_brain_says_nothing_of_the_turn():
    """A box of ones anywhere in the volume: all turns that keep its shape look the same."""
    volume = np.zeros((9, 9, 8), np.float16)
    box = (slice(5, 9), slice(0, 4), slice(1, 7))
    volume[box] = 1
    views = [shown(volume, box, which) for which in SIX]
    assert views[0].sum() == 96
    # An edge of 4 in 9 cannot lie exactly in the middle.
    for one, other in itertools.combinations(views, 2):
        offsets = [np.argwhere(view).min(axis=0) for view in (one, other)]
        assert np.abs(offsets[0] - offsets[1]).max() <= 1
