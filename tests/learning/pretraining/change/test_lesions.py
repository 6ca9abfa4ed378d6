"""Lesions have the volume they were meant to have, on every grid, and nothing is where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranoscope.learning.pretraining.change.fields import axes_of, draw_field
from ranoscope.learning.pretraining.change.lesions import CORE, ENHANCING, OEDEMA, Extent, lay

EXTENTS = st.builds(
    Extent, enhancing_mm3=st.floats(300, 15_000), core=st.one_of(st.just(0.0), st.floats(0.2, 0.8)),
    halo_mm=st.one_of(st.just(0.0), st.floats(2, 25)),
)  # fmt: skip


def volume(laid, tissue, voxel_mm):
    return float(laid.shares[tissue].sum(dtype=np.float64)) * voxel_mm**3


@settings(max_examples=40, deadline=None)
@given(extent=EXTENTS, seed=st.integers(0, 10_000), voxel_mm=st.sampled_from([2.0, 3.0, 4.0]))
def test_the_enhancing_shares_add_up_to_the_wanted_volume(shape_at, extent, seed, voxel_mm):
    size = int(160 / voxel_mm)
    laid = lay(shape_at((size // 2,) * 3, seed), extent, np.ones((size,) * 3, np.float32), voxel_mm)
    assert volume(laid, ENHANCING, voxel_mm) == pytest.approx(extent.enhancing_mm3, rel=0.01)
    assert laid.shares.min() >= 0
    assert laid.shares.sum(axis=0).max() <= 1 + 1e-5
    assert (volume(laid, CORE, voxel_mm) > 0) <= (extent.core > 0)
    assert (volume(laid, OEDEMA, voxel_mm) > 0) == (extent.halo_mm > 0)
    faces = [laid.shares.take(edge, axis=axis) for axis in (1, 2, 3) for edge in (0, -1)]
    assert max(face.max() for face in faces) == 0, "cut off by its box"


def test_it_is_the_same_lesion_on_a_finer_grid(shape_at):
    extent = Extent(8000.0, 0.5, 6.0)
    whole = []
    for voxel_mm in (2.0, 4.0):
        size = int(120 / voxel_mm)
        laid = lay(shape_at((size // 2,) * 3), extent, np.ones((size,) * 3, np.float32), voxel_mm)
        grid = np.zeros((3, size, size, size), np.float32)
        grid[(slice(None), *laid.box)] = laid.shares
        whole.append(grid)
    halved = whole[0].reshape(3, 30, 2, 30, 2, 30, 2).mean(axis=(2, 4, 6))
    assert np.corrcoef(halved[ENHANCING].ravel(), whole[1][ENHANCING].ravel())[0, 1] > 0.85


def test_nothing_is_laid_where_there_is_no_room_and_less_than_wanted_where_there_is_little(shape_at):
    extent = Extent(6000.0, 0.0, 8.0)
    free = np.ones((40, 40, 40), np.float32)
    free[20:] = 0
    laid = lay(shape_at((19, 20, 20)), extent, free, 3.0)
    grid = np.zeros((3, 40, 40, 40), np.float32)
    grid[(slice(None), *laid.box)] = laid.shares
    assert not grid[:, 20:].any()
    assert volume(laid, ENHANCING, 3.0) == pytest.approx(6000, rel=0.01), "it grows to the other side"
    free[3:] = 0
    assert 0 < volume(lay(shape_at((1, 20, 20)), extent, free, 3.0), ENHANCING, 3.0) < 6000


def test_without_enhancing_tumour_there_is_oedema_or_nothing(shape_at):
    free = np.ones((40, 40, 40), np.float32)
    alone = lay(shape_at((20, 20, 20)), Extent(0.0, 0.0, 12.0), free, 3.0)
    assert not alone.shares[[ENHANCING, CORE]].any()
    assert alone.shares[OEDEMA].max() == pytest.approx(1)
    assert not lay(shape_at((20, 20, 20)), Extent(0.0, 0.0, 0.0), free, 3.0).shares.any()


def test_fields_are_smooth_standard_and_do_not_depend_on_the_grid():
    field = draw_field(np.random.default_rng(1), 12.0)
    coarse, fine = (field.on(axes_of((n,) * 3, 240 / n)) for n in (30, 60))
    assert np.allclose(fine[::2, ::2, ::2], coarse, atol=1e-3)
    assert abs(fine.mean()) < 0.15
    assert fine.std() == pytest.approx(1, abs=0.15)
    values = [
        draw_field(np.random.default_rng(n), 12.0).on(axes_of((13, 1, 1), 1.0))[[0, 12], 0, 0] for n in range(400)
    ]
    assert np.corrcoef(np.array(values).T)[0, 1] == pytest.approx(np.exp(-0.5), abs=0.1)
