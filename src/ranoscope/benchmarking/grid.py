"""The grid: arms × folds × seeds, each distinct training once, resumed where an earlier call stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ranoscope import provenance, runs
from ranoscope.benchmarking.arms import Training, find_arms, group_arms
from ranoscope.benchmarking.cluster import run_on_cluster
from ranoscope.benchmarking.cohorts import bring_cohort
from ranoscope.benchmarking.ledger import FINISHED, Entry, Ledger, Progress
from ranoscope.benchmarking.local import run_here
from ranoscope.benchmarking.outputs import write_outputs
from ranoscope.benchmarking.request import Request
from ranoscope.benchmarking.standings import Result, compile_benchmark
from ranoscope.benchmarking.work import Job
from ranoscope.cohort.files import read_is_synthetic
from ranoscope.errors import RanoscopeError
from ranoscope.evaluation.predictions import read_predictions
from ranoscope.learning.crossval import Experiment, collect_calls, prepare_experiment, run_cell

ARMS = "arms"


def run_benchmark(request: Request, progress: Progress) -> dict[str, Any]:
    """Train and call every cell of the grid, score every arm beside the rivals, and write what came out.

    Writes ``arms/<run>/`` (a run folder per distinct training), ``cells.json``, ``cells.csv``, ``tables/*.csv``,
    ``figures/*.svg``, ``benchmark.html`` and, last, ``benchmark.json``. A cell that fails is noted with its message and
    tried again by the next call; an arm is scored once all of its cells are finished. Where the request names images
    alone, their cohort is selected first (``cohort/``).

    Args:
        request: recipes, cohort, where to write, and who works.
        progress: told (done, total, what) after every study, epoch, cell and score.

    Returns:
        The content of benchmark.json.

    Raises:
        RecipeError: no recipes, or a faulty one.
        RunError: the cohort is not there, another process writes to the folder, or no such Ray cluster.
        StorageError: the disk is full or not writable.
    """
    arms = find_arms(request.recipes, request.changes, request.seeds)
    cohort_run = bring_cohort(request)
    synthetic = read_is_synthetic(cohort_run)
    inputs = {runs.COHORT: provenance.file_hash(cohort_run / runs.COHORT)}
    with runs.exclusive(request.out):
        trainings = group_arms(arms)
        ledger = Ledger(request.out, [entry for one in trainings for entry in _entries(one)], progress)
        experiments = _prepare(replace(request, cohort_run=cohort_run), trainings, ledger, progress)
        _run(request, _waiting(experiments, ledger), ledger)
        results = _collect(experiments, ledger)
        settings = {"recipes": Path(request.recipes).name, "seeds": request.seeds, "changes": list(request.changes)}
        provenance.record(request.out, "benchmark", settings, inputs)
        content = compile_benchmark(arms, results, ledger.rows(), progress)
        content |= {
            "synthetic": synthetic,
            "settings": settings,
            "provenance": provenance.describe("benchmark", inputs),
        }
        write_outputs(request.out, content)
    return content


def _entries(training: Training) -> list[Entry]:
    first, others = training.arms[0], tuple(arm.name for arm in training.arms[1:])
    recipe = first.recipe
    return [
        Entry(first.name, others, training.run, seed, fold, recipe.training.epochs)
        for seed in sorted(recipe.folds.seeds)
        for fold in range(recipe.folds.count)
    ]


def _prepare(request: Request, trainings: list[Training], ledger: Ledger, progress: Progress) -> dict[str, Experiment]:
    """Studies, folds and settings of every training that can begin; the others are noted as failed."""
    assert request.cohort_run is not None

    def aligned(done: int, total: int, what: str) -> None:
        if done < total:
            progress(done, total, what)

    experiments = {}
    for place, training in enumerate(trainings):
        recipe, folder = training.arms[0].recipe, request.out / ARMS / training.run
        try:
            experiment = prepare_experiment(recipe, request.cohort_run, folder, aligned, request.images)
            experiments[training.run] = experiment
        except RanoscopeError as error:
            message = str(error)
        except Exception as error:  # as in ``perform``: one arm's defect is not the others'
            message = f"Unexpected {type(error).__name__}: {error}"
        if training.run not in experiments:
            for entry in ledger.of_run(training.run):
                ledger.failed(entry.key, message)
        progress(place + 1, len(trainings), f"prepared: {recipe.name}")
    return experiments


def _waiting(experiments: dict[str, Experiment], ledger: Ledger) -> list[Job]:
    """The cells still to be run; finished ones are noted, and cleared of what a kill left behind."""
    jobs = []
    for run, experiment in experiments.items():
        for cell in experiment.cells:
            job = Job(run, experiment, cell)
            if cell.is_finished:
                run_cell(experiment, cell, lambda *_: None)
                ledger.found_finished(job.key)
            else:
                jobs.append(job)
    ledger.begin([job.key for job in jobs])
    return jobs


def _run(request: Request, jobs: list[Job], ledger: Ledger) -> None:
    if not jobs:
        return
    if request.address is None:
        run_here(jobs, request.workers, ledger)
    else:
        run_on_cluster(jobs, request.workers, request.address, ledger)


def _collect(experiments: dict[str, Experiment], ledger: Ledger) -> dict[str, Result]:
    """The predictions of every training whose cells are all finished; calls that cannot be read fail its cells."""
    results = {}
    for run, experiment in experiments.items():
        if all(entry.state == FINISHED for entry in ledger.of_run(run)):
            try:
                collect_calls(experiment)
                calls = read_predictions(experiment.out, experiment.recipe.folds.protocol)
            except RanoscopeError as error:
                ledger.unreadable(run, str(error))
                continue
            results[run] = Result(experiment.recipe, calls, experiment.out)
    return results
