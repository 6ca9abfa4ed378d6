"""Commands that work from masks, measurements and tables: no network is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ranoscope.cli import measurement_stages as stages
from ranoscope.cli.app import MEASURED, OutOption, app
from ranoscope.cli.terminal import OUT
from ranoscope.domain import LABELS, RESEARCH_USE_ONLY, Segmenter
from ranoscope.measuring.visits import PATIENT
from ranoscope.response.criteria import CRITERIA
from ranoscope.response.timeline import Measure

_CRITERIA = ", ".join(one.name for one in CRITERIA)
_LABELS = ", ".join(LABELS)
FolderOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write.", show_default=False)]


@app.command(rich_help_panel=MEASURED)
def measure(
    masks: Annotated[
        list[Path],
        typer.Argument(
            metavar="MASK...", help="Masks of one patient in order of time, or LUMIERE's Patient-NNN folder."
        ),
    ],
    out: FolderOption,
    labels: Annotated[str, typer.Option(help=f"Whose labels the masks carry: {_LABELS}.")] = Segmenter.DEEPBRATUMIA,
    image: Annotated[
        list[Path] | None, typer.Option(metavar="CT1", help="The CT1 image of each mask, in their order; repeatable.")
    ] = None,
    days: Annotated[
        str | None, typer.Option(help="Day of each mask, e.g. 0,84,168; not needed where names hold week-NNN.")
    ] = None,
    patient: Annotated[str, typer.Option(help="Pseudonym of the patient, for masks.")] = PATIENT,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, e.g. lesions.minimum_mm3=50; repeatable."),
    ] = None,
) -> None:
    """Find, follow and measure the lesions of a patient; DIR/timeline.json for `respond`, DIR/lesions.csv, pictures."""
    scans = stages.find_scans(masks, labels, image or [], days, patient)
    stages.run_measure(scans, changes or [], out)
    OUT.print(f"[dim]{RESEARCH_USE_ONLY}[/]")


@app.command(rich_help_panel=MEASURED)
def respond(
    timeline: Annotated[
        Path,
        typer.Argument(metavar="TIMELINE", help="What `ranoscope measure` wrote, or a table; see docs/timeline.md."),
    ],
    out: FolderOption,
    criteria: Annotated[str, typer.Option(help=f"{_CRITERIA}; several joined by commas, or all.")] = "rano2",
    measure: Annotated[Measure, typer.Option(help="Bidimensional products, or volumes.")] = Measure.AREA,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, e.g. confirmation_days=null; repeatable."),
    ] = None,
) -> None:
    """Call every scan of a timeline by published response criteria, each call with its reasons; DIR/calls.csv."""
    stages.run_respond(timeline, criteria, measure, changes or [], out)
    OUT.print(f"[dim]{RESEARCH_USE_ONLY}[/]")


@app.command(rich_help_panel=MEASURED)
def scoreboard(
    tables: Annotated[
        Path, typer.Argument(metavar="TABLES", help="Folder with LUMIERE's rating and demographics tables.")
    ],
    out: OutOption,
    volumes: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Patient, Timepoint, <source>_<compartment>_mm3; a download brings its own measured volumes.",
        ),
    ] = None,
    lesions: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="What `ranoscope measure` wrote, to compare with the expert's diameters."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How often the folds are dealt anew; report at least 10.")] = 10,
) -> None:
    """How well can RANO be called from measured volumes? Models beside rivals; RUN/scoreboard.html. Resumes."""
    stages.run_scoreboard(tables, volumes, lesions, out, seeds)
