"""Slices to a volume: pixels of every file, rescaled slice by slice, stacked on the grid of their headers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ranoscope.errors import ImageError, problem
from ranoscope.imaging.nifti import Volume
from ranoscope.preparing.dicom.frames import Frame
from ranoscope.preparing.dicom.geometry import arrange
from ranoscope.preparing.dicom.pixels import read_pixels


def load_volume(frames: Sequence[Frame], spoilt: Sequence[Frame], where: str) -> Volume:
    """The volume of these slices, turned to RAS axes (exact, no interpolation).

    Args:
        frames: its slices, in any order.
        spoilt: slices of the series whose header is not usable: nobody knows whether they belong here.
        where: names the series for messages.

    Raises:
        ImageError: as ``arrange`` and ``read_pixels``; there are spoilt slices; a rescaling that is no number.
    """
    if spoilt:
        raise ImageError(
            problem(
                "a place in the patient in every slice's header",
                f"{spoilt[0].flaw} in {spoilt[0].name}" + (f" and {len(spoilt) - 1} more" if len(spoilt) > 1 else ""),
                where,
                "copy or export the series again",
            )
        )
    stack = arrange(frames, where)
    by_file: dict[Path, list[int]] = defaultdict(list)
    for index, frame in enumerate(stack.frames):
        by_file[frame.path].append(index)
    first = stack.frames[0]
    data = np.empty((first.columns, first.rows, len(stack.frames)), dtype=np.float32)
    for path, indices in by_file.items():
        pixels = read_pixels(path, f"{where}, {stack.frames[indices[0]].name}")
        for index in indices:
            frame = stack.frames[index]
            data[:, :, index] = _values(frame, pixels, f"{where}, {frame.name}").T
    turned = nib.as_closest_canonical(nib.Nifti1Image(data, stack.affine))
    return Volume(np.asarray(turned.dataobj, dtype=np.float32), np.asarray(turned.affine, dtype=np.float64), where)


def drop_copies(frames: Sequence[Frame], where: str) -> list[Frame]:
    """These slices without those that lie at the place of another and have its very voxels.

    Slices at one place that differ, or cannot be read, all stay: ``arrange`` refuses them by name. No more is read once
    there are such.
    """
    read = lru_cache(maxsize=2)(read_pixels)
    kept: dict[tuple[float, ...], Frame] = {}
    for frame in frames:
        earlier = kept.setdefault(frame.place, frame)
        if earlier is frame:
            continue
        try:
            one, other = (_values(each, read(each.path, where), where) for each in (earlier, frame))
        except ImageError:
            return list(frames)
        if not np.array_equal(one, other):
            return list(frames)
    return list(kept.values())


def _values(frame: Frame, pixels: NDArray[np.int64], where: str) -> NDArray[np.float32]:
    """One frame's values as its header rescales them, (rows, columns)."""
    if frame.index >= len(pixels) or pixels.shape[1:] != (frame.rows, frame.columns):
        raise ImageError(problem("the pixels that the header promised", "others", where, "copy or export it again"))
    slope, intercept = (_rescaling(frame, keyword, usual) for keyword, usual in _RESCALING)
    if slope is None or intercept is None or slope == 0:
        raise ImageError(
            problem("a RescaleSlope and RescaleIntercept", "ones that are no numbers, or 0", where, "export it again")
        )
    with np.errstate(over="ignore"):
        values = np.asarray(pixels[frame.index] * slope + intercept, dtype=np.float32)
    if not np.isfinite(values).all():
        raise ImageError(problem("finite intensities", "ones beyond all numbers", where, "export it again"))
    return values


_RESCALING = (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))


def _rescaling(frame: Frame, keyword: str, usual: float) -> float | None:
    said = frame.attributes
    return said.number(keyword) if said.says(keyword) else usual
