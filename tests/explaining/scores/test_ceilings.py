"""What maps of coarse cells could score: worked out by hand, and not passed by maps that know the mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from ranoscope.explaining.cells import CellPlaces, layer_cells
from ranoscope.explaining.scores.ceilings import ceilings, cell_nearness, cell_shares
from ranoscope.explaining.scores.localisation import NAMES, localise

SHAPE = (12, 12, 8)
BRAIN = np.zeros(SHAPE, bool)
BRAIN[1:11, 1:12, 1:7] = True


def pooled_cells(shape, size: int):
    """Where the cells of one pooling are, and how many."""
    network = nn.Sequential(nn.Flatten(1, 2), nn.AvgPool3d(size, ceil_mode=True))
    return layer_cells(network, "1", torch.zeros(1, 1, *shape))


def row(values) -> np.ndarray:
    return np.array(values, bool).reshape(-1, 1, 1)


def ball(centre, radius: float) -> np.ndarray:
    steps = np.indices(SHAPE) - np.reshape(centre, (3, 1, 1, 1))
    return (steps**2).sum(axis=0) <= radius**2


balls = st.builds(
    ball, st.tuples(st.integers(1, 10), st.integers(1, 11), st.integers(1, 6)), st.sampled_from([0, 1, 2, 3.5])
)


def test_two_cells_by_hand():
    """Centres at voxels 0.5 and 2.5, so that the first cell weighs 1, 3/4, 1/4, 0 on four voxels."""
    network = nn.Sequential(nn.Flatten(1, 2), nn.AvgPool3d((2, 1, 1)))
    places, cells = layer_cells(network, "1", torch.zeros(1, 1, 4, 1, 1))
    mask, brain = row([1, 0, 0, 0]), row([1, 1, 1, 1])
    assert cells == (2, 1, 1)
    assert cell_shares(mask, brain, places, cells).ravel() == pytest.approx([1 / 2, 0])
    assert cell_shares(mask, row([1, 1, 0, 0]), places, cells).ravel() == pytest.approx([4 / 7, 0])
    # Signed distances of the voxels are -1, 1, 2, 3: 0 and 2.5 at the centres.
    assert cell_nearness(mask, places, cells).ravel() == pytest.approx([2.5, 0])
    assert ceilings(mask, brain, places, cells) == {
        "pointing": pytest.approx(1), "mass": pytest.approx(1 / 2), "rank": pytest.approx(1), "auc": pytest.approx(1),
    }  # fmt: skip


def test_a_voxel_inside_a_large_cell_cannot_be_told_from_its_neighbours():
    """One cell is the same everywhere: every map of it scores as chance does."""
    places, cells = pooled_cells((8, 8, 8), 8)
    mask = np.zeros((8, 8, 8), bool)
    mask[2:4, 3:5, 4:6] = True
    brain = np.ones_like(mask)
    found = ceilings(mask, brain, places, cells)
    assert found == pytest.approx({"pointing": 8 / 512, "mass": 8 / 512, "rank": 8 / 512, "auc": 0.5}, nan_ok=False)


def test_cells_of_one_voxel_have_no_ceiling_below_1():
    places = CellPlaces(torch.Size(SHAPE))
    assert ceilings(ball((5, 6, 3), 2), BRAIN, places, SHAPE) == dict.fromkeys(NAMES, 1.0)


@settings(max_examples=60, deadline=None)
@given(balls, st.sampled_from([2, 3, 4, 5]), st.integers(0, 999), st.integers(1, 40))
def test_no_map_of_cells_has_more_mass_in_the_mask(mask, size, seed, power):
    places, cells = pooled_cells(SHAPE, size)
    assume(0 < (mask & BRAIN).sum() < BRAIN.sum())
    coarse = torch.from_numpy(np.random.default_rng(seed).random(cells) ** power)
    found = localise(places.bring(coarse, torch.Size(SHAPE)).numpy(), mask, BRAIN)
    assert found.mass <= ceilings(mask, BRAIN, places, cells)["mass"] * (1 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(balls, st.sampled_from([2, 3, 4]))
def test_good_maps_of_cells_stay_below_within_little(mask, size):
    """The mask averaged in every cell, as a network might: it is told the mask, and the ceiling holds it."""
    places, cells = pooled_cells(SHAPE, size)
    assume(0 < (mask & BRAIN).sum() < BRAIN.sum())
    padded = torch.from_numpy(np.pad(mask, [(0, -length % size) for length in SHAPE]).astype(float))
    blocks = padded.reshape(cells[0], size, cells[1], size, cells[2], size).mean(dim=(1, 3, 5))
    found = localise(places.bring(blocks, torch.Size(SHAPE)).numpy(), mask, BRAIN)
    highest = ceilings(mask, BRAIN, places, cells)
    assert found.mass <= highest["mass"] + 1e-9
    assert found.auc <= highest["auc"] + 0.01
    assert found.rank <= highest["rank"] + 0.1


def test_coarser_cells_have_lower_ceilings():
    mask = ball((5, 6, 3), 2)
    fine, coarse = (ceilings(mask, BRAIN, *pooled_cells(SHAPE, size)) for size in (2, 4))
    assert all(coarse[name] < fine[name] for name in ("mass", "rank", "auc"))
    assert min(coarse["auc"], fine["mass"]) > 0.5


def test_a_tolerance_lifts_pointing_alone():
    mask = ball((3, 3, 3), 0)
    places, cells = pooled_cells(SHAPE, 4)
    strict, lenient = (ceilings(mask, BRAIN, places, cells, tolerance) for tolerance in (0, 4))
    assert strict["pointing"] < lenient["pointing"] == 1
    assert all(strict[name] == lenient[name] for name in ("mass", "rank", "auc"))


@pytest.mark.parametrize(("mask", "brain"), [(~BRAIN, BRAIN), (BRAIN, BRAIN), (BRAIN, np.zeros_like(BRAIN))])
def test_where_no_map_has_a_score_there_is_no_ceiling(mask, brain):
    assert np.isnan(list(ceilings(mask, brain, *pooled_cells(SHAPE, 4)).values())).all()
