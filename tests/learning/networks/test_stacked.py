"""How two studies become the channels of one image, number by number."""

from __future__ import annotations

import torch

from ranoscope.config import Arrangement
from ranoscope.learning.networks import arrange

# Prior T1 = 1, T2 = 2, FLAIR = 5; current T1 = 10, T2 = 40, FLAIR = 80; a second case a hundred times that.
PRIOR, CURRENT = [1.0, 2.0, 5.0], [10.0, 40.0, 80.0]
INTERLEAVED = [10.0, 1.0, 40.0, 2.0, 80.0, 5.0]
DIFFERENCES = [9.0, 38.0, 75.0]


def channels_of(arrangement):
    pair = torch.tensor([[PRIOR, CURRENT], [[100 * x for x in PRIOR], [100 * x for x in CURRENT]]])
    pair = pair[:, :, :, None, None, None] + torch.arange(24.0).reshape(2, 3, 4) / 1024
    shown = arrange(pair, arrangement)
    assert shown.shape == (2, arrangement.channels(3), 2, 3, 4)
    return shown


def test_stacked_is_interleaved_with_the_current_study_first():
    shown = channels_of(Arrangement.STACKED)
    assert shown[0, :, 0, 0, 0].tolist() == INTERLEAVED
    assert shown[1, :, 0, 0, 0].tolist() == [100 * value for value in INTERLEAVED]
    assert torch.equal(shown[0, 3], 2 + torch.arange(24.0).reshape(2, 3, 4) / 1024), "voxels stay in their places"


def test_difference_is_current_minus_prior():
    shown = channels_of(Arrangement.DIFFERENCE)
    assert shown[0, :, 0, 0, 0].tolist() == DIFFERENCES
    assert shown[1, :, 1, 2, 3].tolist() == [100 * value for value in DIFFERENCES]


def test_both_is_the_stack_and_then_the_differences():
    shown = channels_of(Arrangement.BOTH)
    assert shown[0, :, 0, 0, 0].tolist() == INTERLEAVED + DIFFERENCES
