"""The walk over the scans of a series, in one compartment: a finding per scan, each with the state it was judged in."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import NamedTuple

from ranoscope.response.calls import Category, Stage
from ranoscope.response.confirmation import Level, Seen, State, is_confirmed, next_states, step_of
from ranoscope.response.criteria import NewLesionRule, SecondStep
from ranoscope.response.decide import Presumed, Question, Step, weigh_rows
from ranoscope.response.facts import (
    SIZE_QUESTIONS,
    Ground,
    References,
    growth_facts,
    make_references,
    response_facts,
    stated_facts,
)
from ranoscope.response.logic import Truth
from ranoscope.response.rows import Outcome, Row, category_of, rating_of
from ranoscope.response.targets import measurable

EARLIER = "findings at earlier scans"
_FACT_NAMES = {
    Question.NEW_LESION: "new lesion",
    Question.NEW_LESION_LEFT: "new lesion",
    Question.NON_MEASURABLE_WORSE: "non-measurable disease",
    Question.NON_MEASURABLE_LEFT: "non-measurable disease",
    Question.ENHANCEMENT_WORSE: "enhancement",
    Question.CLINICAL_DECLINE: "clinical state",
    Question.LEPTOMENINGEAL: "leptomeningeal spread",
    Question.ANTI_ANGIOGENIC: "anti-angiogenic treatment",
    Question.T2_WORSE: "T2/FLAIR",
    Question.DOSE_LOWERED: "steroid dose",
    Question.DOSE_RAISED: "steroid dose",
    Question.ABOVE_PHYSIOLOGICAL: "steroid dose",
    Question.OUTSIDE_FIELD: "radiation field",
    Question.VIABLE_TUMOUR: "histology",
    Question.CR_CONFIRMED: EARLIER,
    Question.PR_CONFIRMED: EARLIER,
    Question.MR_CONFIRMED: EARLIER,
}
_IN_ORDER = itemgetter(*Question)
_CONFIRMED = {Question.CR_CONFIRMED: 3, Question.PR_CONFIRMED: 2, Question.MR_CONFIRMED: 1}
_AGAINST_BASELINE = frozenset({Question.RESPONDED, Question.MINOR_RESPONSE, Question.MEASURABLE_AT_BASELINE})
_AGAINST_NADIR = frozenset({Question.RECURRED, Question.GROWN})


@dataclass(frozen=True)
class Finding:
    """The judgement on one scan, presuming what is presumed of the scans before it.

    ``row``: the row that applies if every unknown is as presumed. ``possible``: every row that may apply.
    ``shows``: every category the scan may have. ``outcomes``: what it may mean for later scans, the row's own first.
    ``decisive``: the unknown facts, any of which could change the category, by question; ``unknown``: their names.
    ``facts``, ``presumed``: by question. ``waiting``: index of the scan whose progression waits for a repeat.
    ``earlier``: the responses that the scans before it show.
    """

    place: int
    row: Row
    possible: frozenset[Row]
    shows: frozenset[Category]
    outcomes: tuple[Outcome, ...]
    decisive: frozenset[int]
    step: Step
    facts: tuple[Truth, ...]
    presumed: Presumed
    references: References
    unknown: tuple[str, ...] = ()
    waiting: int | None = None
    earlier: tuple[Level, ...] = ()


def walk(ground: Ground) -> Iterator[Finding]:
    """A finding for every scan of the series that gets a category, in order of time."""
    states: tuple[State, ...] = (State(),)
    levels: list[Level] = []
    for place, stage in enumerate(ground.series.stages):
        if stage is Stage.ASSESSED:
            found, states = _judge(ground, place, states, levels)
            shown = [row.level for row in found.possible]
            presumed = None if found.row is Row.NOT_EVALUABLE else found.row.level
            levels.append(Level(ground.scan(place).day, presumed, min(shown), max(shown)))
            yield found


def _judge(
    ground: Ground, place: int, states: Sequence[State], levels: Sequence[Level]
) -> tuple[Finding, tuple[State, ...]]:
    """The finding at a scan, and the states that it may leave behind."""
    confirmed, presumed = _confirmed(ground, place, levels)
    stated = stated_facts(ground, place) | response_facts(ground, place) | confirmed
    found: dict[_View, Finding] = {}
    after: dict[State, None] = {}
    for state in states:
        view = _view(ground, place, state)
        if view not in found:
            found[view] = _judge_in(ground, place, view, stated, presumed)
        after |= dict.fromkeys(_after(ground, state, found[view]))
    first, shown = next(iter(found.values())), {one.shows for one in found.values()}
    unknown = _names(ground, place, found.values()) + [EARLIER] * (len(shown) > 1)
    finding = replace(
        first,
        possible=frozenset[Row]().union(*(one.possible for one in found.values())),
        shows=frozenset[Category]().union(*shown),
        unknown=tuple(dict.fromkeys(unknown)),
        waiting=states[0].waiting,
        earlier=tuple(levels),
    )
    return finding, tuple(after)


class _View(NamedTuple):
    """What of a state the finding depends on: the step, the scans to grow against, and whether one of them waits for
    this repeat; and whether a new lesion that was not believed is still there.
    """

    step: Step
    against: range
    repeats: bool
    still_new: bool


def _view(ground: Ground, place: int, state: State) -> _View:
    step = step_of(state, ground.criteria, ground.days, place)
    still_new = not state.doubted.isdisjoint(ground.found[place].appeared)
    second_step = ground.criteria.second_step is SecondStep.PRELIMINARY_SCAN
    if step is Step.REPEAT_SCAN and second_step and state.by_size and state.waiting is not None:
        return _View(step, range(state.waiting, state.waiting + 1), True, still_new)
    earlier = ground.series.references(place)
    return _View(step, range(max(earlier.start, state.reference), earlier.stop), False, still_new)


def _judge_in(ground: Ground, place: int, view: _View, stated: Mapping[Question, Truth], presumed: Presumed) -> Finding:
    """The finding at a scan, if the earlier scans left it in that view."""
    references = make_references(ground, view.against, "first progression" if view.repeats else "nadir")
    answers = {**stated, **growth_facts(ground, place, references)}
    if view.still_new:
        answers[Question.NEW_LESION] = True
    facts = _IN_ORDER(answers)
    verdict = weigh_rows(ground.rules, view.step, facts, presumed, category_of)
    row, decisive, outcomes = verdict.row, verdict.decisive, verdict.outcomes
    if missing := _missing(ground, place, references):
        # Whether a response would wait for its confirmation is not known either then.
        rated = weigh_rows(ground.rules, view.step, facts, presumed, rating_of).decisive
        if rated & missing:
            row, decisive = Row.NOT_EVALUABLE, rated | decisive
            outcomes = tuple(dict.fromkeys((row.outcome, *outcomes)))
    shows = verdict.categories | {row.category}
    return Finding(place, row, verdict.possible, shows, outcomes, decisive, view.step, facts, presumed, references)


def _confirmed(ground: Ground, place: int, levels: Sequence[Level]) -> tuple[dict[Question, Truth], Presumed]:
    """Whether each response is confirmed by earlier scans, and what every question is presumed to be answered by."""
    least_days, day = ground.criteria.confirmation_days, ground.scan(place).day
    answers: dict[Question, Truth] = {}
    presumed = [False] * len(Question)
    for question, level in _CONFIRMED.items():
        if least_days is None:
            answers[question] = True
        else:
            answers[question], presumed[question] = is_confirmed(level, day, least_days, levels)
    return answers, tuple(presumed)


def _missing(ground: Ground, place: int, references: References) -> frozenset[Question]:
    """The questions that no size is there to answer."""
    missing: frozenset[Question] = frozenset()
    if ground.sizes[place] is None:
        missing |= frozenset(SIZE_QUESTIONS)
    if ground.sizes[ground.baseline] is None:
        missing |= _AGAINST_BASELINE
    if references.nadir is None:
        missing |= _AGAINST_NADIR
    return missing


def _names(ground: Ground, place: int, found: Collection[Finding]) -> list[str]:
    """What is unknown and decides, in words."""
    names: list[str] = []
    window = ground.criteria.early_window
    for question in sorted(frozenset[int]().union(*(one.decisive for one in found))):
        if question in _FACT_NAMES:
            names.append(_FACT_NAMES[Question(question)])
        elif question == Question.EARLY:
            after = window is not None and window.after_radiotherapy
            names.append("end of radiotherapy" if after else "start of immunotherapy")
        elif ground.sizes[place] is None and question != Question.MEASURABLE_AT_BASELINE:
            names.append("size")
        if question in _AGAINST_NADIR:
            passed = sorted({scan for one in found for scan in one.references.unmeasured})
            names += [f"size at {ground.scan(scan).id}" for scan in passed]
        if question in _AGAINST_BASELINE and ground.sizes[ground.baseline] is None:
            names.append(f"size at {ground.scan(ground.baseline).id}")
    return names


def _after(ground: Ground, state: State, found: Finding) -> Iterator[State]:
    """The states after a scan: what the row that was found leaves behind, then what other possible rows do."""
    grown = found.facts[Question.GROWN] is True or found.facts[Question.RECURRED] is True
    new = found.facts[Question.NEW_LESION] is not False
    appeared = _counting_new(ground, found.place) if new else frozenset[str]()
    seen = Seen(found.place, found.step, grown, ground.sizes[found.place] is not None, appeared)
    for outcome in found.outcomes:
        yield from next_states(state, outcome, seen, ground.criteria)


def _counting_new(ground: Ground, place: int) -> frozenset[str]:
    """Ids of the new lesions of a scan that the criteria take for progression."""
    all_count = ground.part.new_lesion is NewLesionRule.PROGRESSION
    appeared = ground.found[place].appeared
    return frozenset(
        lesion.id
        for lesion in ground.scan(place).lesions or ()
        if lesion.id in appeared and (all_count or measurable(lesion, ground.part))
    )
