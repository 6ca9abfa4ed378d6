"""Another run's networks on this run's cases: what a map is compared with to see whether labels made it what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ranoscope.config import Recipe
from ranoscope.errors import RunError, problem
from ranoscope.explaining.cases import CalledCase, read_called
from ranoscope.explaining.subject import CaseNetwork
from ranoscope.explaining.trained import TrainedFold, load_trained, trained_from
from ranoscope.imaging.store import StudyStore
from ranoscope.learning.checkpoints import load_run_recipe

# What two recipes must share so that their networks take the same images and answer for the same classes.
_SHARED = ("sequences", "grid", "target", "missing_sequences")


class OtherRun:
    """A run trained on the same cases, by permuted labels or another seed, say; each case by the fold that held it out.

    Nothing of it is written to.
    """

    def __init__(self, run: Path, mine: Path) -> None:
        """``mine``: the run whose maps are compared with it.

        Raises:
            RunError: it is the same run, not a finished one, or its networks do not take the same images.
        """
        if run.resolve() == mine.resolve():
            do = "train the recipe again with --set labels=permuted, or with another seed, and name that run"
            raise RunError(problem("another run than the one that is explained", str(run), "--against", do))
        self._run, self._recipe, own = run, load_run_recipe(run), load_run_recipe(mine)
        _require_comparable(run, self._recipe, mine, own)
        self._same_network = self._recipe.network == own.network
        self._called = {entry.folder_name: entry for entry in read_called(run)}
        self._trained: tuple[int, TrainedFold] | None = None

    def holds(self, entry: CalledCase) -> bool:
        """Whether the other run called this case, prior study included."""
        found = self._called.get(entry.folder_name)
        return found is not None and found.case.prior == entry.case.prior

    def trained_from(self, entry: CalledCase) -> tuple[str, str | None]:
        """What the other network's answers on this case depend on (``trained.trained_from``)."""
        found = self._called[entry.folder_name]
        return trained_from(self._run, found.seed, found.fold)

    def subject(self, entry: CalledCase, store: StudyStore) -> CaseNetwork:
        """The other run's network that never saw the patient, bound to the case."""
        found = self._called[entry.folder_name]
        if self._trained is None or self._trained[0] != found.fold:
            self._trained = (found.fold, load_trained(self._run, found.seed, found.fold))
        return self._trained[1].subject(store, entry.case)

    def describe(self) -> dict[str, Any]:
        """For scores.json: the other recipe's name, labels and first seed, and whether its network is built alike."""
        recipe = self._recipe
        about = {"recipe": recipe.name, "labels": str(recipe.labels), "seed": recipe.folds.seeds[0]}
        return {**about, "same_network": self._same_network}


def _require_comparable(run: Path, recipe: Recipe, mine: Path, own: Recipe) -> None:
    for name in _SHARED:
        if getattr(own, name) != getattr(recipe, name):
            do = "choose a run trained on the same images for the same target"
            got = str(getattr(recipe, name))
            raise RunError(problem(f"{name} {getattr(own, name)}, as in {mine}", got, f"--against {run}", do))
