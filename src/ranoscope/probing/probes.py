"""The probes: what each shows a network instead of the case itself.

Covered tissue gets each volume's mean inside its brain (``explaining.fill``). A covered tumour is the whole tumour of
either study with a margin, the same place in both studies, so that the hole itself does not tell of growth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from ranoscope.config import MissingSequences, Recipe
from ranoscope.domain import Case, Sequence, Tissue
from ranoscope.explaining.fill import neutral
from ranoscope.explaining.opened import Images
from ranoscope.explaining.trained import TrainedFold
from ranoscope.imaging.store import StudyStore
from ranoscope.learning.facts import acquired, fact_names, fact_tensor, with_acquired

UNCHANGED = "unchanged"
# Enhancement and oedema do not end at a segmentation's edge; a few millimetres, and a voxel at least.
MARGIN_MM = 5.0
# One standard deviation of the brain: the mean itself would be 0, as outside, and no outline would be left.
_OUTLINE = 1.0


class Expectation(StrEnum):
    """How a network that reads the tumour's change behaves when it is probed."""

    STABLE = "calls SD"
    MIRRORS = "the call does not stay"
    LOSES = "falls to chance"
    KEEPS = "keeps its score"
    SAME_CALLS = "calls as before"
    LOSES_SOME = "scores less"
    KEEPS_MOST = "keeps most of its score"


@dataclass(frozen=True)
class Shown:
    """A case as a network is shown it.

    ``pair``: (study, sequence, i, j, k); ``brains``: bool (study, i, j, k); ``tumour``: bool (i, j, k), of either study
    with its margin; ``facts``: (n,), named ``names``; ``present``: bool (study, sequence), which were acquired.
    """

    pair: Tensor
    brains: Tensor
    tumour: Tensor
    facts: Tensor
    names: tuple[str, ...]
    present: NDArray[np.bool_]


@dataclass(frozen=True)
class Probe:
    """``shows``: what is done, for tables; ``change``: does it; ``expected``: of a network that reads change."""

    name: str
    title: str
    shows: str
    change: Callable[[Shown], Shown]
    expected: Expectation


def probes_of(recipe: Recipe) -> tuple[Probe, ...]:
    """The probes that mean something for a recipe: of facts it gives, of sequences beside others."""
    probes = [*_STUDIES]
    probes += [
        Probe(f"only-{fact}", title, f"neutral images; of the facts only the {words}", _only(fact), Expectation.LOSES)
        for fact, title, words in _WEEKS
        if fact in fact_names(recipe)
    ]
    probes += _PLACES
    flagged = recipe.missing_sequences is MissingSequences.ZERO_FILL
    for channel, sequence in enumerate(recipe.sequences if len(recipe.sequences) > 1 else ()):
        expected = Expectation.LOSES_SOME if sequence is Sequence.CT1 else Expectation.KEEPS_MOST
        shows = f"{sequence} of both studies neutral"
        probes.append(Probe(f"no-{sequence}", f"Without {sequence}", shows, _without(channel), expected))
        if flagged:
            shows = f"{sequence} of both studies zero and flagged as not acquired, as in training"
            change = _not_acquired(channel)
            probes.append(Probe(f"absent-{sequence}", f"{sequence} not acquired", shows, change, expected))
    return tuple(probes)


def show(trained: TrainedFold, store: StudyStore, case: Case) -> Shown:
    """A case as the fold's network was shown it when it called, on the network's device.

    Raises:
        RunError: a study is not in the store.
        ImageError: a study lacks a sequence that the recipe does not fill.
    """
    recipe, images = trained.recipe, Images(store[case.prior_study], store[case.current_study])
    near = with_margin(np.any(images.tumours != Tissue.BACKGROUND, axis=0, keepdims=True)[0], recipe.grid.voxel_mm)
    return Shown(
        pair=trained.pair(store, case),
        brains=torch.from_numpy(images.brains).to(trained.device),
        tumour=torch.from_numpy(near).to(trained.device),
        facts=fact_tensor(case, trained.patients, store, recipe, trained.scale).to(trained.device),
        names=fact_names(recipe),
        present=acquired(case, store, recipe),
    )


def told(shown: Shown, recipe: Recipe) -> Tensor:
    """The facts (n,), flags of acquired sequences after ``present``."""
    return with_acquired(shown.facts, shown.present, recipe).to(shown.facts.device)


def with_margin(mask: NDArray[np.bool_], voxel_mm: float) -> NDArray[np.bool_]:
    """A mask (i, j, k) and every voxel whose centre is within ``MARGIN_MM`` of it, its neighbours at least."""
    if not mask.any():
        return mask
    reach = max(MARGIN_MM, voxel_mm)
    near: NDArray[np.bool_] = ndimage.distance_transform_edt(~mask, sampling=voxel_mm) <= reach
    return near


def _twice(study: int) -> Callable[[Shown], Shown]:
    def change(shown: Shown) -> Shown:
        pair, present = shown.pair[[study, study]], shown.present[[study, study]]
        return replace(shown, pair=pair, present=present)

    return change


def _exchanged(shown: Shown) -> Shown:
    return replace(shown, pair=shown.pair.flip(0), present=shown.present[::-1].copy())


def _mirrored(shown: Shown) -> Shown:
    # Axis i runs towards Right in every stored volume.
    return replace(shown, pair=shown.pair.flip(2))


def _no_tumour(shown: Shown) -> Shown:
    return replace(shown, pair=torch.where(shown.tumour, neutral(shown.pair, shown.brains), shown.pair))


def _tumour_only(shown: Shown) -> Shown:
    return replace(shown, pair=torch.where(shown.tumour, shown.pair, neutral(shown.pair, shown.brains)))


def _outline(shown: Shown) -> Shown:
    there = torch.from_numpy(shown.present).to(shown.pair)[:, :, None, None, None]
    return replace(shown, pair=_OUTLINE * shown.brains[:, None].to(shown.pair) * there)


def _only(fact: str) -> Callable[[Shown], Shown]:
    def change(shown: Shown) -> Shown:
        # 0 is the training cases' mean; what is not known says so; every sequence counts as acquired.
        rest = [1.0 if name.endswith((" unknown", " acquired")) else 0.0 for name in shown.names]
        facts = torch.tensor(rest, dtype=shown.facts.dtype, device=shown.facts.device)
        place = shown.names.index(fact)
        facts[place] = shown.facts[place]
        present = np.ones_like(shown.present)
        return replace(shown, pair=neutral(shown.pair, shown.brains), facts=facts, present=present)

    return change


def _without(channel: int) -> Callable[[Shown], Shown]:
    def change(shown: Shown) -> Shown:
        pair = shown.pair.clone()
        pair[:, channel] = neutral(shown.pair, shown.brains)[:, channel]
        return replace(shown, pair=pair)

    return change


def _not_acquired(channel: int) -> Callable[[Shown], Shown]:
    def change(shown: Shown) -> Shown:
        pair, present = shown.pair.clone(), shown.present.copy()
        pair[:, channel], present[:, channel] = 0, False
        return replace(shown, pair=pair, present=present)

    return change


AS_IS = Probe(UNCHANGED, "As called", "the case itself", lambda shown: shown, Expectation.SAME_CALLS)
_STUDIES = (
    Probe("prior-twice", "Prior study twice", "the prior study as both", _twice(0), Expectation.STABLE),
    Probe("current-twice", "Current study twice", "the current study as both", _twice(1), Expectation.STABLE),
    Probe("exchanged", "Prior and current exchanged", "the studies in reverse", _exchanged, Expectation.MIRRORS),
)
_WEEKS = (
    ("interval", "Interval only", "weeks between the studies"),
    ("week", "Absolute week only", "week of the current study"),
)
_PLACES = (
    Probe("no-tumour", "Tumour covered", "whole tumour and margin neutral", _no_tumour, Expectation.LOSES),
    Probe("only-tumour", "Only the tumour", "all but tumour and margin neutral", _tumour_only, Expectation.KEEPS),
    Probe("only-outline", "Only the brain's outline", "brain masks as images", _outline, Expectation.LOSES),
    Probe("mirrored", "Left and right mirrored", "both studies flipped", _mirrored, Expectation.SAME_CALLS),
)
