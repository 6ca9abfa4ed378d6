"""A series to parts that can each be one volume: apart is what differs in grid, type, echo, diffusion or time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ranoscope.preparing.dicom.frames import Frame
from ranoscope.preparing.dicom.geometry import FEWEST_SLICES, SAME_PIXEL_MM, turned
from ranoscope.preparing.dicom.header import GE_DIFFUSION, SIEMENS_DIFFUSION, Attributes

_Value = TypeVar("_Value", int, float, tuple[int, ...], tuple[str, ...])
# Numbers this close are one setting of the scanner, written twice.
_SAME_ECHO_MS = 0.05
_SAME_B = 1.0
_TIME = ("TemporalPositionIdentifier", "TemporalPositionIndex")
# GE writes b + 1e9 where several b-values were acquired.
_GE_OFFSET = 100_000


@dataclass(frozen=True, eq=False)
class Part:
    """Frames of one series that belong together, in no order.

    ``label``: what sets it apart from the others of the series, e.g. "echo 2"; empty where it is alone. ``kind``: a
    number that parts share which differ in time alone.
    """

    frames: tuple[Frame, ...]
    label: str
    kind: int


def split_series(frames: Sequence[Frame]) -> list[Part]:
    """The parts of a series. Frames with a flaw are none of its business.

    By rows, columns and pixel spacing; orientation (few-slice orientations stay together: turned projections are no
    volumes); ImageType; EchoTime and EchoNumbers; b-value; temporal position; and, where slices lie at one place and
    every acquisition holds them all, by AcquisitionNumber.
    """
    kinds = [
        ("matrix", _grids(frames)),
        ("orientation", _orientations(frames)),
        ("image type", _equal([frame.attributes.texts("FrameType", "ImageType") or None for frame in frames])),
        ("echo", _echoes(frames)),
        ("b", _near([diffusion_b(frame.attributes) for frame in frames], _SAME_B)),
    ]
    times = _equal([frame.attributes.integer(*_TIME) for frame in frames])
    parts: list[Part] = []
    groups = _together(list(zip(*(labels for _, labels in kinds), strict=True)))
    for kind, members in enumerate(groups[key] for key in sorted(groups)):
        names = [_name(what, labels[members[0]], frames[members[0]]) for what, labels in kinds if len(set(labels)) > 1]
        for time, held in sorted(_together([times[one] for one in members]).items()):
            label = [*names, f"time {time + 1}"] if len(set(times)) > 1 else names
            split = _acquisitions([frames[members[one]] for one in held])
            parts += [Part(tuple(group), ", ".join([*label, *name]), kind) for name, group in split]
    return parts


def count_volumes(parts: Sequence[Part]) -> list[int]:
    """For every part, how many images of its kind there are, over time, direction or acquisition."""
    images = [max(Counter(frame.place for frame in part.frames).values()) for part in parts]
    return [sum(n for other, n in zip(parts, images, strict=True) if other.kind == part.kind) for part in parts]


def diffusion_b(attributes: Attributes) -> float | None:
    """b-value in s/mm^2: DiffusionBValue, or what GE (0043,1039) or Siemens (0019,100C) wrote before there was one."""
    found = attributes.number("DiffusionBValue")
    if found is not None:
        return found
    if said := attributes.private(GE_DIFFUSION):
        return said[0] % _GE_OFFSET
    if said := attributes.private(SIEMENS_DIFFUSION):
        return said[0]
    return None


def _acquisitions(frames: list[Frame]) -> list[tuple[list[str], list[Frame]]]:
    """Split by AcquisitionNumber only where each holds every slice: interleaved slices have their own numbers too."""
    numbers = _equal([frame.attributes.integer("AcquisitionNumber", "FrameAcquisitionNumber") for frame in frames])
    groups = [[frames[one] for one in members] for _, members in sorted(_together(numbers).items())]
    everywhere = {frame.place for frame in frames}
    if len(groups) == 1 or any({frame.place for frame in group} != everywhere for group in groups):
        return [([], frames)]
    return [([f"acquisition {number}"], group) for number, group in enumerate(groups, start=1)]


def _name(what: str, label: int, frame: Frame) -> str:
    b = diffusion_b(frame.attributes)
    return f"b {b:g}" if what == "b" and b is not None else f"{what} {label + 1}"


def _grids(frames: Sequence[Frame]) -> list[int]:
    pixels = [_near([frame.pixel_mm[axis] for frame in frames], SAME_PIXEL_MM) for axis in (0, 1)]
    return _equal([(frame.rows, frame.columns, *edges) for frame, *edges in zip(frames, *pixels, strict=True)])


def _echoes(frames: Sequence[Frame]) -> list[int]:
    times = _near([frame.attributes.number("EchoTime", "EffectiveEchoTime") for frame in frames], _SAME_ECHO_MS)
    numbers = _equal([frame.attributes.integer("EchoNumbers") for frame in frames])
    return _equal(list(zip(times, numbers, strict=True)))


def _orientations(frames: Sequence[Frame]) -> list[int]:
    found: list[NDArray[np.float64]] = []
    labels = [_matching(frame.directions, found) for frame in frames]
    sizes = Counter(labels)
    few = {label for label, size in sizes.items() if size < FEWEST_SLICES}
    if len(few) > 1:
        labels = [len(found) if label in few else label for label in labels]
    return _equal(labels)


def _matching(directions: NDArray[np.float64], found: list[NDArray[np.float64]]) -> int:
    for label, other in enumerate(found):
        if not turned(directions, other):
            return label
    found.append(directions)
    return len(found) - 1


def _equal(values: Sequence[_Value | None]) -> list[int]:
    """A number for every value, in their order; what is silent goes with the rest where the rest agrees."""
    found = sorted({value for value in values if value is not None})
    silent = 0 if len(found) == 1 else len(found)
    return [silent if value is None else bisect_left(found, value) for value in values]


def _near(values: Sequence[float | None], gap: float) -> list[int]:
    """The same for measured values: only a gap between neighbours makes a difference."""
    found = sorted({value for value in values if value is not None})
    starts = [later for earlier, later in zip([-inf, *found], found, strict=False) if later - earlier > gap]
    return _equal([None if value is None else starts[bisect_right(starts, value) - 1] for value in values])


def _together(labels: Sequence[_Value]) -> dict[_Value, list[int]]:
    found: dict[_Value, list[int]] = defaultdict(list)
    for place, label in enumerate(labels):
        found[label].append(place)
    return found
