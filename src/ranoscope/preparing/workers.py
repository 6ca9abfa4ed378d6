"""Who prepares the studies: processes here, or tasks on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from joblib import Parallel, delayed

from ranoscope import cluster
from ranoscope.preparing.quality import Quality
from ranoscope.preparing.study import Task, run

Workers = Callable[[list[Task]], Iterator[Quality]]
"""Prepare studies that do not wait for each other; each row as it is there."""


def here(count: int) -> Workers:
    """``count`` processes of this machine; each holds one study's images in memory.

    Fewer studies than processes are prepared one after the other, with the processes side by side in each.
    """

    def work(tasks: list[Task]) -> Iterator[Quality]:
        if len(tasks) < max(count, 2):
            yield from (run(task, count) for task in tasks)
            return
        parallel = Parallel(n_jobs=count, return_as="generator_unordered", pre_dispatch=2 * count)
        yield from parallel(delayed(run)(task) for task in tasks)

    return work


@contextmanager
def on_cluster(address: str, count: int | None) -> Iterator[Workers]:
    """A study a task, one processor each; the cluster's machines see inputs and output under the same paths.

    Args:
        address: auto, host:port or ray://host:port.
        count: side by side; None for one per processor.

    Raises:
        RunError: Ray is not installed, or there is no cluster at the address.
    """
    with cluster.connected(address) as ray:
        at_once = count or int(ray.cluster_resources().get("CPU", 1))

        def work(tasks: list[Task]) -> Iterator[Quality]:
            options = {"num_cpus": 1, "name": "ranoscope prepare"}
            for ended in cluster.spread(ray, run, tasks, at_once, lambda _: options):
                key = ended.task.key
                lost = Quality(key.patient, str(key.visit), "failed", problems=f"its worker was {ended.lost}")
                yield ended.result or lost

        yield work
