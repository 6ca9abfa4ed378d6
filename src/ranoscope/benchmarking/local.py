"""Cells on this machine: worker processes that outlive their cells, so that one that dies takes only its cell along."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import torch

from ranoscope.benchmarking.work import Job, Listener, Outcome, lost, perform
from ranoscope.learning.data import uses_cuda

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_PATIENCE_S = 10.0


def run_here(jobs: list[Job], workers: int | None, listener: Listener) -> None:
    """Run jobs in worker processes and report each; a worker that dies fails its job and is replaced.

    On CUDA each worker has a GPU of its own; on the CPU they share out the threads. When this process is interrupted
    or ends, its workers end, too.

    Args:
        jobs: in the order to begin them.
        workers: side by side; None for one, or one per GPU. Never more than GPUs, where there are any.
        listener: told of every epoch and every end.
    """
    gpus = _gpus() if any(uses_cuda(job.experiment.recipe) for job in jobs) else []
    count = min(workers or max(len(gpus), 1), len(gpus) or len(jobs), len(jobs))
    threads = max(torch.get_num_threads() // max(count, 1), 1)
    waiting = list(reversed(jobs))
    with _crew([_Post(threads, gpus[place] if gpus else None) for place in range(count)]) as crew:
        while waiting or any(worker.job for worker in crew):
            for place, worker in enumerate(crew):
                if waiting and worker.job is None:
                    crew[place] = _busy(worker, waiting.pop())
            busy = {worker.channel: place for place, worker in enumerate(crew) if worker.job}
            for channel in wait(list(busy)):
                place = busy[channel]  # type: ignore[index]
                if not crew[place].listen(listener):
                    crew[place] = _Worker(crew[place].post)


def _gpus() -> list[str]:
    """The GPUs this process may use, as the driver names them."""
    visible = [name for name in os.environ.get(_VISIBLE, "").split(",") if name.strip()]
    return visible or [str(place) for place in range(torch.cuda.device_count())]


@dataclass(frozen=True)
class _Post:
    """What a worker may use."""

    threads: int
    gpu: str | None


class _Worker:
    """A worker process, the job it is at, and the channel to it."""

    def __init__(self, post: _Post) -> None:
        context = multiprocessing.get_context("spawn")
        self.post = post
        self.job: Job | None = None
        self.began = 0.0
        self.channel, theirs = context.Pipe()
        # Not a daemon: those may not have loader processes of their own.
        self.process: SpawnProcess = context.Process(target=_serve, args=(theirs, post), name="ranoscope cells")
        self.process.start()
        theirs.close()

    def give(self, job: Job) -> bool:
        """Hand over a job; False if the worker is gone."""
        try:
            self.channel.send(job)
        except OSError:
            return False
        self.job, self.began = job, time.monotonic()
        return True

    def listen(self, listener: Listener) -> bool:
        """Take one message; False if the worker is of no more use. If it died, its job has failed.

        An error that nobody foresaw ends it too: after some of CUDA's, every later cell of the process would fail.
        """
        assert self.job is not None
        try:
            said = self.channel.recv()
        except (EOFError, OSError):
            self.end(0)
            listener.ended(self.job, lost(self.job, _cause(self.process.exitcode), time.monotonic() - self.began))
            return False
        if isinstance(said, Outcome):
            job, self.job = self.job, None
            listener.ended(job, said)
            if said.unforeseen:
                self.end(_PATIENCE_S)
                return False
        else:
            listener.heard(self.job, *said)
        return True

    def end(self, patience_s: float) -> None:
        """Close the channel, at which an idle worker ends, and kill one that has not ended by then."""
        self.channel.close()
        self.process.join(patience_s)
        self.process.kill()
        self.process.join()


def _busy(worker: _Worker, job: Job) -> _Worker:
    """The worker, or one in its place if it died while idle, at work on the job."""
    while not worker.give(job):
        worker.end(0)
        worker = _Worker(worker.post)
    return worker


@contextmanager
def _crew(posts: list[_Post]) -> Iterator[list[_Worker]]:
    """A worker per post; they end with the block, at once if it is left in haste."""
    crew: list[_Worker] = []
    patience_s = 0.0
    try:
        crew += [_Worker(post) for post in posts]
        yield crew
        patience_s = _PATIENCE_S
    finally:
        for worker in crew:
            worker.end(patience_s)


def _cause(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"one that ended with code {exit_code}"
    name = signal.Signals(-exit_code).name
    memory = ", as the operating system does when memory runs out" if name == "SIGKILL" else ""
    return f"one ended by {name}{memory}"


def _serve(channel: Connection, post: _Post) -> None:
    """What a worker process does: jobs in, epochs and outcomes out, until the channel is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches every process of a terminal; the first one decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if post.gpu is not None:
        os.environ[_VISIBLE] = post.gpu
    torch.set_num_threads(post.threads)
    while True:
        try:
            job: Job = channel.recv()
        except EOFError:
            return
        channel.send(perform(job, lambda epoch, what: channel.send((epoch, what))))


def _end_with_parent() -> None:
    """A worker whose parent was killed would train on, unheard and in the way of the next run."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
