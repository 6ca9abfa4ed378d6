"""All studies of all inputs, side by side: the first of every patient, then the later ones, which lie by it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Sequential
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import pandas as pd

from ranoscope import provenance, runs
from ranoscope.cohort import layout
from ranoscope.domain import Sequence, StudyKey
from ranoscope.errors import ImageError, RunError, problem
from ranoscope.preparing.inputs import Inputs, RawStudy
from ranoscope.preparing.quality import COLUMNS, Quality
from ranoscope.preparing.recognition import Override, recognise, rows
from ranoscope.preparing.recognition.explain import COLUMNS as SERIES_COLUMNS
from ranoscope.preparing.series import Series
from ranoscope.preparing.settings import PrepareSettings
from ranoscope.preparing.study import Task, read_quality
from ranoscope.preparing.workers import Workers

QUALITY, SERIES = "quality.csv", "series.csv"
_COMMAND = "prepare"
_FORMAT = 1
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Preparation:
    """``qualities``: a row per study, in order. ``resumed``: how many of them were there already."""

    qualities: tuple[Quality, ...]
    resumed: int

    @property
    def failed(self) -> tuple[Quality, ...]:
        """Rows of the studies that could not be prepared."""
        return tuple(one for one in self.qualities if one.status == "failed")


@dataclass(frozen=True)
class Plan:
    """A study that can be prepared: ``series`` says which is which."""

    key: StudyKey
    study: RawStudy
    series: Mapping[Sequence, Series]


@dataclass(frozen=True)
class Choice:
    """What was decided of the series of all studies. ``failed``: rows of those of which nothing could be decided."""

    plans: tuple[Plan, ...]
    failed: tuple[Quality, ...]
    table: pd.DataFrame


def choose_series(inputs: Inputs, override: Override | None) -> Choice:
    """Say of every series which sequence it is, or why none; headers alone are looked at.

    Where an input names its sequences they are believed. ``table``: a row per series, of SERIES.
    """
    plans: list[Plan] = []
    failed: list[Quality] = []
    table: list[dict[str, str]] = []
    for study in inputs.studies:
        key = StudyKey(study.patient, study.visit)
        try:
            series, told = _chosen(study, override)
        except ImageError as error:
            failed.append(_failed(key, str(error)))
            continue
        table += [{"patient": key.patient, "study": str(key.visit), **row} for row in told]
        if series:
            plans.append(Plan(key, study, series))
        else:
            failed.append(_failed(key, "none of its series is a T1, CT1, T2 or FLAIR; series.csv says why"))
    return Choice(tuple(plans), tuple(failed), pd.DataFrame(table, columns=["patient", "study", *SERIES_COLUMNS]))


def _chosen(study: RawStudy, override: Override | None) -> tuple[Mapping[Sequence, Series], list[dict[str, str]]]:
    if study.named:
        named = [
            dict.fromkeys(SERIES_COLUMNS, "") | {"name": one.where, "decision": str(s), "reasons": "named by the input"}
            for s, one in study.named.items()
        ]
        return study.named, named
    facts = [one.facts for one in study.series]
    recognition = recognise(facts, override, study.where)
    return {s: study.series[at] for s, at in recognition.chosen.items()}, rows(recognition, facts)


def _failed(key: StudyKey, why: str) -> Quality:
    return Quality(key.patient, str(key.visit), "failed", problems=why)


def prepare(choice: Choice, out: Path, settings: PrepareSettings, progress: Progress, workers: Workers) -> Preparation:
    """Prepare every study into ``out/Imaging``; one that cannot be prepared does not stop the others.

    What an earlier, interrupted call finished from the same series with the same settings is kept.

    Args:
        choice: what ``choose_series`` decided.
        out: folder to write, in LUMIERE's shape.
        settings: of every step.
        progress: told (done, total, what) after every study.
        workers: who does it.

    Raises:
        RunError: ``out`` was prepared with other settings.
        StorageError: the disk is full or not writable.
    """
    with runs.exclusive(out):
        _require_same_settings(out, settings)
        provenance.record(out, _COMMAND, settings.model_dump(mode="json"), {})
        runs.write_csv(out / SERIES, choice.table)
        ledger = _Ledger({(one.patient, one.study): one for one in choice.failed}, len(choice.plans), progress)
        patients = [list(plans) for _, plans in groupby(choice.plans, lambda plan: plan.key.patient)]
        while tasks := ledger.pending(patients, out, settings):
            for quality in workers(tasks):
                ledger.add(quality)
        runs.write_csv(out / QUALITY, pd.DataFrame([one.row() for one in ledger.sorted()], columns=list(COLUMNS)))
    return Preparation(ledger.sorted(), ledger.resumed)


class _Ledger:
    """What has become of which study, and which can be begun."""

    def __init__(self, done: dict[tuple[str, str], Quality], plans: int, progress: Progress) -> None:
        self._done = done
        self._total = plans + len(done)
        self._progress = progress
        self.resumed = 0
        progress(len(done), self._total, "studies")

    def add(self, quality: Quality) -> None:
        self._done[quality.patient, quality.study] = quality
        self._progress(len(self._done), self._total, f"{quality.patient} {quality.study}")

    def sorted(self) -> tuple[Quality, ...]:
        return tuple(self._done[key] for key in sorted(self._done))

    def pending(self, patients: Sequential[Sequential[Plan]], out: Path, settings: PrepareSettings) -> list[Task]:
        """Tasks that can run now: every patient's first study, and, once that is there, all others.

        The first is the earliest that could be prepared. What is finished already is noted instead.
        """
        tasks: list[Task] = []
        for plans in patients:
            first: Task | None = None
            for plan in plans:
                task = _task(plan, first, out, settings)
                known = self._known(task)
                if known is None:
                    tasks.append(task)
                    if first is None:
                        break
                elif first is None and known.status != "failed":
                    first = task
        return tasks

    def _known(self, task: Task) -> Quality | None:
        key = (task.key.patient, str(task.key.visit))
        if key not in self._done and (found := read_quality(task.folder, task.made_from)):
            self.resumed += 1
            self.add(found)
        return self._done.get(key)


def _task(plan: Plan, first: Task | None, out: Path, settings: PrepareSettings) -> Task:
    folder = out / layout.IMAGING / plan.key.patient / str(plan.key.visit)
    mask = plan.study.mask
    content = [
        _FORMAT, settings.model_dump(mode="json"), first.made_from if first else None,
        [[str(s), one.where, asdict(one.facts)] for s, one in sorted(plan.series.items())],
        None if mask is None else provenance.file_hash(mask.path),
    ]  # fmt: skip
    made_from = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return Task(plan.key, plan.series, mask, first.folder if first else None, folder, made_from, settings)


def _require_same_settings(out: Path, settings: PrepareSettings) -> None:
    path = out / runs.SETTINGS
    if not path.is_file():
        return
    known = (runs.read_yaml(path, f"ranoscope {_COMMAND}") or {}).get(_COMMAND)
    if known not in (None, settings.model_dump(mode="json")):
        do = "choose another folder, or give the settings it was prepared with"
        raise RunError(problem("a folder prepared with the same settings", "others", str(out), do))
