"""The vocabulary: one word per thing, frozen and valid once constructed.

The words are those of neuro-oncology imaging. A *study* is one visit's images; a *case* is a prior and a current study
with a label; a *response* is one of CR, PR, SD, PD.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import total_ordering

RESEARCH_USE_ONLY = "Research use only. Not a medical device; not for diagnosis or treatment decisions."


class Response(StrEnum):
    """The four RANO categories, listed from worst to best.

    The order PD < SD < PR < CR is the one over which quadratic-weighted kappa is taken; class index = position in it.
    """

    PD = "PD"
    SD = "SD"
    PR = "PR"
    CR = "CR"

    @property
    def class_index(self) -> int:
        """Position in the order PD, SD, PR, CR (0 to 3): the class index used by every model."""
        return RESPONSES.index(self)


RESPONSES: tuple[Response, ...] = tuple(Response)


class VisitState(StrEnum):
    """What a rating row says of a visit when it is not one of the four responses."""

    PRE_OP = "Pre-Op"
    POST_OP = "Post-Op"
    POST_OP_PD = "Post-Op/PD"
    UNRATED = "unrated"

    @property
    def is_surgery(self) -> bool:
        """Whether the visit follows a resection, so that a new baseline begins here."""
        return self in (VisitState.POST_OP, VisitState.POST_OP_PD)


Rating = Response | VisitState


class Sequence(StrEnum):
    """The four MRI sequences; CT1 is contrast-enhanced T1 (LUMIERE's own name)."""

    CT1 = "CT1"
    T1 = "T1"
    T2 = "T2"
    FLAIR = "FLAIR"


SEQUENCES: tuple[Sequence, ...] = tuple(Sequence)


class Tissue(IntEnum):
    """One label convention for every mask inside ranoscope, whichever tool drew it."""

    BACKGROUND = 0
    ENHANCING = 1
    NECROSIS_NONENHANCING = 2
    EDEMA = 3
    NONENHANCING_T2 = 4


class Segmenter(StrEnum):
    """The two automatic segmentation tools whose masks LUMIERE ships."""

    DEEPBRATUMIA = "DeepBraTumIA"
    HD_GLIO_AUTO = "HD-GLIO-AUTO"


class BratsYear(StrEnum):
    """Labels of the BraTS challenge; a year's hold until the next one listed.

    ``BraTS-2024`` is its post-treatment task, with a resection cavity.
    """

    Y2012 = "BraTS-2012"
    Y2017 = "BraTS-2017"
    Y2023 = "BraTS-2023"
    Y2024 = "BraTS-2024"


LabelConvention = Segmenter | BratsYear

# Source of the first two: LUMIERE read-me and label/JSON agreement in 599 of 599 visits; of the others: the challenge's
# own label lists. "1" is enhancing in one tool and necrosis or non-enhancing in the others, and enhancing is 1, 2, 3 or
# 4, so masks are always translated through this table and never compared with a bare number.
LABELS: dict[LabelConvention, dict[int, Tissue]] = {
    Segmenter.DEEPBRATUMIA: {
        0: Tissue.BACKGROUND,
        1: Tissue.ENHANCING,
        2: Tissue.NECROSIS_NONENHANCING,
        3: Tissue.EDEMA,
    },
    Segmenter.HD_GLIO_AUTO: {0: Tissue.BACKGROUND, 1: Tissue.NONENHANCING_T2, 2: Tissue.ENHANCING},
    # Necrosis and non-enhancing tumour apart; from 2017 on together as 1, and 3 is not used.
    BratsYear.Y2012: {
        0: Tissue.BACKGROUND,
        1: Tissue.NECROSIS_NONENHANCING,
        2: Tissue.EDEMA,
        3: Tissue.NECROSIS_NONENHANCING,
        4: Tissue.ENHANCING,
    },
    BratsYear.Y2017: {
        0: Tissue.BACKGROUND,
        1: Tissue.NECROSIS_NONENHANCING,
        2: Tissue.EDEMA,
        4: Tissue.ENHANCING,
    },
    BratsYear.Y2023: {
        0: Tissue.BACKGROUND,
        1: Tissue.NECROSIS_NONENHANCING,
        2: Tissue.EDEMA,
        3: Tissue.ENHANCING,
    },
    # 4 is the resection cavity: no tumour, and the criteria do not measure it.
    BratsYear.Y2024: {
        0: Tissue.BACKGROUND,
        1: Tissue.NECROSIS_NONENHANCING,
        2: Tissue.EDEMA,
        3: Tissue.ENHANCING,
        4: Tissue.BACKGROUND,
    },
}

_WEEK = re.compile(r"^week-(\d{3})(?:-(\d+))?$")


@total_ordering
@dataclass(frozen=True)
class Visit:
    """A visit's place on a patient's time axis.

    ``week`` counts floor(days / 7) from the first MRI; ``suffix`` orders several visits of one week (0 = none given).
    """

    week: int
    suffix: int = 0

    @classmethod
    def parse(cls, text: str) -> Visit | None:
        """Read ``week-044`` or ``week-000-2``; None for anything else (the caller reports it with its place)."""
        match = _WEEK.match(text.strip())
        return None if match is None else cls(int(match[1]), int(match[2] or 0))

    def __str__(self) -> str:
        return f"week-{self.week:03d}" + (f"-{self.suffix}" if self.suffix else "")

    def __lt__(self, other: Visit) -> bool:
        return (self.week, self.suffix) < (other.week, other.suffix)


@total_ordering
@dataclass(frozen=True)
class StudyKey:
    """Names one study: a patient's pseudonym and the visit."""

    patient: str
    visit: Visit

    def __str__(self) -> str:
        return f"{self.patient}/{self.visit}"

    def __lt__(self, other: StudyKey) -> bool:
        return (self.patient, self.visit) < (other.patient, other.visit)


@dataclass(frozen=True)
class Case:
    """A prior and a current study of one patient with the expert's response at the current one.

    ``weeks_between`` is 0 where both visits carry the same week number (0 to 6 days apart).
    ``first_progression`` is True while no earlier visit of the patient was rated PD: these cases alone enter the
    first-progression AUC, which memory of earlier ratings cannot win.
    """

    patient: str
    prior: Visit
    current: Visit
    response: Response
    weeks_between: int
    prior_rating: Rating
    first_progression: bool

    def __post_init__(self) -> None:
        """Refuse a self-pair or reversed order."""
        if not self.prior < self.current:
            raise ValueError(f"Expected prior before current, got {self.prior} and {self.current} of {self.patient}.")

    @property
    def prior_study(self) -> StudyKey:
        """Key of the earlier study."""
        return StudyKey(self.patient, self.prior)

    @property
    def current_study(self) -> StudyKey:
        """Key of the later study."""
        return StudyKey(self.patient, self.current)

    def __str__(self) -> str:
        return f"{self.patient}/{self.prior}>{self.current}"


class InformationLevel(StrEnum):
    """What a model was allowed to know; rivals of the same level stand beside it."""

    NOTHING = "nothing"
    PAIR = "pair"
    TIMELINE = "timeline"
    READER = "reader"

    @property
    def sentence(self) -> str:
        """One plain sentence for tables and reports."""
        return {
            InformationLevel.NOTHING: "Saw nothing of the patient.",
            InformationLevel.PAIR: "Saw two studies and the interval between them.",
            InformationLevel.TIMELINE: "Saw all earlier studies of the patient with their dates.",
            InformationLevel.READER: "Saw the studies and also the expert's earlier ratings.",
        }[self]
