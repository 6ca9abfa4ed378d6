"""The application that every command joins, and the words of its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ranoscope import __version__
from ranoscope.cli.terminal import say
from ranoscope.domain import RESEARCH_USE_ONLY

app = typer.Typer(
    name="ranoscope",
    help=(
        "Has this glioblastoma responded? Two consecutive MRI studies in, an honest, explained RANO call out.\n\n"
        "The journey: cohort → crossval → evaluate → explain → report. Begin with `ranoscope demo`, or with "
        "`ranoscope download` for LUMIERE itself.\n\n" + RESEARCH_USE_ONLY
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)
DEMO = "Try it"
JOURNEY = "The journey"
DATA = "Data"
MEASURED = "From measurements"
EXPERIMENTS = "Experiments"
SPLITS = "Splits"

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.", show_default=False)]
OutOption = Annotated[Path, typer.Option("--out", metavar="RUN", help="Run folder to write.", show_default=False)]


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"ranoscope {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass
