"""Cells on a Ray cluster; see ``ranoscope.cluster``. Its machines must see the run folder and the cohort's store."""

from __future__ import annotations

from functools import partial
from typing import Any

from ranoscope import cluster
from ranoscope.benchmarking.work import Job, Listener, Outcome, lost, perform


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
    with cluster.connected(address) as ray:
        room = cluster.measure(ray, workers)

        def options(job: Job) -> dict[str, Any]:
            recipe = job.experiment.recipe
            gpus = room.gpus if recipe.training.accelerator != "cpu" else 0
            return {"num_cpus": room.processors, "num_gpus": gpus, "name": recipe.name}

        serve = partial(_serve, threads=room.processors)
        for ended in cluster.spread(ray, serve, jobs, room.tasks, options):
            outcome = ended.result or lost(ended.task, ended.lost or "", ended.seconds)
            listener.ended(ended.task, Outcome(outcome.seconds, outcome.message, ended.attempts))


def _serve(job: Job, threads: int) -> Outcome:
    import torch

    torch.set_num_threads(threads)
    return perform(job, lambda *_: None)
