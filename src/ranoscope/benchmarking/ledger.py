"""The ledger of a grid: what became of every cell, kept on disk after each, and shown as progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ranoscope import runs
from ranoscope.benchmarking.work import Job, Outcome

CELLS = "cells.json"
_TABLE = "cells.csv"
_COMMAND = "ranoscope benchmark"
WAITING, FINISHED, FAILED = "waiting", "finished", "failed"
Progress = Callable[[int, int, str], None]
Key = tuple[str, int, int]


@dataclass(frozen=True)
class Entry:
    """A cell: the arm whose training it is, others that share it, its run folder, and what became of it."""

    arm: str
    shared_with: tuple[str, ...]
    run: str
    seed: int
    fold: int
    epochs: int
    state: str = WAITING
    seconds: float | None = None
    attempts: int = 0
    message: str = ""

    @property
    def key(self) -> Key:
        """What names it: run folder, seed and fold."""
        return self.run, self.seed, self.fold


class Ledger:
    """Entries of all cells; ``cells.json`` and ``cells.csv`` follow every change of state."""

    def __init__(self, folder: Path, entries: list[Entry], progress: Progress) -> None:
        """Whatever an earlier call noted of the same cells is kept, failures apart, which are tried again."""
        self.folder = folder
        self.progress = progress
        known = _read(folder)
        self.entries = {entry.key: replace(entry, **known.get(entry.key, {})) for entry in entries}
        self._epochs = dict.fromkeys(self.entries, 0)

    def begin(self, keys: list[Key]) -> None:
        """Cells about to be run; all others that are not known as finished stay as they are."""
        for key in keys:
            self.entries[key] = replace(self.entries[key], state=WAITING, message="")
        self._write()

    def found_finished(self, key: Key) -> None:
        """A cell that an earlier call finished."""
        self.entries[key] = replace(self.entries[key], state=FINISHED, message="")
        self._epochs[key] = self.entries[key].epochs

    def failed(self, key: Key, message: str) -> None:
        """A cell that could not even begin."""
        self.entries[key] = replace(self.entries[key], state=FAILED, message=self._inside(message))
        self._epochs[key] = self.entries[key].epochs

    def unreadable(self, run: str, message: str) -> None:
        """A training whose cells were finished, but whose calls cannot be read."""
        for entry in self.of_run(run):
            self.failed(entry.key, message)
        self._write()

    def heard(self, job: Job, epoch: int, what: str) -> None:
        """An epoch of a job is done."""
        self._epochs[job.key] = max(self._epochs[job.key], min(epoch, self.entries[job.key].epochs))
        self._show(f"{job.title}, epoch {epoch}: {what}")

    def ended(self, job: Job, outcome: Outcome) -> None:
        """A job is finished or has failed."""
        entry = self.entries[job.key]
        self.entries[job.key] = replace(
            entry,
            state=FINISHED if outcome.finished else FAILED,
            seconds=round((entry.seconds or 0.0) + outcome.seconds, 1),
            attempts=entry.attempts + outcome.attempts,
            message=self._inside(outcome.message),
        )
        self._epochs[job.key] = entry.epochs
        self._write()
        self._show(f"{job.title}: {self.entries[job.key].state}")

    def of_run(self, run: str) -> list[Entry]:
        """The cells of one run folder."""
        return [entry for entry in self.entries.values() if entry.run == run]

    def rows(self) -> list[dict[str, Any]]:
        """All entries as they are in cells.json."""
        return [asdict(entry) for entry in self.entries.values()]

    def _inside(self, message: str) -> str:
        """A message with places named from the folder on: where it is on this machine is nobody else's concern."""
        return message.replace(f"{self.folder.resolve()}/", "").replace(f"{self.folder}/", "")

    def _show(self, what: str) -> None:
        total = sum(entry.epochs for entry in self.entries.values())
        self.progress(sum(self._epochs.values()), total, what)

    def _write(self) -> None:
        rows = self.rows()
        runs.write_json(self.folder / CELLS, rows)
        table = pd.DataFrame(rows).assign(shared_with=["; ".join(row["shared_with"]) for row in rows])
        runs.write_csv(self.folder / _TABLE, table)


def _read(folder: Path) -> dict[Key, dict[str, Any]]:
    """What an earlier call noted, by cell."""
    path = folder / CELLS
    rows = runs.read_json(path, _COMMAND) if path.is_file() else []
    kept = ("state", "seconds", "attempts", "message")
    return {(row["run"], row["seed"], row["fold"]): {name: row[name] for name in kept} for row in rows}
