"""The audit for the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ranoscope.auditing.audit import LEAKS

_HEADINGS = ("Same patient", "Shared scan", "Known label", "id + week", "Median")


def render_audit(content: dict[str, Any]) -> RenderableType:
    """What leaks per seed, class counts per fold of the first seed, and a sentence per finding.

    Args:
        content: content of audit.json.
    """
    classes = ", ".join(f"{name} {count}" for name, count in content["cases_per_response"].items())
    title = f"{content['cases']} cases of {content['patients']} patients ({classes}) in {content['folds']} folds"
    verdict = Text("Patients leak from training to test.", "bold red")
    if not content["patients_leak"]:
        verdict = Text("No patient leaks from training to test.", "bold green")
    warning = [Text(content["warning"], "yellow")] if content["warning"] else []
    findings = [Text(f"• {finding}") for finding in content["findings"]]
    return Group(
        Text(title, "bold"), *warning, _leaks(content), _counts(content["seeds"][0]), verdict, *findings,
        Text(content["sampling_error"]["assumption"], "dim"),
    )  # fmt: skip


def _leaks(content: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("Seed, in %")
    for heading in _HEADINGS:
        table.add_column(heading, justify="right")
    for seed in content["seeds"]:
        shares = [seed["leaks"][name]["share"] for name in LEAKS]
        table.add_row(str(seed["seed"]), *_percents([*shares, *seed["patient_and_week"].values()]))
    overall = content["overall"]
    table.add_row("all", *_percents([*overall["leaks"].values(), *overall["patient_and_week"].values()]), style="bold")
    return table


def _counts(seed: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column(f"Fold of seed {seed['seed']}")
    classes = [name for name in seed["folds"][0] if name != "fold"]
    for name in classes:
        table.add_column(name, justify="right")
    for fold in seed["folds"]:
        table.add_row(escape(fold["fold"]), *(str(fold[name]) for name in classes))
    return table


def _percents(shares: list[float]) -> list[str]:
    return [f"{100 * share:.1f}" for share in shares]
