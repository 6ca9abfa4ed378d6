"""Settings of everything before learning: cohort, phantom, grid, folds."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from ranoscope.config.base import Settings
from ranoscope.domain import SEQUENCES, Sequence


class PairRule(StrEnum):
    """Which earlier study a rated visit is compared with."""

    PREVIOUS_ROW = "previous_row"
    PREVIOUS_SCAN = "previous_scan"
    PREVIOUS_SCAN_SAME_SURGERY_EPOCH = "previous_scan_same_surgery_epoch"
    BASELINE = "baseline"
    NADIR = "nadir"


class DuplicatePolicy(StrEnum):
    """What to do with two rating rows of one visit."""

    FIRST = "first"
    LAST = "last"
    DROP = "drop"
    ERROR = "error"


class CohortSettings(Settings):
    """Which rated visits become cases. Defaults follow the loader contract; the paper's rule is ``previous_row``."""

    pair_rule: PairRule = PairRule.PREVIOUS_SCAN
    duplicates: DuplicatePolicy = DuplicatePolicy.DROP
    exclude_under_3_months_column: bool = True
    exclude_under_3_months_rationale: bool = True
    exclude_not_a_rano_timepoint: bool = True
    required_sequences: tuple[Sequence, ...] = SEQUENCES


class Difficulty(StrEnum):
    """How far a synthetic cohort is from a textbook's pictures; ``phantom.difficulty`` holds what each means."""

    STANDARD = "standard"
    HARD = "hard"


# Chance that a rating is replaced by a neighbouring category, where the user names none.
_READER_NOISE = {Difficulty.STANDARD: 0.05, Difficulty.HARD: 0.10}


class PhantomSettings(Settings):
    """A synthetic cohort. ``reader_noise``: chance that a rating is replaced by a neighbouring category.

    ``difficulty``: ``hard`` has other anatomy, untidier tumours, worse scans and twice the reader noise.
    ``planted_mark``: chance that a visit rated PD carries a bright mark far from any tumour; other visits carry it with
    the remaining chance, so that 1 gives the rating away and 0.5 says nothing. 0: no mark anywhere.
    """

    patients: Annotated[int, Field(ge=1, le=999)] = 12
    voxel_mm: Annotated[float, Field(ge=1, le=6)] = 3.0
    seed: int = 0
    difficulty: Difficulty = Difficulty.STANDARD
    reader_noise: float = Field(
        default_factory=lambda known: _READER_NOISE[known.get("difficulty", "standard")], ge=0, le=1
    )
    planted_mark: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _marks_point_to_progression(self) -> PhantomSettings:
        if 0 < self.planted_mark < 0.5:
            raise ValueError(f"planted_mark is 0 or from 0.5 to 1, got {self.planted_mark}")
        return self


class GridSettings(Settings):
    """The common grid that atlas-space studies are brought to before learning.

    ``voxel_mm``: isotropic voxel edge in millimetres. ``box_mm``: extent of the crop around the brain in millimetres,
    order left-right, posterior-anterior, inferior-superior; ``centre_mm``: its centre in atlas world coordinates (RAS).
    The default box holds the MNI152 brain with a margin of at least 6 mm on every side.
    """

    voxel_mm: Annotated[float, Field(gt=0, le=10)] = 2.0
    box_mm: tuple[float, float, float] = (160.0, 192.0, 160.0)
    centre_mm: tuple[float, float, float] = (0.0, -17.0, 8.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along left-right, posterior-anterior and inferior-superior; at least one each."""
        right, anterior, superior = (max(round(edge / self.voxel_mm), 1) for edge in self.box_mm)
        return right, anterior, superior


class FoldProtocol(StrEnum):
    """How cases are dealt to folds and the epoch is chosen.

    ``patient``: folds by patient, the epoch chosen on an inner set of training patients. ``as-published``: as in the
    code of arXiv 2504.18268, folds by visit and the epoch chosen on the very fold that is reported.
    """

    PATIENT = "patient"
    AS_PUBLISHED = "as-published"

    @property
    def warning(self) -> str | None:
        """What to bear in mind of this protocol; None for patient-level folds."""
        if self is FoldProtocol.PATIENT:
            return None
        return (
            "Folds as published are cut by visit: a tested patient's other visits are in training. For comparison with "
            "the reference paper only; no score from them says how a new patient would be called."
        )


class FoldSettings(Settings):
    """Folds, one set per seed; patient-grouped and stratified by each patient's rarest class unless as published.

    ``training_cases``: at most so many of each fold's training cases are learnt from, for learning curves; those of a
    smaller number are among those of a larger one.
    """

    count: Annotated[int, Field(ge=2)] = 5
    training_cases: Annotated[int, Field(ge=2)] | None = None
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    protocol: FoldProtocol = FoldProtocol.PATIENT

    @model_validator(mode="after")
    def _no_seed_twice(self) -> FoldSettings:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("each seed once: the same folds twice would count as evidence twice")
        return self
