"""The response engine over measured volumes: every criteria set as a rival that knew the timeline.

LUMIERE tells the engine volumes, weeks and operations; steroids, clinical state, new and non-measurable lesions are not
in it and stay unknown, which is never "no": every call but PD is provisional, and so is a growth that a lowered dose of
steroids might excuse. A call at a visit is made from the visits up to it, never from later ones.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial

from ranoscope.domain import Case, InformationLevel, Response, Visit, VisitState
from ranoscope.evaluation.rivals import Answer, Evidence, Rival, Unavailable, hard_answer
from ranoscope.evaluation.volumes import FALLBACK
from ranoscope.response.calls import Call, Category
from ranoscope.response.criteria import CRITERIA, Criteria, with_changes
from ranoscope.response.engine import evaluate
from ranoscope.response.timeline import Compartment, Measure, Scan, Sizes, Surgery, Timeline
from ranoscope.scoreboard.courses import Course, best_known, enhancing_source

# Chemoradiation begins about 4 weeks after surgery and lasts 6 (Stupp 2005); LUMIERE gives no dates, so its end is
# assumed: this many weeks after the first operation, or after the first MRI where no operation is on record.
RADIOTHERAPY_ENDS_WEEKS = 10
_DAYS_A_WEEK = 7
# LUMIERE's ratings speak of single visits: no call waits for a later scan.
_SINGLE_VISIT = ("confirmation_days=null", "confirm_progression=never")


# What the non-enhancing T2/FLAIR abnormality is called among the volumes.
_T2 = "nonenhancing"
_WORDS = {Compartment.ENHANCING: "enhancing", Compartment.NONENHANCING: "non-enhancing"}
_NOT_PD = frozenset({Category.SD, Category.MR, Category.PR, Category.CR})

Sources = dict[Compartment, str | None]


@dataclass(frozen=True)
class RuleSet:
    """One criteria set as a rival: ``name`` in files, ``title`` in tables, the settings, and whether confirmation is
    asked for as published.
    """

    name: str
    title: str
    criteria: Criteria
    confirmed: bool

    @property
    def compartment(self) -> Compartment:
        """What it measures first."""
        return next(iter(self.criteria.parts))


def _rule_sets() -> tuple[RuleSet, ...]:
    found = []
    for criteria in CRITERIA:
        stem = criteria.name.replace("-", "_")
        single = with_changes(criteria, _SINGLE_VISIT)
        found.append(RuleSet(stem, f"{criteria.title}, by volume", criteria, True))
        found.append(RuleSet(f"{stem}_single", f"{criteria.title}, by volume, single visit", single, False))
    return tuple(found)


# Each as published, and for single visits.
RULE_SETS = _rule_sets()


def find_sources(courses: dict[str, Course]) -> Sources:
    """The column of each compartment, the same for every patient and visit: the best known one.

    Two segmenters of one compartment in one course would make changes of their own.
    """
    return {Compartment.ENHANCING: enhancing_source(courses), Compartment.NONENHANCING: best_known(courses, _T2)}


def make_timeline(patient: str, course: Course, until: Visit, sources: Sources) -> Timeline:
    """A course up to and including a visit as the response engine reads it.

    Days are seven times the week plus the suffix, which is the order within a week.

    Args:
        patient: the patient's pseudonym.
        course: the patient's course.
        until: the last visit that may be known.
        sources: column of volumes in mm³ by compartment.
    """
    visits = course.until(until)
    operations = [one for one in visits if _surgery(course, one) is Surgery.POST_OP]
    operated = operations[0].week if operations else 0
    return Timeline(
        patient=patient,
        scans=tuple(_scan(course, visit, sources) for visit in visits),
        recurrent=False,
        idh_mutant={"mutant": True, "wild type": False}.get(course.person.get("idh", "")),
        radiotherapy_end_day=_DAYS_A_WEEK * (operated + RADIOTHERAPY_ENDS_WEEKS),
    )


def engine_calls(
    rules: RuleSet, cases: tuple[Case, ...], courses: dict[str, Course], pairs_alone: bool = False
) -> list[Call] | None:
    """The engine's call at each case's current visit, from the visits up to it; with ``pairs_alone`` from its two.

    None where the compartment that the criteria measure is known at no visit of anybody.
    """
    sources = find_sources(courses)
    if sources[rules.compartment] is None:
        return None
    calls = []
    for case in cases:
        course = courses[case.patient]
        course = course.of_two(case.prior, case.current) if pairs_alone else course
        timeline = make_timeline(case.patient, course, case.current, sources)
        calls.append(evaluate(timeline, rules.criteria, Measure.VOLUME).calls[-1])
    return calls


def as_response(call: Call) -> tuple[Response, str | None]:
    """The call among LUMIERE's four responses, and which fallback was needed.

    MR, which LUMIERE does not know, becomes SD; no category at all becomes PD, the most frequent response.
    """
    if call.category is Category.MR:
        return Response.SD, "MR, called SD"
    if call.category is Category.NE:
        return FALLBACK, "not evaluable, called PD"
    if call.category is None:
        return FALLBACK, f"{call.stage}, called PD"
    return Response(call.category), None


def criteria_rivals(courses: dict[str, Course]) -> tuple[Rival, ...]:
    """Every criteria set as a rival of level ``timeline`` over these courses."""
    return tuple(_rival(rules, courses) for rules in RULE_SETS)


def _rival(rules: RuleSet, courses: dict[str, Course]) -> Rival:
    asked = "as published, with confirmation" if rules.confirmed else "without confirmation, as the ratings are"
    knew = (
        f"Knew the {_WORDS[rules.compartment]} volume of every study since the last operation, the weeks, and an "
        f"assumed end of radiotherapy; {asked}."
    )
    return Rival(rules.name, rules.title, InformationLevel.TIMELINE, knew, partial(_answer, rules, courses))


def _answer(rules: RuleSet, courses: dict[str, Course], evidence: Evidence) -> Answer | Unavailable:
    calls = engine_calls(rules, evidence.cases, courses)
    if calls is None:
        return Unavailable(f"no {_WORDS[rules.compartment]} volume is known")
    answers = [as_response(call) for call in calls]
    counts = Counter(fallback for _, fallback in answers if fallback is not None)
    counts["provisional, not PD"] = sum(call.provisional and call.category in _NOT_PD for call in calls)
    counts["provisional PD"] = sum(call.provisional and call.category is Category.PD for call in calls)
    counts["waiting for confirmation, called SD"] = sum(call.preliminary is not None for call in calls)
    return hard_answer([response for response, _ in answers], dict(counts))


def _scan(course: Course, visit: Visit, sources: Sources) -> Scan:
    volumes = course.volumes.get(visit, {})
    enhancing, nonenhancing = (Sizes(volume_mm3=volumes.get(sources[one] or "")) for one in Compartment)
    return Scan(
        id=str(visit),
        day=_DAYS_A_WEEK * visit.week + visit.suffix,
        surgery=_surgery(course, visit),
        enhancing=enhancing,
        nonenhancing=nonenhancing,
    )


def _surgery(course: Course, visit: Visit) -> Surgery | None:
    state = course.ratings.get(visit)
    if not isinstance(state, VisitState):
        return None
    if state.is_surgery:
        return Surgery.POST_OP
    return Surgery.PRE_OP if state is VisitState.PRE_OP else None
