"""Lesions of a series → what counts at each scan under one criteria set: the sum, new and non-measurable disease."""

from __future__ import annotations

from dataclasses import dataclass

from ranoscope.response.timeline import NewLesion, NonMeasurable, Scan


@dataclass(frozen=True)
class Burden:
    """One compartment at one scan of a series, as the decision table asks for it. None: unknown.

    ``size``: SPD in mm² or volume in mm³ of what the criteria add up. ``size_sd``: standard deviation of its repeated
    measurement as a fraction of it. ``targets``: ids of the lesions in the sum.
    """

    scan: Scan
    size: float | None
    size_sd: float
    targets: tuple[str, ...]
    new_lesion: NewLesion | None
    non_measurable: NonMeasurable | None
