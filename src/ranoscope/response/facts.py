"""A scan of a series → the answers to what the decision table asks of it; None where unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ranoscope.response.burden import Burden, measurable_at_baseline
from ranoscope.response.criteria import Criteria, NewLesionRule, Part
from ranoscope.response.decide import Question, Rules, make_rules
from ranoscope.response.logic import Truth
from ranoscope.response.series import Series
from ranoscope.response.sizes import Comparison, Size
from ranoscope.response.timeline import (
    Change,
    Compartment,
    Measure,
    NewLesion,
    NonMeasurable,
    Scan,
    Steroids,
    Timeline,
)

_WITHOUT = frozenset({Steroids.NONE, Steroids.PHYSIOLOGICAL})


@dataclass(frozen=True)
class Ground:
    """What stays the same over the scans of a series: one compartment under one criteria set."""

    timeline: Timeline
    criteria: Criteria
    measure: Measure
    compartment: Compartment
    series: Series
    found: Sequence[Burden]
    baseline: int

    @cached_property
    def part(self) -> Part:
        """The criteria's settings for the compartment."""
        return self.criteria.parts[self.compartment]

    @cached_property
    def rules(self) -> Rules:
        """What the decision table needs of them."""
        return make_rules(self.criteria, self.part, self.measure)

    @cached_property
    def sizes(self) -> tuple[Size | None, ...]:
        """The burden at every scan of the series; None where unknown."""
        return tuple(
            None if one.size is None else Size(one.size, one.size_sd, place) for place, one in enumerate(self.found)
        )

    @cached_property
    def days(self) -> tuple[int, ...]:
        """The day of every scan of the series."""
        return tuple(scan.day for scan in self.series.scans)

    def scan(self, place: int) -> Scan:
        """The scan at an index of the series."""
        return self.series.scans[place]

    def window_day(self, scan: Scan) -> int | None:
        """Days from the treatment that opens the early window to the scan; None where that day is unknown."""
        window, timeline = self.criteria.early_window, self.timeline
        if window is None:
            return None
        start = timeline.radiotherapy_end_day if window.after_radiotherapy else timeline.immunotherapy_start_day
        return None if start is None else scan.day - start


@dataclass(frozen=True)
class References:
    """What a scan's size is compared with: the nadir among ``candidates``, passing over the ``unmeasured`` of them.

    ``name``: what the reference for progression is, in words.
    """

    candidates: Sequence[int]
    unmeasured: tuple[int, ...]
    nadir: Size | None
    name: str


def make_references(ground: Ground, candidates: Sequence[int], name: str = "nadir") -> References:
    """The smallest known size among the candidates (indices), of equal ones the first."""
    known = [size for place in candidates if (size := ground.sizes[place]) is not None]
    unmeasured = tuple(place for place in candidates if ground.sizes[place] is None)
    return References(candidates, unmeasured, min(known, key=lambda size: size.value, default=None), name)


def compare(ground: Ground, place: int, references: References) -> Comparison | None:
    """The scan's size beside its references; None unless all three are known."""
    now, baseline = ground.sizes[place], ground.sizes[ground.baseline]
    if now is None or baseline is None or references.nadir is None:
        return None
    return Comparison(now, references.nadir, baseline, ground.part.thresholds[ground.measure], references.name)


def stated_facts(ground: Ground, place: int) -> dict[Question, Truth]:
    """What the scan says of itself, whatever it is compared with."""
    burden, scan = ground.found[place], ground.scan(place)
    new, rest = burden.new_lesion, burden.non_measurable
    counts = {
        NewLesionRule.PROGRESSION: {NewLesion.NON_MEASURABLE, NewLesion.MEASURABLE},
        NewLesionRule.PROGRESSION_IF_MEASURABLE: {NewLesion.MEASURABLE},
        NewLesionRule.ADDED_TO_SUM: set(),
    }[ground.part.new_lesion]
    return {
        Question.NEW_LESION: None if new is None else new in counts,
        Question.NEW_LESION_LEFT: None if new is None else new is not NewLesion.NONE,
        Question.NON_MEASURABLE_WORSE: None if rest is None else rest is NonMeasurable.WORSE,
        Question.NON_MEASURABLE_LEFT: None if rest is None else rest is not NonMeasurable.ABSENT,
        Question.ENHANCEMENT_WORSE: scan.enhancement_worse,
        Question.CLINICAL_DECLINE: None if scan.clinical is None else scan.clinical is Change.WORSE,
        Question.LEPTOMENINGEAL: scan.leptomeningeal,
        Question.T2_WORSE: None if scan.t2_flair is None else scan.t2_flair is Change.WORSE,
        Question.ANTI_ANGIOGENIC: scan.anti_angiogenic,
        Question.EARLY: _early(ground, scan),
        Question.OUTSIDE_FIELD: scan.outside_radiation_field,
        Question.VIABLE_TUMOUR: scan.viable_tumour,
        Question.ABOVE_PHYSIOLOGICAL: above_physiological(scan, ground.criteria),
        Question.DOSE_RAISED: _dose_raised(scan, ground.scan(ground.baseline), ground.criteria),
        Question.MEASURABLE_AT_BASELINE: measurable_at_baseline(ground.series, ground.found),
    }


def response_facts(ground: Ground, place: int) -> dict[Question, Truth]:
    """How the scan's size stands to the baseline's."""
    now, baseline = ground.sizes[place], ground.sizes[ground.baseline]
    facts: dict[Question, Truth] = dict.fromkeys((Question.RESPONDED, Question.MINOR_RESPONSE))
    if now is not None and baseline is not None:
        standing = Comparison(now, baseline, baseline, ground.part.thresholds[ground.measure]).standing()
        facts = {Question.RESPONDED: standing.responded, Question.MINOR_RESPONSE: standing.minor_response}
    return {**facts, Question.GONE: None if now is None else now.value == 0}


def growth_facts(ground: Ground, place: int, references: References) -> dict[Question, Truth]:
    """How the scan's size, and the steroid dose, stand to the reference for progression.

    A scan of unknown size among the references is passed over, but may have been the nadir: then "not grown" is not
    known.
    """
    now, nadir = ground.sizes[place], references.nadir
    reference = ground.scan(nadir.scan if nadir is not None else ground.baseline)
    lowered = _dose_lowered(ground.scan(place), reference, ground.criteria)
    if now is None or nadir is None:
        return {Question.RECURRED: None, Question.GROWN: None, Question.DOSE_LOWERED: lowered}
    standing = Comparison(now, nadir, nadir, ground.part.thresholds[ground.measure]).standing()
    otherwise = None if references.unmeasured and not standing.gone else False
    return {
        Question.RECURRED: standing.recurred or otherwise,
        Question.GROWN: standing.grown or otherwise,
        Question.DOSE_LOWERED: lowered,
    }


SIZE_QUESTIONS = (
    Question.RECURRED,
    Question.GROWN,
    Question.GONE,
    Question.RESPONDED,
    Question.MINOR_RESPONSE,
)


def above_physiological(scan: Scan, criteria: Criteria) -> Truth:
    """Whether the steroid dose is above replacement; a dose stated against another scan's is taken to be."""
    if scan.steroid_mg_per_day is not None:
        return scan.steroid_mg_per_day > criteria.physiological_mg_per_day
    return None if scan.steroids is None else scan.steroids not in _WITHOUT


def _dose_lowered(scan: Scan, reference: Scan, criteria: Criteria) -> Truth:
    if scan.steroids is not None and scan.steroids not in _WITHOUT:
        return scan.steroids is Steroids.LOWER
    before, now = above_physiological(reference, criteria), above_physiological(scan, criteria)
    if before is False:
        return False
    if now is False:
        return before
    return _less(scan.steroid_mg_per_day, reference.steroid_mg_per_day)


def _dose_raised(scan: Scan, baseline: Scan, criteria: Criteria) -> Truth:
    if scan.steroids is not None and scan.steroids not in _WITHOUT:
        return scan.steroids is Steroids.HIGHER
    now = above_physiological(scan, criteria)
    if now is not True:
        return now
    if above_physiological(baseline, criteria) is False:
        return True
    return _less(baseline.steroid_mg_per_day, scan.steroid_mg_per_day)


def _less(one: float | None, other: float | None) -> Truth:
    return None if one is None or other is None else one < other


def _early(ground: Ground, scan: Scan) -> Truth:
    window, day = ground.criteria.early_window, ground.window_day(scan)
    if window is None:
        return False
    if day is None:
        return None
    return day < window.days and (window.after_radiotherapy or day >= 0)
