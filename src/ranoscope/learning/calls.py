"""What a fitted fold says of its test cases, and the record of how it was made."""

from __future__ import annotations

from typing import Any

import pandas as pd
from torch import Tensor

from ranoscope import runs
from ranoscope.cohort.folds import PROTOCOL_COLUMN
from ranoscope.config import FoldProtocol, Labels, Recipe, Target
from ranoscope.domain import RESPONSES, Response
from ranoscope.learning.cells import Cell
from ranoscope.learning.checkpoints import training_fingerprint
from ranoscope.learning.data import CaseDataset, Material
from ranoscope.learning.facts import fact_names
from ranoscope.learning.fitting import FittedFold
from ranoscope.learning.targets import four_probabilities, rest_shares
from ranoscope.learning.training import probabilities


def call_cases(recipe: Recipe, material: Material, cell: Cell, fitted: FittedFold) -> pd.DataFrame:
    """The cell's rows of calls.csv; each is marked, in a column ``protocol`` under folds as published, in a column
    ``labels`` where the network learnt permuted ones.
    """
    dataset = CaseDataset(material, cell.test, recipe, fitted.scale)
    answers = probabilities(fitted.network, dataset, recipe).double()
    answers /= answers.sum(dim=1, keepdim=True)
    calls = [RESPONSES[int(place)] for place in answers.argmax(dim=1)]
    if recipe.target is Target.PD_VERSUS_REST:
        calls = _two_calls(answers)
        answers = four_probabilities(answers, rest_shares(cell.training))
    rows = [
        {
            "patient": case.patient,
            "prior": str(case.prior),
            "current": str(case.current),
            "response": str(case.response),
            "fold": cell.fold,
            **{f"p_{name}": f"{float(answer[name.class_index]):.6f}" for name in RESPONSES},
            "call": str(call),
            "seed": cell.seed,
        }
        for case, answer, call in zip(cell.test, answers, calls, strict=True)
    ]
    table = pd.DataFrame(rows)[[*runs.CALL_COLUMNS, "seed"]]
    if recipe.labels is Labels.PERMUTED:
        table = table.assign(labels=str(recipe.labels))
    protocol = recipe.folds.protocol
    return table if protocol is FoldProtocol.PATIENT else table.assign(**{PROTOCOL_COLUMN: str(protocol)})


def describe_fold(recipe: Recipe, cell: Cell, fitted: FittedFold) -> dict[str, Any]:
    """Content of fold.json."""
    binary = recipe.target is Target.PD_VERSUS_REST
    return {
        "key": cell.key,
        "recipe": training_fingerprint(recipe),
        "recipe_name": recipe.name,
        "protocol": str(recipe.folds.protocol),
        "target": str(recipe.target),
        "labels": str(recipe.labels),
        "rest_shares": rest_shares(cell.training) if binary else None,
        "facts": list(fact_names(recipe)),
        "fact_scale": fitted.scale.as_dict(),
        "remarks": list(fitted.remarks),
        "initial_weights": None if fitted.initial is None else fitted.initial.as_dict(),
        "kept_epoch": fitted.kept_epoch,
        "epochs": len(fitted.history),
        "learning_rate_dropped_after": list(fitted.drops),
        "inner_loss": fitted.inner_loss,
        "history": fitted.history,
    }


def _two_calls(answers: Tensor) -> list[Response]:
    """PD where it is at least as probable as the rest, else SD, which stands for the rest."""
    return [Response.PD if float(answer[0]) >= 0.5 else Response.SD for answer in answers]
