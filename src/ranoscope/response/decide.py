"""The decision table: what one scan's facts say of the response. The first row that applies decides.

Progression is asked for before any response.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from functools import lru_cache

from ranoscope.response.calls import Category
from ranoscope.response.criteria import Confirmation, Criteria, NewLesionRule, Part, SecondStep, T2Rule
from ranoscope.response.logic import Ask, Truth, weigh
from ranoscope.response.rows import Outcome, Row
from ranoscope.response.timeline import Measure


class Question(IntEnum):
    """What the table asks of a scan. An unknown answer is presumed to be no."""

    NEW_LESION = 0
    """A new lesion that the criteria take for progression."""
    NON_MEASURABLE_WORSE = auto()
    ENHANCEMENT_WORSE = auto()
    CLINICAL_DECLINE = auto()
    LEPTOMENINGEAL = auto()
    RECURRED = auto()
    """Measurable now, and nothing at the nadir."""
    ANTI_ANGIOGENIC = auto()
    T2_WORSE = auto()
    GROWN = auto()
    """By the threshold of progression, against the reference for progression."""
    DOSE_LOWERED = auto()
    """Of steroids, since the reference for progression."""
    EARLY = auto()
    OUTSIDE_FIELD = auto()
    VIABLE_TUMOUR = auto()
    MEASURABLE_AT_BASELINE = auto()
    GONE = auto()
    RESPONDED = auto()
    MINOR_RESPONSE = auto()
    NON_MEASURABLE_LEFT = auto()
    NEW_LESION_LEFT = auto()
    ABOVE_PHYSIOLOGICAL = auto()
    DOSE_RAISED = auto()
    """Of steroids, above the baseline's."""
    CR_CONFIRMED = auto()
    PR_CONFIRMED = auto()
    MR_CONFIRMED = auto()


class Step(Enum):
    """Where a series stands with a progression that waits for its repeat scan."""

    NONE_WAITS = auto()
    TOO_SOON = auto()
    """This scan comes too soon after it."""
    REPEAT_SCAN = auto()
    """This scan confirms it or not."""
    PROGRESSED = auto()
    """Progression was found before; no second scan is asked for again."""


@dataclass(frozen=True)
class Rules:
    """What the table needs of the criteria; see there for the meaning."""

    new_lesion: NewLesionRule
    enhancement: bool
    non_measurable: bool
    clinical: bool
    leptomeningeal: bool
    t2_flair: T2Rule
    minor_response: bool
    steroids_limit: bool
    steroids_excuse: bool
    confirm: Confirmation
    repeat_beats_window: bool
    has_window: bool
    outside_field: bool
    decline_in_window: bool


def make_rules(criteria: Criteria, part: Part, measure: Measure) -> Rules:
    """The decision table's view of one part of the criteria."""
    window = criteria.early_window
    return Rules(
        new_lesion=part.new_lesion,
        enhancement=part.enhancement_is_progression,
        non_measurable=criteria.non_measurable_is_progression,
        clinical=criteria.clinical_decline_is_progression,
        leptomeningeal=criteria.leptomeningeal_is_progression,
        t2_flair=part.t2_flair,
        minor_response=part.thresholds[measure].minor_response is not None,
        steroids_limit=criteria.steroids_limit_response,
        steroids_excuse=criteria.steroids_excuse_growth,
        confirm=criteria.confirm_progression,
        repeat_beats_window=criteria.second_step is SecondStep.PRELIMINARY_SCAN,
        has_window=window is not None,
        outside_field=window is not None and window.outside_field_is_progression,
        decline_in_window=window is None or window.decline_is_progression,
    )


Presumed = tuple[bool, ...]


@dataclass(frozen=True)
class Verdict:
    """What the table says of facts that are partly unknown.

    ``row``: the row that applies if every unknown is as presumed. ``possible``: every row that may apply, with their
    ``categories`` and ``outcomes``, the row's own first. ``decisive``: the unknown facts, by question, any of which
    can change the kind of row.
    """

    row: Row
    possible: frozenset[Row]
    categories: frozenset[Category]
    outcomes: tuple[Outcome, ...]
    decisive: frozenset[int]


@lru_cache(maxsize=1 << 14)
def weigh_rows(
    rules: Rules, step: Step, facts: tuple[Truth, ...], presumed: Presumed, kind: Callable[[Row], Category]
) -> Verdict:
    """The verdict on facts by question; ``kind``: what about a row matters, its category or its rating."""
    weighed = weigh(lambda ask: first_row(rules, step, ask), facts, presumed, kind)
    categories = frozenset(row.category for row in weighed.possible)
    outcomes = tuple(dict.fromkeys(row.outcome for row in weighed.possible))
    return Verdict(weighed.presumed, frozenset(weighed.possible), categories, outcomes, weighed.decisive)


def presumed_row(rules: Rules, step: Step, facts: Sequence[Truth], presumed: Sequence[bool]) -> Row:
    """The row that applies if every unknown is as presumed."""

    def answer(question: int) -> bool:
        known = facts[question]
        return presumed[question] if known is None else known

    return first_row(rules, step, answer)


def first_row(rules: Rules, step: Step, ask: Ask) -> Row:
    """The first row that applies."""
    definite = _new_disease(rules, ask)
    if definite is not None and (found := _believed(rules, step, definite, ask)) is definite:
        return found
    declined = rules.clinical and ask(Question.CLINICAL_DECLINE)
    if declined and (rules.decline_in_window or not ask(Question.EARLY)):
        return Row.DECLINE
    if rules.leptomeningeal and ask(Question.LEPTOMENINGEAL):
        return Row.LEPTOMENINGEAL
    # Before growth under a lowered dose: recurrence has no such excuse, and another trigger must not give it one.
    if definite is None and ask(Question.RECURRED):
        definite = Row.RECURRENCE
    if definite is not None:
        return _believed(rules, step, definite, ask)
    if (grown := _growth(rules, ask)) is not None:
        if rules.steroids_excuse and ask(Question.DOSE_LOWERED):
            return Row.DOSE_LOWERED
        return _believed(rules, step, grown, ask)
    if declined or (not rules.clinical and ask(Question.CLINICAL_DECLINE)):
        return Row.DECLINE_ALONE
    return _response(rules, ask)


def _new_disease(rules: Rules, ask: Ask) -> Row | None:
    if rules.new_lesion is not NewLesionRule.ADDED_TO_SUM and ask(Question.NEW_LESION):
        return Row.NEW_LESION
    if rules.non_measurable and ask(Question.NON_MEASURABLE_WORSE):
        return Row.NON_MEASURABLE
    if rules.enhancement and ask(Question.ENHANCEMENT_WORSE):
        return Row.ENHANCEMENT
    return None


def _growth(rules: Rules, ask: Ask) -> Row | None:
    t2_counts = rules.t2_flair is T2Rule.PROGRESSION or (
        rules.t2_flair is T2Rule.PROGRESSION_UNDER_ANTI_ANGIOGENIC and ask(Question.ANTI_ANGIOGENIC)
    )
    if t2_counts and ask(Question.T2_WORSE):
        return Row.T2
    return Row.GROWTH if ask(Question.GROWN) else None


def _believed(rules: Rules, step: Step, found: Row, ask: Ask) -> Row:
    """Progression on images: the row itself where it is believed, otherwise the row that says what it waits for."""
    if rules.confirm is Confirmation.NEVER:
        if not rules.has_window or not ask(Question.EARLY):
            return found
        outside = rules.outside_field and ask(Question.OUTSIDE_FIELD)
        return found if outside or ask(Question.VIABLE_TUMOUR) else Row.TOO_EARLY
    if step is Step.PROGRESSED or step is Step.REPEAT_SCAN:
        return found
    waits = rules.confirm is Confirmation.ALWAYS or (step is Step.TOO_SOON and rules.repeat_beats_window)
    if not waits and not (rules.has_window and ask(Question.EARLY)):
        return found
    return found if ask(Question.VIABLE_TUMOUR) else Row.REPEAT


def _response(rules: Rules, ask: Ask) -> Row:
    if not ask(Question.MEASURABLE_AT_BASELINE):
        return Row.NOTHING_TO_MEASURE
    gone = ask(Question.GONE)
    responded = gone or ask(Question.RESPONDED)
    if not responded and not (rules.minor_response and ask(Question.MINOR_RESPONSE)):
        return Row.STABLE
    if not rules.non_measurable and ask(Question.NON_MEASURABLE_WORSE):
        return Row.STABLE
    complete = gone and not ask(Question.NON_MEASURABLE_LEFT) and not _new_left(rules, ask)
    on_steroids = rules.steroids_limit and (not complete or ask(Question.ABOVE_PHYSIOLOGICAL))
    if on_steroids and ask(Question.DOSE_RAISED):
        return Row.DOSE_RAISED
    if complete and not on_steroids:
        return _complete(rules, ask)
    if responded:
        if ask(Question.PR_CONFIRMED):
            return Row.GONE_ON_STEROIDS if complete else Row.PR
        return Row.PR_WAITS_AS_MR if rules.minor_response and ask(Question.MR_CONFIRMED) else Row.PR_WAITS
    return Row.MR if ask(Question.MR_CONFIRMED) else Row.MR_WAITS


def _new_left(rules: Rules, ask: Ask) -> bool:
    """A new lesion that is no progression is tumour that is left all the same."""
    return rules.new_lesion is not NewLesionRule.PROGRESSION and ask(Question.NEW_LESION_LEFT)


def _complete(rules: Rules, ask: Ask) -> Row:
    if ask(Question.CR_CONFIRMED):
        return Row.CR
    if ask(Question.PR_CONFIRMED):
        return Row.CR_WAITS_AS_PR
    return Row.CR_WAITS_AS_MR if rules.minor_response and ask(Question.MR_CONFIRMED) else Row.CR_WAITS
