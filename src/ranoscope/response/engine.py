"""A patient's timeline → a call per scan under one criteria set, or under all of them."""

from __future__ import annotations

from collections.abc import Iterator

from ranoscope.response.burden import burdens
from ranoscope.response.calling import make_call
from ranoscope.response.calls import Call, Category, Evaluation, Flag, Stage
from ranoscope.response.course import Finding, walk
from ranoscope.response.criteria import CRITERIA, Criteria
from ranoscope.response.facts import Ground
from ranoscope.response.mixed import Judged, combine
from ranoscope.response.series import Series, make_series, validate
from ranoscope.response.timeline import Compartment, Measure, Timeline


def evaluate(timeline: Timeline, criteria: Criteria, measure: Measure = Measure.AREA) -> Evaluation:
    """Call every scan of a patient.

    A scan around an operation, and the baseline, have no category. What a scan does not state is unknown: the call is
    then provisional, and names the facts that could change it.

    Raises:
        TableError: see ``validate``.
    """
    notes = validate(timeline)
    calls = tuple(
        call for series in make_series(timeline, criteria) for call in _calls(timeline, series, criteria, measure)
    )
    return Evaluation(patient=timeline.patient, criteria=criteria.name, measure=measure, calls=calls, notes=notes)


def evaluate_all(timeline: Timeline, measure: Measure = Measure.AREA) -> tuple[Evaluation, ...]:
    """Call every scan of a patient under every published criteria set.

    Raises:
        TableError: see ``validate``.
    """
    return tuple(evaluate(timeline, criteria, measure) for criteria in CRITERIA)


def _calls(timeline: Timeline, series: Series, criteria: Criteria, measure: Measure) -> Iterator[Call]:
    """Calls of one series in order of time; what follows a progression is flagged, or not rated."""
    parts = [_judge(timeline, series, criteria, measure, part) for part in series.compartments]
    ids, progressed = [scan.id for scan in series.scans], False
    for place, (scan, stage) in enumerate(zip(series.scans, series.stages, strict=True)):
        judged = [part[place] for part in parts if place in part]
        notes = series.notes if stage in (Stage.BASELINE, Stage.ASSESSED) else ()
        call = Call(scan=scan.id, day=scan.day, stage=stage, category=None, flags=notes)
        if judged and progressed and not criteria.rate_after_progression:
            call = call.model_copy(update={"flags": (*notes, Flag.AFTER_PROGRESSION)})
        elif judged:
            call, _ = judged[0] if len(judged) == 1 else combine(criteria, (judged[0], judged[1]), ids)
            after = (Flag.AFTER_PROGRESSION,) if progressed else ()
            progressed |= call.category is Category.PD
            call = call.model_copy(update={"flags": (*notes, *call.flags, *after)})
        yield call


def _judge(
    timeline: Timeline, series: Series, criteria: Criteria, measure: Measure, part: Compartment
) -> dict[int, Judged]:
    """Calls of one compartment by the index of their scan, each with the categories that it may be."""
    if series.baseline is None:
        return {}
    found = burdens(series, part, criteria, measure)
    ground = Ground(timeline, criteria, measure, part, series, found, series.baseline)
    before: list[Finding] = []
    judged = {}
    for finding in walk(ground):
        judged[finding.place] = (make_call(ground, finding, before), finding.shows)
        before.append(finding)
    return judged
