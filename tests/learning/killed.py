"""Cross-validates in a child process that kills itself (SIGKILL) after so many steps, until one child gets through.

A step is a sample fetched, or a file about to be moved, or just moved, to its place: the moments between which the disk
changes. Two moments are always among them: before the first restart file is in place, and right after a fold. Started
by test_restart.py as ``python killed.py HOME RECIPE``; writes HOME/log.txt, a line per step that outlives the kill, and
prints the number of kills.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from pathlib import Path

import torch

from ranoscope.config import parse_recipe
from ranoscope.learning.crossval import cross_validate
from ranoscope.learning.data import CaseDataset

STEPS = (35, 46, 29, 43, 26, 31, 25)
FATAL = "seed-0_fold-0/fold.json"


class Steps:
    """Counts steps, logs them, and kills this process after so many."""

    def __init__(self, log: Path, allowed: int) -> None:
        self.log = log.open("a")
        self.left = allowed
        self.restart_file_spared = "last.ckpt\nkilled" in log.read_text()

    def take(self, what: str) -> None:
        self.left -= 1
        unsaved = not self.restart_file_spared and what.startswith("moving") and what.endswith("last.ckpt")
        fatal = self.left == 0 or unsaved or (what.startswith("moved") and what.endswith(FATAL))
        self.log.write(what + "\n" + "killed\n" * fatal)
        self.log.flush()
        if fatal:
            os.kill(os.getpid(), signal.SIGKILL)


def watch(steps: Steps) -> None:
    fetch, move = CaseDataset.__getitem__, Path.replace

    def fetched(self, index):
        if self.seed is not None:
            steps.take(f"sample {self.seed} {int(self.epoch)} {index}")
        return fetch(self, index)

    def moved(self, target):
        steps.take(f"moving {target}")
        answer = move(self, target)
        steps.take(f"moved {target}")
        return answer

    CaseDataset.__getitem__ = fetched
    Path.replace = moved


def run_child(home: Path, recipe: dict[str, object], steps: int) -> int:
    child = os.fork()
    if child == 0:
        watch(Steps(home / "log.txt", steps))
        cross_validate(parse_recipe(recipe, "tests"), home / "run", home / "run", lambda *_: None)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def main() -> None:
    home, recipe = Path(sys.argv[1]), json.loads(sys.argv[2])
    torch.set_num_threads(1)
    for kills in itertools.count():
        code = run_child(home, recipe, STEPS[kills % len(STEPS)])
        if code == 0:
            sys.stdout.write(str(kills))
            return
        if code != -signal.SIGKILL or kills > 100:
            sys.exit(f"a child ended with {code} after {kills} kills")


if __name__ == "__main__":
    main()
