"""One patient's course: visits, ratings and operations in order, and which earlier study a visit is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ranoscope.cohort.inventory import Inventory
from ranoscope.cohort.lumiere import RatingRow
from ranoscope.config import CohortSettings, DuplicatePolicy, PairRule
from ranoscope.domain import Rating, Response, StudyKey, Visit, VisitState


class Exclusion(StrEnum):
    """Why a rating row is not a case, in the order in which the reasons are tried: the first that applies counts."""

    UNREADABLE_WEEK = "unreadable-week"
    SURGERY_STATE = "surgery-state"
    UNRATED = "unrated"
    DUPLICATE_RATING = "duplicate-rating"
    UNDER_3_MONTHS_COLUMN = "under-3-months-column"
    UNDER_3_MONTHS_RATIONALE = "under-3-months-rationale"
    NOT_A_RANO_TIMEPOINT = "not-a-rano-timepoint"
    NO_IMAGES_FOR_VISIT = "no-images-for-visit"
    MISSING_SEQUENCES = "missing-sequences"
    MISSING_ATLAS_VOLUMES = "missing-atlas-volumes"
    NO_EARLIER_STUDY = "no-earlier-study"
    PRIOR_MISSING_VOLUMES = "prior-missing-volumes"
    CROSSES_SURGERY = "crosses-surgery"
    NADIR_UNKNOWN = "nadir-unknown"

    @property
    def sentence(self) -> str:
        """What the reason means, for diagrams and reports."""
        return _SENTENCES[self]


_SENTENCES = {
    Exclusion.UNREADABLE_WEEK: "the week is not written as week-NNN or week-NNN-S",
    Exclusion.SURGERY_STATE: "Pre-Op, Post-Op or Post-Op/PD: a state around surgery, not a response",
    Exclusion.UNRATED: "no rating was given",
    Exclusion.DUPLICATE_RATING: "another row rates the same visit",
    Exclusion.UNDER_3_MONTHS_COLUMN: "the table marks the visit as under 3 months",
    Exclusion.UNDER_3_MONTHS_RATIONALE: "the rationale speaks of 3 months",
    Exclusion.NOT_A_RANO_TIMEPOINT: "the rationale says it is no timepoint for RANO",
    Exclusion.NO_IMAGES_FOR_VISIT: "no image of this visit",
    Exclusion.MISSING_SEQUENCES: "a required sequence was not acquired or is not here",
    Exclusion.MISSING_ATLAS_VOLUMES: "images are there, their atlas-space volumes are not",
    Exclusion.NO_EARLIER_STUDY: "the patient has no earlier study",
    Exclusion.PRIOR_MISSING_VOLUMES: "the earlier study lacks required images or atlas-space volumes",
    Exclusion.CROSSES_SURGERY: "an operation lies between the earlier study and this one",
    Exclusion.NADIR_UNKNOWN: "the enhancing volume of an earlier study is unknown, so the nadir is too",
}


@dataclass(frozen=True)
class Timeline:
    """One patient's visits in order.

    ``visits``: all, from tables or disk; ``usable``: those with all required atlas volumes; ``surgeries``: visits rated
    Post-Op or Post-Op/PD, each of which opens a new surgery epoch; ``progressions``: visits rated PD or Post-Op/PD.
    ``ratings``: the rating a visit is remembered by, under the duplicate policy. ``enhancing_mm3``: where known.
    """

    visits: tuple[Visit, ...]
    usable: tuple[Visit, ...]
    surgeries: tuple[Visit, ...]
    progressions: tuple[Visit, ...]
    ratings: dict[Visit, Rating]
    enhancing_mm3: dict[Visit, float]

    def epoch(self, visit: Visit) -> int:
        """How many operations lie before the visit's scan; a Post-Op scan already belongs to the new epoch."""
        return sum(surgery <= visit for surgery in self.surgeries)

    def is_first_progression(self, visit: Visit) -> bool:
        """Whether no earlier visit was rated progressive."""
        return not any(progression < visit for progression in self.progressions)

    def rating(self, visit: Visit) -> Rating:
        """The visit's rating; unrated where the table has none or contradicts itself."""
        return self.ratings.get(visit, VisitState.UNRATED)

    def choose_prior(self, current: Visit, rule: PairRule) -> Visit | Exclusion:
        """The earlier study that ``current`` is compared with, or why there is none. Never ``current`` itself.

        * ``previous_row``: the row before in the merged tables, whatever its rating; the pair is lost where that row
          lacks images (the paper's rule; rows of one visit count once, so there is no self-pair).
        * ``previous_scan``: the nearest earlier visit with all required volumes.
        * ``previous_scan_same_surgery_epoch``: the same, unless an operation lies between.
        * ``baseline``: the first usable study of the current surgery epoch: the Post-Op scan where there is one.
        * ``nadir``: the study of the current epoch with the least enhancing volume, the latest of equals.
        """
        earlier = [visit for visit in self.visits if visit < current]
        if not earlier:
            return Exclusion.NO_EARLIER_STUDY
        usable = [visit for visit in self.usable if visit < current]
        if rule is PairRule.PREVIOUS_ROW:
            return earlier[-1] if earlier[-1] in usable else Exclusion.PRIOR_MISSING_VOLUMES
        if not usable:
            return Exclusion.PRIOR_MISSING_VOLUMES
        if rule is PairRule.PREVIOUS_SCAN:
            return usable[-1]
        in_epoch = [visit for visit in usable if self.epoch(visit) == self.epoch(current)]
        if not in_epoch:
            return Exclusion.CROSSES_SURGERY
        if rule is PairRule.NADIR:
            return self._nadir(in_epoch)
        return in_epoch[0] if rule is PairRule.BASELINE else in_epoch[-1]

    def _nadir(self, candidates: list[Visit]) -> Visit | Exclusion:
        if any(visit not in self.enhancing_mm3 for visit in candidates):
            return Exclusion.NADIR_UNKNOWN
        return min(reversed(candidates), key=self.enhancing_mm3.__getitem__)


def make_timelines(rows: list[RatingRow], inventory: Inventory, settings: CohortSettings) -> dict[str, Timeline]:
    """One timeline per patient of the rating table or on disk."""
    ratings: dict[StudyKey, list[Rating]] = {}
    for row in rows:
        if row.visit is not None:
            ratings.setdefault(StudyKey(row.patient, row.visit), []).append(row.rating)
    studies: dict[str, list[StudyKey]] = {}
    for key in sorted(ratings.keys() | inventory.holdings.keys()):
        studies.setdefault(key.patient, []).append(key)
    return {patient: _timeline(keys, ratings, inventory, settings) for patient, keys in studies.items()}


def _timeline(
    keys: list[StudyKey], ratings: dict[StudyKey, list[Rating]], inventory: Inventory, settings: CohortSettings
) -> Timeline:
    surgical = {state for state in VisitState if state.is_surgery}
    progressive = {Response.PD, VisitState.POST_OP_PD}
    volumes = {key.visit: inventory.get(key).volumes for key in keys}
    return Timeline(
        visits=tuple(key.visit for key in keys),
        usable=tuple(key.visit for key in keys if inventory.is_usable(key, settings.required_sequences)),
        surgeries=tuple(key.visit for key in keys if surgical.intersection(ratings.get(key, ()))),
        progressions=tuple(key.visit for key in keys if progressive.intersection(ratings.get(key, ()))),
        ratings={key.visit: _remembered(ratings[key], settings.duplicates) for key in keys if key in ratings},
        enhancing_mm3={visit: volume["enhancing_mm3"] for visit, volume in volumes.items() if volume},
    )


def _remembered(ratings: list[Rating], policy: DuplicatePolicy) -> Rating:
    """The one rating that a visit with several rows is remembered by; unrated where dropped rows contradict."""
    if policy is DuplicatePolicy.FIRST:
        return ratings[0]
    if policy is DuplicatePolicy.LAST:
        return ratings[-1]
    return ratings[0] if len(set(ratings)) == 1 else VisitState.UNRATED
