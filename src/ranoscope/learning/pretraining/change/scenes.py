"""Decide: which lesions a pair shows, how large in either study, and what becomes of the study's own tumour."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ranoscope.domain import Response, Sequence
from ranoscope.learning.pretraining.change.facts import StudyFacts
from ranoscope.learning.pretraining.change.fields import Field, Image, draw_field
from ranoscope.learning.pretraining.change.labels import PARTIAL, PROGRESSION
from ranoscope.learning.pretraining.change.lesions import Extent, Shape

# Enhancing volume of a synthetic lesion, mm^3, at least so many voxels; 300 mm^3 is a ball of 8 mm.
_LEAST_MM3, _LEAST_VOXELS, _MOST_MM3 = 300.0, 4, 40_000.0
# Factors of volume keep this far from the thresholds: nearer ones no measurement tells apart.
_MARGIN = 1.08
_MOST_GROWTH, _LEAST_REST = 6.0, 0.04
# What a smooth warp of the own tumour can do to its volume without tearing at what is around it.
_MOST_WARP = 4.0
_APART_MM = 30.0
# Chances: of stable pairs, that nothing is painted at all, or that there is no tumour in either study; that the own
# tumour is what changes, or stays while others change; of progression, that a lesion is new; that one of several goes;
# that there is oedema without tumour.
_IDENTICAL, _NOTHING, _OWN_CHANGES, _OWN_APPEARS, _OWN_STAYS = 0.2, 0.2, 0.35, 0.3, 0.5
_NEW, _ONE_GOES, _OEDEMA_ALONE = 0.5, 0.25, 0.25
_LESIONS = (0.6, 0.3, 0.1)  # one, two or three
# Ranges of intensity of enhancing tumour, necrosis and oedema in standard deviations from the brain's mean: the usual
# look of each tissue on each sequence, wide enough for every scanner.
_LOOKS: dict[Sequence, tuple[tuple[float, float], ...]] = {
    Sequence.CT1: ((1.2, 4.0), (-2.2, -0.4), (-1.4, -0.1)),
    Sequence.T1: ((-1.6, 0.2), (-2.2, -0.5), (-1.6, -0.2)),
    Sequence.T2: ((0.0, 1.6), (0.5, 3.0), (0.5, 2.2)),
    Sequence.FLAIR: ((0.2, 2.2), (-1.0, 1.5), (0.8, 3.0)),
}
Pair = tuple[float, float]


@dataclass(frozen=True)
class Look:
    """How a lesion's tissues look in one study.

    ``values``: float32 (tissue, sequence), standard deviations of the brain; ``opacity``: (tissue,), what of the
    tissue below does not shine through; ``texture``: (sequence,), amplitude of ``grain``.
    """

    values: Image
    opacity: Image
    texture: Image
    grain: Field


@dataclass(frozen=True)
class Course:
    """One synthetic lesion: shape, extent and look in the prior and in the current study."""

    shapes: tuple[Shape, Shape]
    extents: tuple[Extent, Extent]
    looks: tuple[Look, Look]


@dataclass(frozen=True)
class Scene:
    """What is to be seen in a prior and in a current study made from one.

    ``own``: factors of the volume of the largest part of the own tumour; 1: all is as it was; 0: all of it, oedema
    included, is replaced by the tissue of the other side.
    """

    own: Pair
    courses: tuple[Course, ...] = ()


def draw_scene(
    wanted: Response, facts: StudyFacts, sequences: tuple[Sequence, ...], generator: np.random.Generator
) -> Scene:
    """A scene meant to show a response; what it shows is for ``labels.respond`` to say of its volumes.

    Args:
        wanted: the response.
        facts: of the study the pair is made from.
        sequences: whose intensities are drawn.
        generator: drives everything.
    """
    if wanted is Response.SD and generator.random() < _IDENTICAL:
        return Scene((1, 1))
    if facts.largest_mm3 >= _least(facts) and generator.random() < _OWN_CHANGES:
        return Scene(_draw_own(wanted, facts, generator))
    stays = generator.random() < _OWN_STAYS and (wanted is not Response.CR or not facts.enhancing_mm3)
    volumes = _draw_volumes(wanted, facts, facts.enhancing_mm3 if stays else 0.0, generator)
    if volumes is None:
        stays, volumes = False, _draw_volumes(wanted, facts, 0.0, generator) or []
    # Oedema alone: it comes and goes, and the criteria's volumes do not know of it.
    volumes += [(0.0, 0.0)] * int(generator.random() < _OEDEMA_ALONE)
    places = _draw_places(len(volumes), facts, stays, generator)
    own = float(stays)
    return Scene((own, own), tuple(
        _draw_course(place, pair, facts, sequences, generator) for place, pair in zip(places, volumes, strict=True)
    ))  # fmt: skip


def _draw_factor(wanted: Response, generator: np.random.Generator) -> float:
    """Current by prior volume."""
    low, high = {
        Response.PD: (PROGRESSION * _MARGIN, _MOST_GROWTH),
        Response.SD: (PARTIAL * _MARGIN, PROGRESSION / _MARGIN),
        Response.PR: (_LEAST_REST, PARTIAL / _MARGIN),
        Response.CR: (0.0, 0.0),
    }[wanted]
    return float(np.exp(generator.uniform(np.log(low), np.log(high)))) if low else 0.0


def _draw_own(wanted: Response, facts: StudyFacts, generator: np.random.Generator) -> Pair:
    """Factors of the own tumour. What is real and what is made change places: neither is always the prior."""
    if wanted is Response.CR:
        return 1, 0
    if wanted is Response.PD and generator.random() < _OWN_APPEARS:
        return 0, 1
    factor = _draw_factor(wanted, generator)
    others = facts.enhancing_mm3 - facts.largest_mm3
    forwards, backwards = (_factor_of_largest(by, others, facts.largest_mm3) for by in (factor, 1 / factor))
    if generator.random() < 0.5 or not _LEAST_REST <= forwards <= _MOST_WARP:
        return float(np.clip(backwards, _LEAST_REST, _MOST_WARP)), 1
    return 1, forwards


def _factor_of_largest(factor: float, others: float, largest: float) -> float:
    """What the largest part must change by for the whole to change by ``factor``."""
    return (factor * (others + largest) - others) / largest


def _draw_volumes(
    wanted: Response, facts: StudyFacts, kept: float, generator: np.random.Generator
) -> list[Pair] | None:
    """Prior and current enhancing volume of each lesion; None where what is kept of the own tumour rules it out."""
    least = _least(facts)
    count = 1 + int(generator.choice(len(_LESIONS), p=_LESIONS))
    new = wanted is Response.PD and generator.random() < _NEW
    factor = _draw_factor(Response.SD if new else wanted, generator)
    most = max(min(_MOST_MM3, _MOST_MM3 / max(factor, 1e-6)), 2 * least)
    prior = np.exp(generator.uniform(np.log(least), np.log(most), count - new))
    if wanted is Response.SD and not kept and generator.random() < _NOTHING:
        prior = prior[:0]
    total = factor * (kept + prior.sum()) - kept
    if len(prior) and wanted is not Response.CR and total < least:
        return None
    shares = prior * np.exp(generator.normal(0, 0.35, len(prior)))
    if len(shares) > 1 and generator.random() < _ONE_GOES:
        shares[0] = 0.0
    current = np.maximum(total, 0) * shares / max(float(shares.sum()), 1e-6)
    pairs = [(float(before), float(now)) for before, now in zip(prior, current, strict=True)]
    if new:
        pairs.append((0.0, float(np.exp(generator.uniform(np.log(least), np.log(_MOST_MM3 / 4))))))
    return pairs


def _least(facts: StudyFacts) -> float:
    """The smallest volume of a lesion, mm^3."""
    return max(_LEAST_MM3, _LEAST_VOXELS * facts.voxel_mm**3)


def _draw_places(
    count: int, facts: StudyFacts, own_stays: bool, generator: np.random.Generator
) -> list[tuple[int, int, int]]:
    """Centres apart from each other, and from the own tumour where that stays, as far as there is room."""
    sites = facts.sites[facts.apart] if own_stays and facts.apart.any() else facts.sites
    chosen: list[tuple[int, int, int]] = []
    for _ in range(count):
        tried = sites[generator.integers(len(sites), size=24)]
        nearest = [min((float(np.linalg.norm(place - other)) for other in chosen), default=np.inf) for place in tried]
        far = [place for place, gap in zip(tried, nearest, strict=True) if gap * facts.voxel_mm >= _APART_MM]
        i, j, k = (far[0] if far else tried[int(np.argmax(nearest))]).tolist()
        chosen.append((i, j, k))
    return chosen


def _draw_course(
    place: tuple[int, int, int],
    volumes: Pair,
    facts: StudyFacts,
    sequences: tuple[Sequence, ...],
    generator: np.random.Generator,
) -> Course:
    size = max(volumes) or 1000.0
    radius = (3 * size / (4 * np.pi)) ** (1 / 3)
    stretch = np.exp(generator.normal(0, 0.2, 3))
    stretch /= stretch.prod() ** (1 / 3)
    wide, deep, high = map(float, stretch)
    edge, other = (draw_field(generator, float(np.clip(0.7 * radius, 5, 20))) for _ in range(2))
    roughness = float(generator.uniform(0.08, 0.3))
    right, anterior, superior = map(float, generator.normal(0, 0.12 * radius, 3))
    before = Shape(place, (0.0, 0.0, 0.0), (wide, deep, high), roughness, edge, other, 0.0)
    now = replace(before, drift_mm=(right, anterior, superior), change=float(generator.uniform(0, 0.5)))
    look = _draw_look(facts, sequences, generator)
    return Course(
        shapes=(before, now),
        extents=_draw_extents(volumes, generator),
        looks=(look, _vary(look, generator)),
    )


def _draw_extents(volumes: Pair, generator: np.random.Generator) -> tuple[Extent, Extent]:
    """Necrosis in large lesions, oedema that changes on its own account and may stay behind or come first."""
    core = float(generator.uniform(0.2, 0.8)) if generator.random() < 0.7 else 0.0
    halo = float(generator.uniform(2, 16)) if generator.random() < 0.85 or not any(volumes) else 0.0
    extents = []
    for volume in volumes:
        alone = not volume and any(volumes) and generator.random() < 0.6
        extents.append(Extent(
            enhancing_mm3=volume,
            core=float(np.clip(core + generator.normal(0, 0.08), 0, 0.85)) if core and volume > 2000 else 0.0,
            halo_mm=0.0 if alone else halo * float(np.exp(generator.normal(0, 0.3))),
        ))  # fmt: skip
    return extents[0], extents[1]


def _draw_look(facts: StudyFacts, sequences: tuple[Sequence, ...], generator: np.random.Generator) -> Look:
    """That of the study's own tumour, where it has one, every other time; else one of the ranges."""
    values = np.array([[generator.uniform(*_LOOKS[one][tissue]) for one in sequences] for tissue in range(3)])
    if generator.random() < 0.5:
        own = facts.look + generator.normal(0, 0.25, facts.look.shape)
        values = np.where(np.isnan(own), values, own)
    return Look(
        values=values.astype(np.float32),
        opacity=np.array([*generator.uniform(0.85, 1, 2), generator.uniform(0.6, 0.95)], np.float32),
        texture=generator.uniform(0.05, 0.35, len(sequences)).astype(np.float32),
        grain=draw_field(generator, float(generator.uniform(4, 9))),
    )


def _vary(look: Look, generator: np.random.Generator) -> Look:
    """The same lesion on another day."""
    values = look.values + generator.normal(0, 0.15, look.values.shape)
    return Look(values.astype(np.float32), look.opacity, look.texture, look.grain)
