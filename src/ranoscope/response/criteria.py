"""The response criteria as data: one row of settings per publication, one engine for all of them.

Settings marked *verify* were not read in the publication itself; change them with ``--set``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from ranoscope.config import Settings, overlay, parse_change, parse_settings
from ranoscope.errors import RecipeError, problem
from ranoscope.response.calls import Category
from ranoscope.response.timeline import Compartment, Measure

Percent = Annotated[int, Field(gt=0)]


class T2Rule(StrEnum):
    """What a worse T2/FLAIR abnormality means where it is not itself the target."""

    IGNORED = "ignored"
    PROGRESSION = "progression"
    PROGRESSION_UNDER_ANTI_ANGIOGENIC = "progression under anti-angiogenic treatment"


class NewLesionRule(StrEnum):
    """What a new lesion means."""

    PROGRESSION = "progression"
    PROGRESSION_IF_MEASURABLE = "progression if measurable"
    ADDED_TO_SUM = "added to the sum"


class BaselineRule(StrEnum):
    """Which scan of a series is the baseline of a newly diagnosed patient; recurrent disease: always the first."""

    FIRST = "first scan of the series: post-operative or before the therapy"
    POST_RADIOTHERAPY = "first scan after radiotherapy"


class Confirmation(StrEnum):
    """When progression seen on images needs a second scan."""

    NEVER = "never"
    EARLY = "within the early window"
    ALWAYS = "always"


class SecondStep(StrEnum):
    """What a repeat scan is compared with to confirm progression."""

    PRELIMINARY_SCAN = "grown again by the threshold against the preliminary progression"
    NADIR = "still beyond the threshold against the nadir"


class Thresholds(Settings):
    """Percent, inclusive: progression (up from the nadir), response and minor response (down from the baseline)."""

    progression: Percent
    response: Percent
    minor_response: Percent | None = None


class Part(Settings):
    """How one compartment is measured and followed.

    ``minimum_mm``: both diameters of a measurable lesion reach it, or twice the slice thickness if that is thicker than
    ``thick_slices_mm``; None: everything is measurable. ``minimum_slices``: slices that must show it.
    ``targets``: how many lesions are summed at most; None: all.
    """

    minimum_mm: float | None = 10.0
    thick_slices_mm: float | None = 5.0
    minimum_slices: int = 2
    targets: int | None = 5
    thresholds: dict[Measure, Thresholds]
    t2_flair: T2Rule = T2Rule.IGNORED
    new_lesion: NewLesionRule = NewLesionRule.PROGRESSION
    enhancement_is_progression: bool = False

    @model_validator(mode="after")
    def _every_measure(self) -> Self:
        if missing := set(Measure) - set(self.thresholds):
            raise ValueError(f"thresholds for {', '.join(sorted(missing))} are missing")
        return self


class EarlyWindow(Settings):
    """A time after a treatment in which progression on images is not believed at first; histology is, at any time.

    ``days``: strictly fewer days than this since the end of radiotherapy (``after_radiotherapy``; the time before its
    end counts too) or since the start of immunotherapy (the time before it does not).
    ``outside_field_is_progression``: whether growth or a lesion outside the radiation field is believed.
    ``decline_is_progression``: whether clinical decline alone is progression within the window.
    """

    days: int
    after_radiotherapy: bool
    outside_field_is_progression: bool
    decline_is_progression: bool


class Criteria(Settings):
    """One publication's rules.

    ``mixed_targets``: how many lesions of a mixed tumour are summed at most over both compartments. ``mixed``: its
    category by that of enhancing, then of non-enhancing disease; PD in either is PD whatever the table says.
    ``baseline``, ``post_radiotherapy_days``: which scan is the baseline. ``progression_from_radiotherapy``: the first
    scan after radiotherapy becomes the reference for progression, while the baseline stays that for response.
    ``confirmation_days``: least time to the scan that confirms CR, PR or MR; None: a single scan suffices.
    ``confirm_progression``, ``progression_confirmation_days``, ``second_step``: whether, how long after and against
    what a repeat scan confirms progression. ``unconfirmed_becomes_reference``: a preliminary progression that its
    repeat scan does not confirm is the reference for progression from then on.
    ``non_measurable_growth_mm``, ``non_measurable_growth_percent``: growth by which a non-measurable lesion that
    becomes measurable is progression (more than so many mm of the largest diameter and at least so many percent of the
    product); None: no such rule. ``physiological_mg_per_day``: dexamethasone equivalent of replacement therapy.
    ``rate_after_progression``: whether scans after progression still get a category (a trial ends there).
    """

    name: str
    title: str
    source: str
    parts: dict[Compartment, Part]
    mixed_targets: int | None = None
    mixed: dict[Category, dict[Category, Category]] = Field(default_factory=dict)
    baseline: BaselineRule = BaselineRule.FIRST
    # B6: the post-radiotherapy MRI is made about 4 weeks after its end; earlier scans are not the baseline.
    post_radiotherapy_days: int = 21
    progression_from_radiotherapy: bool = False
    confirmation_days: int | None = 28
    confirm_progression: Confirmation = Confirmation.NEVER
    progression_confirmation_days: int = 28
    second_step: SecondStep = SecondStep.NADIR
    unconfirmed_becomes_reference: bool = False
    early_window: EarlyWindow | None = None
    clinical_decline_is_progression: bool = True  # verify what counts as decline (a fall in KPS)
    non_measurable_is_progression: bool = True
    leptomeningeal_is_progression: bool = False
    steroids_limit_response: bool = True
    # B9 row 6: growth while the dose is lowered asks for a repeat.
    steroids_excuse_growth: bool = True
    non_measurable_growth_mm: float | None = 5.0  # verify
    non_measurable_growth_percent: Percent | None = 25  # verify
    physiological_mg_per_day: float = 0.75
    rate_after_progression: bool = True

    @model_validator(mode="after")
    def _whole_mixed_table(self) -> Self:
        rated = (Category.CR, Category.PR, Category.MR, Category.SD)
        if len(self.parts) > 1 and any(other not in self.mixed.get(one, {}) for one in rated for other in rated):
            raise ValueError("`mixed` needs a category for every pair of CR, PR, MR and SD")
        return self


# Macdonald, RANO-HGG, RANO-LGG and iRANO publish thresholds of area alone; those of volume are common practice there.
_AREA = Thresholds(progression=25, response=50)
_VOLUME = Thresholds(progression=40, response=65)
_BOTH = {Measure.AREA: _AREA, Measure.VOLUME: _VOLUME}
_RADIOTHERAPY_WINDOW_DAYS = 84
# RANO 2.0: a response of one compartment beside stable disease of the other is that response; a complete one beside
# anything else is the other's. Beside a minor response, PR stands as it does beside SD (verify).
_CR, _PR, _MR, _SD = Category.CR, Category.PR, Category.MR, Category.SD
_MIXED = {
    _CR: {_CR: _CR, _PR: _PR, _MR: _MR, _SD: _SD},
    _PR: {_CR: _PR, _PR: _PR, _MR: _PR, _SD: _PR},
    _MR: {_CR: _MR, _PR: _PR, _MR: _MR, _SD: _MR},
    _SD: {_CR: _SD, _PR: _PR, _MR: _MR, _SD: _SD},
}

MACDONALD = Criteria(
    name="macdonald",
    title="Macdonald 1990",
    source="Macdonald et al. 1990, J Clin Oncol 8:1277",
    parts={
        Compartment.ENHANCING: Part(
            minimum_mm=None, thick_slices_mm=None, minimum_slices=1, targets=None, thresholds=_BOTH
        )
    },
    non_measurable_growth_mm=None,
    non_measurable_growth_percent=None,
)

RANO_HGG = Criteria(
    name="rano-hgg",
    title="RANO-HGG 2010",
    source="Wen et al. 2010, J Clin Oncol 28:1963",
    parts={Compartment.ENHANCING: Part(thresholds=_BOTH, t2_flair=T2Rule.PROGRESSION)},
    progression_from_radiotherapy=True,
    early_window=EarlyWindow(
        days=_RADIOTHERAPY_WINDOW_DAYS,
        after_radiotherapy=True,
        outside_field_is_progression=True,
        decline_is_progression=False,
    ),
)

RANO_LGG = Criteria(
    name="rano-lgg",
    title="RANO-LGG 2011",
    source="van den Bent et al. 2011, Lancet Oncol 12:583",
    parts={
        Compartment.NONENHANCING: Part(
            thresholds={
                Measure.AREA: Thresholds(progression=25, response=50, minor_response=25),
                Measure.VOLUME: Thresholds(progression=40, response=65, minor_response=40),
            },
            enhancement_is_progression=True,
        )
    },
)

MRANO = Criteria(
    name="mrano",
    title="Modified RANO 2017",
    source="Ellingson et al. 2017, Neurotherapeutics 14:307",
    parts={Compartment.ENHANCING: Part(thresholds=_BOTH, new_lesion=NewLesionRule.ADDED_TO_SUM)},
    baseline=BaselineRule.POST_RADIOTHERAPY,
    confirm_progression=Confirmation.ALWAYS,
    second_step=SecondStep.PRELIMINARY_SCAN,  # verify
    unconfirmed_becomes_reference=True,
)

RANO_2 = Criteria(
    name="rano2",
    title="RANO 2.0 2023",
    source="Wen et al. 2023, J Clin Oncol 41:5187",
    parts={
        Compartment.ENHANCING: Part(
            targets=2,  # verify
            thresholds=_BOTH,
            t2_flair=T2Rule.PROGRESSION_UNDER_ANTI_ANGIOGENIC,
            new_lesion=NewLesionRule.PROGRESSION_IF_MEASURABLE,
        ),
        Compartment.NONENHANCING: Part(
            targets=2,  # verify
            thresholds={
                Measure.AREA: Thresholds(progression=25, response=50, minor_response=25),
                Measure.VOLUME: Thresholds(progression=40, response=65, minor_response=40),  # verify
            },
        ),
    },
    mixed_targets=3,  # verify
    mixed=_MIXED,  # verify
    baseline=BaselineRule.POST_RADIOTHERAPY,
    confirm_progression=Confirmation.EARLY,
    leptomeningeal_is_progression=True,
    early_window=EarlyWindow(
        days=_RADIOTHERAPY_WINDOW_DAYS,
        after_radiotherapy=True,
        outside_field_is_progression=False,
        decline_is_progression=True,
    ),
)

IRANO = Criteria(
    name="irano",
    title="iRANO 2015",
    source="Okada et al. 2015, Lancet Oncol 16:e534",
    parts={Compartment.ENHANCING: Part(thresholds=_BOTH, t2_flair=T2Rule.PROGRESSION)},
    confirm_progression=Confirmation.EARLY,
    progression_confirmation_days=84,
    second_step=SecondStep.PRELIMINARY_SCAN,
    unconfirmed_becomes_reference=True,
    early_window=EarlyWindow(
        days=183,
        after_radiotherapy=False,
        outside_field_is_progression=False,
        decline_is_progression=True,
    ),
)

CRITERIA: tuple[Criteria, ...] = (MACDONALD, RANO_HGG, RANO_LGG, MRANO, RANO_2, IRANO)


def criteria_by_name(name: str) -> Criteria:
    """The published criteria of that name.

    Raises:
        RecipeError: there are none.
    """
    known = {criteria.name: criteria for criteria in CRITERIA}
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, n=1)
        do = f"did you mean `{near[0]}`" if near else "use one of these"
        raise RecipeError(problem(f"one of {', '.join(known)}", f"`{name}`", "the name of the criteria", do))
    return known[name]


def with_changes(criteria: Criteria, changes: Iterable[str]) -> Criteria:
    """The criteria with settings laid over them, each ``key.sub=value`` with a YAML value.

    For instance ``confirmation_days=null`` or ``parts.enhancing.targets=3``.

    Raises:
        RecipeError: not ``key=value``, or a key or value that is not allowed, by name.
    """
    content = criteria.model_dump(mode="json")
    for change in changes:
        content = overlay(content, parse_change(change))
    return parse_settings(Criteria, content, f"the settings of {criteria.name}")
