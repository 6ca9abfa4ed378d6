"""Explain a trained run: score the maps of its cases, pool them over patients, and keep examples of every class."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from ranoscope import provenance, runs
from ranoscope.cohort.archive import ImagingArchive
from ranoscope.cohort.files import open_run_images
from ranoscope.config import ExplanationSettings, KeptMaps
from ranoscope.domain import RESPONSES
from ranoscope.errors import RanoscopeError, RunError
from ranoscope.explaining.cases import CalledCase, draw_cases, named_cases, read_called
from ranoscope.explaining.examples import write_example
from ranoscope.explaining.opened import OpenCase, open_case
from ranoscope.explaining.other import OtherRun
from ranoscope.explaining.outputs import Findings, write_findings
from ranoscope.explaining.randomising import COMPARED_COLUMNS, RANDOMISED_COLUMNS, compare_case, randomise_case
from ranoscope.explaining.record import (
    RECORD,
    ExplainedCase,
    Role,
    read_explanations,
    read_record,
    write_chosen,
)  # fmt: skip
from ranoscope.explaining.scores.pooling import COLUMNS, extremes
from ranoscope.explaining.scoring import score_case
from ranoscope.explaining.trained import TrainedFold, load_trained, trained_from
from ranoscope.learning.checkpoints import load_run_recipe
from ranoscope.learning.studies import open_run_store

_FORMAT = 4
_SCORED, _RANDOMISED, _COMPARED = "scored", "randomised", "compared"
Progress = Callable[[int, int, str], None]
Rows = list[dict[str, Any]]


def explain_run(
    run: Path,
    settings: ExplanationSettings,
    progress: Progress,
    names: tuple[str, ...] = (),
    against: Path | None = None,
) -> list[ExplainedCase]:
    """Explain cases with the network that never saw the patient; what is finished is not made again.

    First every chosen case is scored, one after another, so that a cohort needs no more memory than a case. Then the
    best, the median and the worst explained of every class are kept as examples, with maps (``MapFile``), a figure and
    a record in ``explanations/<patient>_<current>/``. Beside them stand the files that ``outputs`` lists.

    Args:
        run: a folder that ``ranoscope crossval`` finished.
        settings: which cases and methods, how maps are computed and judged.
        progress: told (done, total, what) at the start and after every step; classes without any case are told too.
        names: patients, or patient/visit, to explain instead of those the settings choose; all become examples.
        against: another run of the same cases, trained on permuted labels, say; the examples' maps are compared with
            those of its networks.

    Returns:
        The example cases, classes in the order PD, SD, PR, CR.

    Raises:
        RunError: no calls, no checkpoints or no store, they are not of one training, a name has no call,
            or ``against`` is not a run that takes the same images.
        StorageError: the disk is full or not writable; finished cases are kept.
    """
    called = read_called(run)
    chosen, absent = draw_cases(called, settings.cases_per_class, settings.seed)
    if names:
        chosen = named_cases(called, list(names))
    work = _Work(run, settings, progress, len(chosen))
    other = OtherRun(against, run) if against is not None else None
    progress(0, len(chosen), f"no case of {', '.join(absent)} in the calls" if absent else "cases to score")
    table = pd.DataFrame([row for entry in chosen for row in work.score(entry)], columns=list(COLUMNS))
    examples = _examples(table, chosen) if not names else {entry.folder_name: Role.ASKED_FOR for entry in chosen}
    kept = chosen if settings.maps is KeptMaps.ALL else [entry for entry in chosen if entry.folder_name in examples]
    write_chosen(run, list(examples), absent)
    shown = [entry for entry in kept if entry.folder_name in examples]
    work.total += len(kept) + len(shown) * ((settings.randomisation > 0) + (other is not None))
    for entry in kept:
        work.keep(entry, examples.get(entry.folder_name, Role.FURTHER))
    randomised = [row for entry in shown if settings.randomisation for row in work.randomise(entry)]
    compared = [row for entry in shown if other is not None for row in work.compare(entry, other)]
    findings = Findings(
        table,
        pd.DataFrame(randomised, columns=list(RANDOMISED_COLUMNS)),
        pd.DataFrame(compared, columns=list(COMPARED_COLUMNS)),
        absent,
        other.describe() if other is not None else None,
    )
    write_findings(run, findings, work.recipe, settings)
    inputs = {name: provenance.file_hash(run / name) for name in (runs.CALLS, runs.FOLDS)}
    if against is not None:
        inputs[f"other run's {runs.CALLS}"] = provenance.file_hash(against / runs.CALLS)
    provenance.record(run, "explain", settings.model_dump(mode="json"), inputs, work.recipe.folds.seeds[0])
    return read_explanations(run)


def _examples(table: pd.DataFrame, chosen: list[CalledCase]) -> dict[str, Role]:
    """Folder name → role of the best, the median and the worst case of each class."""
    names = {(entry.case.patient, str(entry.case.current)): entry.folder_name for entry in chosen}
    shown = extremes(table)
    return {names[name]: Role(role) for response in RESPONSES for role, name in shown[response]}


class _Work:
    """One run's explanation: what is loaded once, what is done, and how far it is."""

    def __init__(self, run: Path, settings: ExplanationSettings, progress: Progress, total: int) -> None:
        self.run, self.settings, self.progress = run, settings, progress
        self.recipe = load_run_recipe(run)
        self.store = open_run_store(run, self.recipe)
        self.done, self.total = 0, total
        self._trained: tuple[int, TrainedFold] | None = None
        self._archive = _images(run) if settings.native else None
        self._keys: dict[int, tuple[str, str | None]] = {}

    def score(self, entry: CalledCase) -> Rows:
        """The case's rows, from its file where that is of today's settings and weights."""
        content = self._once(entry, _SCORED, ("methods", "method", "perturbation", "seed"), score_case)
        self._step(f"{entry.case} scored")
        return [{**_names(entry), "response": str(entry.case.response), **row} for row in content]

    def keep(self, entry: CalledCase, role: Role) -> None:
        """Write the case's maps, figure and record unless they are there."""
        folder = self.run / runs.EXPLANATIONS / entry.folder_name
        key = self._key(entry, ("methods", "method", "native", "seed"), str(role))
        if not _is_finished(folder, key):
            write_example(folder, role, self._open(entry), key, self._archive)
        self._step(f"{entry.case} kept")

    def randomise(self, entry: CalledCase) -> Rows:
        """How alike the case's maps and those of ever more random networks are."""
        steps = self.settings.randomisation
        content = self._once(
            entry, _RANDOMISED, ("methods", "method", "randomisation", "seed"), lambda case: randomise_case(case, steps)
        )
        self._step(f"{entry.case} against random networks")
        return [{**_names(entry), **row} for row in content]

    def compare(self, entry: CalledCase, other: OtherRun) -> Rows:
        """How alike the case's maps and those of another training are; nothing where that did not call the case."""
        content: Rows = []
        if other.holds(entry):
            kind = " ".join(map(str, (_COMPARED, *other.trained_from(entry))))
            content = self._once(
                entry,
                _COMPARED,
                ("methods", "method", "seed"),
                lambda case: compare_case(case, other.subject(entry, self.store)),
                kind,
            )
        self._step(f"{entry.case} against another training")
        return [{**_names(entry), **row} for row in content]

    def _once(
        self,
        entry: CalledCase,
        kind: str,
        parts: tuple[str, ...],
        make: Callable[[OpenCase], Rows],
        made_from: str | None = None,
    ) -> Rows:
        """Rows from their file if that is of today's key; ``made_from``: what they depend on besides, if anything."""
        path = self.run / runs.EXPLANATIONS / kind / f"{entry.folder_name}.json"
        key = self._key(entry, parts, made_from or kind)
        found = _read_rows(path, key)
        if found is None:
            found = make(self._open(entry))
            runs.write_json(path, {"key": key, "rows": found})
        return found

    def _open(self, entry: CalledCase) -> OpenCase:
        if self._trained is None or self._trained[0] != entry.fold:
            self._trained = (entry.fold, load_trained(self.run, entry.seed, entry.fold))
        return open_case(entry, self._trained[1], self.store, self.settings)

    def _key(self, entry: CalledCase, parts: tuple[str, ...], kind: str) -> str:
        """Fingerprint of what a file is made from: fold, weights, call, settings, and this version of the format."""
        if entry.fold not in self._keys:
            self._keys[entry.fold] = trained_from(self.run, entry.seed, entry.fold)
        settings = self.settings.model_dump(mode="json", include=set(parts))
        content = [_FORMAT, kind, settings, *self._keys[entry.fold], str(entry.case), entry.call, entry.probabilities]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def _step(self, what: str) -> None:
        self.done += 1
        self.progress(self.done, self.total, what)


def _images(run: Path) -> ImagingArchive | None:
    """The scanner's images, where they still are."""
    try:
        return open_run_images(run)
    except RunError:
        return None


def _names(entry: CalledCase) -> dict[str, str]:
    return {"patient": entry.case.patient, "current": str(entry.case.current)}


def _read_rows(path: Path, key: str) -> Rows | None:
    """The rows of a file of this key; None where there is none, or another, or a damaged one."""
    try:
        content = runs.read_json(path, "ranoscope explain")
        rows: Rows = content["rows"]
        # JSON knows no NaN: undefined numbers were written as null.
        return (
            None
            if content["key"] != key
            else [{k: float("nan") if v is None else v for k, v in row.items()} for row in rows]
        )
    except (RanoscopeError, KeyError, TypeError):
        return None


def _is_finished(folder: Path, key: str) -> bool:
    """Whether the folder's record is of this key; a damaged record is not."""
    if not (folder / RECORD).is_file():
        return False
    try:
        return read_record(folder).key == key
    except RanoscopeError:
        return False
