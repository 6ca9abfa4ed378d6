"""Do: a decided scene painted into a study, twice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ranoscope.domain import Response, Sequence
from ranoscope.imaging.store import AlignedStudy
from ranoscope.learning.pretraining.change.facts import StudyFacts, largest_part
from ranoscope.learning.pretraining.change.fields import Image, axes_of
from ranoscope.learning.pretraining.change.labels import respond
from ranoscope.learning.pretraining.change.lesions import ENHANCING, LESION_TISSUES, Laid, lay
from ranoscope.learning.pretraining.change.scenes import Look, Scene
from ranoscope.learning.pretraining.change.tumours import Labels, enhancing_shares, resize, take_out

# Less than this share of a cubic millimetre is rounding.
_NOTHING_MM3 = 1e-3
# From this share on a voxel is called by a tissue.
_MOSTLY = 0.5


@dataclass(frozen=True)
class Painted:
    """One study of a pair, in the brain's box.

    ``volumes``: float32 (sequence, i, j, k), standard deviations of the brain as it was; ``enhancing``: float32
    (i, j, k), share of enhancing tumour in each voxel; ``tumour``: uint8 (i, j, k), the ``Tissue`` of most of it.
    """

    volumes: Image
    enhancing: Image
    tumour: Labels

    def copy(self) -> Painted:
        """One that can be painted on."""
        return Painted(self.volumes.copy(), self.enhancing.copy(), self.tumour.copy())


@dataclass(frozen=True)
class PaintedPair:
    """Prior and current study, their true volumes of enhancing tumour in mm³, and what the criteria say of these."""

    prior: Painted
    current: Painted
    volumes_mm3: tuple[float, float]
    new_lesion: bool

    @property
    def response(self) -> Response:
        """By the true volumes."""
        return respond(*self.volumes_mm3, self.new_lesion)


def paint(study: AlignedStudy, sequences: tuple[Sequence, ...], facts: StudyFacts, scene: Scene) -> PaintedPair:
    """Both studies of a scene, without anything that a scanner adds.

    Args:
        study: what the pair is made from.
        sequences: to be painted, all of which it has.
        facts: of the study.
        scene: what was decided.
    """
    brain, tumour = np.asarray(study.brain[study.brain_box]), np.asarray(study.tumour[study.brain_box])
    grounds = {factor: _ground(study, sequences, facts, factor) for factor in set(scene.own)}
    free = (brain & (tumour == 0) if any(scene.own) else brain).astype(np.float32)
    painted, new_lesion = [], scene.own[0] == 0 < scene.own[1] and facts.enhancing_mm3 > 0
    before = [True] * len(scene.courses)
    for which, factor in enumerate(scene.own):
        one = grounds[factor].copy()
        for place, course in enumerate(scene.courses):
            laid = lay(course.shapes[which], course.extents[which], free, facts.voxel_mm)
            _blend(one.volumes, laid, course.looks[which], facts.voxel_mm)
            _mark(one, laid)
            there = _volume(laid.shares[ENHANCING], facts.voxel_mm) > 0
            new_lesion |= there and not before[place]
            before[place] = there
        painted.append(one)
    prior, current = (_volume(one.enhancing, facts.voxel_mm) for one in painted)
    return PaintedPair(painted[0], painted[1], (prior, current), new_lesion)


def _ground(study: AlignedStudy, sequences: tuple[Sequence, ...], facts: StudyFacts, factor: float) -> Painted:
    """The study with its own tumour changed."""
    box = study.brain_box
    volumes = study.channels(sequences)[(slice(None), *box)].astype(np.float32)
    brain, tumour = np.asarray(study.brain[box]), np.asarray(study.tumour[box])
    if factor == 1:
        return Painted(volumes, enhancing_shares(tumour), tumour)
    if factor == 0:
        without = take_out(volumes, brain, tumour, facts.voxel_mm)
        return Painted(without, np.zeros(brain.shape, np.float32), np.zeros_like(tumour))
    return Painted(*resize(volumes, brain, tumour, largest_part(tumour), factor))


def _mark(one: Painted, laid: Laid) -> None:
    """Note a lesion's shares and labels, in place."""
    one.enhancing[laid.box] = 1 - (1 - one.enhancing[laid.box]) * (1 - laid.shares[ENHANCING])
    labels = one.tumour[laid.box]
    # Oedema first: where tissues share a voxel, tumour is what it is called.
    for tissue in reversed(range(len(LESION_TISSUES))):
        labels[laid.shares[tissue] >= _MOSTLY] = LESION_TISSUES[tissue]


def _blend(images: Image, laid: Laid, look: Look, voxel_mm: float) -> None:
    """Mix the lesion's intensities into the images, in place."""
    weights = laid.shares * look.opacity[:, None, None, None]
    below = 1 - weights.sum(axis=0)
    start = tuple(side.start for side in laid.box)
    grain = look.grain.on(axes_of(below.shape, voxel_mm, start)) * (1 - below)
    for channel, image in enumerate(images):
        own = np.tensordot(look.values[:, channel], weights, axes=1)
        image[laid.box] = image[laid.box] * below + own + look.texture[channel] * grain


def _volume(shares: Image, voxel_mm: float) -> float:
    volume = float(shares.sum(dtype=np.float64)) * voxel_mm**3
    return volume if volume > _NOTHING_MM3 else 0.0
