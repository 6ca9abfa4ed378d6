"""Cells on a real Ray cluster of two machines (processes here), one of whose workers is killed in mid-cell."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ranoscope.benchmarking.cluster import run_on_cluster
from ranoscope.benchmarking.grid import run_benchmark
from ranoscope.benchmarking.request import Request
from ranoscope.errors import RunError

ray = pytest.importorskip("ray", reason="the extra ranoscope[cluster] is not installed")
VICTIM = "*/checkpoints/seed-0_fold-0/restart-*/last.ckpt"
# Ray's own: of its files and sockets at shutdown, and of a default that will change for accelerators.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Tip. In future versions of Ray:FutureWarning"),
]


@pytest.fixture
def address() -> Iterator[str]:
    """Of a cluster of two nodes with a processor each; no dashboard, no usage statistics."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
        yield cluster.address
        cluster.shutdown()
        # A head node answers SIGTERM in this process by raising SystemExit wherever it is.
        signal.signal(signal.SIGTERM, before)


class Silent:
    def heard(self, job, epoch, what):
        raise AssertionError

    def ended(self, job, outcome):
        raise AssertionError


class Killer(threading.Thread):
    """Kills the worker at the first fold of the only long arm after its third epoch, and notes the epochs after."""

    def __init__(self, arms: Path) -> None:
        super().__init__(daemon=True)
        self.arms = arms
        self.killed: tuple[int, int] | None = None
        self.epochs_after: set[int] = set()
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.02):
            for path in self.arms.glob(VICTIM):
                epoch = self._epoch(path)
                if epoch is None or (self.killed is None and epoch < 3):
                    continue
                lock = (path.parent.parent / ".lock").read_text()
                process = int(re.match(r"process (\d+)", lock)[1])
                if self.killed is None:
                    os.kill(process, signal.SIGKILL)
                    self.killed = process, epoch
                elif process != self.killed[0]:
                    self.epochs_after.add(epoch)

    def _epoch(self, path: Path) -> int | None:
        try:
            return int(torch.load(path, weights_only=True, map_location="cpu")["epoch"])
        except OSError:
            return None


def test_a_grid_ends_complete_though_a_worker_is_killed(cohort, recipes, tmp_path, address):
    folder, out = recipes({"a/long": {"training": {"epochs": 40}}}), tmp_path / "out"
    killer = Killer(out / "arms")
    killer.start()
    request = Request(str(folder), cohort, out, seeds=1, address=address)
    content = run_benchmark(request, lambda *_: None)
    killer.done.set()
    killer.join()
    assert killer.killed is not None
    assert content["failures"] == []
    cells = {cell["fold"]: cell for cell in json.loads((out / "cells.json").read_text())}
    assert [cells[fold]["state"] for fold in (0, 1)] == ["finished", "finished"]
    assert [cells[fold]["attempts"] for fold in (0, 1)] == [2, 1]
    assert min(killer.epochs_after) >= killer.killed[1]
    assert content["arms"][0]["scores"] is not None


def test_a_word_for_which_ray_would_start_a_cluster_of_its_own_is_refused():
    with pytest.raises(RunError, match="Expected auto, host:port or ray://host:port, got local"):
        run_on_cluster([], None, "local", Silent())
    assert not ray.is_initialized()


def test_paths_from_the_folder_one_is_in_are_found_by_the_clusters_workers(cohort, recipes, tmp_path, address):
    """Workers were started elsewhere, as on another machine."""
    folder, here = recipes({"a/short": {}}), tmp_path / "here"
    here.mkdir()
    command = [sys.executable, "-c", "from ranoscope.cli import main; main()", "benchmark", str(folder), "--cohort",
               os.path.relpath(cohort, here), "--out", "out", "--seeds", "1", "--ray", address]  # fmt: skip
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((here / "out" / "benchmark.json").read_text())["failures"] == []
