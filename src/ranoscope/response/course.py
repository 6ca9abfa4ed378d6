"""The walk over the scans of a series, in one compartment: a finding per scan, each with the state it was judged in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ranoscope.response.calls import Category, Stage
from ranoscope.response.confirmation import Level, Seen, State, is_confirmed, next_states, step_of
from ranoscope.response.criteria import NewLesionRule, SecondStep
from ranoscope.response.decide import Question, Row, Step, weigh_rows
from ranoscope.response.facts import SIZE_QUESTIONS, Ground, References, make_references, size_facts, stated_facts
from ranoscope.response.logic import Truth
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
_CONFIRMED = {Question.CR_CONFIRMED: 3, Question.PR_CONFIRMED: 2, Question.MR_CONFIRMED: 1}
_AGAINST_BASELINE = frozenset({Question.RESPONDED, Question.MINOR_RESPONSE, Question.MEASURABLE_AT_BASELINE})
_AGAINST_NADIR = frozenset({Question.RECURRED, Question.GROWN})


@dataclass(frozen=True)
class Finding:
    """The judgement on one scan, in the state that is presumed.

    ``row``: the row that applies if every unknown is as presumed. ``possible``: every row that may apply.
    ``unknown``: names of the facts, any of which could change the category. ``facts``, ``presumed``: by question.
    ``earlier``: the responses that the scans before it show.
    """

    place: int
    row: Row
    possible: frozenset[Row]
    unknown: tuple[str, ...]
    state: State
    step: Step
    facts: tuple[Truth, ...]
    presumed: tuple[bool, ...]
    references: References
    earlier: tuple[Level, ...] = ()

    @property
    def shows(self) -> frozenset[Category]:
        """Every category that the scan may have."""
        categories = frozenset(row.category for row in self.possible)
        return categories | {self.row.category}


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
    stated = stated_facts(ground, place) | confirmed
    found = [_judge_in(ground, place, state, stated, presumed) for state in states]
    unknown = [name for one in found for name in one.unknown]
    if len({frozenset(row.category for row in one.possible) for one in found}) > 1:
        unknown.append(EARLIER)
    possible = frozenset[Row]().union(*(one.possible for one in found))
    after = dict.fromkeys(state for one in found for state in _after(ground, one))
    named = tuple(dict.fromkeys(unknown))
    return replace(found[0], possible=possible, unknown=named, earlier=tuple(levels)), tuple(after)


def _judge_in(
    ground: Ground, place: int, state: State, stated: Mapping[Question, Truth], presumed: tuple[bool, ...]
) -> Finding:
    """The finding at a scan, if the earlier scans left that state."""
    step = step_of(state, ground.criteria, [scan.day for scan in ground.series.scans], place)
    references = _references(ground, place, state, step)
    answers = {**stated, **size_facts(ground, place, references)}
    if state.doubted & {*ground.found[place].appeared}:
        # A new lesion that was not believed is still there.
        answers[Question.NEW_LESION] = True
    facts = tuple(answers[question] for question in Question)
    weighed = weigh_rows(ground.rules, step, facts, presumed)
    decisive = frozenset(map(Question, weighed.decisive))
    row = weighed.presumed if _evaluable(ground, place, decisive, references) else Row.NOT_EVALUABLE
    unknown = tuple(name for question in sorted(decisive) for name in _names(ground, place, question, references))
    return Finding(place, row, weighed.possible, unknown, state, step, facts, presumed, references)


def _references(ground: Ground, place: int, state: State, step: Step) -> References:
    """Earlier scans to grow against: the nadir's, or at a repeat scan the progression that waits for it."""
    second_step = ground.criteria.second_step is SecondStep.PRELIMINARY_SCAN
    if step is Step.REPEAT_SCAN and second_step and state.by_size and state.waiting is not None:
        return make_references(ground, (state.waiting,), "first progression")
    return make_references(ground, [one for one in ground.series.references(place) if one >= state.reference])


def _confirmed(ground: Ground, place: int, levels: Sequence[Level]) -> tuple[dict[Question, Truth], tuple[bool, ...]]:
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


def _evaluable(ground: Ground, place: int, decisive: frozenset[Question], references: References) -> bool:
    """Whether no size that is needed is missing."""
    missing: frozenset[Question] = frozenset()
    if ground.size(place) is None:
        missing |= frozenset(SIZE_QUESTIONS)
    if ground.size(ground.baseline) is None:
        missing |= _AGAINST_BASELINE
    if references.nadir is None:
        missing |= _AGAINST_NADIR
    return not decisive & missing


def _names(ground: Ground, place: int, question: Question, references: References) -> list[str]:
    """What is unknown, in words."""
    if question is Question.EARLY:
        window = ground.criteria.early_window
        after = window is not None and window.after_radiotherapy
        return ["end of radiotherapy" if after else "start of immunotherapy"]
    if question in _FACT_NAMES:
        return [_FACT_NAMES[question]]
    names = ["size"] if ground.size(place) is None and question is not Question.MEASURABLE_AT_BASELINE else []
    if question in _AGAINST_NADIR:
        names += [f"size at {ground.scan(one).id}" for one in references.unmeasured]
    if question in _AGAINST_BASELINE and ground.size(ground.baseline) is None:
        names.append(f"size at {ground.scan(ground.baseline).id}")
    return names


def _after(ground: Ground, found: Finding) -> Iterator[State]:
    """The states after a scan judged in one state: that of the row found first, then those of other possible rows."""
    grown = found.facts[Question.GROWN] is True or found.facts[Question.RECURRED] is True
    new = found.facts[Question.NEW_LESION] is not False
    appeared = _counting_new(ground, found.place) if new else frozenset[str]()
    seen = Seen(found.place, found.step, grown, ground.size(found.place) is not None, appeared)
    for row in (found.row, *sorted(found.possible - {found.row}, key=lambda row: row.number)):
        yield from next_states(found.state, row, seen, ground.criteria)


def _counting_new(ground: Ground, place: int) -> frozenset[str]:
    """Ids of the new lesions of a scan that the criteria take for progression."""
    all_count = ground.part.new_lesion is NewLesionRule.PROGRESSION
    appeared = ground.found[place].appeared
    return frozenset(
        lesion.id
        for lesion in ground.scan(place).lesions or ()
        if lesion.id in appeared and (all_count or measurable(lesion, ground.part))
    )
