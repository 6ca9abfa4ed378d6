"""One cell as a job: what a worker is given, what it does, and how it says what became of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

from ranoscope.errors import RanoscopeError, problem
from ranoscope.learning.crossval import Cell, Experiment, run_cell
from ranoscope.learning.fitting import Told


@dataclass(frozen=True)
class Job:
    """A cell of a prepared experiment; ``run`` names the experiment's folder."""

    run: str
    experiment: Experiment
    cell: Cell

    @property
    def key(self) -> tuple[str, int, int]:
        """Run folder, seed and fold: what names it in the ledger."""
        return self.run, self.cell.seed, self.cell.fold

    @property
    def title(self) -> str:
        """For people."""
        recipe = self.experiment.recipe
        return f"{recipe.name}, seed {self.cell.seed}, fold {self.cell.fold + 1} of {recipe.folds.count}"


@dataclass(frozen=True)
class Outcome:
    """How a job ended: ``message`` is empty when it finished. ``seconds``: of its last attempt. ``unforeseen``: by an
    error that is not ranoscope's own, after which nothing is known of its process.
    """

    seconds: float
    message: str = ""
    attempts: int = 1
    unforeseen: bool = False

    @property
    def finished(self) -> bool:
        """Whether the cell's network and calls are there."""
        return not self.message


class Listener(Protocol):
    """Whom workers report to."""

    def heard(self, job: Job, epoch: int, what: str) -> None:
        """An epoch (from 1) of a job is done."""

    def ended(self, job: Job, outcome: Outcome) -> None:
        """A job is finished or has failed."""


def perform(job: Job, told: Told) -> Outcome:
    """Run a cell; whatever goes wrong is its outcome's message, so that the other cells go on."""
    began = time.monotonic()
    message, unforeseen = "", False
    try:
        run_cell(job.experiment, job.cell, told)
    except RanoscopeError as error:
        message = str(error)
    except Exception as error:  # a defect in one network must not cost the rest of a grid that runs for days
        message, unforeseen = f"Unexpected {type(error).__name__}: {error}", True
    return Outcome(time.monotonic() - began, message, unforeseen=unforeseen)


def lost(job: Job, how: str, seconds: float, attempts: int = 1) -> Outcome:
    """The outcome of a job whose worker is gone."""
    do = "give the same command again; the cell goes on after its last whole epoch"
    return Outcome(seconds, problem("a worker that ends its cell", how, job.title, do), attempts)
