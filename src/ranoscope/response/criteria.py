"""The response criteria as data: one row of settings per publication, one engine for all of them.

Values in comments marked *verify* are settings whose original wording was not re-read; change them with ``--set``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

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
    """When progression by size needs a second scan."""

    NEVER = "never"
    EARLY = "within the early window"
    ALWAYS = "always"


class EarlyRule(StrEnum):
    """What the early window asks of progression."""

    FIELD_OR_HISTOLOGY = "outside the radiation field, or tumour on histology"
    REPEAT = "a repeat scan, or tumour on histology"
    REPEAT_UNLESS_DECLINE = "a repeat scan against the first progression, unless the patient declines"


class SecondStep(StrEnum):
    """What a repeat scan is compared with to confirm progression."""

    PRELIMINARY_SCAN = "grown again by the threshold against the preliminary progression"
    NADIR = "still beyond the threshold against the nadir"


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Thresholds(_Settings):
    """Percent, inclusive: progression (up from the nadir), response and minor response (down from the baseline)."""

    progression: Percent
    response: Percent
    minor_response: Percent | None = None


class Part(_Settings):
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


class EarlyWindow(_Settings):
    """A time after a treatment in which progression is not believed at first.

    ``days``: strictly fewer days than this since the end of radiotherapy (``after_radiotherapy``) or the start of
    immunotherapy. ``decline_alone``: whether clinical decline alone is progression within it.
    ``new_lesion_alone``: whether a new lesion alone is. ``repeat_days``: the least time to the repeat scan.
    """

    days: int
    after_radiotherapy: bool
    rule: EarlyRule
    decline_alone: bool
    new_lesion_alone: bool
    repeat_days: int = 28


class Criteria(_Settings):
    """One publication's rules.

    ``confirmation_days``: least time to the scan that confirms CR, PR or MR; None: a single scan suffices.
    ``non_measurable_growth_mm``, ``non_measurable_growth_percent``: growth by which a non-measurable lesion that
    becomes measurable is progression (more than so many mm of the largest diameter, or at least so many percent of the
    product); None: no such rule. ``physiological_mg_per_day``: dexamethasone equivalent of replacement therapy.
    ``progression_from_radiotherapy``: the first scan after radiotherapy becomes the reference for progression, while
    the baseline stays that for response.
    """

    name: str
    title: str
    source: str
    parts: dict[Compartment, Part]
    mixed_targets: int | None = None
    baseline: BaselineRule = BaselineRule.FIRST
    # B6: the post-radiotherapy MRI is made about 4 weeks after its end; earlier scans are not the baseline.
    post_radiotherapy_days: int = 21
    progression_from_radiotherapy: bool = False
    confirmation_days: int | None = 28
    confirm_progression: Confirmation = Confirmation.NEVER
    progression_confirmation_days: int = 28
    second_step: SecondStep = SecondStep.NADIR
    early_window: EarlyWindow | None = None
    clinical_decline_is_progression: bool = True
    non_measurable_is_progression: bool = True
    leptomeningeal_is_progression: bool = False
    steroids_limit_response: bool = True
    # B9 row 6: growth while the dose is lowered asks for a repeat.
    steroids_excuse_growth: bool = True
    non_measurable_growth_mm: float | None = 5.0  # verify
    non_measurable_growth_percent: Percent | None = 25  # verify
    physiological_mg_per_day: float = 0.75


_AREA = Thresholds(progression=25, response=50)
_VOLUME = Thresholds(progression=40, response=65)
_BOTH = {Measure.AREA: _AREA, Measure.VOLUME: _VOLUME}
_RADIOTHERAPY_WINDOW_DAYS = 84

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
        rule=EarlyRule.FIELD_OR_HISTOLOGY,
        decline_alone=False,
        new_lesion_alone=False,
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
    baseline=BaselineRule.POST_RADIOTHERAPY,
    confirm_progression=Confirmation.EARLY,
    leptomeningeal_is_progression=True,
    early_window=EarlyWindow(
        days=_RADIOTHERAPY_WINDOW_DAYS,
        after_radiotherapy=True,
        rule=EarlyRule.REPEAT,
        decline_alone=True,
        new_lesion_alone=False,
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
    early_window=EarlyWindow(
        days=183,
        after_radiotherapy=False,
        rule=EarlyRule.REPEAT_UNLESS_DECLINE,
        decline_alone=True,
        new_lesion_alone=False,
        repeat_days=84,
    ),
)

CRITERIA: tuple[Criteria, ...] = (MACDONALD, RANO_HGG, RANO_LGG, MRANO, RANO_2, IRANO)
