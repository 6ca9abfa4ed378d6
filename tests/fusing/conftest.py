"""Made-up opinions of known worth, and a cross-validated synthetic cohort that was fused while being watched."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from ranoscope.fusing import contenders
from ranoscope.fusing.fuse import fuse_run
from ranoscope.fusing.request import Request
from ranoscope.fusing.stacking import Opinions
from ranoscope.learning import crossval
from ranoscope.scoreboard import protocol
from ranoscope.scoreboard.models import MODELS

# Of each level one model that is fitted in no time.
LOGISTIC = tuple(model for model in MODELS if model.name.endswith("logistic"))


def people(count, visits=4, folds=3):
    """Patients and inner folds of count × visits cases."""
    names = tuple(f"P{number:02d}" for number in range(count) for _ in range(visits))
    return names, np.repeat(np.arange(count) % folds, visits)


def opinion(truth, strength, generator):
    """Probabilities that lean towards the truth by so many units of log-odds, under noise of one unit."""
    logits = generator.normal(size=(len(truth), 4)) + strength * np.eye(4)[truth]
    odds = np.exp(logits)
    return odds / odds.sum(axis=1, keepdims=True)


def cohort(network, measured, rule=0.25, known=1.0, count=40, seed=0):
    """Opinions of so much use, with the truth, the patients and their inner folds."""
    generator = np.random.default_rng(seed)
    names, folds = people(count)
    truth = generator.integers(0, 4, len(names))
    calls = np.where(generator.random(len(names)) < rule, truth, generator.integers(0, 4, len(names)))
    opinions = Opinions(
        opinion(truth, network, generator), opinion(truth, measured, generator), np.eye(4)[calls],
        generator.random(len(names)) < known,
    )  # fmt: skip
    return opinions, truth, names, folds


def silent(*_):
    pass


@dataclass
class Watched:
    """A fused run. ``networks``: folder of each cell's restart files and the patients that it learnt from or that chose
    its epoch. ``stacks``: patients of every stack. ``models``: patients of every measured-change fit.
    """

    run: Path
    networks: list[tuple[Path, set[str]]] = field(default_factory=list)
    stacks: list[tuple[str, ...]] = field(default_factory=list)
    models: list[set[str]] = field(default_factory=list)

    @property
    def board(self):
        return json.loads((self.run / "fusion" / "scoreboard.json").read_text())


@pytest.fixture
def run(finished_run, tmp_path) -> Path:
    """A copy of the finished run that a test may spoil."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture(scope="session")
def fused(finished_run, tmp_path_factory) -> Watched:
    """The tiny journey fused with two inner folds; not to be changed."""
    watched = Watched(Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("fused") / "run")))
    fit_fold, fit_stack, fit_predict = crossval.fit_fold, contenders.fit_stack, protocol.fit_predict

    def network(recipe, material, sides, folder, seed, told):
        watched.networks.append((folder, {case.patient for case in (*sides.training, *sides.inner)}))
        return fit_fold(recipe, material, sides, folder, seed, told)

    def stack(opinions, truth, patients, folds, discount):
        watched.stacks.append(patients)
        return fit_stack(opinions, truth, patients, folds, discount)

    def measured(settings, training, truth, patients, test, seed):
        watched.models.append(set(patients))
        return fit_predict(settings, training, truth, patients, test, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crossval, "fit_fold", network)
        patch.setattr(contenders, "fit_stack", stack)
        patch.setattr(protocol, "fit_predict", measured)
        fuse_run(Request(watched.run, inner_folds=2), silent, LOGISTIC)
    return watched
