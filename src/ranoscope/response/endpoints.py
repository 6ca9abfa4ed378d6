"""Calls of a patient → what a trial reports of them: best response, time to progression, duration of response.

Definitions, in each series of scans from one operation to the next (a resection ends what can be compared):

- *Progression*: the first PD. It is dated to the scan that the call dates it to, so that a confirmed progression
  counts from the scan that first suggested it (RANO-HGG 2010, RANO 2.0, iRANO). What is rated from that date on counts
  no more.
- *Best response*: the best category before progression, a response that waits for confirmation taken as what it claims.
  SD counts once it has lasted ``minimum_stable_days`` since the baseline (the rule of RECIST 1.1; the RANO papers give
  none); less is PD where progression follows, else NE.
- *Confirmed response*: what every evaluable scan of some stretch of ``confirmation_days`` or more claims at least
  (Macdonald, RANO: a second scan 4 weeks or more later on which the response still holds). Scans that are not evaluable
  do not break a stretch. MR counts as a response; criteria of enhancing disease never give it.
- *Time to progression*: from the baseline scan. Without progression it is censored at the last evaluable scan, or at
  the baseline if there is none. A progression that still waits for its confirmation is no event: it is named as
  pending, for trials that count it.
- *Time to response*: from the baseline to the first scan of the first such stretch. *Duration of response*: from there
  to progression, censored like it (as in RECIST 1.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict, Field

from ranoscope.response.calls import Call, Category, Evaluation, Stage
from ranoscope.response.timeline import Measure

# From worst to best; NE tells nothing.
_ORDER = (Category.NE, Category.PD, Category.SD, Category.MR, Category.PR, Category.CR)
_RESPONSES = frozenset({Category.MR, Category.PR, Category.CR})


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EndpointSettings(_Record):
    """Days from the first to the confirming scan of a response, and from the baseline until SD counts.

    4 weeks: Macdonald 1990, RANO. 6 weeks: the lower of the minima that RECIST 1.1 suggests to protocols.
    """

    confirmation_days: int = Field(default=28, ge=1)
    minimum_stable_days: int = Field(default=42, ge=0)


DEFAULT_SETTINGS = EndpointSettings()


class Interval(_Record):
    """Days between two scans (ids); ``event`` is False where the interval is censored at ``end``."""

    start: str
    end: str
    days: int
    event: bool


class SeriesEndpoints(_Record):
    """Endpoints of one series. Scans by id; None where there is no such scan.

    ``progression_called_at``: the scan whose call made the progression certain. ``pending_progression``: the scan of a
    progression that waits for confirmation when the series ends. ``provisional``: some call that counts is provisional.
    ``ends_at_surgery``: an operation follows.
    """

    first_scan: str
    baseline: str
    best_response: Category
    best_confirmed_response: Category
    progression_scan: str | None
    progression_called_at: str | None
    pending_progression: str | None
    time_to_progression: Interval
    time_to_response: Interval | None
    duration_of_response: Interval | None
    provisional: bool
    ends_at_surgery: bool


class Endpoints(_Record):
    """Endpoints of a patient under one criteria set; series in time order, those without a baseline left out."""

    patient: str
    criteria: str
    measure: Measure
    settings: EndpointSettings
    series: tuple[SeriesEndpoints, ...]

    @property
    def first(self) -> SeriesEndpoints | None:
        """The first series: what a trial that follows a patient from one baseline reports."""
        return self.series[0] if self.series else None


def derive(evaluation: Evaluation, settings: EndpointSettings = DEFAULT_SETTINGS) -> Endpoints:
    """Endpoints of every series of an evaluation that has a baseline."""
    cut = [(calls, _baseline(calls)) for calls in cut_series(evaluation.calls)]
    series = tuple(
        _endpoints(calls, baseline, settings, ends_at_surgery=number < len(cut))
        for number, (calls, baseline) in enumerate(cut, start=1)
        if baseline is not None
    )
    return Endpoints(
        patient=evaluation.patient,
        criteria=evaluation.criteria,
        measure=evaluation.measure,
        settings=settings,
        series=series,
    )


def cut_series(calls: Sequence[Call]) -> list[tuple[Call, ...]]:
    """Calls between operations: a pre-operative scan ends a series, the first post-operative one opens the next."""
    series: list[list[Call]] = []
    for call in calls:
        last = series[-1][-1].stage if series else None
        opens = call.stage is Stage.POST_OP or last is Stage.PRE_OP
        if last is None or (opens and call.stage is not last):
            series.append([])
        series[-1].append(call)
    return [tuple(one) for one in series]


def _baseline(calls: Iterable[Call]) -> Call | None:
    by_id = {call.scan: call for call in calls}
    named = [call.baseline for call in by_id.values() if call.baseline is not None]
    stands = [call.scan for call in by_id.values() if call.stage is Stage.BASELINE]
    return next((by_id[name] for name in (*named, *stands) if name in by_id), None)


def _endpoints(
    calls: tuple[Call, ...], baseline: Call, settings: EndpointSettings, ends_at_surgery: bool
) -> SeriesEndpoints:
    evaluable = [call for call in calls if call.category not in (None, Category.NE)]
    certain = next((call for call in evaluable if call.category is Category.PD), None)
    dated = None if certain is None else next(c for c in calls if c.scan == (certain.progression_scan or certain.scan))
    places = {call.scan: place for place, call in enumerate(calls)}
    free = [call for call in evaluable if dated is None or places[call.scan] < places[dated.scan]]
    held = _confirmed(free, settings.confirmation_days)
    began = next((call for call, level in held if level in _RESPONSES), None)
    stop = dated or (evaluable or [baseline])[-1]
    fallback = _without_response(free, baseline, certain, settings)
    return SeriesEndpoints(
        first_scan=calls[0].scan,
        baseline=baseline.scan,
        best_response=_best([_claim(call) for call in free], fallback),
        best_confirmed_response=_best([level for _, level in held], fallback),
        progression_scan=None if dated is None else dated.scan,
        progression_called_at=None if certain is None else certain.scan,
        pending_progression=None if certain is not None else _pending(evaluable),
        time_to_progression=_interval(baseline, stop, dated is not None),
        time_to_response=None if began is None else _interval(baseline, began, True),
        duration_of_response=None if began is None else _interval(began, stop, dated is not None),
        provisional=any(call.provisional for call in (*free, *([certain] if certain else []))),
        ends_at_surgery=ends_at_surgery,
    )


def _claim(call: Call) -> Category:
    """What the scan shows, whether or not it has been confirmed."""
    claims = [one for one in (call.category, call.preliminary) if one is not None and one is not Category.PD]
    return max(claims, key=_ORDER.index, default=Category.PD)


def _confirmed(calls: Sequence[Call], least_days: int) -> list[tuple[Call, Category]]:
    """For each scan the best category that it and all up to some scan ``least_days`` or more later claim at least."""
    held = []
    for place, call in enumerate(calls):
        level, best = _claim(call), Category.NE
        for later in calls[place + 1 :]:
            level = min(level, _claim(later), key=_ORDER.index)
            if later.day - call.day >= least_days:
                best = max(best, level, key=_ORDER.index)
        held.append((call, best))
    return held


def _best(claims: Sequence[Category], fallback: Category) -> Category:
    responses = [claim for claim in claims if claim in _RESPONSES]
    return max(responses, key=_ORDER.index, default=fallback)


def _without_response(
    free: Sequence[Call], baseline: Call, certain: Call | None, settings: EndpointSettings
) -> Category:
    """SD if it lasted, else PD if progression followed, else NE."""
    if any(call.day - baseline.day >= settings.minimum_stable_days for call in free):
        return Category.SD
    return Category.NE if certain is None else Category.PD


def _pending(evaluable: Sequence[Call]) -> str | None:
    """The first scan of the unbroken run of suspected progressions at the end."""
    first = None
    for call in reversed(evaluable):
        if call.preliminary is not Category.PD:
            break
        first = call.scan
    return first


def _interval(start: Call, end: Call, event: bool) -> Interval:
    return Interval(start=start.scan, end=end.scan, days=end.day - start.day, event=event)
