"""Lesions of a series → what counts at each scan under one criteria set: the sum, new and non-measurable disease.

Targets are chosen once, at the baseline, and the same lesions are followed. Others join the sum in three cases alone:
where the criteria add new lesions to it, at a scan that becomes the new reference for progression, and where there was
nothing to measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ranoscope.response.criteria import Criteria, NewLesionRule, Part
from ranoscope.response.repeatability import product_sd, volume_sd
from ranoscope.response.series import Series
from ranoscope.response.targets import extent, group, measurable, select_mixed, select_targets, size_of
from ranoscope.response.timeline import Compartment, Lesion, Measure, NewLesion, NonMeasurable, Role, Scan

Parts = tuple[Lesion, ...]

# Products of measured decimals may miss an exact limit by rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Burden:
    """One compartment at one scan of a series, as the decision table asks for it. None: unknown.

    ``size``: SPD in mm² or volume in mm³ of what the criteria add up. ``size_sd``: standard deviation of its repeated
    measurement as a fraction of it. ``targets``: ids of the lesions in the sum. ``appeared``: ids of the lesions there
    that were not seen up to the reference for progression; a repeat scan that still lists one confirms it. ``grown``:
    ids of the lesions outside the sum whose growth made ``non_measurable`` worse; none where a reader states it.
    """

    scan: Scan
    size: float | None
    size_sd: float
    targets: tuple[str, ...]
    new_lesion: NewLesion | None
    non_measurable: NonMeasurable | None
    appeared: tuple[str, ...] = ()
    grown: tuple[str, ...] = ()


def burdens(series: Series, compartment: Compartment, criteria: Criteria, measure: Measure) -> tuple[Burden, ...]:
    """What counts at each scan of the series, in its order; later scans do not change it.

    The sum is that of the targets: one that vanished counts 0, parts of one that split count, and one without a
    measurement makes it unknown. It is 0 where nothing is left but targets that were gone and have come back too small
    to be measured: recurrence is measurable tumour (B9, row 7). Where lesions give no sum, the scan's stated one is
    taken. A reader's statement on new and non-measurable lesions stands before what the lists say.
    """
    course = _make_course(series, compartment, criteria)
    targets, found = course.chosen, []
    for place, scan in enumerate(series.scans):
        joining = course.joining(place, targets)
        grown = course.grown(place, targets, joining) if scan.non_measurable is None else ()
        targets = (*targets, *joining)
        size, size_sd = _sum(course.lists[place], course.summed(place, targets), measure)
        if size is None:
            size, size_sd = _stated(scan, compartment, measure)
        new = course.new(place) if scan.new_lesion is None else scan.new_lesion
        others = NonMeasurable.WORSE if grown else course.others(place, targets)
        others = others if scan.non_measurable is None else scan.non_measurable
        found.append(Burden(scan, size, size_sd, targets, new, others, course.appeared(place), grown))
    return tuple(found)


def measurable_at_baseline(series: Series, found: Sequence[Burden]) -> bool | None:
    """Whether there is anything to measure at the baseline; None where that is unknown or there is no baseline.

    Args:
        series: the series.
        found: its burdens in one compartment.
    """
    if series.baseline is None:
        return None
    burden = found[series.baseline]
    if burden.size is None:
        return True if burden.targets and burden.scan.lesions is not None else None
    return burden.size > 0


@dataclass(frozen=True)
class _Course:
    """One compartment's lesions through a series.

    ``lists``: per scan, id → the parts of the lesion that are there; None where lesions were not listed. ``start``: the
    scan at which ``chosen`` became targets. ``room``: how many may still become targets; None: any number.
    """

    series: Series
    criteria: Criteria
    part: Part
    lists: tuple[Mapping[str, Parts] | None, ...]
    start: int
    chosen: tuple[str, ...]
    room: int | None

    @cached_property
    def first(self) -> dict[str, int]:
        """The first scan that shows a lesion."""
        return self._first_scans(lambda _: True)

    @cached_property
    def first_measurable(self) -> dict[str, int]:
        """The first scan that shows a lesion measurable."""
        return self._first_scans(self._measurable)

    def appeared(self, place: int) -> tuple[str, ...]:
        """Lesions at a scan that no scan showed up to its reference, or up to the first list after that."""
        since = self._compared_with(place)
        return tuple(sorted(name for name in self.lists[place] or () if since is not None and self.first[name] > since))

    def new(self, place: int) -> NewLesion | None:
        """Whether a lesion appears, or one that appeared since the reference is measurable for the first time."""
        if self.lists[place] is None or self._compared_with(place) is None:
            return None
        appeared = self.appeared(place)
        if any(self.first_measurable.get(name) == place for name in appeared):
            return NewLesion.MEASURABLE
        return NewLesion.NON_MEASURABLE if any(self.first[name] == place for name in appeared) else NewLesion.NONE

    def joining(self, place: int, targets: Sequence[str]) -> tuple[str, ...]:
        """Lesions that enter the sum at a scan, largest first: those that appeared, or became measurable by growth."""
        lesions = self.lists[place]
        added = self._new_are_added
        if lesions is None or not (added or not targets or place == self.series.progression_reference_from):
            return ()
        appeared = self.appeared(place)
        found = [
            name
            for name, parts in lesions.items()
            if name not in (*targets, *self._left_out)
            and all(one.role is not Role.NON_TARGET for one in parts)
            and self._measurable(parts)
            and (name in appeared or self._grown(place, name))
        ]
        # Under the rule that adds them no limit holds: a new lesion beyond it would count nowhere.
        room = None if added else self.room
        return tuple(sorted(found, key=lambda name: (-(extent(lesions[name]) or (0.0, 0.0))[1], name))[:room])

    def summed(self, place: int, targets: Sequence[str]) -> tuple[str, ...]:
        """Targets that are there; none of them where all have come back and were not measurable since."""
        there = tuple(name for name in targets if name in (self.lists[place] or ()))
        return there if any(self._was_measurable_since_gone(place, name) for name in there) else ()

    def grown(self, place: int, targets: Sequence[str], joining: Sequence[str]) -> tuple[str, ...]:
        """Lesions outside the sum that clearly grew. One that grew so far that it joins the sum is progression all the
        same, unless the criteria let new lesions count by the sum alone.
        """
        by_sum = (*targets, *joining) if self._new_are_added else targets
        return tuple(name for name in self.lists[place] or () if name not in by_sum and self._grown(place, name))

    def others(self, place: int, targets: Sequence[str]) -> NonMeasurable | None:
        """Whether there is a lesion outside the sum of these targets."""
        lesions = self.lists[place]
        if lesions is None:
            return None
        outside = {*lesions} - {*self.summed(place, targets)}
        return NonMeasurable.PRESENT if outside else NonMeasurable.ABSENT

    def _compared_with(self, place: int) -> int | None:
        """The first scan from the reference on that lists lesions: what it does not show has appeared since."""
        return next((n for n in self.series.references(place) if self.lists[n] is not None), None)

    @property
    def _new_are_added(self) -> bool:
        return self.part.new_lesion is NewLesionRule.ADDED_TO_SUM

    @cached_property
    def _left_out(self) -> frozenset[str]:
        """Measurable lesions that were not chosen: they are followed beside the sum for good."""
        at_start = self.lists[self.start] or {}
        return frozenset(name for name, parts in at_start.items() if self._measurable(parts)) - {*self.chosen}

    def _measurable(self, parts: Parts) -> bool:
        return any(measurable(one, self.part) for one in parts)

    def _was_measurable_since_gone(self, place: int, name: str) -> bool:
        """Whether a target was never gone before the scan, or has been measurable since, at that scan or before it."""
        for lesions in reversed(self.lists[: place + 1]):
            if lesions is not None and (name not in lesions or self._measurable(lesions[name])):
                return name in lesions
        return True

    def _first_scans(self, holds: Callable[[Parts], bool]) -> dict[str, int]:
        first: dict[str, int] = {}
        for place, lesions in enumerate(self.lists):
            for name in (name for name, parts in (lesions or {}).items() if holds(parts)):
                first.setdefault(name, place)
        return first

    def _grown(self, place: int, name: str) -> bool:
        """Whether a lesion outside the sum is measurable and clearly larger than at its smallest since the reference.

        The guard against trivial growth over the measurable limit (B3) joins two growths by "or": more than 5 mm, or at
        least 25 %. By "or", 9x9 → 10x11 mm, which it is to exclude, would be progression by its 35.8 %; and every small
        lesion that crosses the limit grows by 25 %. So both are asked for. 0 mm stands for a lesion that was gone.
        """
        limits = self.criteria.non_measurable_growth_mm, self.criteria.non_measurable_growth_percent
        parts = (self.lists[place] or {})[name]
        now = extent(parts)
        lists = (self.lists[n] for n in self.series.references(place) if n >= self.first[name])
        earlier = [extent(lesions.get(name, ())) for lesions in lists if lesions is not None]
        known = [one for one in earlier if one is not None]
        if limits == (None, None) or now is None or not known or not self._measurable(parts):
            return False
        longest, product = min(one[0] for one in known), min(one[1] for one in known)
        by_mm = limits[0] is None or now[0] - longest > limits[0] + _ROUNDING
        by_percent = limits[1] is None or now[1] * 100 >= product * (100 + limits[1]) * (1 - _ROUNDING)
        return by_mm and by_percent


def _make_course(series: Series, compartment: Compartment, criteria: Criteria) -> _Course:
    """Targets are chosen at the baseline, or at the first scan after it that lists lesions if the baseline does not."""
    part, listed = criteria.parts[compartment], compartment in series.listed
    scans = list(enumerate(series.scans))[series.baseline or 0 :]
    start = next((place for place, scan in scans if listed and scan.lesions is not None), None)
    if start is None:
        return _Course(series, criteria, part, (None,) * len(series.scans), 0, (), part.targets)
    lists = [
        None if scan.lesions is None else [one for one in scan.lesions if one.compartment is compartment]
        for scan in series.scans
    ]
    if len(series.compartments) > 1 and criteria.mixed_targets is not None:
        mixed = select_mixed(series.scans[start], criteria)
        chosen, left = mixed[compartment], criteria.mixed_targets - sum(map(len, mixed.values()))
    else:
        chosen, left = select_targets(lists[start] or (), part, part.targets), None
    rooms = [left] if part.targets is None else [part.targets - len(chosen), left]
    room = min((room for room in rooms if room is not None), default=None)
    return _Course(series, criteria, part, tuple(group(lists, start)), start, chosen, room)


def _sum(lesions: Mapping[str, Parts] | None, targets: Sequence[str], measure: Measure) -> tuple[float | None, float]:
    """Sum of the targets and its standard deviation as a fraction of it; lesions are measured independently."""
    if lesions is None:
        return None, 0.0
    total, variance = 0.0, 0.0
    for one in (one for name in sorted(targets) for one in lesions.get(name, ())):
        size = size_of(one, measure)
        if size is None:
            return None, 0.0
        stated = one.product_sd if measure is Measure.AREA else one.volume_sd
        total += size
        variance += (size * (_repeatability(size, measure) if stated is None else stated)) ** 2
    return total, math.sqrt(variance) / total if total else 0.0


def _stated(scan: Scan, compartment: Compartment, measure: Measure) -> tuple[float | None, float]:
    size = scan.sizes(compartment).of(measure)
    return size, 0.0 if size is None else _repeatability(size, measure)


def _repeatability(size: float, measure: Measure) -> float:
    return product_sd(size) if measure is Measure.AREA else volume_sd(size)
