"""Whether a mask's labels can be what their names say, judged by the contrast-enhanced image.

Conventions number the same tissues differently, so a wrongly named one swaps enhancing tumour with necrosis or edema,
and every number measured afterwards is of the wrong tissue. Enhancing tumour takes up contrast and the others do not:
it is brighter on CT1, or in the difference CT1 - T1, which blood and other T1-bright matter do not disturb.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ranoscope.domain import Tissue
from ranoscope.errors import ImageError, problem

Image = NDArray[np.floating]

_NAMES = {
    Tissue.NECROSIS_NONENHANCING: "necrosis or non-enhancing tumour",
    Tissue.EDEMA: "edema",
    Tissue.NONENHANCING_T2: "non-enhancing T2/FLAIR abnormality",
}
# Fewer voxels say little about a tissue's brightness: engine's choice.
_ENOUGH_VOXELS = 50
# In LUMIERE enhancing tumour is the brighter one in 51 of 52 visits (medians); below one half that is turned round.
_BRIGHTER = 0.5
# Skull stripping cuts a thin layer of the brain away; a mask on another grid or turned round loses far more.
_OUTSIDE = 0.1
# So much of the volume's outer faces has one value where the background of an image was emptied.
_EMPTIED = 0.5


@dataclass(frozen=True)
class _Contrast:
    """``values``: brightness in any unit; ``name``: of it, for words; ``healthy``: brain without tumour."""

    values: Image
    name: str
    healthy: NDArray[np.bool_]


def check_labels(tissue: NDArray[np.integer], ct1: Image, t1: Image | None = None) -> tuple[str, ...]:
    """What is implausible about a mask, a sentence each; empty where nothing is.

    Args:
        tissue: ``Tissue`` values (i, j, k).
        ct1: contrast-enhanced T1 on the same grid, of any scale.
        t1: T1 without contrast on the same grid; the difference is then looked at.

    Raises:
        ImageError: the arrays have different shapes.
    """
    for name, image in (("CT1", ct1), ("T1", t1)):
        if image is not None and image.shape != tissue.shape:
            shapes = ["x".join(map(str, one.shape)) for one in (tissue, image)]
            raise ImageError(
                problem(f"{name} on the mask's grid of {shapes[0]}", shapes[1], name, "bring both to one grid first")
            )
    tumour = tissue != Tissue.BACKGROUND
    if not tumour.any():
        return ("The mask is empty: no voxel carries a tumour label.",)
    head = _head(ct1)
    outside = float(1 - head[tumour].mean())
    if outside > _OUTSIDE:
        return (
            f"{outside:.0%} of the tumour lies outside the head, where CT1 is empty; "
            "check that mask and image are of one visit and on one grid.",
        )
    finding = _brightness(tissue, _contrast(ct1, t1, head, tumour))
    return () if finding is None else (finding,)


def _brightness(tissue: NDArray[np.integer], contrast: _Contrast) -> str | None:
    """Enhancing tumour against the tissues beside it, then against the healthy brain."""
    enhancing = contrast.values[tissue == Tissue.ENHANCING]
    if len(enhancing) < _ENOUGH_VOXELS:
        return None
    shares = {
        other: _share_brighter(enhancing, contrast.values[tissue == other])
        for other in _NAMES
        if np.count_nonzero(tissue == other) >= _ENOUGH_VOXELS
    }
    # The tissue that looks most like the enhancing one: the others are darker than it too after a swap.
    if shares and min(shares.values()) < _BRIGHTER:
        other = min(shares, key=lambda one: shares[one])
        return (
            f"Labels may be swapped: enhancing tumour is brighter than {_NAMES[other]} on {contrast.name} in only "
            f"{shares[other]:.0%} of pairs of voxels; check the label convention."
        )
    if contrast.healthy.any() and np.median(enhancing) < np.median(contrast.values[contrast.healthy]):
        return (
            f"Enhancing tumour is darker than the brain around it on {contrast.name}; "
            "check the label convention and that the image is contrast-enhanced."
        )
    return None


def _share_brighter(one: Image, other: Image) -> float:
    """Share of pairs in which ``one`` is brighter than ``other``, ties half."""
    ranks = rankdata(np.concatenate([one, other]))[: len(one)]
    return float((ranks.sum() - len(one) * (len(one) + 1) / 2) / (len(one) * len(other)))


def _contrast(ct1: Image, t1: Image | None, head: NDArray[np.bool_], tumour: NDArray[np.bool_]) -> _Contrast:
    healthy = head & ~tumour
    if t1 is None:
        return _Contrast(ct1, "CT1", healthy)
    return _Contrast(_scaled(ct1, healthy) - _scaled(t1, healthy), "CT1 - T1", healthy)


def _scaled(image: Image, healthy: NDArray[np.bool_]) -> Image:
    """Scanner units differ from sequence to sequence: median 0 and quartile range 1 in healthy tissue."""
    if not healthy.any():
        return image
    low, middle, high = np.percentile(image[healthy], [25, 50, 75])
    scaled: Image = (image - middle) / (high - low if high > low else 1.0)
    return scaled


def _head(image: Image) -> NDArray[np.bool_]:
    """Where there is something to see: not the one value that fills most of the outer faces; everywhere without one.

    Skull-stripped images hold 0 outside the brain, or whatever 0 became when the intensities were scaled.
    """
    faces = np.concatenate([np.take(image, end, axis).ravel() for axis in range(image.ndim) for end in (0, -1)])
    values, counts = np.unique(faces, return_counts=True)
    if counts.max() < _EMPTIED * len(faces):
        return np.ones(image.shape, dtype=bool)
    inside: NDArray[np.bool_] = image != values[counts.argmax()]
    return inside
