"""Cases left out after the selection, by what a recipe needs: rows of cohort.csv and counts of flow.json follow."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from ranoscope.cohort.timeline import Exclusion
from ranoscope.domain import RESPONSES, Case

# An excluded row says nothing of a prior study, as in a cohort just selected.
_OF_THE_PRIOR = ("prior", "weeks_between", "prior_rating", "surgery_between")


def exclude_cases(table: pd.DataFrame, cases: list[Case], because: Exclusion) -> pd.DataFrame:
    """cohort.csv without these cases: their rows stay, with a reason.

    Args:
        table: cohort.csv as text.
        cases: kept cases of this table.
        because: the reason.
    """
    names = {(case.patient, str(case.current)) for case in cases}
    mine = [pair in names for pair in zip(table["patient"], table["current"], strict=True)]
    mine = [one and reason == "" for one, reason in zip(mine, table["excluded_because"], strict=True)]
    changed = table.copy()
    changed.loc[mine, list(_OF_THE_PRIOR)] = ""
    changed.loc[mine, "excluded_because"] = str(because)
    return changed


def recount(flow: dict[str, Any], table: pd.DataFrame, note: str) -> dict[str, Any]:
    """flow.json of a changed cohort.csv, with a note among its warnings; the same table, the same counts.

    Args:
        flow: content of flow.json.
        table: cohort.csv as text.
        note: a sentence that says what was left out and why.
    """
    excluded = Counter(table["excluded_because"])
    remaining, steps = len(table), []
    for step in flow["steps"]:
        remaining -= excluded[step["name"]]
        steps.append({**step, "excluded": excluded[step["name"]], "remaining": remaining})
    kept = table[table["excluded_because"] == ""]
    by_response = {str(response): kept[kept["response"] == response] for response in RESPONSES}
    return {
        **flow,
        "steps": steps,
        "kept": len(kept),
        "kept_patients": int(kept["patient"].nunique()),
        "kept_per_response": {name: len(rows) for name, rows in by_response.items()},
        "patients_per_response": {name: int(rows["patient"].nunique()) for name, rows in by_response.items()},
        "warnings": [*(known for known in flow["warnings"] if known != note), note],
    }
