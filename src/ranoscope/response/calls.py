"""What the response engine answers: a call per scan that carries its own reasons."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from ranoscope.response.timeline import Compartment, Measure


class Category(StrEnum):
    """Response categories, worst to best; MR (minor response) exists for non-enhancing disease alone."""

    PD = "PD"
    SD = "SD"
    MR = "MR"
    PR = "PR"
    CR = "CR"
    NE = "NE"
    """Not evaluable: the size is unknown and nothing else decides."""


class Stage(StrEnum):
    """What a scan is in its series."""

    PRE_OP = "pre-op"
    POST_OP = "post-op"
    BASELINE = "baseline"
    BEFORE_BASELINE = "before baseline"
    ASSESSED = "assessed"


class Flag(StrEnum):
    """What a reader should know beyond the category."""

    PSEUDOPROGRESSION_POSSIBLE = "possible pseudoprogression: a repeat scan decides"
    PSEUDOPROGRESSION = "progression was not confirmed: pseudoprogression"
    PSEUDORESPONSE = "response was not confirmed: pseudoresponse"
    DOSE_WAS_LOWERED = "growth while the steroid dose was lowered: repeat"
    AFTER_PROGRESSION = "rated after progression"
    NO_MEASURABLE_DISEASE = "no measurable disease at baseline: SD is the best category"
    BASELINE_IS_NOT_THE_CRITERIAS = "the baseline the criteria ask for is not among the scans"
    INTERVAL_ROUNDED = "the interval is known to the week only and lies at a limit"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reason(_Record):
    """One fact that led to the category, with its numbers where it has any."""

    name: str
    sentence: str


class SizeComparison(_Record):
    """The current size against both references and the nearest threshold.

    Sizes in ``measure``'s unit. The category meant here is the one that the scan shows, also where it waits for
    confirmation. ``nadir``: the reference for progression. ``threshold``: the size at which the category would change,
    the nearest one; ``threshold_name`` says which (``PD: 25 % above nadir``). ``distance_percent``: (now − threshold)
    / threshold × 100. ``distance_sd``: the same on the log scale in standard deviations of the comparison's
    measurement error. ``probability_other``: that measuring all scans of the comparison again would give another
    category, the facts that are not sizes being as they are. It speaks of measurement alone, not of the truth of the
    call.
    """

    compartment: Compartment
    measure: Measure
    now: float
    baseline: float
    nadir: float
    threshold: float | None
    threshold_name: str | None
    distance_percent: float | None
    distance_sd: float | None
    probability_other: float | None


class Call(_Record):
    """The call at one scan.

    ``category`` is None where the scan has no response class (baseline, around surgery). ``rule``: the identifier of
    the row of the decision table that fired, ``rule_sentence`` its words. ``preliminary``: a CR, PR, MR or PD that
    waits for confirmation. ``confirmed``: False where one waits, True where a second scan confirmed the category, None
    where none was asked for. ``provisional``: each item in ``unknown`` can change the category, given what the others
    may be. ``baseline``, ``nadir``: ids of the reference scans; at a repeat scan after a preliminary progression the
    latter is that scan, where the criteria compare with it. ``progression_scan``: for PD, the scan that the
    progression is dated to. ``parts``: for mixed tumours the call of each compartment, enhancing disease first.
    """

    scan: str
    day: int
    stage: Stage
    category: Category | None
    rule: str | None = None
    rule_sentence: str | None = None
    preliminary: Category | None = None
    confirmed: bool | None = None
    provisional: bool = False
    unknown: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    flags: tuple[Flag, ...] = ()
    baseline: str | None = None
    nadir: str | None = None
    progression_scan: str | None = None
    size: SizeComparison | None = None
    parts: tuple[Call, ...] = ()

    def part(self, compartment: Compartment) -> Call:
        """The call of one compartment of a mixed tumour; of any other tumour the call itself."""
        return self.parts[list(Compartment).index(compartment)] if self.parts else self


class Evaluation(_Record):
    """One timeline under one criteria set."""

    patient: str
    criteria: str
    measure: Measure
    calls: tuple[Call, ...]
    notes: tuple[str, ...] = ()
