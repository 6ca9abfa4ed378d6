"""The command that turns what a scanner or an archive gives into studies the journey can begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ranoscope.cli import preparation_stages as stages
from ranoscope.cli.app import DATA, app
from ranoscope.cli.terminal import OUT
from ranoscope.domain import RESEARCH_USE_ONLY

# Exit code where some studies could not be prepared and the others were: not that of an error.
_SOME_FAILED_CODE = 4


@app.command(rich_help_panel=DATA)
def prepare(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...",
            help="Any mix of DICOM folders, NIfTI files, LUMIERE visits, BIDS datasets and manifests (CSV); "
            "see docs/prepare.md.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="STORE", help="Folder to write.", show_default=False)],
    patient: Annotated[
        str | None, typer.Option(help="Pseudonym, where all inputs are of one patient and hold none.")
    ] = None,
    series: Annotated[
        Path | None,
        typer.Option(metavar="YAML", help="Which series is which, where recognition is wrong or cannot tell."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show studies and series; read no voxel.")] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, e.g. brain.method=hd-bet; repeatable."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Studies side by side; if not given, as many as processors.")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Spread studies over a Ray cluster: auto, host:port, ray://…"),
    ] = None,
) -> None:
    """Raw scans to aligned studies without skull, in LUMIERE's shape; STORE/quality.csv, a picture each. Resumes."""
    found = stages.find(inputs, patient)
    choice = stages.choose(found, series)
    failed = stages.dry_run(choice) if dry_run else stages.run_prepare(choice, changes or [], out, workers, ray)
    OUT.print(f"[dim]{RESEARCH_USE_ONLY}[/]")
    if failed:
        raise typer.Exit(_SOME_FAILED_CODE)
