"""Findings of one compartment → calls: the rule and its sentence, references, flags, dates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

from ranoscope.response.calls import Call, Category, Flag, SizeComparison
from ranoscope.response.confirmation import first_day
from ranoscope.response.course import Finding
from ranoscope.response.decide import Step, presumed_row
from ranoscope.response.facts import SIZE_QUESTIONS, Ground, compare
from ranoscope.response.reasons import explain
from ranoscope.response.rows import ON_IMAGES, RESPONSE_LEVELS, SUSPICIOUS, Row, rating_of
from ranoscope.response.sizes import Standing, describe
from ranoscope.response.timeline import Timeline

_FLAGS = {
    Row.DOSE_LOWERED: Flag.DOSE_WAS_LOWERED,
    Row.TOO_EARLY: Flag.PSEUDOPROGRESSION_POSSIBLE,
    Row.REPEAT: Flag.PSEUDOPROGRESSION_POSSIBLE,
    Row.NOTHING_TO_MEASURE: Flag.NO_MEASURABLE_DISEASE,
}
# Scans named by whole weeks (LUMIERE), whose days are then known to the week only.
_BY_WEEK = re.compile(r"week-\d+")
_DAYS_A_WEEK = 7


def make_call(ground: Ground, finding: Finding, before: Sequence[Finding]) -> Call:
    """The call at a scan, given the findings before it."""
    row, scan, nadir = finding.row, ground.scan(finding.place), finding.references.nadir
    return Call(
        scan=scan.id,
        day=scan.day,
        stage=ground.series.stages[finding.place],
        category=row.category,
        rule=f"{ground.criteria.name}/{row.number}",
        rule_sentence=row.sentence,
        preliminary=row.preliminary,
        confirmed=_confirmed(ground, finding),
        provisional=len(finding.shows) > 1,
        unknown=finding.unknown,
        reasons=explain(ground, finding),
        flags=tuple(_flags(ground, finding, before)),
        baseline=ground.scan(ground.baseline).id,
        nadir=None if nadir is None else ground.scan(nadir.scan).id,
        progression_scan=_progression_scan(ground, finding, before),
        size=_size(ground, finding),
    )


def _confirmed(ground: Ground, finding: Finding) -> bool | None:
    row = finding.row
    if row.preliminary is not None:
        return False
    if row.category in RESPONSE_LEVELS:
        return None if ground.criteria.confirmation_days is None else True
    return True if _is_repeat(finding) and row in ON_IMAGES else None


def _is_repeat(finding: Finding) -> bool:
    return finding.step is Step.REPEAT_SCAN


def _size(ground: Ground, finding: Finding) -> SizeComparison | None:
    comparison = compare(ground, finding.place, finding.references)
    if comparison is None:
        return None

    @cache
    def rate(standing: Standing) -> Category:
        facts = list(finding.facts)
        for question, answer in zip(SIZE_QUESTIONS, standing, strict=True):
            facts[question] = answer
        return rating_of(presumed_row(ground.rules, finding.step, facts, finding.presumed))

    return describe(comparison, ground.compartment, ground.measure, rate)


def _progression_scan(ground: Ground, finding: Finding, before: Sequence[Finding]) -> str | None:
    """The scan that progression is dated to: the first of those in a row that suggested it, where images show it."""
    if finding.row.category is not Category.PD:
        return None
    first = finding.place
    if finding.row in ON_IMAGES:
        for earlier in reversed(before):
            if earlier.row not in SUSPICIOUS | {Row.NOT_EVALUABLE}:
                break
            first = earlier.place if earlier.row in SUSPICIOUS else first
        first = first if finding.waiting is None else finding.waiting
    return ground.scan(first).id


def _flags(ground: Ground, finding: Finding, before: Sequence[Finding]) -> Iterator[Flag]:
    row = finding.row
    if row in _FLAGS:
        yield _FLAGS[row]
    if row is Row.NOT_EVALUABLE:
        return
    if _is_repeat(finding) and row.category is not Category.PD and ground.sizes[finding.place] is not None:
        yield Flag.PSEUDOPROGRESSION
    last = next((one.row for one in reversed(before) if one.row is not Row.NOT_EVALUABLE), row)
    if last.preliminary in RESPONSE_LEVELS and row.level < last.level:
        yield Flag.PSEUDORESPONSE
    if _at_a_limit(ground, finding) and by_week(ground.timeline):
        yield Flag.INTERVAL_ROUNDED


def by_week(timeline: Timeline) -> bool:
    """Whether the scans are named by the week and their days are whole weeks."""
    return all(_BY_WEEK.match(scan.id) and scan.day % _DAYS_A_WEEK == 0 for scan in timeline.scans)


def _at_a_limit(ground: Ground, finding: Finding) -> bool:
    """Whether an interval that the call rests on is exactly as long as the criteria ask for."""
    criteria, row, day = ground.criteria, finding.row, ground.scan(finding.place).day
    if row.category in RESPONSE_LEVELS:
        return day - first_day(RESPONSE_LEVELS[row.category], day, finding.earlier) == criteria.confirmation_days
    if _is_repeat(finding) and finding.waiting is not None:
        return day - ground.scan(finding.waiting).day == criteria.progression_confirmation_days
    window = criteria.early_window
    return window is not None and row in ON_IMAGES and ground.window_day(ground.scan(finding.place)) == window.days
