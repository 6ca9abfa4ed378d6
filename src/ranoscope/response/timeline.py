"""What the response engine reads: one patient's scans in order, with what was measured and what else is known of them.

Everything optional is *unknown* where it is None, and unknown never equals "no": a scan without a statement on steroids
is not a scan without steroids.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Compartment(StrEnum):
    """What is measured: contrast-enhancing tumour on CT1, or non-enhancing tumour on T2/FLAIR."""

    ENHANCING = "enhancing"
    NONENHANCING = "nonenhancing"


class Disease(StrEnum):
    """Which compartments a patient's tumour is followed by (RANO 2.0's three modes)."""

    ENHANCING = "enhancing"
    NONENHANCING = "non-enhancing"
    MIXED = "mixed"


class Measure(StrEnum):
    """How burden is expressed: sum of bidimensional products in mm², or volume in mm³."""

    AREA = "area"
    VOLUME = "volume"

    @property
    def unit(self) -> str:
        """The unit of a size under this measure."""
        return {Measure.AREA: "mm²", Measure.VOLUME: "mm³"}[self]


class Role(StrEnum):
    """How a lesion takes part in the assessment."""

    TARGET = "target"
    NON_TARGET = "non-target"


class Change(StrEnum):
    """A component's change as a reader states it, against the reference the criteria name."""

    BETTER = "better"
    STABLE = "stable"
    WORSE = "worse"


class NonMeasurable(StrEnum):
    """Non-measurable (and non-target) disease at a scan."""

    ABSENT = "absent"
    PRESENT = "present"
    WORSE = "worse"


class NewLesion(StrEnum):
    """Whether a lesion appeared since the reference."""

    NONE = "none"
    NON_MEASURABLE = "non-measurable"
    MEASURABLE = "measurable"


class Steroids(StrEnum):
    """Corticosteroids at a scan: none, physiological replacement only, or the dose against the reference scan's."""

    NONE = "none"
    PHYSIOLOGICAL = "physiological"
    LOWER = "lower"
    STABLE = "stable"
    HIGHER = "higher"


class Surgery(StrEnum):
    """A scan's place around an operation. A post-op scan opens a new series: new baseline, new nadir."""

    PRE_OP = "pre-op"
    POST_OP = "post-op"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Lesion(_Record):
    """One lesion in one scan.

    ``id`` is stable over the patient's scans. Diameters are in-plane, in millimetres; ``volume_mm3`` in mm³. A lesion
    that was followed and is gone is listed with 0 mm, or left out of a scan whose lesions are listed.
    ``slices``: consecutive slices that show it. ``slice_thickness_mm``: thickness plus gap of the images measured on.
    ``measurable``: a reader's statement; where None it follows from the diameters, slices and slice thickness.
    ``product_sd``, ``volume_sd``: standard deviation of a repeated measurement as a fraction of the value.
    """

    id: str = Field(min_length=1)
    compartment: Compartment = Compartment.ENHANCING
    role: Role | None = None
    longest_mm: Positive | None = None
    perpendicular_mm: Positive | None = None
    volume_mm3: Positive | None = None
    slices: int | None = Field(default=None, ge=0)
    slice_thickness_mm: float | None = Field(default=None, gt=0)
    measurable: bool | None = None
    product_sd: Positive | None = None
    volume_sd: Positive | None = None

    @property
    def product_mm2(self) -> float | None:
        """Longest diameter times longest perpendicular diameter, mm²; None unless both are known."""
        if self.longest_mm is None or self.perpendicular_mm is None:
            return None
        return self.longest_mm * self.perpendicular_mm


class Sizes(_Record):
    """The burden of one compartment, where sums are known and single lesions are not."""

    spd_mm2: Positive | None = None
    volume_mm3: Positive | None = None

    def of(self, measure: Measure) -> float | None:
        """The sum in the measure's unit; None where unknown."""
        return self.spd_mm2 if measure is Measure.AREA else self.volume_mm3


class Scan(_Record):
    """One visit.

    ``id`` names it (``week-044``); ``day`` counts from any fixed day of the patient. ``lesions``: None where lesions
    were not listed (then ``enhancing``/``nonenhancing`` hold the sums), empty where none was found.
    ``new_lesion`` and ``non_measurable``: a reader's statement; where None they follow from the lesions, if listed.
    ``outside_radiation_field``: whether the new enhancement or lesion lies outside the high-dose region (80 % isodose).
    ``viable_tumour``: histology shows it. ``t2_flair``: the whole T2/FLAIR abnormality, not explained otherwise.
    ``enhancement_worse``: new or increased enhancement, for criteria that measure T2/FLAIR.
    ``steroids``: stated against the reference scan, or absolute (none, physiological); ``steroid_mg_per_day``:
    dexamethasone equivalent, from which the relation follows where it is not stated.
    ``clinical``: neurological state, not explained otherwise. ``leptomeningeal``: spread.
    """

    id: str = Field(min_length=1)
    day: int
    surgery: Surgery | None = None
    lesions: tuple[Lesion, ...] | None = None
    enhancing: Sizes = Sizes()
    nonenhancing: Sizes = Sizes()
    new_lesion: NewLesion | None = None
    non_measurable: NonMeasurable | None = None
    outside_radiation_field: bool | None = None
    viable_tumour: bool | None = None
    t2_flair: Change | None = None
    enhancement_worse: bool | None = None
    steroids: Steroids | None = None
    steroid_mg_per_day: Positive | None = None
    clinical: Change | None = None
    leptomeningeal: bool | None = None
    anti_angiogenic: bool | None = None

    @model_validator(mode="after")
    def _lesions_once(self) -> Self:
        names = [(one.id, one.compartment) for one in self.lesions or ()]
        if len(set(names)) != len(names):
            raise ValueError(f"scan {self.id} lists one lesion twice")
        return self

    def sizes(self, compartment: Compartment) -> Sizes:
        """The stated sums of a compartment."""
        return self.enhancing if compartment is Compartment.ENHANCING else self.nonenhancing


class Timeline(_Record):
    """One patient, scans in strictly increasing ``day`` (or, on one day, in the order given with different ids).

    ``radiotherapy_end_day``, ``immunotherapy_start_day``: same day count as the scans; None where unknown or not given.
    ``recurrent``: assessed in the recurrent setting (baseline = scan before the therapy), else newly diagnosed.
    ``disease``: None leaves it to the criteria and to what was measured.
    ``baseline``: id of the scan that a reader names as baseline of the last series; None: the criteria's own rule.
    """

    patient: str = Field(min_length=1)
    scans: tuple[Scan, ...]
    recurrent: bool | None = None
    idh_mutant: bool | None = None
    disease: Disease | None = None
    radiotherapy_end_day: int | None = None
    immunotherapy_start_day: int | None = None
    baseline: str | None = None
