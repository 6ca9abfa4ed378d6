"""How hard a synthetic cohort is: one row of parameters per difficulty, every number with its reason.

No code asks for the name of a difficulty: an effect that a row does not have has the size 0 there. What the rows beyond
``standard`` draw comes from streams of their own (``Generator.spawn``), so that ``standard`` keeps its bytes.

The sizes of ``hard`` are chosen to look like clinical series, not fitted to any; where a comment names no source, the
figure is the author's judgement of what is usual.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ranoscope.config import Difficulty
from ranoscope.domain import Sequence

# Standard deviation in mm and number of intervals along each axis of a smooth random field.
Wave = tuple[float, int]


@dataclass(frozen=True)
class BrainTraits:
    """How far brains are from the template, and from each other."""

    # Spread of the head's three extents.
    scale_sd: float
    # Smooth deformations, mm. 7 intervals: a control point every 30 mm or so moves lobes and leaves gyri plausible;
    # 13 intervals move gyri.
    deformations: tuple[Wave, ...]
    # Widening of the ventricles as a share of the distance from their centre: mean, spread, least, most. Glioblastoma
    # is a disease of the seventh decade, when ventricles are half as large again as in the young template.
    ventricles: tuple[float, float, float, float]
    # Spread of the part by which one side's ventricle is the wider.
    asymmetry_sd: float
    # Share of partial-volume tissue that turns to fluid, least and most: wider sulci.
    atrophy: tuple[float, float]


@dataclass(frozen=True)
class TumourTraits:
    """How irregular the disease looks and what is seen beside it."""

    # Spread of the three half-axes (of their logarithms), and the waves that bend the outline.
    axes_sd: float
    warps: tuple[Wave, ...]
    # Spread of the rim's thickness (logarithm).
    rim_sd: float
    # Most nodules beside the first, which join as the tumour grows.
    nodules: int
    # Median volume of a lesion that is new at a visit.
    new_lesion_mm3: float
    # Share of the tumour's volume that pushes tissue aside rather than growing into it.
    mass_effect: float
    # Share of the resection cavity that is blood, bright on T1, right after the operation: least and most. It fades
    # within months, as methaemoglobin does.
    blood: tuple[float, float]
    # Most white matter changed by treatment, FLAIR-bright without uptake, months after radiotherapy. Some degree of
    # leukoencephalopathy is usual in survivors of chemoradiation.
    treated_mm3: float
    # White-matter lesions of old age: share of the white matter, least and most (drawn on a logarithmic scale), and
    # most growth per year as a share. Around 0.5 to 2 % of the intracranial volume at 60 to 80 years in population
    # studies, and a few per cent of white matter.
    aged: tuple[float, float]
    aged_growth: float


@dataclass(frozen=True)
class ScanTraits:
    """How differently the same tissue comes out of scanners, and what processing leaves over."""

    # Scanners in use (the first so many of SCANNERS), chance that a visit is not at the patient's own, and how much of
    # their contrasts' difference shows: 0 none, 1 all.
    scanners: int
    scanner_changes: float
    scanner_contrast: float
    # Spread (logarithm) of the contrast per visit and sequence, of normal tissue's and of lesions' brightness.
    contrast_sd: float
    normal_sd: float
    lesion_sd: float
    # Unevenness inside lesions, texture everywhere, bias field, gain (logarithm).
    uneven: float
    texture: float
    bias: float
    gain_sd: float
    # Noise as a share of the 90th percentile of the signal: least and most.
    noise: tuple[float, float]
    # Distances of 2D slices that a visit may have, and the share of the distance that is a gap and so is not imaged.
    slices_mm: tuple[float, ...]
    gap: float
    # Chance that the patient moved during a visit, which leaves ghosts in half of its sequences, and their strength.
    moved: float
    ghosts: tuple[float, float]
    # Whether atlas images are resampled from the scanner's slices, noise and all, as a registration leaves them, or
    # drawn on the atlas grid.
    resampled: bool
    # Rigid misregistration of each visit per axis; between two visits it is larger by the square root of 2.
    residual_degrees: float
    residual_mm: float
    # Spread of the skull-strip's threshold on the brain mask blurred by 2.5 mm; 0.2 moves its border by about 1.2 mm.
    strip_error: float


@dataclass(frozen=True)
class Traits:
    """Everything that one difficulty differs from another in but the readers (``PhantomSettings.reader_noise``)."""

    brain: BrainTraits
    tumour: TumourTraits
    scan: ScanTraits


STANDARD = Traits(
    BrainTraits(
        scale_sd=0.025,
        deformations=((2.0, 7),),
        ventricles=(0.08, 0.1, -0.12, 0.3),
        asymmetry_sd=0.0,
        atrophy=(0.0, 0.0),
    ),
    TumourTraits(
        axes_sd=0.18,
        warps=((3.5, 9), (1.0, 22)),
        rim_sd=0.3,
        nodules=0,
        new_lesion_mm3=2_500,
        mass_effect=0.0,
        blood=(0.0, 0.0),
        treated_mm3=0.0,
        aged=(0.0, 0.0),
        aged_growth=0.0,
    ),
    ScanTraits(
        scanners=3,
        scanner_changes=0.0,
        scanner_contrast=0.0,
        contrast_sd=0.0,
        normal_sd=0.03,
        lesion_sd=0.04,
        uneven=0.10,
        texture=0.025,
        bias=0.07,
        gain_sd=0.25,
        noise=(0.015, 0.035),
        slices_mm=(5.0, 6.0),
        gap=0.0,
        moved=0.0,
        ghosts=(0.0, 0.0),
        resampled=False,
        residual_degrees=0.6,
        residual_mm=0.5,
        strip_error=0.0,
    ),
)

HARD = Traits(
    BrainTraits(
        scale_sd=0.04,
        deformations=((2.6, 7), (1.2, 13)),
        ventricles=(0.25, 0.15, -0.05, 0.55),
        asymmetry_sd=0.2,
        atrophy=(0.1, 0.5),
    ),
    TumourTraits(
        axes_sd=0.28,
        warps=((4.5, 9), (2.0, 22)),
        rim_sd=0.45,
        nodules=3,
        # A sphere of 12 mm: just measurable on thick slices.
        new_lesion_mm3=900,
        # Half infiltrates, half pushes: midline shifts of 2 to 5 mm for tumours of 20 to 30 ml.
        mass_effect=0.5,
        blood=(0.1, 0.4),
        treated_mm3=35_000,
        aged=(0.003, 0.04),
        aged_growth=0.1,
    ),
    ScanTraits(
        scanners=6,
        scanner_changes=0.3,
        scanner_contrast=1.0,
        contrast_sd=0.1,
        normal_sd=0.05,
        lesion_sd=0.10,
        uneven=0.18,
        texture=0.04,
        bias=0.16,
        gain_sd=0.4,
        # Twice and a half as much as standard: fast clinical protocols.
        noise=(0.035, 0.09),
        # 5 to 8 mm between slices, a sixth of which is a gap: usual for 2D clinical protocols.
        slices_mm=(5.0, 6.0, 7.0, 8.0),
        gap=1 / 6,
        moved=0.2,
        ghosts=(0.1, 0.35),
        resampled=True,
        # Between two visits 1.1 degrees and 1.6 mm per axis.
        residual_degrees=0.8,
        residual_mm=1.1,
        strip_error=0.2,
    ),
)

TRAITS: Mapping[Difficulty, Traits] = {Difficulty.STANDARD: STANDARD, Difficulty.HARD: HARD}


@dataclass(frozen=True)
class Scanner:
    """Cells of the table of scan parameters, and a contrast per sequence.

    ``contrast``: exponent of every tissue's brightness relative to white matter: 1 as in ``scanner``'s table, below 1
    flatter, as a T1 spin echo is at 3 T, above 1 steeper, as an inversion-prepared gradient echo is.
    """

    field_tesla: str
    manufacturer: str
    model: str
    contrast: Mapping[Sequence, float]


def _contrasts(ct1: float, t1: float, t2: float, flair: float) -> dict[Sequence, float]:
    return {Sequence.CT1: ct1, Sequence.T1: t1, Sequence.T2: t2, Sequence.FLAIR: flair}


# Makes and field strengths that LUMIERE's table names; which contrast goes with which is made up.
SCANNERS = (
    Scanner("1.5", "SIEMENS", "Aera", _contrasts(1.0, 0.85, 1.0, 1.0)),
    Scanner("3", "SIEMENS", "Verio", _contrasts(1.2, 1.2, 1.15, 1.1)),
    Scanner("1.5", "Philips", "Ingenia", _contrasts(0.8, 0.75, 0.9, 0.9)),
    Scanner("3", "Philips", "Achieva", _contrasts(0.9, 1.1, 1.2, 1.25)),
    Scanner("1.5", "GE MEDICAL SYSTEMS", "Optima MR450w", _contrasts(1.1, 0.8, 0.8, 0.75)),
    Scanner("1", "SIEMENS", "Expert", _contrasts(0.75, 0.75, 0.75, 0.8)),
)
