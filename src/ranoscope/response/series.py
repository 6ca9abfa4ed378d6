"""A patient's scans → series between operations, each with its baseline and what every scan is in it.

An operation breaks the timeline: what has been cut out is never a reference, and no category spans it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ranoscope.errors import TableError, problem
from ranoscope.response.calls import Flag, Stage
from ranoscope.response.criteria import BaselineRule, Criteria
from ranoscope.response.timeline import Change, Compartment, Disease, NewLesion, NonMeasurable, Scan, Surgery, Timeline

_PARTS = {
    Disease.ENHANCING: (Compartment.ENHANCING,),
    Disease.NONENHANCING: (Compartment.NONENHANCING,),
    Disease.MIXED: (Compartment.ENHANCING, Compartment.NONENHANCING),
}


@dataclass(frozen=True)
class Series:
    """The scans from one operation to the next, in time order.

    ``baseline``: index of the reference scan; None where there are pre-operative scans alone. ``stages``: one a scan.
    ``notes``: what a reader should know of the baseline. ``progression_reference_from``: index of the scan from which
    the nadir counts for later scans; the baseline, unless the criteria move it behind radiotherapy.
    ``compartments``: what is assessed. ``listed``: compartments whose single lesions the timeline lists, so that an
    empty list there means that none was found.
    """

    scans: tuple[Scan, ...]
    baseline: int | None
    stages: tuple[Stage, ...]
    notes: tuple[Flag, ...]
    progression_reference_from: int | None
    compartments: tuple[Compartment, ...]
    listed: frozenset[Compartment]

    def references(self, index: int) -> range:
        """Indices of the earlier scans among which the scan's nadir is sought; empty up to the baseline.

        The scan that moves the reference for progression is itself compared with the scans before it.
        """
        if self.baseline is None or self.progression_reference_from is None or index <= self.baseline:
            return range(0)
        moved = index > self.progression_reference_from
        return range(self.progression_reference_from if moved else self.baseline, index)


def validate(timeline: Timeline) -> tuple[str, ...]:
    """Check what every later step relies on; returns sentences for the user about what is odd but defined.

    Raises:
        TableError: no scan, one id twice, days that decrease, or a baseline that is no scan or was cut out.
    """
    scans, where = timeline.scans, timeline.patient
    if not scans:
        raise TableError(problem("at least one scan", "none", where, "add the patient's scans"))
    names = [scan.id for scan in scans]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TableError(problem("one scan per id", f"{', '.join(twice)} twice", where, "give each scan its own id"))
    notes = [f"{names[0]} is the only scan: there is nothing to compare it with."] if len(scans) == 1 else []
    for one, other in pairwise(scans):
        if other.day < one.day:
            got = f"{other.id} on day {other.day} after {one.id} on day {one.day}"
            raise TableError(problem("scans in order of time", got, where, "sort the scans or correct the days"))
        if other.day == one.day:
            notes.append(f"{one.id} and {other.id} are on one day ({one.day}); the order given is kept.")
    _check_named_baseline(timeline)
    return tuple(notes)


def _check_named_baseline(timeline: Timeline) -> None:
    if timeline.baseline is None:
        return
    named = next((scan for scan in timeline.scans if scan.id == timeline.baseline), None)
    if named is None:
        got = f"`{timeline.baseline}`, which is none of {', '.join(scan.id for scan in timeline.scans)}"
        raise TableError(problem("a baseline among the scans", got, timeline.patient, "name one of these scans"))
    if named.surgery is Surgery.PRE_OP:
        got = f"the pre-operative {named.id}, whose tumour was cut out"
        raise TableError(problem("a baseline after the operation", got, timeline.patient, "name a later scan"))


def compartments(timeline: Timeline, criteria: Criteria) -> tuple[Compartment, ...]:
    """Which parts of the tumour are assessed.

    Criteria with one part: that. Otherwise the stated ``disease``; where none is stated, an IDH-mutant tumour whose
    non-enhancing burden is known at some scan is mixed (non-enhancing alone if nothing is known of enhancement), and
    every other tumour is followed by its enhancement: of IDH-wild-type tumours T2/FLAIR is no part (RANO 2.0).
    """
    if len(criteria.parts) == 1:
        return tuple(criteria.parts)
    if timeline.disease is not None:
        return tuple(part for part in _PARTS[timeline.disease] if part in criteria.parts)
    if timeline.idh_mutant is not True or not _known(timeline, Compartment.NONENHANCING):
        return _PARTS[Disease.ENHANCING]
    return _PARTS[Disease.MIXED if _known(timeline, Compartment.ENHANCING) else Disease.NONENHANCING]


def make_series(timeline: Timeline, criteria: Criteria) -> tuple[Series, ...]:
    """Cut a timeline that :func:`validate` accepts at its operations and find each series' baseline.

    A pre-operative scan closes a series, a post-operative one opens the next; consecutive post-operative scans belong
    to one operation and the last of them is the reference. Otherwise the first scan of a series is, or, where the
    criteria ask for it and the patient is newly diagnosed, the first scan long enough after radiotherapy in the first
    series that has one. A baseline that a reader names overrides this in its series.
    """
    parts, listed = compartments(timeline, criteria), _listed(timeline)
    newly_diagnosed = timeline.recurrent is not True
    moves = criteria.progression_from_radiotherapy and newly_diagnosed
    made: list[Series] = []
    for scans in _cut(timeline.scans):
        opening, treated = _opening(scans), _after_radiotherapy(scans, timeline, criteria)
        # Where the end of radiotherapy is unknown, the first series is taken to be the one that it falls into.
        first = timeline.radiotherapy_end_day is not None or all(one.baseline is None for one in made)
        asked = criteria.baseline is BaselineRule.POST_RADIOTHERAPY and newly_diagnosed and first
        baseline = treated if asked and treated is not None else opening
        doubtful = baseline == 0 and _doubtful(scans[0], newly_diagnosed, follows=bool(made))
        doubtful = doubtful or (asked and treated is None and opening is not None)
        named = next((place for place, scan in enumerate(scans) if scan.id == timeline.baseline), None)
        if named is not None:
            baseline, doubtful = named, False
        reference = max(baseline, treated) if moves and baseline is not None and treated is not None else baseline
        stages = tuple(_stage(scan, place, baseline) for place, scan in enumerate(scans))
        notes = (Flag.BASELINE_IS_NOT_THE_CRITERIAS,) if doubtful else ()
        made.append(Series(scans, baseline, stages, notes, reference, parts, listed))
    return tuple(made)


def _listed(timeline: Timeline) -> frozenset[Compartment]:
    """Compartments of which a lesion is listed at any scan; all of them where every list is empty."""
    found = {lesion.compartment for scan in timeline.scans for lesion in scan.lesions or ()}
    return frozenset(found or Compartment)


def _known(timeline: Timeline, compartment: Compartment) -> bool:
    sums = [scan.sizes(compartment) for scan in timeline.scans]
    stated = any(one.spd_mm2 is not None or one.volume_mm3 is not None for one in sums)
    lists = any(scan.lesions is not None for scan in timeline.scans)
    return stated or (lists and compartment in _listed(timeline))


def _cut(scans: Sequence[Scan]) -> Iterator[tuple[Scan, ...]]:
    current: list[Scan] = []
    for scan in scans:
        last = current[-1].surgery if current else scan.surgery
        if scan.surgery is not last and (scan.surgery is Surgery.POST_OP or last is Surgery.PRE_OP):
            yield tuple(current)
            current = []
        current.append(scan)
    if current:
        yield tuple(current)


def _opening(scans: Sequence[Scan]) -> int | None:
    """The last of the post-operative scans that open a series, else its first scan unless that is pre-operative."""
    post_operative = sum(scan.surgery is Surgery.POST_OP for scan in scans)
    if post_operative:
        return post_operative - 1
    return None if scans[0].surgery is Surgery.PRE_OP else 0


def _after_radiotherapy(scans: Sequence[Scan], timeline: Timeline, criteria: Criteria) -> int | None:
    """First scan, not before the series' own first reference, that is long enough after the end of radiotherapy."""
    end, opening = timeline.radiotherapy_end_day, _opening(scans)
    if end is None or opening is None:
        return None
    late_enough = (
        place
        for place, scan in enumerate(scans)
        if place >= opening and scan.surgery is not Surgery.PRE_OP and scan.day >= end + criteria.post_radiotherapy_days
    )
    return next(late_enough, None)


def _doubtful(first: Scan, newly_diagnosed: bool, follows: bool) -> bool:
    """Whether the first scan of a series is less than a baseline.

    So it is where it follows an operation without being the post-operative scan, and where a newly diagnosed patient's
    first scan already reports progression, which was seen against a scan that is not among these.
    """
    if first.surgery is not None:
        return False
    worse = Change.WORSE in (first.clinical, first.t2_flair) or first.non_measurable is NonMeasurable.WORSE
    new = first.new_lesion not in (None, NewLesion.NONE)
    progressed = worse or new or first.enhancement_worse is True
    return follows or (newly_diagnosed and progressed)


def _stage(scan: Scan, place: int, baseline: int | None) -> Stage:
    if scan.surgery is not None:
        return Stage.PRE_OP if scan.surgery is Surgery.PRE_OP else Stage.POST_OP
    if baseline is None or place < baseline:
        return Stage.BEFORE_BASELINE
    return Stage.BASELINE if place == baseline else Stage.ASSESSED
