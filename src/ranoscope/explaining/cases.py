"""Which cases are explained: calls out of fold, each with the fold that held it out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ranoscope import runs
from ranoscope.cohort.files import read_cases
from ranoscope.cohort.folds import read_folds
from ranoscope.config import FoldProtocol, Target
from ranoscope.domain import RESPONSES, Case, Response, Visit
from ranoscope.errors import RunError, problem
from ranoscope.learning.checkpoints import load_run_recipe
from ranoscope.learning.targets import as_called

STUDIES = ("prior", "current")


@dataclass(frozen=True)
class CalledCase:
    """A case with its out-of-fold call: class probabilities by name, and the fold whose network made it.

    Where PD was learnt against the rest (``target``), SD stands for the rest, with all its probability.
    """

    case: Case
    call: Response
    probabilities: dict[Response, float]
    seed: int
    fold: int
    target: Target = Target.FOUR_CLASSES

    @property
    def expert(self) -> Response:
        """The expert's response, as far as the model tells responses apart."""
        return as_called(self.case.response, self.target)

    @property
    def is_correct(self) -> bool:
        """Whether the call is the expert's response."""
        return self.call is self.expert

    @property
    def explained(self) -> tuple[Response, ...]:
        """The classes to explain: the called one, and the true one where it is another."""
        return (self.call,) if self.is_correct else (self.call, self.expert)

    @property
    def folder_name(self) -> str:
        """Name of its folder under ``explanations``."""
        return f"{self.case.patient}_{self.case.current}"


def draw_cases(called: list[CalledCase], per_class: int | None, seed: int) -> tuple[list[CalledCase], list[Response]]:
    """Cases to score: all, or ``per_class`` of each of the expert's classes, drawn at random.

    Returns:
        The cases, classes in the order PD, SD, PR, CR and by patient and visit within each; and the responses that no
        case has.
    """
    chosen: list[CalledCase] = []
    absent: list[Response] = []
    for response in RESPONSES:
        mine = sorted((entry for entry in called if entry.case.response is response), key=_by_name)
        if not mine:
            absent.append(response)
        if per_class is not None and len(mine) > per_class:
            generator = np.random.default_rng([seed, response.class_index])
            picked = generator.choice(len(mine), per_class, replace=False)
            mine = [mine[place] for place in sorted(picked)]
        chosen += mine
    return chosen, absent


def named_cases(called: list[CalledCase], names: list[str]) -> list[CalledCase]:
    """The cases of these names, each ``Patient-042`` (all of the patient's) or ``Patient-042/week-061``.

    Raises:
        RunError: a name that no called case has.
    """
    chosen: dict[str, CalledCase] = {}
    for name in names:
        mine = [entry for entry in called if name in (entry.case.patient, f"{entry.case.patient}/{entry.case.current}")]
        if not mine:
            do = "name a patient, or a patient and the current visit, of calls.csv"
            raise RunError(problem("a case with a call", name, "--cases", do))
        chosen |= {entry.folder_name: entry for entry in mine}
    return sorted(chosen.values(), key=lambda entry: (entry.case.response.class_index, *_by_name(entry)))


def read_called(run: Path) -> list[CalledCase]:
    """The calls of the recipe's first seed, each checked to be of the fold that held the case out.

    Patient-level folds hold all of a patient's cases out together; folds as published hold out the case alone.

    Raises:
        RunError: the run has no calls yet, or calls, folds and cohort are not of one training.
    """
    recipe = load_run_recipe(run)
    seed = recipe.folds.seeds[0]
    columns = (*runs.CALL_COLUMNS, "seed")
    calls = runs.read_csv(run / runs.CALLS, "ranoscope crossval", columns)
    folds = read_folds(run, recipe.folds.protocol)
    unit = ["patient"] if recipe.folds.protocol is FoldProtocol.PATIENT else ["patient", "current"]
    held_out = {tuple(map(str, name)): set(rows["fold"]) for name, rows in folds[folds["seed"] == seed].groupby(unit)}
    cases = {(case.patient, str(case.prior), str(case.current)): case for case in read_cases(run)}
    mine = [row for _, row in calls[calls["seed"] == str(seed)].iterrows()]
    for row in mine:
        _require_held_out(row, held_out.get(tuple(str(row[name]) for name in unit)))
    return [_called(row, cases, recipe.target) for row in mine]


def _require_held_out(row: pd.Series[Any], folds: set[int] | None) -> None:
    fold = int(row["fold"])
    if folds != {fold}:
        got = f"fold {fold}, whose network has seen this patient"
        where = f"{runs.CALLS}, {row['patient']}/{row['current']}"
        do = "run `ranoscope crossval` again"
        raise RunError(problem("the fold that held the patient out in folds.csv", got, where, do))


def _called(row: pd.Series[Any], cases: dict[tuple[str, str, str], Case], target: Target) -> CalledCase:
    case = cases.get((row["patient"], row["prior"], row["current"]))
    if case is None or case.response != row["response"]:
        where = f"{runs.CALLS}, {row['patient']}/{row['current']}"
        do = "run `ranoscope crossval` again"
        raise RunError(problem("a case of the cohort", "one that is not in cohort.csv", where, do))
    probabilities: dict[Response, float] = {}
    for response in RESPONSES:
        name = as_called(response, target)
        probabilities[name] = probabilities.get(name, 0.0) + float(row[f"p_{response}"])
    return CalledCase(case, Response(row["call"]), probabilities, int(row["seed"]), int(row["fold"]), target)


def _by_name(entry: CalledCase) -> tuple[str, Visit]:
    return entry.case.patient, entry.case.current
