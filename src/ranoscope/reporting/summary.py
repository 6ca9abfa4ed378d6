"""The cohort in a few tables: who the patients are, which responses they had, and what came before what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ranoscope.domain import RESPONSES, Case, Response, VisitState

# Rows of the transition table, most frequent states of LUMIERE first.
_STATES = (VisitState.POST_OP, *RESPONSES, VisitState.UNRATED, VisitState.PRE_OP, VisitState.POST_OP_PD)


def summarise(cases: list[Case], patients: pd.DataFrame) -> dict[str, Any]:
    """Counts and quantiles of the kept cases and their patients, ready for a template.

    Args:
        cases: the kept cases.
        patients: patients.csv as ``cohort.files.read_patients`` gives it.
    """
    kept = patients[patients["patient"].isin({case.patient for case in cases})]
    weeks = [case.weeks_between for case in cases]
    return {
        "cases": len(cases),
        "patients": len(kept),
        "responses": [_response(response, cases) for response in RESPONSES],
        "facts": [
            ("Age at surgery", _spread(kept["age_years"].dropna().tolist(), "years")),
            ("Sex", _shares(kept["sex"])),
            ("IDH", _shares(kept["idh"])),
            ("MGMT promoter", _shares(kept["mgmt"])),
            ("Survival", _spread(kept["survival_weeks"].dropna().tolist(), "weeks")),
            ("Cases per patient", _spread([sum(c.patient == name for c in cases) for name in kept["patient"]], "")),
            ("Between prior and current", _spread(weeks, "weeks")),
        ],
        "transitions": _transitions(cases),
    }


def _response(response: Response, cases: list[Case]) -> dict[str, Any]:
    mine = [case for case in cases if case.response is response]
    return {
        "name": str(response),
        "cases": len(mine),
        "share": len(mine) / max(len(cases), 1),
        "patients": len({case.patient for case in mine}),
    }


def _spread(values: list[float] | list[int], unit: str) -> str:
    if not values:
        return "unknown"
    low, median, high = np.quantile(values, (0, 0.5, 1))
    return f"median {median:g} {unit}".rstrip() + f" (range {low:g} to {high:g})"


def _shares(column: pd.Series[Any]) -> str:
    counts = column.value_counts()
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))


def _transitions(cases: list[Case]) -> list[dict[str, Any]]:
    """How often each rating of the prior study was followed by each response; empty rows left out."""
    rows = []
    for state in _STATES:
        after = [case.response for case in cases if case.prior_rating is state]
        if after:
            counts = [after.count(response) for response in RESPONSES]
            rows.append({"prior": str(state), "counts": counts, "shares": [count / len(after) for count in counts]})
    return rows
