"""Tasks on a Ray cluster that is already there, each given out again when its worker is lost.

The cluster's machines must see the folders that tasks name under the same paths, and have ranoscope installed. Nothing
is started but tasks: no dashboard, no usage statistics, no connection besides the given address.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from ranoscope.errors import RunError, problem

T = TypeVar("T")
R = TypeVar("R")

# A task whose worker is lost is begun again so often in one call: one that itself brings workers down must end.
ATTEMPTS = 3
_VARIABLES = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


@dataclass(frozen=True)
class Room:
    """What a cluster has: ``tasks`` at a time, each with so many ``processors``; ``gpus`` of each, 0 or 1."""

    tasks: int
    processors: int
    gpus: int


@dataclass(frozen=True)
class Ended(Generic[T, R]):
    """``result``: what the task returned; None where its worker was lost every time, ``lost`` then says how.

    ``seconds``: since it was first begun.
    """

    task: T
    result: R | None
    lost: str | None
    attempts: int
    seconds: float


@dataclass(frozen=True)
class _Attempt(Generic[T]):
    task: T
    number: int = 1
    began: float = 0.0


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray, connected to a cluster for the block.

    Args:
        address: auto, host:port or ray://host:port.

    Raises:
        RunError: Ray is not installed, or there is no cluster at the address.
    """
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


def measure(ray: Any, workers: int | None) -> Room:
    """Room for ``workers`` tasks side by side; None: as many as there are GPUs, or machines."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    processors = int(sum(node.get("CPU", 0) for node in nodes))
    tasks = min(workers or gpus or len(nodes), gpus or processors or 1)
    most = max(int(node.get("CPU", 0)) for node in nodes)
    return Room(tasks, max(min(processors // tasks, most), 1), min(gpus, 1))


def spread(
    ray: Any, work: Callable[[T], R], tasks: Sequence[T], at_once: int, options: Callable[[T], Mapping[str, Any]]
) -> Iterator[Ended[T, R]]:
    """Run ``work`` on every task, ``at_once`` side by side, and give each as it ends.

    Args:
        ray: what ``connected`` gave.
        work: runs in a worker of the cluster, from this process's folder on where that is there: paths may be relative.
        tasks: in the order to begin them.
        at_once: as ``measure`` says.
        options: of a task, as Ray has them. Ray itself retries nothing: attempts are counted here.
    """
    waiting = list(reversed(tasks))
    under_way: dict[Any, _Attempt[T]] = {}

    def submit(attempt: _Attempt[T]) -> None:
        remote = ray.remote(_at_home).options(**options(attempt.task), max_retries=0)
        under_way[remote.remote(work, attempt.task, Path.cwd())] = attempt

    try:
        while waiting or under_way:
            while waiting and len(under_way) < at_once:
                submit(_Attempt(waiting.pop(), began=time.monotonic()))
            for reference in ray.wait(list(under_way), num_returns=1)[0]:
                attempt = under_way.pop(reference)
                result, lost = None, None
                try:
                    result = ray.get(reference)
                except ray.exceptions.RayError as error:
                    if attempt.number < ATTEMPTS:
                        submit(_Attempt(attempt.task, attempt.number + 1, attempt.began))
                        continue
                    lost = _cause(error)
                yield Ended(attempt.task, result, lost, attempt.number, time.monotonic() - attempt.began)
    finally:
        for reference in under_way:
            ray.cancel(reference, force=True)


def _at_home(work: Callable[[T], R], task: T, home: Path) -> R:
    if home.is_dir():
        os.chdir(home)
    return work(task)


def _cause(error: Exception) -> str:
    first = str(error).strip().splitlines()
    return f"one lost {ATTEMPTS} times ({type(error).__name__}: {first[0] if first else 'no reason given'})"
