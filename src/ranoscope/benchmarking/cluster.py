"""Cells on a Ray cluster that is already there: each a task of its own, given out again when its worker is lost.

The cluster's machines must see the run folder and the cohort's store under the same paths, and have ranoscope
installed. Nothing is started but tasks: no dashboard, no usage statistics, no connection besides the given address.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ranoscope.benchmarking.work import Job, Listener, Outcome, lost, perform
from ranoscope.config import Recipe
from ranoscope.errors import RunError, problem

# A cell whose worker is lost is begun again so often in one call: a cell that itself brings workers down must end.
_ATTEMPTS = 3
_VARIABLES = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


def run_on_cluster(jobs: list[Job], workers: int | None, address: str, listener: Listener) -> None:
    """Run jobs as Ray tasks and report each end; epochs are not heard from so far away.

    A task takes a GPU where the cluster has any and the recipe does not say CPU, otherwise an equal share of the
    processors.

    Args:
        jobs: in the order to begin them.
        workers: side by side; None for as many as there are GPUs, or machines.
        address: auto, host:port or ray://host:port.
        listener: told of every end.

    Raises:
        RunError: Ray is not installed, or there is no cluster at the address.
    """
    with _connected(address) as ray:
        room = _measure(ray, workers)
        waiting = list(reversed(jobs))
        under_way: dict[Any, _Attempt] = {}
        try:
            while waiting or under_way:
                while waiting and len(under_way) < room.tasks:
                    _submit(ray, room, under_way, _Attempt(waiting.pop()))
                for task in ray.wait(list(under_way), num_returns=1)[0]:
                    attempt = under_way.pop(task)
                    try:
                        outcome = ray.get(task)
                    except ray.exceptions.RayError as error:
                        if attempt.number < _ATTEMPTS:
                            _submit(ray, room, under_way, _Attempt(attempt.job, attempt.number + 1, attempt.began))
                            continue
                        outcome = lost(attempt.job, _cause(error), time.monotonic() - attempt.began)
                    listener.ended(attempt.job, Outcome(outcome.seconds, outcome.message, attempt.number))
        finally:
            for task in under_way:
                ray.cancel(task, force=True)


@dataclass(frozen=True)
class _Attempt:
    job: Job
    number: int = 1
    began: float = 0.0


@dataclass(frozen=True)
class _Room:
    """What the cluster has for cells: so many at a time, each with so many processors and GPUs."""

    tasks: int
    processors: int
    gpus: int

    def options(self, recipe: Recipe) -> dict[str, Any]:
        """A task's share. Ray itself retries nothing: attempts are counted here."""
        gpu = self.gpus if recipe.training.accelerator != "cpu" else 0
        return {"num_cpus": self.processors, "num_gpus": gpu, "max_retries": 0, "name": recipe.name}


def _submit(ray: Any, room: _Room, under_way: dict[Any, _Attempt], attempt: _Attempt) -> None:
    options = room.options(attempt.job.experiment.recipe)
    task = ray.remote(_serve).options(**options).remote(attempt.job, room.processors, Path.cwd())
    under_way[task] = _Attempt(attempt.job, attempt.number, attempt.began or time.monotonic())


def _serve(job: Job, threads: int, home: Path) -> Outcome:
    """Run a cell in a worker of the cluster, from ``home`` on where that is there: a job's paths may be relative."""
    import torch

    if home.is_dir():
        os.chdir(home)
    torch.set_num_threads(threads)
    return perform(job, lambda *_: None)


def _measure(ray: Any, workers: int | None) -> _Room:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    tasks = min(workers or gpus or len(nodes), gpus or int(sum(node.get("CPU", 0) for node in nodes)) or 1)
    most = max(int(node.get("CPU", 0)) for node in nodes)
    share = int(sum(node.get("CPU", 0) for node in nodes)) // tasks
    return _Room(tasks, max(min(share, most), 1), min(gpus, 1))


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray, connected to a cluster for the block."""
    if address != "auto" and ":" not in address:
        # Ray would take other words for a wish to start a cluster of its own.
        raise RunError(problem("auto, host:port or ray://host:port", address, "--ray", "correct the address"))
    os.environ |= _VARIABLES
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        do = "install ranoscope[cluster], or leave --ray out"
        raise RunError(problem("the package ray", "none", "this Python", do)) from error
    try:
        ray.init(address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        do = "start one with `ray start --head`, or correct the address"
        got = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(problem("a Ray cluster", got, f"--ray {address}", do)) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _cause(error: Exception) -> str:
    first = str(error).strip().splitlines()
    return f"one lost {_ATTEMPTS} times ({type(error).__name__}: {first[0] if first else 'no reason given'})"
