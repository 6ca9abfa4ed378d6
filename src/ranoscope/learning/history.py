"""The earlier studies of a case as the timeline network takes them, drawn in training, padded side by side."""

from __future__ import annotations

from collections.abc import Sequence as Several
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from ranoscope.cohort.earlier import EarlierStudy
from ranoscope.config import Recipe
from ranoscope.imaging.store import StudyStore
from ranoscope.learning.networks import History
from ranoscope.learning.networks.timeline import DATE

Studies = tuple[EarlierStudy, ...]


def draw_studies(earlier: Studies, most: int, generator: np.random.Generator) -> Studies:
    """At most so many (at least 2) of them, in their order: the prior and the baseline always, the others at random."""
    kept = [one for one in earlier if one.is_prior or one.is_baseline]
    others = [one for one in earlier if one not in kept]
    drawn = generator.permutation(len(others))[: max(most - len(kept), 0)]
    chosen = {*kept, *(others[place] for place in drawn)}
    return tuple(one for one in earlier if one in chosen)


def make_history(earlier: Studies, images: Tensor) -> History:
    """The history of one case.

    Args:
        earlier: the prior and others.
        images: float32 (study, sequence, i, j, k) of ``besides_prior(earlier)``.
    """
    prior = [one for one in earlier if one.is_prior]
    dates = [[one.weeks, one.is_prior, one.is_baseline, one.operated] for one in (*prior, *besides_prior(earlier))]
    rows = torch.tensor(dates, dtype=torch.float32).view(-1, len(DATE))
    return History(images, rows, torch.ones(len(rows), dtype=torch.bool))


def read_history(earlier: Studies, store: StudyStore, recipe: Recipe) -> History:
    """The history of one case with all of its earlier studies.

    Raises:
        RunError: a study is not in the store.
        ImageError: a study lacks a sequence.
    """
    found = [store[one.key].channels(recipe.sequences) for one in besides_prior(earlier)]
    sizes = (0, len(recipe.sequences), *recipe.grid.shape)
    return make_history(earlier, torch.from_numpy(np.stack(found)).float() if found else torch.zeros(sizes))


def besides_prior(earlier: Studies) -> Studies:
    """All but the prior, in their order."""
    return tuple(one for one in earlier if not one.is_prior)


def collate(samples: list[Any]) -> Any:
    """A batch as torch makes it by default; histories, which come last, are padded to the longest."""
    if not isinstance(samples[0][-1], History):
        return default_collate(samples)
    longest = max(len(history.images) for *_, history in samples)
    return default_collate([(*others, _padded(history, longest)) for *others, history in samples])


def part_history(rest: Several[Any]) -> tuple[list[Tensor], History | None]:
    """What a sample or batch has besides images, facts and classes: what masks teach, and the history, if any."""
    if rest and isinstance(rest[-1], History):
        return list(rest[:-1]), rest[-1]
    return list(rest), None


def _padded(history: History, studies: int) -> History:
    """With so many studies besides the prior: the last are zeros, and not shown."""
    missing = studies - len(history.images)
    return History(*(torch.cat([part, part.new_zeros(missing, *part.shape[1:])]) for part in history))
