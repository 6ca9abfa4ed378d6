"""What ``prepare`` does, step by step: call one room, show its progress, print what it found and where it is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ranoscope.cli.terminal import OUT, progress_bar, say, warn
from ranoscope.config import overlay, parse_change, parse_settings

if TYPE_CHECKING:
    from ranoscope.preparing.inputs import Inputs
    from ranoscope.preparing.prepare import Choice
    from ranoscope.preparing.quality import Quality

# With more studies the decisions are read in series.csv.
_SHOWN = 4


def find(inputs: list[Path], patient: str | None) -> Inputs:
    """The studies of all inputs; says how they were read."""
    from ranoscope.preparing.inputs import find_studies

    with progress_bar("inputs") as told:
        found = find_studies(inputs, told, patient)
    warn(list(found.notes))
    return found


def choose(found: Inputs, override: Path | None) -> Choice:
    """Which series is which; shows the decisions with their reasons."""
    from ranoscope.preparing.prepare import choose_series
    from ranoscope.preparing.recognition import read_override

    choice = choose_series(found, read_override(override) if override else None)
    if len(found.studies) <= _SHOWN:
        OUT.print(_series_table(choice))
    return choice


def _series_table(choice: Choice) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    for heading in ("Study", "Series", "Decision", "Reasons"):
        table.add_column(heading)
    for row in choice.table.to_dict("records"):
        decision = row["decision"] or row["set_aside"]
        name = f"{row['number']} {row['name']}".strip()
        cells = (f"{row['patient']} {row['study']}", name, decision, row["reasons"])
        table.add_row(*cells, style="bold" if row["decision"] else "dim")
    return table


def dry_run(choice: Choice) -> bool:
    """Say what would be prepared; whether some of it could not be."""
    for plan in choice.plans:
        say(f"{plan.key}: {', '.join(plan.series)}")
    _say_failed(choice.failed)
    return bool(choice.failed)


def run_prepare(choice: Choice, changes: list[str], out: Path, workers: int | None, address: str | None) -> bool:
    """Prepare the studies and print a row each; whether some could not be prepared."""
    from joblib import cpu_count

    from ranoscope.preparing.prepare import QUALITY, prepare
    from ranoscope.preparing.settings import PrepareSettings
    from ranoscope.preparing.workers import here, on_cluster

    content: dict[str, Any] = {}
    for change in changes:
        content = overlay(content, parse_change(change))
    settings = parse_settings(PrepareSettings, content, "--set")
    who = on_cluster(address, workers) if address else nullcontext(here(workers or cpu_count()))
    with progress_bar("prepare") as told, who as workers_there:
        done = prepare(choice, out, settings, told, workers_there)
    OUT.print(_quality_table(done.qualities))
    if done.resumed:
        say(f"{done.resumed} studies were prepared before and kept.")
    _say_failed(done.failed)
    if len(done.failed) == len(done.qualities):
        say(f"No study was prepared; {out / QUALITY} says why.")
    else:
        say(f"Studies: {out} ({QUALITY}; next: ranoscope cohort {out}, once the tables are beside Imaging)")
    return bool(done.failed)


def _quality_table(qualities: Sequence[Quality]) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    for heading in ("Study", "Status", "Sequences", "Missing", "Brain, ml", "Moved, mm", "Problems"):
        table.add_column(heading)
    for one in qualities:
        numbers = ("" if value is None else f"{value:g}" for value in (one.brain_ml, one.moved_mm))
        style = {"ok": "", "check": "yellow", "failed": "red"}[one.status]
        problems = "" if one.status == "failed" else one.problems
        name = f"{one.patient} {one.study}"
        table.add_row(name, one.status, one.sequences, one.missing, *numbers, problems, style=style)
    return table


def _say_failed(failed: Sequence[Quality]) -> None:
    warn([f"{one.patient} {one.study} was not prepared: {one.problems}" for one in failed])
