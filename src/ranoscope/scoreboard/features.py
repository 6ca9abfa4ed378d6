"""What the measured-change models are shown of a case, one function per level of information.

A feature is a number with a name; NaN says that it is not known. Volumes enter as logarithms above a noise floor, so
that a difference is a ratio, damped where lesions are too small to measure. Nothing after the current study enters,
and no rating below the level ``reader``: operations (Pre-Op, Post-Op) are events of the timeline, not ratings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ranoscope.domain import RESPONSES, Case, InformationLevel, Response, Visit, VisitState
from ranoscope.evaluation.volumes import volume_response
from ranoscope.scoreboard.courses import Course, enhancing_source

Features = dict[str, float]
_Maker = Callable[[Case, Course, "Signals"], Features]

# The mean of all segmenters that measured a study, taken over log volumes: less noisy than any one of them.
CONSENSUS = "enhancing"

# Below this many mm³ a volume is mostly noise: two automatic segmentations of one lesion under 1,000 mm³ spread by
# 37 points (p10 to p90), so that a ratio of two such volumes says little.
NOISE_FLOOR_MM3 = 100.0
# Spread (p10 to p90) of repeated automatic volumes in points of the volume, by lesion size in mm³; measured on LUMIERE.
_NOISE_SIZES = (500.0, 2_500.0, 10_000.0, 35_000.0, 80_000.0)
_NOISE_SPREAD = (0.366, 0.148, 0.053, 0.028, 0.015)
# p10 to p90 of a normal distribution is 2.563 standard deviations.
_SPREAD_IN_SD = 2.563
_NO_ENHANCEMENT_MM3 = 1.0
# LUMIERE's weeks count from the first MRI, which is pre-operative; the post-operative one follows within three weeks.
_FIRST_WEEKS = 3


@dataclass(frozen=True)
class Signals:
    """Which volumes are looked at: ``names``, and the one column of enhancing volumes the volume rule is applied to."""

    names: list[str]
    rule: str | None


def feature_table(cases: tuple[Case, ...], courses: dict[str, Course], level: InformationLevel) -> pd.DataFrame:
    """One row per case in the given order, one column per feature; a level holds the features of those below it."""
    columns = sorted({name for one in courses.values() for found in one.volumes.values() for name in found})
    signals = Signals([CONSENSUS, *columns], enhancing_source(courses))
    rows = []
    for case in cases:
        row: Features = {}
        for make in _LEVELS[level]:
            row |= make(case, courses[case.patient], signals)
        rows.append(row)
    return pd.DataFrame(rows, dtype=float)


def log_volume(volume: float) -> float:
    """Natural logarithm of a volume in mm³ above the noise floor: 0 for nothing, log-linear far above 100 mm³."""
    return float(np.log1p(volume / NOISE_FLOOR_MM3))


def noise_sd(volume: float) -> float:
    """Standard deviation in mm³ of an automatic volume of this size, at least a quarter of the noise floor."""
    spread = np.interp(volume, _NOISE_SIZES, _NOISE_SPREAD)
    return float(max(spread * volume / _SPREAD_IN_SD, NOISE_FLOOR_MM3 / 4))


def pair_features(case: Case, course: Course, signals: Signals) -> Features:
    """Two studies, the interval and the week of the current one, and who the patient is."""
    row: Features = {
        "weeks_between": float(case.weeks_between),
        "week": float(case.current.week),
        "log_week": float(np.log1p(case.current.week)),
        "prior_week": float(case.prior.week),
        "log_prior_week": float(np.log1p(case.prior.week)),
        "prior_in_first_weeks": float(case.prior.week <= _FIRST_WEEKS),
        **_person(course.person),
    }
    for name in signals.names:
        prior, now = _signal(course, case.prior, name), _signal(course, case.current, name)
        row |= {
            f"{name}_now": log_volume(now),
            f"{name}_prior": log_volume(prior),
            f"{name}_change": log_volume(now) - log_volume(prior),
            f"{name}_change_in_noise": _in_noise(prior, now),
            f"{name}_nothing_now": _nothing(now),
            f"{name}_nothing_prior": _nothing(prior),
        }
    return row


def timeline_features(case: Case, course: Course, signals: Signals) -> Features:
    """All earlier studies since the operation: nadir, baseline and peak, how long, how fast, how often operated on."""
    epoch, surgeries = course.since_surgery(case.current), course.surgeries(case.current)
    earlier = epoch[:-1]
    row: Features = {
        "surgeries": float(len(surgeries)),
        "weeks_since_surgery": float(case.current.week - (surgeries[-1].week if surgeries else 0)),
        "prior_is_post_operative": float(bool(surgeries) and surgeries[-1] == case.prior),
        "surgery_since_prior": float(any(case.prior < one for one in surgeries)),
        "studies_since_surgery": float(len(earlier)),
        "studies": float(len(course.until(case.current)) - 1),
    }
    for name in signals.names:
        row |= _against_the_past(name, course, earlier, case.current)
    if signals.rule is not None:
        row |= _rule(signals.rule, course, earlier, case.current)
    return row


def reader_features(case: Case, course: Course, signals: Signals) -> Features:
    """The expert's earlier ratings: the last one and for how long, how often each, and the volume since then."""
    past = course.responses_before(case.current)
    at_prior = course.ratings.get(case.prior)
    row: Features = {f"prior_rated_{name}": float(at_prior is name) for name in RESPONSES}
    row["prior_rated_post_op"] = float(isinstance(at_prior, VisitState) and at_prior.is_surgery)
    row |= {f"count_{name}": float(sum(one is name for _, one in past)) for name in RESPONSES}
    row |= {f"last_was_{name}": float(bool(past) and past[-1][1] is name) for name in RESPONSES}
    progressions = [visit for visit, one in past if one is Response.PD]
    row["weeks_since_last_PD"] = float(case.current.week - progressions[-1].week) if progressions else np.nan
    row["weeks_since_last_response"] = float(case.current.week - past[-1][0].week) if past else np.nan
    run = _run_length(past)
    row["run_length"] = float(run)
    start = past[-run][0] if run else None
    for name in signals.names:
        now = _signal(course, case.current, name)
        then = _signal(course, start, name) if start else np.nan
        row[f"{name}_change_since_run_began"] = log_volume(now) - log_volume(then)
    return row


_LEVELS: dict[InformationLevel, tuple[_Maker, ...]] = {
    InformationLevel.PAIR: (pair_features,),
    InformationLevel.TIMELINE: (pair_features, timeline_features),
    InformationLevel.READER: (pair_features, timeline_features, reader_features),
}


def _person(person: dict[str, str]) -> Features:
    """An unknown word is neither of the two: it stays unknown and never becomes a class of its own."""
    try:
        age = float(person.get("age_years", ""))
    except ValueError:
        age = np.nan
    words = {"sex": ("female", "male"), "idh": ("mutant", "wild type"), "mgmt": ("methylated", "not methylated")}
    answers = {f"{key}_{word}": float(person.get(key) == word) for key, pair in words.items() for word in pair}
    return {"age": age, **answers}


def _signal(course: Course, visit: Visit | None, name: str) -> float:
    values = course.volumes.get(visit, {}) if visit else {}
    if name != CONSENSUS:
        return values.get(name, np.nan)
    known = [log_volume(volume) for column, volume in values.items() if column.endswith("_enhancing_mm3")]
    return float(np.expm1(np.mean(known)) * NOISE_FLOOR_MM3) if known else np.nan


def _nothing(volume: float) -> float:
    return np.nan if np.isnan(volume) else float(volume < _NO_ENHANCEMENT_MM3)


def _in_noise(before: float, now: float) -> float:
    if np.isnan(before) or np.isnan(now):
        return np.nan
    return float(np.clip((now - before) / np.hypot(noise_sd(before), noise_sd(now)), -20, 20))


def _against_the_past(name: str, course: Course, earlier: tuple[Visit, ...], current: Visit) -> Features:
    """Current volume against nadir, baseline and peak since the operation, and the slope of the last three."""
    now = _signal(course, current, name)
    known = [(one, _signal(course, one, name)) for one in earlier]
    known = [(one, value) for one, value in known if not np.isnan(value)]
    values = [value for _, value in known]
    nadir, peak = (min(values), max(values)) if values else (np.nan, np.nan)
    baseline = values[0] if values else np.nan
    at_nadir = max((one.week for one, value in known if value == nadir), default=None)
    points = [*known[-2:], (current, now)]
    return {
        f"{name}_nadir": log_volume(nadir),
        f"{name}_baseline": log_volume(baseline),
        f"{name}_peak": log_volume(peak),
        f"{name}_change_from_nadir": log_volume(now) - log_volume(nadir),
        f"{name}_change_from_baseline": log_volume(now) - log_volume(baseline),
        f"{name}_change_from_peak": log_volume(now) - log_volume(peak),
        f"{name}_nadir_in_noise": _in_noise(nadir, now),
        f"{name}_nothing_ever": _nothing(np.fmax(peak, now)),
        f"{name}_weeks_since_nadir": np.nan if at_nadir is None else float(current.week - at_nadir),
        f"{name}_slope": _slope(points),
    }


def _rule(name: str, course: Course, earlier: tuple[Visit, ...], current: Visit) -> Features:
    """What the volume rule would call, one feature per response; all 0 where it cannot be applied.

    The rule knows what a small cohort cannot teach: that nothing left after something is CR, that growth is judged
    against the nadir. The model learns when to believe it.
    """
    now = _signal(course, current, name)
    known = [value for value in (_signal(course, one, name) for one in earlier) if not np.isnan(value)]
    call = None if np.isnan(now) or not known else volume_response(known[0], min(known), now)
    return {f"rule_says_{response}": float(call is response) for response in RESPONSES}


def _slope(points: list[tuple[Visit, float]]) -> float:
    """Least-squares slope of the log volume per 10 weeks; NaN with fewer than two known volumes in different weeks."""
    known = [(one.week / 10, log_volume(value)) for one, value in points if not np.isnan(value)]
    weeks = np.array([week for week, _ in known])
    if len(set(weeks)) < 2:
        return np.nan
    return float(np.polyfit(weeks, [value for _, value in known], 1)[0])


def _run_length(past: list[tuple[Visit, Response]]) -> int:
    """How many of the last responses are the same as the last one."""
    run = 0
    for _, response in reversed(past):
        if response is not past[-1][1]:
            break
        run += 1
    return run
