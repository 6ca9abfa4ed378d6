"""Decide: a cohort's patients with their courses, demographics and rating rows, LUMIERE's quirks among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ranoscope.config import PhantomSettings
from ranoscope.domain import SEQUENCES, Response, Sequence, Visit, VisitState
from ranoscope.phantom.courses import Lesion, PlannedVisit, draw_course, quotas, read_with_noise
from ranoscope.phantom.difficulty import TRAITS, ScanTraits

# Rated less than three months after radiotherapy began: LUMIERE marks 28 of 397 such rows.
_EARLY_WEEKS = 12
_NON_MEASURABLE_MM3 = 500.0
# Keeps the draws of scanners apart from those of courses (no number), anatomy (1), images (2) and others below 10.
_SCANNER_STREAM = 11


@dataclass(frozen=True)
class RatingRow:
    """One row of the rating table, cells exactly as written."""

    visit: str
    rating: str
    under_3_months: str = ""
    non_measurable: str = ""
    rationale: str = "None"


@dataclass(frozen=True)
class Scanned:
    """One visit on disk; ``marked``: its images carry the planted mark; ``scanner``: place in ``SCANNERS``."""

    planned: PlannedVisit
    sequences: tuple[Sequence, ...] = SEQUENCES
    segmented: bool = True
    marked: bool = False
    scanner: int = 0


@dataclass(frozen=True)
class PatientPlan:
    """Everything about one patient but the pixels. ``number`` counts from 1; ``demographics`` are the table's cells."""

    number: int
    visits: tuple[Scanned, ...]
    rows: tuple[RatingRow, ...]
    demographics: tuple[str, ...]

    @property
    def name(self) -> str:
        """LUMIERE's pseudonym, e.g. ``Patient-042``."""
        return f"Patient-{self.number:03d}"


def plan_cohort(settings: PhantomSettings) -> list[PatientPlan]:
    """All patients of the cohort; every random number comes from ``settings.seed``."""
    traits = TRAITS[settings.difficulty]
    bound = quotas(np.random.default_rng([settings.seed, 0]), settings.patients)
    plans = []
    for number, aim in enumerate(bound, start=1):
        generator = np.random.default_rng([settings.seed, number])
        course = draw_course(generator, aim, traits.tumour)
        rows = tuple(_row(generator, visit, settings.reader_noise) for visit in course)
        scanners = _draw_scanners(np.random.default_rng([settings.seed, number, _SCANNER_STREAM]), number, traits.scan)
        visits = tuple(Scanned(visit, scanner=next(scanners)) for visit in course)
        plans.append(PatientPlan(number, visits, rows, _demographics(generator, course[-1].visit.week)))
    places = sorted(_quirk_places(bound), key=lambda index: -len(_response_places(plans[index])))
    for index, quirk in zip(places, _QUIRKS, strict=False):
        plans[index] = quirk(plans[index])
    return plans


def _draw_scanners(generator: np.random.Generator, number: int, traits: ScanTraits) -> Iterator[int]:
    """The scanner of each visit of a patient: mostly the patient's own, now and then any."""
    while True:
        elsewhere = generator.random() < traits.scanner_changes
        yield int(generator.integers(traits.scanners)) if elsewhere else number % traits.scanners


def _row(generator: np.random.Generator, planned: PlannedVisit, noise: float) -> RatingRow:
    rating = read_with_noise(generator, planned.truth, noise)
    early = isinstance(rating, Response) and planned.visit.week < _EARLY_WEEKS and generator.random() < 0.6
    small = 0 < planned.enhancing_mm3 < _NON_MEASURABLE_MM3
    return RatingRow(
        str(planned.visit), str(rating), "x" if early else "", "x" if small else "", _rationale(generator, planned)
    )


def _rationale(generator: np.random.Generator, planned: PlannedVisit) -> str:
    if planned.truth is VisitState.POST_OP:
        return "CRET" if planned.enhancing_mm3 < _NON_MEASURABLE_MM3 else "PRET"
    if not isinstance(planned.truth, Response) or generator.random() < 0.6 or planned.enhancing_mm3 == 0:
        return "None"
    diameter = 2 * (3 * max(lesion.enhancing for lesion in planned.lesions) / (4 * np.pi)) ** (1 / 3)
    return f"Target L.: {diameter:.0f}mm x {diameter * generator.uniform(0.6, 1.0):.0f}mm"


def _demographics(generator: np.random.Generator, last_week: int) -> tuple[str, ...]:
    """Cells of the demographics table in LUMIERE's proportions; unknown is written ``na``."""
    survival = "na" if generator.random() < 0.05 else str(min(201, last_week + int(generator.integers(2, 40))))
    sex = str(generator.choice(("male", "female")))
    age = str(int(np.clip(generator.normal(62, 9), 39, 80)))
    idh = str(generator.choice(("WT", "na", "IDH1 neg, Sequencing required", "wt"), p=(0.62, 0.26, 0.10, 0.02)))
    method = "na" if idh == "na" else "Immunohistochemistry"
    mgmt = str(generator.choice(("not methylated", "methylated", "na"), p=(0.48, 0.40, 0.12)))
    unmeasured = mgmt == "na" or generator.random() < 0.2
    quantity = "na" if unmeasured else f"{generator.uniform(10, 90) if mgmt == 'methylated' else 0:.2f}%"
    return survival, sex, age, idh, method, mgmt, quantity


def _quirk_places(bound: list[Response | None]) -> list[int]:
    """Indices of the patients that carry a quirk, at most one each; none in a cohort of one.

    Spread evenly over those who are bound for nothing, so that filters do not take the rare classes; over all where
    these are too few.
    """
    count, ordinary = len(_QUIRKS), [index for index, aim in enumerate(bound) if aim is None]
    if len(ordinary) < count:
        ordinary = list(range(len(bound)))
    if len(ordinary) < count:
        return ordinary[1:]
    return [ordinary[int((k + 0.5) * len(ordinary) / count)] for k in range(count)]


def _response_places(plan: PatientPlan) -> list[int]:
    return [n for n, row in enumerate(plan.rows) if row.rating in set(Response)]


def _with_row(plan: PatientPlan, place: int, **cells: str) -> PatientPlan:
    rows = list(plan.rows)
    rows[place] = replace(rows[place], **cells)
    return replace(plan, rows=tuple(rows))


def _last_rated(plan: PatientPlan) -> int:
    return _response_places(plan)[-1]


def _rated_twice(plan: PatientPlan) -> PatientPlan:
    """As Patient-042 at week 10: first SD, then PD."""
    place = _last_rated(plan)
    first, second = (replace(plan.rows[place], rating=rating) for rating in ("SD", "PD"))
    return replace(plan, rows=(*plan.rows[:place], first, second, *plan.rows[place + 1 :]))


def _unrated_images(plan: PatientPlan) -> PatientPlan:
    """As Patient-025: the rating rows name weeks without a scan."""
    rows = tuple(replace(row, visit=str(Visit(100 + 3 * n))) for n, row in enumerate(plan.rows))
    return replace(plan, rows=rows)


def _second_pre_op(plan: PatientPlan) -> PatientPlan:
    """As Patient-060."""
    return _with_row(plan, _last_rated(plan), rating="Pre-Op")


def _misplaced_post_op(plan: PatientPlan) -> PatientPlan:
    """As Patient-013: the Post-Op row says a week later than the scan."""
    week = plan.visits[1].planned.visit.week
    return _with_row(plan, 1, visit=str(Visit(week + 1)))


def _unrated_scans(plan: PatientPlan) -> PatientPlan:
    """As Patient-079: scans in between without a row."""
    return replace(plan, rows=(plan.rows[0], *plan.rows[2:]))


def _repeated_post_op(plan: PatientPlan) -> PatientPlan:
    """As Patient-010: three Post-Op rows for one operation, the last of a week without a scan."""
    row = plan.rows[1]
    later = replace(row, visit=str(Visit(plan.visits[1].planned.visit.week + 2)))
    return replace(plan, rows=(*plan.rows[:2], row, later, *plan.rows[2:]))


def _trailing_space(plan: PatientPlan) -> PatientPlan:
    return _with_row(plan, 1, rating="Post-Op ")


def _post_op_and_pd(plan: PatientPlan) -> PatientPlan:
    return _with_row(plan, _last_rated(plan), rating="Post-Op/PD")


def _no_rating(plan: PatientPlan) -> PatientPlan:
    return _with_row(plan, _last_rated(plan), rating="None")


def _early_in_words(plan: PatientPlan) -> PatientPlan:
    """The three-month mark in the rationale, in both spellings, and a visit that is no RANO timepoint."""
    words = ("less than 3 months", "Less than 3 months", "Not a timepoint for RANO measurement")
    for place, text in zip(_response_places(plan), words, strict=False):
        plan = _with_row(plan, place, under_3_months="", rationale=text)
    return plan


def _lacks_flair(plan: PatientPlan) -> PatientPlan:
    """One rated visit without FLAIR and therefore without both segmentation folders."""
    place = _last_rated(plan)
    kept = tuple(sequence for sequence in SEQUENCES if sequence is not Sequence.FLAIR)
    poorer = replace(plan.visits[place], sequences=kept, segmented=False)
    return replace(plan, visits=(*plan.visits[:place], poorer, *plan.visits[place + 1 :]))


def _single_visit(plan: PatientPlan) -> PatientPlan:
    return replace(plan, visits=plan.visits[:1], rows=plan.rows[:1])


def _same_week(plan: PatientPlan) -> PatientPlan:
    """As Patient-002 at week 40: the last visit and an unrated scan some days later, told apart by suffix."""
    last = plan.visits[-1]
    names = [Visit(last.planned.visit.week, suffix) for suffix in (1, 2)]
    truths = (last.planned.truth, VisitState.UNRATED)
    twins = tuple(
        replace(last, planned=replace(last.planned, visit=name, truth=truth))
        for name, truth in zip(names, truths, strict=True)
    )
    rows = (*plan.rows[:-1], replace(plan.rows[-1], visit=str(names[0])))
    return replace(plan, visits=(*plan.visits[:-1], *twins), rows=rows)


def _new_lesion_same_total(plan: PatientPlan) -> PatientPlan:
    """A new lesion appears while the old ones shrink by as much: PD that no total shows."""
    before = plan.visits[-1].planned
    if before.enhancing_mm3 < 2_000:
        return plan
    share = 0.6
    old = tuple(replace(lesion, enhancing=share * lesion.enhancing) for lesion in before.lesions)
    new = Lesion((1 - share) * before.enhancing_mm3, 0.0, 3_000.0)
    visit = PlannedVisit(Visit(before.visit.week + 12), (*old, new), Response.PD)
    row = RatingRow(str(visit.visit), "PD", rationale="new L")
    return replace(plan, visits=(*plan.visits, replace(plan.visits[-1], planned=visit)), rows=(*plan.rows, row))


# Given in this order to the patients with the most ratings first: the first ones need several, the last none.
_QUIRKS: tuple[Callable[[PatientPlan], PatientPlan], ...] = (
    _early_in_words, _new_lesion_same_total, _rated_twice, _second_pre_op, _post_op_and_pd, _no_rating, _same_week,
    _lacks_flair, _unrated_scans, _misplaced_post_op, _repeated_post_op, _trailing_space, _unrated_images,
    _single_visit,
)  # fmt: skip
