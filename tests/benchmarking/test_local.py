"""Worker processes on this machine, one by one."""

from __future__ import annotations

import multiprocessing
from types import SimpleNamespace

from ranoscope.benchmarking.arms import find_arms
from ranoscope.benchmarking.local import run_here
from ranoscope.benchmarking.work import Job


class Listening:
    """Notes each end, and which worker processes there are then."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.workers: list[set[int]] = []
        # Other tests' pools may still be there.
        self.before = multiprocessing.active_children()

    def heard(self, job, epoch, what):
        raise AssertionError

    def ended(self, job, outcome):
        self.messages.append(outcome.message)
        self.workers.append({one.pid for one in multiprocessing.active_children() if one not in self.before})


def test_after_an_error_that_nobody_foresaw_the_next_cell_has_a_new_process(recipes):
    (arm,) = find_arms(recipes({"a/one": {}}))
    faulty = SimpleNamespace(recipe=arm.recipe)  # no material: an AttributeError in the worker
    jobs = [Job("run", faulty, SimpleNamespace(seed=0, fold=fold)) for fold in (0, 1)]
    listening = Listening()
    run_here(jobs, 1, listening)
    assert [message.split(":")[0] for message in listening.messages] == ["Unexpected AttributeError"] * 2
    first, second = listening.workers
    assert len(first) == len(second) == 1
    assert first != second
