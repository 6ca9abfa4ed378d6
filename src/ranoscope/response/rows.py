"""The rows of the decision table: what each one calls, and what it means for later scans.

Rows carry the numbers of the published table for high-grade glioma where it has them (1-15); letters mark the rows of
the other criteria and of the early window.
"""

from __future__ import annotations

from enum import Enum, auto

from ranoscope.response.calls import Category


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
    NON_MEASURABLE = "2", Category.PD, None, "Clear progression of non-measurable or non-target disease is progression."
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


def category_of(row: Row) -> Category:
    """The row's category."""
    return row.category


def rating_of(row: Row) -> Category:
    """The category that the scan shows by the row, whether confirmed or not."""
    return row.preliminary or row.category
