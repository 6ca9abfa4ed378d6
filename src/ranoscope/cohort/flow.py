"""The flow of visits through the selection: how many each named exclusion took."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ranoscope.cohort.inventory import Inventory
from ranoscope.cohort.lumiere import RatingRow
from ranoscope.cohort.timeline import Exclusion
from ranoscope.config import CohortSettings
from ranoscope.domain import RESPONSES, StudyKey


def describe_flow(
    table: pd.DataFrame,
    rows: list[RatingRow],
    inventory: Inventory,
    settings: CohortSettings,
    notes: tuple[list[str], list[str]],
) -> dict[str, object]:
    """Content of flow.json. ``notes``: rejected folders and weeks, and warnings. Counts unknown without images: None.

    Kept and excluded add up to the rating rows; ``remaining`` falls from step to step to ``kept``.
    """
    excluded = Counter(table["excluded_because"])
    remaining, steps = len(table), []
    for exclusion in Exclusion:
        remaining -= excluded[exclusion]
        steps.append(
            {
                "name": str(exclusion),
                "meaning": exclusion.sentence,
                "excluded": excluded[exclusion],
                "remaining": remaining,
            }
        )
    kept = table[table["excluded_because"] == ""]
    rejected, warnings = notes
    return {
        "pair_rule": str(settings.pair_rule),
        "duplicates": str(settings.duplicates),
        "required_sequences": [str(sequence) for sequence in settings.required_sequences],
        "rating_rows": len(table),
        "rated_patients": int(table["patient"].nunique()),
        "rating_rows_per_response": {response: int((table["response"] == response).sum()) for response in RESPONSES},
        "steps": steps,
        "kept": len(kept),
        "kept_patients": int(kept["patient"].nunique()),
        "kept_per_response": {response: int((kept["response"] == response).sum()) for response in RESPONSES},
        "patients_per_response": {
            response: int(kept.loc[kept["response"] == response, "patient"].nunique()) for response in RESPONSES
        },
        **_against_disk(rows, inventory),
        "rejected": rejected,
        "warnings": warnings,
    }


def render_flow(flow: dict[str, Any]) -> RenderableType:
    """The flow diagram for the terminal: rating rows at the top, what each exclusion took, what is kept."""
    steps = Table(box=None, padding=(0, 1), show_header=False)
    for column in ("taken", "reason", "meaning", "left"):
        steps.add_column(column, justify="right" if column in ("taken", "left") else "left")
    for step in flow["steps"]:
        if step["excluded"]:
            steps.add_row(
                f"−{step['excluded']}", step["name"], Text(step["meaning"], "dim"), f"{step['remaining']} left"
            )
    classes = ", ".join(f"{name} {count}" for name, count in flow["kept_per_response"].items())
    parts: list[RenderableType] = [
        Text(f"{flow['rating_rows']} rating rows of {flow['rated_patients']} patients", "bold"),
        steps,
        Text(f"{flow['kept']} cases of {flow['kept_patients']} patients ({classes})", "bold"),
    ]
    if flow["visits_on_disk"] is not None:
        parts.append(
            Text(
                f"On disk: {flow['visits_on_disk']} visits, {flow['visits_on_disk_without_rating']} of them without a "
                f"rating; {flow['rating_rows_without_images']} rating rows without images; "
                f"{len(flow['completeness_differences'])} visits differ from the completeness table",
                "dim",
            )
        )
    return Panel(Group(*parts), title=f"Cohort · pair rule {flow['pair_rule']}", title_align="left", expand=False)


def _against_disk(rows: list[RatingRow], inventory: Inventory) -> dict[str, object]:
    if not inventory.from_disk:
        unknown = ("visits_on_disk", "visits_on_disk_without_rating", "rating_rows_without_images")
        return {**dict.fromkeys(unknown), "unknown_volumes": [], "completeness_differences": []}
    rated = {StudyKey(row.patient, row.visit) for row in rows if row.visit is not None}
    on_disk = {key for key, holding in inventory.holdings.items() if not holding.is_empty}
    keys = [None if row.visit is None else StudyKey(row.patient, row.visit) for row in rows]
    return {
        "visits_on_disk": len(on_disk),
        "visits_on_disk_without_rating": len(on_disk - rated),
        "rating_rows_without_images": sum(key not in on_disk for key in keys),
        "unknown_volumes": inventory.warnings,
        "completeness_differences": inventory.differences,
    }
