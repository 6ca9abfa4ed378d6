"""From an image of a head to its brain mask, by the way that the settings name."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import ndimage

from ranoscope.config import Settings
from ranoscope.errors import ImageError, problem
from ranoscope.imaging.nifti import Volume
from ranoscope.preparing.brain.fitting import Fit, fit_head
from ranoscope.preparing.brain.levels import to_levels
from ranoscope.preparing.brain.mask import BrainMask, judged
from ranoscope.preparing.brain.pieces import largest_piece
from ranoscope.preparing.brain.stripped import brain_of_stripped
from ranoscope.preparing.brain.surface import brain_surface
from ranoscope.preparing.brain.template import EDGE_MM, carried, head_template
from ranoscope.preparing.brain.tools import run_tool


class BrainSettings(Settings):
    """``method``: ``atlas`` needs nothing else; ``hd-bet`` (Isensee et al., Hum Brain Mapp 2019) and ``synthstrip``
    (Hoopes et al., NeuroImage 2022) are commands that the user has installed, their weights included.

    ``device``: where HD-BET computes.
    """

    method: Literal["atlas", "hd-bet", "synthstrip"] = "atlas"
    device: Literal["cpu", "cuda", "mps"] = "cpu"


def extract_brain(volume: Volume, settings: BrainSettings) -> BrainMask:
    """The brain in an image of a head, of any sequence, best with its bias taken out.

    An image without skull is recognised: its mask is what is not blank, whatever the method.

    Args:
        volume: axes RAS; it need not hold the whole head.
        settings: which way.

    Raises:
        ImageError: one value in every voxel; or as ``run_tool``.
    """
    if not np.ptp(volume.data) > 0:
        do = "check that the file holds an image of a head"
        raise ImageError(problem("intensities that vary", "one value in every voxel", volume.where, do))
    content = brain_of_stripped(volume)
    if content is not None:
        return judged(content, volume, already_stripped=True)
    if settings.method == "atlas":
        return _by_atlas(volume)
    return judged(run_tool(volume, settings.method, settings.device), volume)


def fit_atlas(volume: Volume) -> Fit:
    """Where an image's head, with skull or without, lies in the MNI152 atlas."""
    return fit_head(to_levels(volume))


def _by_atlas(volume: Volume) -> BrainMask:
    levels = to_levels(volume)
    fit = fit_head(levels)
    there = np.linalg.inv(levels.affine) @ volume.affine
    inside = carried(brain_surface(levels, fit), there, volume.data.shape, None) < 0
    mask = np.asarray(ndimage.binary_fill_holes(largest_piece(inside)))
    return judged(mask, volume, fit=fit, missed=_missed(fit, volume))


def _missed(fit: Fit, volume: Volume) -> float:
    """Share of the fitted template's brain that lies outside the image's field of view."""
    template = head_template()
    voxels = np.argwhere(template.depth_mm < -EDGE_MM)[::8]
    there = np.linalg.inv(volume.affine) @ fit.to_image @ template.affine
    places = voxels @ there[:3, :3].T + there[:3, 3]
    held = ((places > -0.5) & (places < np.array(volume.data.shape) - 0.5)).all(axis=1)
    return float(1 - held.mean())
