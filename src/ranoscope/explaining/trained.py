"""One fold's network as the calls came from it: on its device, with the scale of its facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ranoscope import provenance, runs
from ranoscope.cohort.earlier import Earlier, read_earlier
from ranoscope.cohort.files import read_patients
from ranoscope.config import Recipe, TimelineSettings
from ranoscope.domain import Case
from ranoscope.explaining.subject import CaseNetwork
from ranoscope.imaging.store import StudyStore
from ranoscope.learning.checkpoints import FOLD, WEIGHTS, fold_folder, load_fact_scale, load_fold, load_run_recipe
from ranoscope.learning.data import case_tensor, uses_cuda
from ranoscope.learning.facts import FactScale, fact_tensor
from ranoscope.learning.history import read_history
from ranoscope.learning.memory import keep_freed_memory
from ranoscope.learning.networks import History, PairNetwork


@dataclass(frozen=True)
class TrainedFold:
    """A fold's network in evaluation mode, the fold's key and scale of facts, and patients.csv.

    ``earlier``: the earlier studies of every case, of a network that sees the timeline.
    """

    recipe: Recipe
    network: PairNetwork
    device: torch.device
    fold_key: str
    scale: FactScale
    patients: pd.DataFrame
    earlier: Earlier = field(default_factory=dict)

    def subject(self, store: StudyStore, case: Case) -> CaseNetwork:
        """The network bound to the case's facts and, of a timeline, to its earlier studies."""
        facts = fact_tensor(case, self.patients, store, self.recipe, self.scale)
        history = self._history(store, case)
        return CaseNetwork(self.network, facts.to(self.device), self.recipe.target, history).eval()

    def _history(self, store: StudyStore, case: Case) -> History | None:
        if not isinstance(self.recipe.network, TimelineSettings):
            return None
        history = read_history(self.earlier[case.current_study], store, self.recipe)
        return History(*(part.to(self.device) for part in history))

    def pair(self, store: StudyStore, case: Case) -> Tensor:
        """The case's images on the network's device (``case_tensor``)."""
        return case_tensor(store, case, self.recipe).to(self.device)


def trained_from(run: Path, seed: int, fold: int) -> tuple[str, str | None]:
    """What a fold's answers depend on: the key of its training, and the hash of its weights, None where they are gone.

    Raises:
        RunError: the fold was not finished.
    """
    folder = fold_folder(run, seed, fold)
    about = runs.read_json(folder / FOLD, "ranoscope crossval")
    return str(about["key"]), provenance.file_hash(folder / WEIGHTS) if (folder / WEIGHTS).is_file() else None


def load_trained(run: Path, seed: int, fold: int) -> TrainedFold:
    """The network of one fold, on a GPU where the recipe allows one and there is one.

    Raises:
        RunError: the fold was not finished, belongs to another recipe, or its file is damaged.
    """
    keep_freed_memory()
    recipe = load_run_recipe(run)
    key, _ = trained_from(run, seed, fold)
    device = torch.device("cuda" if uses_cuda(recipe) else "cpu")
    network, scale = load_fold(run, seed, fold).to(device), load_fact_scale(run, seed, fold)
    earlier = read_earlier(run) if isinstance(recipe.network, TimelineSettings) else {}
    return TrainedFold(recipe, network, device, key, scale, read_patients(run), earlier)
