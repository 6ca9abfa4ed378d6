"""Endless labelled pairs: each is made when it is asked for, from one study, by seed, epoch and place alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ranoscope.config import AugmentationSettings, Recipe, Target
from ranoscope.domain import RESPONSES, Response, Sequence, StudyKey
from ranoscope.imaging.store import AlignedStudy, StudyStore, tumour_volumes
from ranoscope.learning.data import Sample, SampleDataset
from ranoscope.learning.facts import fact_names, with_acquired, with_measured
from ranoscope.learning.measures import measure_change
from ranoscope.learning.pretraining.change.facts import StudyFacts, find_facts
from ranoscope.learning.pretraining.change.images import PaintedPair, paint
from ranoscope.learning.pretraining.change.scanning import draw_scan, scan
from ranoscope.learning.pretraining.change.scenes import draw_scene
from ranoscope.learning.targets import class_of
from ranoscope.learning.transforms import apply, apply_to_labels, decide

# A scene may show another response than it was meant to, where the brain has no room for it; then another is drawn.
_MOST_SCENES = 8
_TRAINING, _HELD_OUT = 0, 1
_UNCHANGED = AugmentationSettings(flip_left_right=0, scale_intensity=0, shift_intensity=0)


class ChangePairs(SampleDataset):
    """Pairs as ``CaseDataset`` has them, of one study and what synthetic change made of it.

    With ``held_out`` they are the same in every epoch, and not augmented; without, they are new in every epoch, and
    augmented as the recipe has it. All responses are meant to be shown equally often, under ``pd-versus-rest`` both
    classes are; the class of a pair is what its true volumes make it.
    """

    def __init__(
        self, store: StudyStore, keys: list[StudyKey], recipe: Recipe, count: int, seed: int, held_out: bool = False
    ) -> None:
        """``keys``: no other study is read."""
        self.store = store
        self.keys = list(keys)
        self.recipe = recipe
        self.stream = (seed, _HELD_OUT if held_out else _TRAINING)
        self.wanted = [_wanted(place, recipe.target) for place in range(count)]
        self._known: dict[StudyKey, StudyFacts] = {}
        classes = [class_of(response, recipe.target) for response in self.wanted]
        super().__init__(classes, None if held_out else seed)

    def __getitem__(self, index: int) -> Sample:
        """As ``CaseDataset`` has it: pair, facts, class and, of training where masks teach, labels and measures."""
        recipe, generator = self.recipe, self.generator(index)
        study, pair = self.painted(index, generator)
        present = self.present(study)
        facts, brain = self.facts(study), np.asarray(study.brain[study.brain_box])
        scans = [draw_scan(len(present), generator) for _ in range(2)]
        prior, current = (
            replace(
                study,
                sequences=present,
                volumes=_whole(scan(one.volumes, brain, made, facts.voxel_mm), study, np.float16),
                tumour=_whole(one.tumour[None], study, np.uint8)[0],
                tumour_mm3=tumour_volumes(one.tumour, facts.voxel_mm**3),
            )
            for one, made in zip((pair.prior, pair.current), scans, strict=True)
        )
        acquired = np.tile([one in present for one in recipe.sequences], (2, 1))
        settings = _UNCHANGED if self.seed is None else recipe.augmentation
        change = decide(settings, acquired, recipe.grid.voxel_mm, generator)
        images, target = apply((prior, current), recipe.sequences, change), class_of(pair.response, recipe.target)
        told = with_acquired(with_measured(unknown_facts(recipe), prior, current, recipe), change.kept, recipe)
        sample = (images, told, target)
        if self.seed is None or not recipe.training.auxiliary.needs_masks:
            return sample
        measures = torch.from_numpy(measure_change(prior, current))
        return (*sample, apply_to_labels((prior, current), change), measures)

    def generator(self, index: int) -> np.random.Generator:
        """Of this sample in this epoch alone."""
        epoch = 0 if self.seed is None else int(self.epoch)
        return np.random.default_rng([*self.stream, epoch, index])

    def painted(self, index: int, generator: np.random.Generator) -> tuple[AlignedStudy, PaintedPair]:
        """The study that a pair is made from, and the pair before it is scanned."""
        study = self.store[self.keys[int(generator.integers(len(self.keys)))]]
        present, facts, wanted = self.present(study), self.facts(study), self.wanted[index]
        for _ in range(_MOST_SCENES):
            pair = paint(study, present, facts, draw_scene(wanted, facts, present, generator))
            if pair.response is wanted:
                break
        return study, pair

    def present(self, study: AlignedStudy) -> tuple[Sequence, ...]:
        """Those of the recipe's sequences that the study has, in the recipe's order."""
        return tuple(one for one in self.recipe.sequences if one in study.sequences)

    def facts(self, study: AlignedStudy) -> StudyFacts:
        """Worked out once in every process."""
        if study.key not in self._known:
            self._known[study.key] = find_facts(study, self.present(study))
        return self._known[study.key]


def unknown_facts(recipe: Recipe) -> Tensor:
    """Facts of nobody, in the order of ``fact_names``: unknown where that can be said, else the mean or 0."""
    unknown_or_there = [float(name.endswith(("unknown", "acquired"))) for name in fact_names(recipe)]
    return torch.tensor(unknown_or_there)


def _wanted(place: int, target: Target) -> Response:
    if target is Target.FOUR_CLASSES:
        return RESPONSES[place % len(RESPONSES)]
    others = [response for response in RESPONSES if response is not Response.PD]
    return others[place // 2 % len(others)] if place % 2 else Response.PD


def _whole(part: NDArray[Any], study: AlignedStudy, dtype: type[np.generic]) -> NDArray[Any]:
    """Arrays (n, i, j, k) of the brain's box on the study's whole grid, 0 elsewhere."""
    result = np.zeros((len(part), *study.brain.shape), dtype)
    result[(slice(None), *study.brain_box)] = part
    return result
