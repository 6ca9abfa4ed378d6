"""What each command of ``measurement`` does: call one room, show its progress, print what it found and where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ranoscope import runs
from ranoscope.cli.terminal import OUT, progress_bar, say, warn
from ranoscope.config import EvaluationSettings, FoldSettings, overlay, parse_change, parse_settings
from ranoscope.domain import Segmenter
from ranoscope.errors import RecipeError, problem
from ranoscope.measuring.visits import PatientScans
from ranoscope.response.reading import TIMELINE
from ranoscope.response.timeline import Measure

_ALL = "all"


def find_scans(masks: list[Path], labels: str, images: list[Path], days: str | None, patient: str) -> PatientScans:
    """The patient's scans, from a LUMIERE folder or from single masks.

    Raises:
        RecipeError: labels of no known convention, or days that are no whole numbers.
    """
    from ranoscope.measuring.labels import named_convention
    from ranoscope.measuring.visits import visits_of_folder, visits_of_masks

    convention = named_convention(labels)
    if len(masks) == 1 and masks[0].is_dir() and isinstance(convention, Segmenter):
        return visits_of_folder(masks[0], convention)
    try:
        numbers = [int(day) for day in days.split(",")] if days else []
    except ValueError as error:
        raise RecipeError(problem("whole days joined by commas", f"`{days}`", "--days", "write e.g. 0,84")) from error
    return visits_of_masks(masks, convention, images, numbers, patient)


def run_measure(scans: PatientScans, changes: list[str], out: Path) -> None:
    """Measure a patient's lesions and print them."""
    from ranoscope.measuring.measure import MeasureSettings, measure
    from ranoscope.measuring.tables import render_lesions

    content: dict[str, Any] = {}
    for change in changes:
        content = overlay(content, parse_change(change))
    settings = parse_settings(MeasureSettings, content, "--set")
    with progress_bar("measure") as told:
        measurement = measure(scans, out, settings, told)
    OUT.print(render_lesions(measurement.timeline))
    warn([f"{note.scan}: {note.sentence}" for note in measurement.notes])
    say(f"Timeline: {out / TIMELINE} (next: ranoscope respond {out})")


def run_respond(timeline: Path, names: str, measure: Measure, changes: list[str], out: Path) -> None:
    """Evaluate a timeline under one or more criteria sets and print the calls."""
    from ranoscope.response.criteria import CRITERIA, criteria_by_name, with_changes
    from ranoscope.response.respond import respond
    from ranoscope.response.tables import render_calls

    chosen = CRITERIA if names == _ALL else tuple(criteria_by_name(name.strip()) for name in names.split(","))
    criteria = tuple(with_changes(one, changes) for one in chosen)
    with progress_bar("respond") as told:
        responses = respond(timeline, criteria, measure, out, told)
    OUT.print(render_calls(responses.evaluations, responses.endpoints))
    warn([*responses.notes, *responses.refused.values()])
    say(f"Calls: {out / runs.CALLS}")


def run_scoreboard(tables: Path, volumes: Path | None, lesions: Path | None, out: Path, seeds: int) -> None:
    """Examine every rival and every measured-change model and print the scoreboard."""
    from ranoscope.evaluation.tables import render_scoreboard
    from ranoscope.scoreboard.examination import PAGE, at_own_level, make_scoreboard

    with progress_bar("scoreboard") as told:
        folds = FoldSettings(seeds=tuple(range(seeds)))
        scoreboard = make_scoreboard(tables, volumes, out, folds, EvaluationSettings(), told, lesions=lesions)
    OUT.print(render_scoreboard(at_own_level(scoreboard)))
    warn(scoreboard["notes"])
    say(f"Scoreboard: {out / PAGE}")
