"""A synthetic cohort made once per session, and the command line as a person uses it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from ranoscope.cli import main, stages
from ranoscope.config import CohortSettings, PhantomSettings
from ranoscope.phantom.cohort import make_phantom

PHANTOM = PhantomSettings(patients=10, voxel_mm=6.0, seed=2)
# What is tested must not change from run to run, or a landing fails for what it did not touch. `make fuzz` draws anew.
settings.register_profile("fixed", derandomize=True)
settings.register_profile("drawn", derandomize=False, print_blob=True)
settings.load_profile("fixed")
TINY = [
    "grid.voxel_mm=6", "training.epochs=2", "folds.count=2", "training.accelerator=cpu", "evaluation.bootstrap=200",
    "explanation.cases_per_class=1", "explanation.randomisation=1", "explanation.perturbation.steps=2",
]  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What a command left behind: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory) -> Path:
    """Ten synthetic patients at 6 mm, every response among their cases. Read only: whoever changes files copies it."""
    folder = tmp_path_factory.mktemp("phantom") / "LUMIERE"
    make_phantom(folder, PHANTOM, workers=2, progress=lambda *_: None)
    return folder


@pytest.fixture(scope="session")
def finished_run(phantom_folder, tmp_path_factory) -> Path:
    """The whole journey, tiny: two folds, two epochs, 6 mm. Read only."""
    run = tmp_path_factory.mktemp("finished") / "run"
    stages.run_cohort(phantom_folder, CohortSettings(), run)
    stages.run_crossval("demo", TINY, run, run, None)
    stages.run_evaluate(run)
    stages.run_explain(run, None, [])
    stages.run_report(run)
    return run


@pytest.fixture(scope="session")
def tiny_options() -> list[str]:
    """The settings of ``finished_run`` as options of a command."""
    return [part for change in TINY for part in ("--set", change)]


@pytest.fixture
def ranoscope(capsys, monkeypatch):
    """Run a command in this process, exactly as the console script does."""

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["ranoscope", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capsys.readouterr()
        return Answer(int(stopped.value.code or 0), printed.out, printed.err)

    return run
