"""How a skull-strip errs at the brain's border, otherwise at every visit: cortex is lost here, meninges stay there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from ranoscope.phantom.anatomy import Anatomy, largest_piece, smooth_noise

_BLUR_MM = 2.5
# The whole border too far out or in, as a part of the local error.
_OVERALL = 0.4
# Thresholds beyond these would reach more than two blurs away.
_LEAST, _MOST = 0.12, 0.88
# What lies around the brain, as shares of tissue the scanner knows: meninges and marrow, which take up contrast.
_GREY, _FLUID, _VESSELS = 0.35, 0.25, 0.5
_INTERVALS = 12


def strip(generator: np.random.Generator, anatomy: Anatomy, error: float) -> Anatomy:
    """The brain as one visit's skull-strip leaves it.

    Args:
        generator: drives everything.
        anatomy: the brain at this visit.
        error: spread of the threshold on the blurred mask; 0 leaves the brain as it is.
    """
    if error == 0:
        return anatomy
    blurred = ndimage.gaussian_filter(anatomy.brain.astype(np.float32), _BLUR_MM / anatomy.voxel_mm)
    threshold = 0.5 + error * (_OVERALL * generator.normal() + smooth_noise(generator, anatomy.brain.shape, _INTERVALS))
    kept = largest_piece(blurred > np.clip(threshold, _LEAST, _MOST))
    left = kept & ~anatomy.brain
    return replace(
        anatomy,
        brain=kept,
        white=np.where(kept, anatomy.white, np.float32(0)),
        **{
            name: np.where(left, np.float32(value), np.where(kept, getattr(anatomy, name), np.float32(0)))
            for name, value in (("grey", _GREY), ("fluid", _FLUID), ("vessels", _VESSELS))
        },
    )
