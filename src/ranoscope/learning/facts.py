"""What a network is told besides the images: clinical facts, weeks, measured volumes, sequences acquired.

Facts are fused late, as one row of numbers per case. Numbers (age, weeks) are z-scored with a scale fitted on a fold's
training cases; words (sex, IDH, MGMT) are one column per word. What is not known stays unknown: a column of its own
says so, and neither a number nor a word is put in its place. The reference paper's encoding is not reproduced: there an
unknown IDH is 0, half-way between wild type (1) and anything else (-1), `wt` in lower case is not recognised, and age
and week enter unscaled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from ranoscope.config import MissingSequences, Recipe
from ranoscope.domain import Case
from ranoscope.imaging.store import AlignedStudy, StudyStore
from ranoscope.learning.measures import TISSUES, log_volume

BoolArray = npt.NDArray[np.bool_]
# The words of patients.csv; anything else there counts as unknown.
_WORDS = {
    "sex": ("female", "male"),
    "idh": ("wild type", "mutant"),
    "mgmt": ("methylated", "not methylated"),
}
# In years or weeks. Below it all values are the same but for rounding, which a division would blow up to whole units.
_LEAST_SPREAD = 1e-6
_NUMBERS = ("age", "interval", "week")
_STUDIES = ("prior", "current")


def fact_names(recipe: Recipe) -> tuple[str, ...]:
    """Names of a recipe's facts, one per column; empty for a recipe that gives the network images alone.

    In this order: ``age``, ``age unknown``, a column per word of sex, IDH and MGMT and one for unknown, ``interval``,
    ``week``, as far as the recipe's clinical settings ask for them; then, where volumes are measured, ``enhancing
    growth``, ``whole tumour growth``, ``prior enhancing volume`` and so on for each study and tissue, all of them
    logarithms (``measures.log_volume``); last, where missing sequences are zero-filled, ``prior CT1 acquired`` and so
    on for each study and sequence.
    """
    clinical = recipe.clinical
    names: list[str] = ["age", "age unknown"] if clinical.age else []
    for fact, words in _WORDS.items():
        if getattr(clinical, fact):
            names += [f"{fact} {word}" for word in (*words, "unknown")]
    names += [name for name in ("interval", "week") if getattr(clinical, name)]
    if recipe.measured_volumes:
        names += [f"{tissue} growth" for tissue in TISSUES]
        names += [f"{study} {tissue} volume" for study in _STUDIES for tissue in TISSUES]
    if recipe.missing_sequences is MissingSequences.ZERO_FILL:
        names += [f"{study} {sequence} acquired" for study in _STUDIES for sequence in recipe.sequences]
    return tuple(names)


@dataclass(frozen=True)
class FactLayout:
    """Which of the last facts are about the studies: so many growths from prior to current, then so many volumes and so
    many flags, of each the first half about the prior, the second about the current study.
    """

    growths: int = 0
    volumes: int = 0
    flags: int = 0

    @classmethod
    def of(cls, recipe: Recipe) -> FactLayout:
        """That of a recipe's facts."""
        tissues = len(TISSUES) if recipe.measured_volumes else 0
        filled = recipe.missing_sequences is MissingSequences.ZERO_FILL
        return cls(tissues, 2 * tissues, 2 * len(recipe.sequences) if filled else 0)

    def measured(self, count: int) -> slice:
        """Growths and volumes among so many facts."""
        return slice(count - self.flags - self.volumes - self.growths, count - self.flags)

    def shown_as(self, facts: Tensor, earlier: int, later: int) -> Tensor:
        """Facts (batch, n) of pairs whose study ``earlier`` is shown as the prior, ``later`` as the current one.

        0 is the prior, 1 the current study. Exchanged, what grew has shrunk; of a study twice, nothing has.
        """
        before = facts.shape[1] - self.growths - self.volumes - self.flags
        others, growths, volumes, flags = facts.split([before, self.growths, self.volumes, self.flags], dim=1)
        halves = [
            part.chunk(2, dim=1)[study] for part in (volumes, flags) if part.shape[1] for study in (earlier, later)
        ]
        return torch.cat([others, growths * (later - earlier), *halves], dim=1)


@dataclass(frozen=True)
class FactScale:
    """Centre and spread (standard deviation) of each number among a fold's training cases, in years or weeks.

    A number that no training case has is not in it; it counts as unknown everywhere.
    """

    parts: Mapping[str, tuple[float, float]]

    @classmethod
    def fit(cls, cases: list[Case], patients: pd.DataFrame, recipe: Recipe) -> FactScale:
        """The scale of the numbers that the recipe asks for.

        Args:
            cases: training cases of one fold, and no others.
            patients: patients.csv as ``cohort.files.read_patients`` gives it.
            recipe: says which numbers there are.
        """
        people = _people(patients)
        parts = {}
        for name in (name for name in _NUMBERS if getattr(recipe.clinical, name)):
            values = np.array([_number(case, people, name) for case in cases])
            known = values[~np.isnan(values)]
            if len(known):
                spread = float(known.std())
                parts[name] = (float(known.mean()), spread if spread > _LEAST_SPREAD else 1.0)
        return cls(parts)

    def as_dict(self) -> dict[str, list[float]]:
        """For fold.json."""
        return {name: list(part) for name, part in self.parts.items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> FactScale:
        """What ``as_dict`` wrote."""
        return cls({name: (float(centre), float(spread)) for name, (centre, spread) in content.items()})

    def standardise(self, name: str, value: float) -> float:
        """``value`` in standard deviations from the centre; NaN where it, or the scale, is unknown."""
        if name not in self.parts:
            return math.nan
        centre, spread = self.parts[name]
        return (value - centre) / spread


def acquired(case: Case, store: StudyStore, recipe: Recipe) -> BoolArray:
    """Which of the recipe's sequences each study has, shape (study, sequence), study 0 = prior.

    Raises:
        RunError: a study is not in the store.
    """
    studies = (store[case.prior_study], store[case.current_study])
    return np.array([[sequence in study.sequences for sequence in recipe.sequences] for study in studies], bool)


def fact_tensor(case: Case, patients: pd.DataFrame, store: StudyStore, recipe: Recipe, scale: FactScale) -> Tensor:
    """A case's facts, float32 (n,), in the order of ``fact_names``.

    Args:
        case: the case; its patient may be absent from ``patients``, and is then unknown in every respect.
        patients: patients.csv as ``cohort.files.read_patients`` gives it.
        store: aligned studies, asked for the sequences they have.
        recipe: says which facts there are.
        scale: of the fold's training cases.

    Raises:
        RunError: a study is not in the store.
    """
    return fact_rows([case], patients, store, recipe, scale)[0]


def fact_rows(cases: list[Case], patients: pd.DataFrame, store: StudyStore, recipe: Recipe, scale: FactScale) -> Tensor:
    """``fact_tensor`` of several cases, float32 (case, n)."""
    rows = torch.zeros(len(cases), len(fact_names(recipe)))
    people = _people(patients)
    for row, case in zip(rows, cases, strict=True):
        clinical = _clinical(case, people, recipe, scale)
        row[: len(clinical)] = torch.tensor(clinical)
        if recipe.measured_volumes:
            row[:] = with_measured(row, store[case.prior_study], store[case.current_study], recipe)
        if recipe.missing_sequences is MissingSequences.ZERO_FILL:
            row[:] = with_acquired(row, acquired(case, store, recipe), recipe)
    return rows


def with_measured(facts: Tensor, prior: AlignedStudy, current: AlignedStudy, recipe: Recipe) -> Tensor:
    """Facts (n,) of a case, growths and volumes those of these studies' masks, if the recipe has them."""
    if not recipe.measured_volumes:
        return facts
    volumes = torch.tensor([[log_volume(one) for one in study.tumour_mm3] for study in (prior, current)])
    told = facts.clone()
    told[FactLayout.of(recipe).measured(len(facts))] = torch.cat([volumes[1] - volumes[0], volumes.flatten()])
    return told


def with_acquired(facts: Tensor, kept: BoolArray, recipe: Recipe) -> Tensor:
    """Facts of a case whose images were left without some sequences: the presence flags follow.

    Args:
        facts: (n,), as ``fact_tensor`` returned them.
        kept: bool (study, sequence).
        recipe: says whether there are such flags.
    """
    if recipe.missing_sequences is not MissingSequences.ZERO_FILL:
        return facts
    return torch.cat([facts[: -kept.size], torch.from_numpy(kept).flatten().to(facts.dtype)])


def _clinical(case: Case, people: dict[str, dict[str, Any]], recipe: Recipe, scale: FactScale) -> list[float]:
    clinical, row = recipe.clinical, []
    if clinical.age:
        age = scale.standardise("age", _number(case, people, "age"))
        row += [0.0, 1.0] if math.isnan(age) else [age, 0.0]
    for fact, words in _WORDS.items():
        if getattr(clinical, fact):
            said = people.get(case.patient, {}).get(fact)
            row += [*(float(said == word) for word in words), float(said not in words)]
    weeks = [name for name in ("interval", "week") if getattr(clinical, name)]
    return row + [scale.standardise(name, _number(case, people, name)) for name in weeks]


def _people(patients: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {str(row["patient"]): {str(name): cell for name, cell in row.items()} for row in patients.to_dict("records")}


def _number(case: Case, people: dict[str, dict[str, Any]], name: str) -> float:
    """Years or weeks; NaN where unknown."""
    if name == "interval":
        return float(case.weeks_between)
    if name == "week":
        return float(case.current.week)
    return float(people.get(case.patient, {}).get("age_years", math.nan))
