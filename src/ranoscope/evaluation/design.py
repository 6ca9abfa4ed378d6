"""How a run's folds were cut and what its model learnt: what decides which of its figures mean something."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ranoscope import runs
from ranoscope.config import FoldProtocol, Labels, Target


@dataclass(frozen=True)
class Design:
    """``protocol``: of the folds; ``target``: what the model tells apart; ``labels``: whose responses it learnt."""

    protocol: FoldProtocol = FoldProtocol.PATIENT
    target: Target = Target.FOUR_CLASSES
    labels: Labels = Labels.EXPERT


def read_model_settings(run: Path) -> dict[str, Any]:
    """The resolved recipe that ``ranoscope crossval`` left in the run; empty for calls of unknown making."""
    path = run / runs.SETTINGS
    settings = runs.read_yaml(path, "ranoscope crossval") if path.is_file() else None
    recipe: dict[str, Any] = (settings or {}).get("crossval", {})
    return recipe


def read_design(run: Path) -> Design:
    """The design of a run; patient-level folds, four classes and the expert's labels where nothing else is said."""
    recipe = read_model_settings(run)
    protocol = recipe.get("folds", {}).get("protocol", FoldProtocol.PATIENT)
    target, labels = recipe.get("target", Target.FOUR_CLASSES), recipe.get("labels", Labels.EXPERT)
    return Design(FoldProtocol(protocol), Target(target), Labels(labels))
