"""Cells: one fold of one seed each, and the key that says what its network and calls depend on."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ranoscope import provenance, runs
from ranoscope.cohort.folds import first_cases, inner_split
from ranoscope.config import FoldProtocol, Recipe
from ranoscope.domain import Case
from ranoscope.errors import RunError, problem
from ranoscope.learning.checkpoints import FOLD, fold_folder, require_same_recipe, training_fingerprint
from ranoscope.learning.data import Material
from ranoscope.learning.facts import FactScale, fact_rows
from ranoscope.learning.fitting import Sides
from ranoscope.learning.targets import as_taught

_COMMAND = "ranoscope crossval"
_RAW = FactScale({"age": (0.0, 1.0), "interval": (0.0, 1.0), "week": (0.0, 1.0)})


@dataclass(frozen=True)
class Cell:
    """One fold of one seed before it is trained; ``key`` changes with anything its network or calls depend on."""

    seed: int
    fold: int
    folder: Path
    test: list[Case]
    training: list[Case]
    key: str

    @property
    def is_finished(self) -> bool:
        """Whether its network and calls are there; ``fold.json`` is written last."""
        return (self.folder / FOLD).is_file()

    @property
    def training_seed(self) -> int:
        """The seed of everything random in its training."""
        return 1000 * self.seed + self.fold

    def sides(self, recipe: Recipe) -> Sides:
        """Who is learnt from and who chooses the epoch.

        A share of the training patients chooses, which the network does not learn from. As published, the very fold
        that is reported chooses, and all other cases are learnt from. Permuted labels are those of training cases.
        """
        training = as_taught(self.training, recipe.labels, self.training_seed)
        if recipe.folds.protocol is FoldProtocol.AS_PUBLISHED:
            return Sides(training, self.test)
        return Sides(*inner_split(training, recipe.training.inner_validation, self.training_seed))


def make_cells(recipe: Recipe, material: Material, cases: list[Case], folds: pd.DataFrame, out: Path) -> list[Cell]:
    """The cells of all seeds and folds, in order.

    Args:
        recipe: the experiment.
        material: the studies and demographics of the cases.
        cases: all cases of the cohort.
        folds: their folds, as ``draw_folds`` made them.
        out: the run folder.

    Raises:
        RunError: as ``require_initial_weights``.
    """
    inputs = _inputs(recipe, material, cases)
    start = _initial_weights(recipe)
    which = itertools.product(sorted(recipe.folds.seeds), range(recipe.folds.count))
    return [_cell(recipe, (inputs, start), folds, out, seed_and_fold) for seed_and_fold in which]


def require_own_checkpoints(recipe: Recipe, cells: list[Cell], out: Path) -> None:
    """Raise RunError if a finished fold belongs to another recipe or another cohort, before anything is trained.

    Folds of seeds that are no longer asked for are left alone.
    """
    keys = {cell.folder: cell.key for cell in cells}
    for record in sorted((out / runs.CHECKPOINTS).glob(f"seed-*/{FOLD}")):
        about = runs.read_json(record, _COMMAND)
        require_same_recipe(about, recipe, record.parent)
        if about.get("key") != keys.get(record.parent, about.get("key")):
            do = "choose another --out, or delete this folder to train afresh"
            raise RunError(
                problem("a checkpoint of this cohort", "one of other cases or images", str(record.parent), do)
            )


def _cell(
    recipe: Recipe, made_from: tuple[dict[Case, str], str], folds: pd.DataFrame, out: Path, which: tuple[int, int]
) -> Cell:
    seed, fold = which
    inputs, start = made_from
    rows = folds[(folds["seed"] == seed) & (folds["fold"] == fold)]
    held_out = set(zip(rows["patient"], rows["current"], strict=True))
    test = [case for case in inputs if (case.patient, str(case.current)) in held_out]
    others = [case for case in inputs if (case.patient, str(case.current)) not in held_out]
    training = first_cases(others, recipe.folds.training_cases, seed)
    # Labels of held-out cases decide nothing of the network or its probabilities, and so are no part of the key; as
    # published they choose the epoch.
    chooses = recipe.folds.protocol is FoldProtocol.AS_PUBLISHED
    tested = sorted(f"{inputs[case]} {case.response}" if chooses else inputs[case] for case in test)
    learnt = sorted(f"{inputs[case]} {case.response}" for case in training)
    text = json.dumps([training_fingerprint(recipe), start, seed, fold, tested, learnt])
    key = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Cell(seed, fold, fold_folder(out, seed, fold), test, training, key)


def _inputs(recipe: Recipe, material: Material, cases: list[Case]) -> dict[Case, str]:
    """Name, images and unscaled facts of each case and, of a timeline, its earlier studies and their dates."""
    store, earlier = material.store, material.earlier
    facts = fact_rows(cases, material.patients, store, recipe, _RAW)
    return {
        case: " ".join(
            [
                *(str(case), store[case.prior_study].content, store[case.current_study].content),
                *map(str, row.tolist()),
                *(
                    f"{one.key} {one.is_baseline} {one.operated} {store[one.key].content}"
                    for one in earlier.get(case.current_study, ())
                ),
            ]
        )
        for case, row in zip(cases, facts, strict=True)
    }


def require_initial_weights(recipe: Recipe) -> None:
    """Raise RunError where the recipe begins with weights from a file that is not there."""
    path: Path | None = getattr(recipe.pretraining, "weights", None)
    if path is not None and not path.is_file():
        do = f"put it there or correct pretraining.weights of recipe {recipe.name}"
        raise RunError(problem("the file of pretrained weights", "none", str(path), do))


def _initial_weights(recipe: Recipe) -> str:
    """Hash of the file that training begins with; empty for none."""
    require_initial_weights(recipe)
    path: Path | None = getattr(recipe.pretraining, "weights", None)
    return "" if path is None else provenance.file_hash(path)
