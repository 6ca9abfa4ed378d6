"""One experiment: a YAML delta over ``recipes/base.yaml``, or over another recipe that it ``extends``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, model_validator

from ranoscope.config.base import Settings, overlay, parse_change, parse_settings
from ranoscope.config.data import FoldSettings, GridSettings
from ranoscope.config.explanation import ExplanationSettings
from ranoscope.config.learning import (
    AugmentationSettings,
    ClinicalSettings,
    Labels,
    MissingSequences,
    NoPretraining,
    PretrainingSettings,
    Target,
)
from ranoscope.config.networks import ChangeAwareSettings, NetworkSettings, TimelineSettings
from ranoscope.config.training import TrainingSettings
from ranoscope.domain import SEQUENCES, InformationLevel, Sequence
from ranoscope.errors import RecipeError, problem


class EvaluationSettings(Settings):
    """Patient bootstrap: number of resamples, and two-sided coverage of the intervals."""

    bootstrap: Annotated[int, Field(ge=100)] = 2000
    coverage: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    seed: int = 0


def _level_of(known: dict[str, Any]) -> InformationLevel:
    timeline = isinstance(known.get("network"), TimelineSettings)
    return InformationLevel.TIMELINE if timeline else InformationLevel.PAIR


class Recipe(Settings):
    """One experiment: what the network sees, which network, how it is trained, and how it is judged.

    ``level``: what the network is allowed to know, and so which rivals are its own; the network's, if not given.
    ``measured_volumes``: both studies' tumour volumes by their masks, and their growth, are facts too; every case then
    needs its masks, to be called as well.
    """

    name: str
    description: str
    sequences: Annotated[tuple[Sequence, ...], Field(min_length=1)] = SEQUENCES
    grid: GridSettings = GridSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    network: NetworkSettings = ChangeAwareSettings()
    level: InformationLevel = Field(default_factory=_level_of)
    target: Target = Target.FOUR_CLASSES
    labels: Labels = Labels.EXPERT
    missing_sequences: MissingSequences = MissingSequences.ERROR
    clinical: ClinicalSettings = ClinicalSettings()
    measured_volumes: bool = False
    pretraining: PretrainingSettings = NoPretraining()
    training: TrainingSettings = TrainingSettings()
    folds: FoldSettings = FoldSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    explanation: ExplanationSettings = ExplanationSettings()

    @model_validator(mode="after")
    def _no_sequence_twice(self) -> Recipe:
        if len(set(self.sequences)) != len(self.sequences):
            raise ValueError(f"each sequence once, got {', '.join(self.sequences)}")
        return self

    @model_validator(mode="after")
    def _masks_teach_tissues(self) -> Recipe:
        taught = self.training.auxiliary.needs_masks
        if taught != getattr(self.network, "tissues", False):
            raise ValueError("network.tissues: true and a weight in training.auxiliary belong together")
        return self

    @model_validator(mode="after")
    def _a_timeline_is_more_than_a_pair(self) -> Recipe:
        if not isinstance(self.network, TimelineSettings):
            return self
        if self.level in (InformationLevel.NOTHING, InformationLevel.PAIR):
            raise ValueError(f"network {self.network.name} sees all earlier studies: level: timeline, got {self.level}")
        if self.training.consistency.swap > 0:
            raise ValueError(
                "training.consistency.swap exchanges the two studies of a pair; a timeline cannot be exchanged: set it "
                f"to 0 for network {self.network.name}"
            )
        return self

    def fingerprint(self, *parts: str) -> str:
        """SHA-256 (first 16 hex digits) of the named groups of settings, of all when none is named.

        Outputs made under another fingerprint are never mixed with today's.
        """
        content = self.model_dump(mode="json")
        chosen = {part: content[part] for part in parts} if parts else content
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]


def recipes_folder() -> Path:
    """The folder of recipes that came with ranoscope: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parents[1] / "recipes"


def load_recipe(name: str | Path, changes: Iterable[str] = ()) -> Recipe:
    """Read a recipe, a YAML file or the bare name of one that came with ranoscope, as a delta over ``base.yaml``.

    A recipe with ``extends: OTHER.yaml`` (a path from its own folder) is a delta over that one.

    Args:
        name: path or bare name.
        changes: settings laid over the recipe, each ``key.sub=value`` with a YAML value.

    Raises:
        RecipeError: no such recipe, not YAML, or a key or value that is not allowed, by name.
    """
    path = Path(name)
    if not path.is_file() and (recipes_folder() / f"{name}.yaml").is_file():
        path = recipes_folder() / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in recipes_folder().glob("*.yaml") if found.stem != "base"))
        raise RecipeError(
            problem("a recipe file or the name of one that came with ranoscope", str(name), "RECIPE", f"use {known}")
        )
    merged = overlay(_read_yaml(recipes_folder() / "base.yaml"), _read_extended(path))
    merged.setdefault("name", path.stem)
    for change in changes:
        merged = overlay(merged, parse_change(change))
    return parse_recipe(merged, str(path))


def parse_recipe(content: dict[str, Any], where: str) -> Recipe:
    """Validate resolved settings; ``where`` names their file in messages.

    Raises:
        RecipeError: with every offending key on a line of its own.
    """
    return parse_settings(Recipe, content, where)


def _read_extended(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A recipe's content laid over that of the recipe it ``extends`` (a path from its own folder), and so on."""
    content = _read_yaml(path)
    parent = content.pop("extends", None)
    if parent is None:
        return content
    place = (path.parent / str(parent)).resolve()
    if not place.is_file() or place in above:
        got = "a recipe that extends itself" if place in above else f"no file {parent}"
        raise RecipeError(problem("another recipe to extend", got, str(path), "correct `extends`"))
    return overlay(_read_extended(place, (*above, place)), content)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(problem("YAML", f"({error})", str(path), "correct the file")) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise RecipeError(
            problem("a YAML mapping of settings", type(content).__name__, str(path), "write `key: value`")
        )
    return content
