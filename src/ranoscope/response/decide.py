"""The decision table: what one scan's facts say of the response. The first row that applies decides.

Rows carry the numbers of the published table for high-grade glioma where it has them (1-15); letters mark the rows of
the other criteria and of the early window. Progression is asked for before any response.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from functools import lru_cache

from ranoscope.response.calls import Category
from ranoscope.response.criteria import Confirmation, Criteria, NewLesionRule, Part, SecondStep, T2Rule
from ranoscope.response.logic import Ask, Truth, weigh
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


class Outcome(Enum):
    """What a scan means for later ones: progression, progression that waits for a repeat or is doubted, or neither."""

    PROGRESSION = auto()
    WAITS = auto()
    DOUBTED = auto()
    NO_PROGRESSION = auto()


_OUTCOMES = {"6": Outcome.DOUBTED, "6a": Outcome.DOUBTED, "6b": Outcome.WAITS}


class Row(Enum):
    """Rows of the table: identifier, category, the category that waits for confirmation, and the row in words.

    ``outcome``: what the row means for later scans.
    """

    NEW_LESION = "1", Category.PD, None, "A new lesion is progression."
    NON_MEASURABLE = "2", Category.PD, None, "Clear progression of non-measurable disease is progression."
    ENHANCEMENT = "2a", Category.PD, None, "New or increased enhancement is progression."
    DECLINE = "3", Category.PD, None, "Definite clinical decline, not explained otherwise, is progression."
    LEPTOMENINGEAL = "3a", Category.PD, None, "Leptomeningeal spread is progression."
    T2 = "4", Category.PD, None, "A significantly larger T2/FLAIR abnormality is progression."
    GROWTH = "5", Category.PD, None, "Growth by the threshold of progression or more is progression."
    DOSE_LOWERED = "6", Category.SD, None, "Growth while the steroid dose is lowered is no progression yet: repeat."
    TOO_EARLY = (
        "6a", Category.SD, None,
        "Progression on images soon after treatment is believed only outside the radiation field or with tumour shown "
        "by histology.",
    )  # fmt: skip
    REPEAT = "6b", Category.SD, Category.PD, "Progression on images needs a repeat scan to be confirmed."
    DECLINE_ALONE = "6c", Category.SD, None, "Clinical decline alone is no progression here, and forbids a response."
    RECURRENCE = "7", Category.PD, None, "Measurable tumour where there was none at the nadir is progression."
    NOTHING_TO_MEASURE = "8", Category.SD, None, "Without measurable disease at baseline, SD is the best category."
    CR = "9", Category.CR, None, "All tumour is gone, confirmed, and no steroids above physiological dose are known of."
    CR_WAITS = "10", Category.SD, Category.CR, "All tumour is gone, but no second scan confirms it yet."
    CR_WAITS_AS_PR = "10a", Category.PR, Category.CR, "All tumour is gone, not confirmed yet; a partial response is."
    CR_WAITS_AS_MR = "10b", Category.MR, Category.CR, "All tumour is gone, not confirmed yet; a minor response is."
    GONE_ON_STEROIDS = (
        "11", Category.PR, None, "All tumour is gone on steroids above physiological dose: a partial response.",
    )  # fmt: skip
    PR = "12", Category.PR, None, "Smaller than the baseline by the threshold of response or more, and confirmed."
    PR_WAITS = (
        "13",
        Category.SD,
        Category.PR,
        "Small enough for a partial response, not confirmed by a second scan yet.",
    )
    PR_WAITS_AS_MR = "13a", Category.MR, Category.PR, "A partial response, not confirmed yet; a minor response is."
    DOSE_RAISED = "14", Category.SD, None, "Small enough for a response, but on more steroids than at baseline."
    MR = "14a", Category.MR, None, "Smaller than the baseline by the threshold of minor response or more, confirmed."
    MR_WAITS = "14b", Category.SD, Category.MR, "Small enough for a minor response, not confirmed by a second scan yet."
    STABLE = "15", Category.SD, None, "Neither progression nor response."
    NOT_EVALUABLE = "NE", Category.NE, None, "The size or its reference is unknown, and nothing else decides."

    def __init__(self, number: str, category: Category, preliminary: Category | None, sentence: str) -> None:
        self.number = number
        self.category = category
        self.preliminary = preliminary
        self.sentence = sentence
        self.outcome = _OUTCOMES.get(number, Outcome.PROGRESSION if category is Category.PD else Outcome.NO_PROGRESSION)

    @property
    def level(self) -> int:
        """How good a response the scan shows, whether confirmed or not: 0 for none, up to 3 for CR."""
        return RESPONSE_LEVELS.get(rating_of(self), 0)


ON_IMAGES = frozenset({Row.NEW_LESION, Row.NON_MEASURABLE, Row.ENHANCEMENT, Row.T2, Row.GROWTH, Row.RECURRENCE})
# Progression that was seen and not called.
SUSPICIOUS = frozenset(row for row in Row if row.outcome in (Outcome.WAITS, Outcome.DOUBTED))
RESPONSE_LEVELS = {Category.CR: 3, Category.PR: 2, Category.MR: 1}


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


def category_of(row: Row) -> Category:
    """The row's category."""
    return row.category


def rating_of(row: Row) -> Category:
    """The category that the scan shows by the row, whether confirmed or not."""
    return row.preliminary or row.category


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
