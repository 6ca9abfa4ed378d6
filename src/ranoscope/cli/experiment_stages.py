"""What each command of ``experiments`` does: call one room, show its progress, print what it found and where it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ranoscope.benchmarking.request import MachineName, Request
from ranoscope.cli.terminal import OUT, progress_bar, say, warn
from ranoscope.config import load_recipe

_GIB = 1024**3
_HOUR_S = 3600.0


def run_benchmark(request: Request) -> bool:
    """Train and score the grid and print where the arms stand; False when cells are not finished."""
    from ranoscope.benchmarking.cohorts import bring_cohort
    from ranoscope.benchmarking.grid import run_benchmark as run_grid
    from ranoscope.benchmarking.outputs import PAGE
    from ranoscope.benchmarking.tables import render_benchmark
    from ranoscope.cohort.files import read_flow, render_flow

    if request.cohort_run is None:
        with OUT.status("Reading tables and folders"):
            cohort_run = bring_cohort(request)
        flow, request = read_flow(cohort_run), replace(request, cohort_run=cohort_run)
        OUT.print(render_flow(flow))
        warn(flow["warnings"])
    with progress_bar("benchmark") as told:
        content = run_grid(request, told)
    OUT.print(render_benchmark(content))
    warn(list(dict.fromkeys(f"{cell['arm']}: {cell['message']}" for cell in content["failures"])))
    cells = content["cells"]
    say(f"Benchmark: {request.out / PAGE} ({cells['finished']} of {cells['total']} cells finished)")
    return bool(cells["finished"] == cells["total"])


def run_dry_run(request: Request, machine: MachineName | None = None) -> None:
    """Print the grid with estimated memory and time; nothing is written."""
    from ranoscope.benchmarking.arms import find_arms, group_arms
    from ranoscope.benchmarking.cohorts import size_cohort
    from ranoscope.benchmarking.estimate import Cohort, estimate_grid
    from ranoscope.benchmarking.machines import MACHINES
    from ranoscope.benchmarking.tables import render_costs

    with OUT.status("Reading tables and folders"):
        cohort = Cohort(*size_cohort(request))
    groups = [training.arms for training in group_arms(find_arms(request.recipes, request.changes, request.seeds))]
    with progress_bar("estimate") as told:
        cost = estimate_grid(groups, cohort, told, MACHINES[machine] if machine else None)
    OUT.print(render_costs(cost.cells))
    where = cost.machine
    warn([f"{arm} cannot begin: {message}" for arm, message in cost.refused.items()])
    too_large = [one for one in cost.cells if one.advice]
    warn([f"{one.arms[0]} does not fit {where.memory_bytes / _GIB:.0f} GiB: {one.advice}." for one in too_large])
    if not where.measured:
        warn([f"Estimated for {where.title} from published or noted figures: nothing was measured on it."])
    most = max((one.memory_bytes for one in cost.cells), default=0) / _GIB
    say(
        f"{sum(one.cells for one in cost.cells)} cells on {cohort.cases} cases, {cohort.studies} studies: at most "
        f"{cost.seconds / _HOUR_S:.3g} hours one after another on {where.title} (early stopping aside), of which "
        f"{cost.reading_seconds / _HOUR_S:.2g} for reading the images once; {most:.2f} GiB for the largest. "
        "Nothing was trained."
    )


def run_pretrain_organs(recipe: str, changes: list[str], data: Path, out: Path) -> None:
    """Train a recipe's trunk to tell organs and print how well it does."""
    from ranoscope.learning.pretraining.organs import pretrain_organs

    with progress_bar("pretrain") as told:
        about = pretrain_organs(load_recipe(recipe, changes), data, out, told)
    accuracy = about["accuracy"]
    say(f"Weights: {out} (accuracy {accuracy['val']:.1%} on the validation images, {accuracy['test']:.1%} on the test)")
    say(f"To begin with them: --set 'pretraining={{name: organmnist, weights: {out}}}'")


def run_pretrain_rotations(recipe: str, changes: list[str], cohort_run: Path, out: Path, images: Path | None) -> None:
    """Train every fold's trunk to tell rotations and print how well they do on patients held out of the training."""
    from ranoscope.learning.pretraining.folds import pretrain_rotations

    with progress_bar("pretrain") as told:
        records = pretrain_rotations(load_recipe(recipe, changes), cohort_run, out, told, images)
    worst = min(record["held_out_accuracy"] for record in records)
    say(
        f"Rotations: {out} ({len(records)} folds; right on held-out training patients: {worst:.1%} or more; chance 1/6)"
    )


def run_pretrain_change(recipe: str, changes: list[str], cohort_run: Path, out: Path, images: Path | None) -> None:
    """Teach a recipe's network synthetic change and print how well it tells responses in studies held out of it."""
    from ranoscope.learning.pretraining.change import pretrain_on_run

    with progress_bar("pretrain") as told:
        about = pretrain_on_run(load_recipe(recipe, changes), cohort_run, out, told, images)
    warn(about["left_out"])
    classes = "4 classes" if about["target"] == "four-classes" else "2 classes"
    say(
        f"Weights: {out} ({len(about['studies'])} studies; balanced accuracy on synthetic pairs of held-out patients: "
        f"{about['held_out_balanced_accuracy']:.1%} of {classes})"
    )
    say(f"To begin with them on another cohort: --set 'pretraining={{name: change, weights: {out}}}'")
