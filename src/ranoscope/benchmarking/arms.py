"""The arms of a benchmark: a folder of recipes, one folder per approach, and which of them are the same training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ranoscope.config import Recipe, load_recipe, recipes_folder
from ranoscope.errors import RecipeError, problem
from ranoscope.learning.checkpoints import training_fingerprint

_BASE = "base.yaml"


@dataclass(frozen=True)
class Arm:
    """One recipe of the grid. ``name``: its path in the folder, without ending; ``approach``: the folder it is in."""

    name: str
    approach: str
    recipe: Recipe
    reference: bool = False

    @property
    def run(self) -> str:
        """Name of its run folder, the same for arms with the same training settings and the same initial weights."""
        return training_key(self.recipe)


@dataclass(frozen=True)
class Training:
    """Arms that are one training, the first of which gives it its name, and its run folder's name."""

    run: str
    arms: tuple[Arm, ...]


def training_key(recipe: Recipe) -> str:
    """What decides a training, as 12 hexadecimal digits: its settings, and where its initial weights are from."""
    weights = getattr(recipe.pretraining, "weights", None)
    text = f"{training_fingerprint(recipe)} {weights or ''}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def find_arms(recipes: str | Path, changes: Iterable[str] = (), seeds: int | None = None) -> list[Arm]:
    """Every recipe below a folder, in the order of their names; files named base.yaml are no arms.

    Arms that train as the folder's own base.yaml does are its ``reference``.

    Args:
        recipes: a folder, or the name of one that came with ranoscope.
        changes: settings laid over every recipe, each ``key.sub=value``.
        seeds: so many seeds of the folds, 0, 1 and on; None leaves the recipes' own.

    Raises:
        RecipeError: no such folder, no recipe in it, or a faulty one.
    """
    folder = Path(recipes)
    if not folder.is_dir() and (recipes_folder() / recipes).is_dir():
        folder = recipes_folder() / recipes
    files = sorted(path for path in folder.rglob("*.yaml") if path.name != _BASE) if folder.is_dir() else []
    if not files:
        known = ", ".join(sorted(path.name for path in recipes_folder().iterdir() if path.is_dir()))
        got = "no recipe in it" if folder.is_dir() else "no such folder"
        raise RecipeError(problem("a folder of recipes", got, str(recipes), f"name a folder, or one of: {known}"))
    laid_over = list(changes) + ([] if seeds is None else [f"folds.seeds={list(range(seeds))}"])
    base = folder / _BASE
    reference = training_key(load_recipe(base, laid_over)) if base.is_file() else None
    return [_arm(folder, path, laid_over, reference) for path in files]


def group_arms(arms: list[Arm]) -> list[Training]:
    """The distinct trainings, in the order of their first arm."""
    groups: dict[str, list[Arm]] = {}
    for arm in arms:
        groups.setdefault(arm.run, []).append(arm)
    return [Training(run, tuple(members)) for run, members in groups.items()]


def _arm(folder: Path, path: Path, changes: list[str], reference: str | None) -> Arm:
    inside = path.relative_to(folder)
    name = inside.with_suffix("").as_posix()
    approach = inside.parent.as_posix() if inside.parent.parts else folder.resolve().name
    # The same stem occurs in several approaches, and messages name the recipe.
    recipe = load_recipe(path, changes).model_copy(update={"name": name})
    return Arm(name, approach, recipe, training_key(recipe) == reference)
