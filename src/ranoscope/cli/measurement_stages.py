"""What each command of ``measurement`` does: call one room, show its progress, print what it found and where it is."""

from __future__ import annotations

from pathlib import Path

from ranoscope import runs
from ranoscope.cli.terminal import OUT, progress_bar, say, warn
from ranoscope.config import EvaluationSettings, FoldSettings
from ranoscope.response.timeline import Measure

_ALL = "all"


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


def run_scoreboard(tables: Path, volumes: Path | None, out: Path, seeds: int) -> None:
    """Examine every rival and every measured-change model and print the scoreboard."""
    from ranoscope.evaluation.tables import render_scoreboard
    from ranoscope.scoreboard.examination import PAGE, at_own_level, make_scoreboard

    with progress_bar("scoreboard") as told:
        folds = FoldSettings(seeds=tuple(range(seeds)))
        scoreboard = make_scoreboard(tables, volumes, out, folds, EvaluationSettings(), told)
    OUT.print(render_scoreboard(at_own_level(scoreboard)))
    warn(scoreboard["notes"])
    say(f"Scoreboard: {out / PAGE}")
