"""What recognition answers: for every series one of the four sequences, or a named reason why not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ranoscope.domain import SEQUENCES, Sequence


class SetAside(StrEnum):
    """Why a series is none of the four."""

    NOT_MR = "not an MR image"
    LOCALISER = "localiser"
    OTHER_BODY_PART = "another part of the body"
    PARTIAL = "covers part of the head"
    FEW_SLICES = "too few slices"
    SEVERAL_VOLUMES = "several volumes in one series"
    DERIVED = "derived map"
    QUANTITATIVE = "quantitative map or a source of one"
    DIFFUSION = "diffusion"
    DYNAMIC = "perfusion or another dynamic series"
    SUSCEPTIBILITY = "susceptibility or T2*"
    ANGIOGRAPHY = "angiography"
    SPECTROSCOPY = "spectroscopy"
    FUNCTIONAL = "functional"
    FIELD_MAP = "field map or calibration"
    OTHER_WEIGHTING = "another weighting"
    CONTRADICTION = "name and header contradict each other"
    UNRECOGNISED = "not recognised"
    CONTRAST_UNKNOWN = "T1, no word about contrast"
    REFORMAT = "reformat of another series"
    DUPLICATE = "duplicate of another series"
    BY_OVERRIDE = "set aside by the override"


@dataclass(frozen=True)
class Decision:
    """Either ``sequence`` or ``set_aside`` is given. ``reasons``: short sentences, never empty."""

    sequence: Sequence | None
    set_aside: SetAside | None
    reasons: tuple[str, ...]

    def __post_init__(self) -> None:
        if (self.sequence is None) == (self.set_aside is None) or not self.reasons:
            raise ValueError("a decision is a sequence or a reason to set the series aside, and says why")


@dataclass(frozen=True)
class Recognition:
    """A decision for every series of a study, in the order in which the series were given."""

    decisions: tuple[Decision, ...]

    @property
    def chosen(self) -> dict[Sequence, int]:
        """The place of the series that was chosen for each sequence found."""
        return {one.sequence: place for place, one in enumerate(self.decisions) if one.sequence is not None}

    @property
    def missing(self) -> tuple[Sequence, ...]:
        """The sequences for which no series was found."""
        return tuple(sequence for sequence in SEQUENCES if sequence not in self.chosen)
