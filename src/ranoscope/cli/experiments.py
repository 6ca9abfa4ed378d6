"""Commands that train many networks, a benchmark over a folder of recipes, or weights that networks begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ranoscope.benchmarking.request import MachineName, Request
from ranoscope.cli import experiment_stages as stages
from ranoscope.cli.app import EXPERIMENTS, OutOption, app
from ranoscope.cli.terminal import OUT
from ranoscope.domain import RESEARCH_USE_ONLY

# Exit code of a benchmark some of whose cells failed: everything else is done, and the same command tries them again.
_UNFINISHED_CODE = 4

_pretrain = typer.Typer(
    name="pretrain", help="Initial weights for a recipe, learnt on another task.", no_args_is_help=True
)
app.add_typer(_pretrain, rich_help_panel=EXPERIMENTS)

CohortOption = Annotated[
    Path, typer.Option("--cohort", metavar="RUN", help="Folder that `ranoscope cohort` wrote.", show_default=False)
]
ChangesOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting of the recipe; repeatable.")
]
RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="Whose network it is: a YAML file, or the name of one shipped here.")
]


@app.command(rich_help_panel=EXPERIMENTS)
def benchmark(
    recipes: Annotated[
        str,
        typer.Argument(
            metavar="RECIPES", help="A folder of recipes, or the name of one shipped here: comparison, change, paper."
        ),
    ],
    out: OutOption,
    cohort_run: Annotated[
        Path | None,
        typer.Option(
            "--cohort", metavar="RUN", help="Folder that `ranoscope cohort` wrote; if not given, made from --images."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How often the folds are dealt anew.")] = 3,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting of every recipe; repeatable."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(metavar="LUMIERE", help="Folder or zip as published; with --cohort, where it is now if it moved."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the grid with estimated memory and time; train nothing.")
    ] = False,
    machine: Annotated[
        MachineName | None, typer.Option(help="With --dry-run: estimate for another machine than this one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Cells side by side; one, or as many as there are GPUs, if not given.")
    ] = None,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Spread cells over a Ray cluster: auto, host:port, ray://…")
    ] = None,
) -> None:
    """Train and score every recipe of a folder; RUN/benchmark.html. Resumes; exit code 4 if cells failed."""
    request = Request(recipes, cohort_run, out, seeds, tuple(changes or ()), images, workers, ray)
    if dry_run:
        stages.run_dry_run(request, machine)
    elif not stages.run_benchmark(request):
        raise typer.Exit(_UNFINISHED_CODE)
    OUT.print(f"[dim]{RESEARCH_USE_ONLY}[/]")


@_pretrain.command()
def organmnist(
    recipe: RecipeArgument,
    data: Annotated[
        Path, typer.Option("--data", metavar="NPZ", help="organmnist3d.npz of MedMNIST.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="A .safetensors file to write.", show_default=False)
    ],
    changes: ChangesOption = None,
) -> None:
    """Tell eleven organs in small CT volumes; FILE is for the setting pretraining.weights. Resumes."""
    stages.run_pretrain_organs(recipe, changes or [], data, out)


@_pretrain.command()
def rotations(
    recipe: RecipeArgument,
    cohort_run: CohortOption,
    out: OutOption,
    images: Annotated[
        Path | None, typer.Option(metavar="LUMIERE", help="Where the images are now, if they have moved.")
    ] = None,
    changes: ChangesOption = None,
) -> None:
    """Tell six rotations of each fold's training studies; `crossval` with the same --out begins with what it learnt."""
    stages.run_pretrain_rotations(recipe, changes or [], cohort_run, out, images)


@_pretrain.command()
def change(
    recipe: RecipeArgument,
    cohort_run: CohortOption,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="A .safetensors file to write.", show_default=False)
    ],
    images: Annotated[
        Path | None, typer.Option(metavar="LUMIERE", help="Where the images are now, if they have moved.")
    ] = None,
    changes: ChangesOption = None,
) -> None:
    """Tell responses to synthetic change, made in all studies, rated or not; FILE is for other cohorts. Resumes."""
    stages.run_pretrain_change(recipe, changes or [], cohort_run, out, images)
