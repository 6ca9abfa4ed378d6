"""Which cases are explained, and the record each one leaves."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from ranoscope import runs
from ranoscope.cohort.files import read_cases
from ranoscope.cohort.folds import read_folds
from ranoscope.config import FoldProtocol, Target
from ranoscope.domain import RESPONSES, Case, Response, Sequence
from ranoscope.errors import RunError, problem
from ranoscope.learning.checkpoints import FOLD, fold_folder, load_run_recipe
from ranoscope.learning.targets import as_called

STUDIES = ("prior", "current")
RECORD = "case.json"
CHOSEN = "chosen.json"
_COMMAND = "ranoscope explain"
Shares = dict[str, dict[Sequence, float]]


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


@dataclass(frozen=True)
class MapFile:
    """One map on the store's grid: NIfTI, float32, in the method's own units.

    ``study``: ``prior`` or ``current``, None where the method cannot tell them apart. ``lowest``, ``highest``: over the
    whole grid. ``shown_up_to``: the value at the top of the figure's colour scale, taken inside the brain; 0 for a map
    that is 0 there.
    """

    method: str
    study: str | None
    response: Response
    file: str
    lowest: float
    highest: float
    shown_up_to: float


@dataclass(frozen=True)
class ExplainedCase:
    """All that a report says of one explained case; file names are relative to ``folder``.

    ``explained``: the called class, then the true one where it differs. ``slice_index``: axial slice k of the figure.
    ``layers``: method → the sub-module it reads. ``cell_mm``: method → edges of that layer's cells along i, j, k in mm.
    ``shares``: class → study → sequence → share of the Saliency map's sum inside the brain. ``sentences``: how the maps
    are to be read.
    ``key``: fingerprint of the fold, its weights and this call.
    """

    folder: Path
    patient: str
    prior: str
    current: str
    response: Response
    call: Response
    probabilities: dict[Response, float]
    seed: int
    fold: int
    network: str
    layers: dict[str, str]
    cell_mm: dict[str, tuple[float, ...]]
    shown_sequence: Sequence
    slice_index: int
    slice_because: str
    explained: tuple[Response, ...]
    maps: tuple[MapFile, ...]
    shares: dict[Response, Shares]
    figure: str
    sentences: tuple[str, ...]
    fold_key: str
    key: str

    def map_file(self, method: str, study: str | None, response: Response) -> MapFile:
        """The map of this method, study (None: both together) and class.

        Raises:
            KeyError: there is none.
        """
        for entry in self.maps:
            if (entry.method, entry.study, entry.response) == (method, study, response):
                return entry
        raise KeyError((method, study, str(response)))


_RECORDS = TypeAdapter(ExplainedCase)


def choose_cases(called: list[CalledCase], per_class: int) -> tuple[list[CalledCase], list[Response]]:
    """Pick ``per_class`` cases of each true response, in the order PD, SD, PR, CR.

    Within a class the surest correct call comes first, then the surest wrong one, then the next of either; where one
    kind runs out the other goes on. Sure means a high probability of the call; equals go by patient and visit.

    Returns:
        The chosen cases, and the responses that no case has.
    """
    chosen: list[CalledCase] = []
    absent: list[Response] = []
    for response in RESPONSES:
        mine = sorted((entry for entry in called if entry.case.response is response), key=_surest_first)
        correct = [entry for entry in mine if entry.is_correct]
        wrong = [entry for entry in mine if not entry.is_correct]
        turns = [entry for pair in zip_longest(correct, wrong) for entry in pair if entry is not None]
        chosen += turns[:per_class]
        if not mine:
            absent.append(response)
    return chosen, absent


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


def write_record(explained: ExplainedCase) -> None:
    """Write case.json, the last file of a case: without it the case counts as not explained."""
    content = _RECORDS.dump_python(explained, mode="json", exclude={"folder"})
    runs.write_json(explained.folder / RECORD, content)


def read_record(folder: Path) -> ExplainedCase:
    """Read case.json.

    Raises:
        RunError: absent, damaged or of another version.
    """
    content = runs.read_json(folder / RECORD, _COMMAND)
    try:
        return _RECORDS.validate_python({**content, "folder": folder})
    except (ValidationError, TypeError) as error:
        raise RunError(
            problem("a record of an explained case", "other content", str(folder / RECORD), f"run `{_COMMAND}` again")
        ) from error


def write_chosen(run: Path, chosen: list[CalledCase], absent: list[Response]) -> None:
    """Write which cases this run explains and which responses have none, before the first is begun."""
    content = {"cases": [entry.folder_name for entry in chosen], "classes_without_a_case": absent}
    runs.write_json(run / runs.EXPLANATIONS / CHOSEN, content)


def read_explanations(run: Path) -> list[ExplainedCase]:
    """The explained cases of a run, worst response first, surest correct call before surest wrong one.

    Raises:
        RunError: nothing was explained yet, an interrupted run left cases out, or a fold was trained again since.
    """
    chosen = runs.read_json(run / runs.EXPLANATIONS / CHOSEN, _COMMAND)
    explained = [read_record(run / runs.EXPLANATIONS / str(name)) for name in chosen["cases"]]
    for entry in explained:
        fold = runs.read_json(fold_folder(run, entry.seed, entry.fold) / FOLD, "ranoscope crossval")
        if fold.get("key") != entry.fold_key:
            where = str(entry.folder / RECORD)
            raise RunError(problem("maps of today's network", "an earlier one's", where, f"run `{_COMMAND}` again"))
    return explained


def classes_without_a_case(run: Path) -> list[Response]:
    """The responses that no case of the run has, so that none is explained.

    Raises:
        RunError: nothing was explained yet.
    """
    chosen = runs.read_json(run / runs.EXPLANATIONS / CHOSEN, _COMMAND)
    return [Response(name) for name in chosen["classes_without_a_case"]]


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


def _surest_first(entry: CalledCase) -> tuple[object, ...]:
    return (-entry.probabilities[entry.call], entry.case.patient, entry.case.current)
