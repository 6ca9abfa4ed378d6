"""Which lesions can be measured, which are summed, and which lesion of a later scan is which earlier one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from ranoscope.response.criteria import Criteria, Part
from ranoscope.response.timeline import Compartment, Lesion, Measure, Role, Scan

# Sizes from images carry rounding errors; a diameter of 10 mm may read 9.999999.
_SAME_MM = 1e-6
# Twice the slice thickness (plus gap) is the least diameter on thick slices (RANO-HGG 2010).
_SLICES_A_DIAMETER = 2.0


def gone(lesion: Lesion) -> bool:
    """Whether the record says that the lesion is no longer there: every size that is known is 0."""
    known = [size for size in (lesion.longest_mm, lesion.perpendicular_mm, lesion.volume_mm3) if size is not None]
    return bool(known) and max(known) == 0


def size_of(lesion: Lesion, measure: Measure) -> float | None:
    """The lesion's product in mm² or volume in mm³; None where unknown."""
    return lesion.product_mm2 if measure is Measure.AREA else lesion.volume_mm3


def extent(parts: Iterable[Lesion]) -> tuple[float, float] | None:
    """Longest diameter (mm) and sum of products (mm²) of a lesion's parts; 0 for no part, None where unknown.

    A part of which the volume alone is known stands for a ball of that volume.
    """
    longest, product = 0.0, 0.0
    for one in parts:
        if one.longest_mm is not None and one.product_mm2 is not None:
            size = one.longest_mm, one.product_mm2
        elif one.volume_mm3 is not None:
            diameter = math.cbrt(6 * one.volume_mm3 / math.pi)
            size = diameter, diameter**2
        else:
            return None
        longest, product = max(longest, size[0]), product + size[1]
    return longest, product


def least_diameter_mm(part: Part, slice_thickness_mm: float | None) -> float:
    """What both diameters of a measurable lesion reach: ``minimum_mm``, or twice the thickness of thick slices.

    0 where the criteria do not ask. A thickness that is not known is taken as thin.
    """
    if part.minimum_mm is None:
        return 0.0
    thick = part.thick_slices_mm is not None and (slice_thickness_mm or 0.0) > part.thick_slices_mm
    return max(part.minimum_mm, _SLICES_A_DIAMETER * (slice_thickness_mm or 0.0)) if thick else part.minimum_mm


def measurable(lesion: Lesion, part: Part) -> bool:
    """Whether a lesion can be measured reproducibly.

    A reader's statement decides, also by naming the lesion a target. Otherwise both diameters reach ``minimum_mm``, or
    twice the slice thickness on slices thicker than ``thick_slices_mm``, and enough slices show the lesion. What is not
    known fails no rule: lists often come without the number of slices, and a lesion that is known by its volume alone
    counts. Its size may then be unknown, and so is the sum.
    """
    if lesion.measurable is not None:
        return lesion.measurable
    if lesion.role is Role.TARGET or part.minimum_mm is None:
        return True
    least = least_diameter_mm(part, lesion.slice_thickness_mm)
    if lesion.slices is not None and lesion.slices < part.minimum_slices:
        return False
    known = [one for one in (lesion.longest_mm, lesion.perpendicular_mm) if one is not None]
    return all(diameter >= least - _SAME_MM for diameter in known)


def select_targets(lesions: Iterable[Lesion], part: Part, limit: int | None) -> tuple[str, ...]:
    """Ids of the lesions of one compartment and scan that are followed, largest first.

    The lesions a reader named targets are those; where none is named, every measurable lesion that is not named
    non-target. Of more than ``limit`` (None: all) the largest stay, by product, or by volume where that is known of
    more candidates; whatever is measured later, area and volume follow the same lesions. Of equal ones the first by id.
    """
    there = [lesion for lesion in lesions if not gone(lesion)]
    named = [lesion for lesion in there if lesion.role is Role.TARGET]
    free = [lesion for lesion in there if lesion.role is not Role.NON_TARGET and measurable(lesion, part)]
    return tuple(lesion.id for lesion in _largest_first(named or free)[:limit])


def select_mixed(scan: Scan, criteria: Criteria) -> dict[Compartment, tuple[str, ...]]:
    """Targets of every compartment of a mixed tumour, at most ``criteria.mixed_targets`` over all.

    Every compartment keeps its largest target; the places that are left go to the largest of the others.
    """
    chosen: dict[tuple[Compartment, str], bool] = {}
    for compartment, part in criteria.parts.items():
        ids = select_targets((one for one in scan.lesions or () if one.compartment is compartment), part, part.targets)
        chosen |= {(compartment, name): place > 0 for place, name in enumerate(ids)}
    there = [lesion for lesion in scan.lesions or () if (lesion.compartment, lesion.id) in chosen]
    ordered = sorted(_largest_first(there), key=lambda one: chosen[one.compartment, one.id])[: criteria.mixed_targets]
    return {part: tuple(one.id for one in ordered if one.compartment is part) for part in criteria.parts}


def group(lists: Sequence[Sequence[Lesion] | None], start: int) -> list[dict[str, tuple[Lesion, ...]] | None]:
    """Join the parts of a lesion that split, per scan: id of the lesion → what is left of it, gone ones left out.

    A part is called as the lesion it came from with one more lower-case letter (``L1`` → ``L1b``) and was not there
    before. What the scan at index ``start`` shows apart is apart from then on.

    Args:
        lists: one compartment's lesions per scan, in time order; None where they were not listed.
        start: index of the scan at which targets are chosen.
    """
    origin: dict[str, str] = {}
    grouped: list[dict[str, tuple[Lesion, ...]] | None] = []
    for place, lesions in enumerate(lists):
        if lesions is None:
            grouped.append(None)
            continue
        there = sorted((one for one in lesions if not gone(one)), key=lambda one: (len(one.id), one.id))
        parts: dict[str, tuple[Lesion, ...]] = {}
        for one in there:
            if place == start:
                origin[one.id] = one.id
            name = origin.setdefault(one.id, _origin(one.id, origin))
            parts[name] = (*parts.get(name, ()), one)
        grouped.append(parts)
    return grouped


def _origin(name: str, origin: Mapping[str, str]) -> str:
    lettered = len(name) > 1 and name[-1].isascii() and name[-1].islower()
    return origin.get(name[:-1], name) if lettered else name


def _largest_first(lesions: Sequence[Lesion]) -> list[Lesion]:
    """Order by size; those of unknown size last, ties by compartment and id."""
    measure = min(Measure, key=lambda measure: sum(size_of(one, measure) is None for one in lesions))

    def rank(lesion: Lesion) -> tuple[float, str, str]:
        size = size_of(lesion, measure)
        return (float("inf") if size is None else -size, lesion.compartment, lesion.id)

    return sorted(lesions, key=rank)
