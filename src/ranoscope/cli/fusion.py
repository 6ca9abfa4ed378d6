"""The command that fuses a run's network with what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ranoscope.cli.app import EXPERIMENTS, RunArgument, app
from ranoscope.cli.terminal import OUT, progress_bar, say, warn
from ranoscope.domain import RESEARCH_USE_ONLY
from ranoscope.fusing.request import INNER_FOLDS, Request


@app.command(rich_help_panel=EXPERIMENTS)
def fuse(
    run: RunArgument,
    volumes: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Patient, Timepoint, <source>_<compartment>_mm3; the run brings the download's own measured volumes.",
        ),
    ] = None,
    tables: Annotated[
        Path | None, typer.Option(metavar="TABLES", help="Folder with LUMIERE's pyradiomics tables, to use those too.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder to write; RUN/fusion if not given.")
    ] = None,
    inner_folds: Annotated[
        int, typer.Option(min=2, help="Networks trained inside the training patients of each fold.")
    ] = INNER_FOLDS,
) -> None:
    """Weigh the network with what was measured, inside each fold's training patients; scoreboard.html. Resumes."""
    from ranoscope.evaluation.tables import render_scoreboard
    from ranoscope.fusing.fuse import fuse_run, of_the_fused
    from ranoscope.scoreboard.examination import PAGE

    request = Request(run, tables, volumes, out, inner_folds)
    with progress_bar("fuse") as told:
        scoreboard = fuse_run(request, told)
    if scoreboard is not None:
        OUT.print(render_scoreboard(of_the_fused(scoreboard)))
        warn(scoreboard["notes"])
        say(f"Scoreboard: {request.folder / PAGE}")
    OUT.print(f"[dim]{RESEARCH_USE_ONLY}[/]")
