"""The stage: a TIMELINE file → calls under one or several criteria sets, endpoints, trial tables and figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ranoscope import provenance, runs
from ranoscope.errors import RunError, TableError, problem
from ranoscope.response.calls import Evaluation
from ranoscope.response.cdisc import cdisc_tables
from ranoscope.response.criteria import Criteria
from ranoscope.response.endpoints import DEFAULT_SETTINGS, Endpoints, EndpointSettings, derive
from ranoscope.response.engine import evaluate
from ranoscope.response.figure import draw_timeline
from ranoscope.response.outputs import calls_table, comparison_table, endpoints_table, evaluation_content
from ranoscope.response.reading import TIMELINE, read_timeline_file
from ranoscope.response.targets import size_of
from ranoscope.response.timeline import Compartment, Measure, Timeline

Progress = Callable[[int, int, str], None]

COMMAND = "respond"
EVALUATION = "evaluation.json"
ENDPOINTS = "endpoints.csv"
COMPARISON = "comparison.csv"
CDISC = "cdisc"
STUDY = "STUDY"


@dataclass(frozen=True)
class Responses:
    """What was found, evaluation by evaluation; patients that could not be read, with the reason; notes."""

    evaluations: tuple[Evaluation, ...]
    endpoints: tuple[Endpoints, ...]
    refused: dict[str, str]
    notes: tuple[str, ...]


def respond(
    path: Path, criteria: tuple[Criteria, ...], measure: Measure, out: Path, progress: Progress, study: str = STUDY
) -> Responses:
    """Evaluate every patient under every criteria set and write what a trial needs of it.

    Writes ``calls.csv``, ``endpoints.csv``, with several criteria sets ``comparison.csv``, ``cdisc/<criteria>/`` with
    TU, TR and RS, ``figures/<patient>_<criteria>.svg``, ``settings.yaml``, ``provenance.json`` and, last,
    ``evaluation.json``. What an earlier call wrote there and this one does not is removed.

    Args:
        path: see ``read_timeline_file``.
        criteria: one or more, each name once.
        measure: area or volume.
        out: a folder of its own.
        progress: told (done, total, what) after every figure.
        study: STUDYID of the CDISC tables.

    Raises:
        TableError: the file cannot be read, or none of its patients.
        RunError: ``out`` is a run folder of another command.
        StorageError: the disk is full or not writable.
    """
    _check_folder(out)
    found = read_timeline_file(path)
    if not found.timelines:
        raise TableError("\n".join(map(str, found.refused.values())))
    settings = [_endpoint_settings(one) for one in criteria]
    evaluations = [[evaluate(timeline, one, measure) for one in criteria] for timeline in found.timelines]
    flat = tuple(one for under in evaluations for one in under)
    endpoints = tuple(derive(one, chosen) for under in evaluations for one, chosen in zip(under, settings, strict=True))
    notes = (*found.notes, *_unmeasured(found.timelines, measure), *_notes(evaluations))
    responses = Responses(flat, endpoints, {name: str(error) for name, error in found.refused.items()}, notes)

    _clear(out)
    chosen = {"criteria": [one.model_dump(mode="json") for one in criteria], "measure": str(measure), "study": study}
    file = path / TIMELINE if path.is_dir() else path
    provenance.record(out, COMMAND, chosen, {"timeline": provenance.file_hash(file)})
    _write_tables(responses, out)
    for place, one in enumerate(criteria):
        tables = cdisc_tables(found.timelines, [under[place] for under in evaluations], one, study)
        for name, table in tables.items():
            runs.write_csv(out / CDISC / _plain(one.name) / f"{name.lower()}.csv", table)
    _draw(found.timelines, evaluations, criteria, out / runs.FIGURES, progress)
    content = evaluation_content(flat, endpoints, criteria)
    runs.write_json(out / EVALUATION, {**content, "refused": responses.refused, "notes": list(notes)})
    return responses


def _endpoint_settings(criteria: Criteria) -> EndpointSettings:
    days = criteria.confirmation_days
    return DEFAULT_SETTINGS if days is None else EndpointSettings(confirmation_days=max(days, 1))


def _check_folder(out: Path) -> None:
    """Refuse a run folder of another command, whose calls.csv is something else."""
    others = _commands(out) - {COMMAND}
    if others:
        got = f"the output of `{'`, `'.join(sorted(others))}`"
        raise RunError(problem("a folder of its own", got, str(out), "choose another --out"))


def _commands(out: Path) -> set[str]:
    record = out / runs.PROVENANCE
    return set(runs.read_json(record, COMMAND)) if record.is_file() else set()


def _clear(out: Path) -> None:
    """Remove what an earlier call wrote, the file that says it was finished first."""
    if COMMAND in _commands(out):
        old = [out / EVALUATION, out / COMPARISON, *(out / runs.FIGURES).glob("*.svg"), *(out / CDISC).glob("*/*.csv")]
        for path in old:
            path.unlink(missing_ok=True)


def _notes(evaluations: Sequence[Sequence[Evaluation]]) -> list[str]:
    """Each patient's notes once, whatever the criteria."""
    told = [f"{one.patient}: {note}" for under in evaluations for one in under for note in one.notes]
    return list(dict.fromkeys(told))


def _unmeasured(timelines: Sequence[Timeline], measure: Measure) -> list[str]:
    """Patients of whom no size is known by this measure, and some by the other."""
    other = next(one for one in Measure if one is not measure)
    names = [one.patient for one in timelines if not _measured(one, measure) and _measured(one, other)]
    if not names:
        return []
    return [f"No {measure} is known of {', '.join(names)}, but {other}s are: `--measure {other}` uses them."]


def _measured(timeline: Timeline, measure: Measure) -> bool:
    sums = [scan.sizes(part).of(measure) for scan in timeline.scans for part in Compartment]
    lesions = [lesion for scan in timeline.scans for lesion in scan.lesions or ()]
    if not lesions and any(scan.lesions == () for scan in timeline.scans):
        return True
    return any(size is not None for size in (*sums, *(size_of(one, measure) for one in lesions)))


def _write_tables(responses: Responses, out: Path) -> None:
    runs.write_csv(out / runs.CALLS, calls_table(responses.evaluations))
    runs.write_csv(out / ENDPOINTS, endpoints_table(responses.endpoints))
    if len({one.criteria for one in responses.evaluations}) > 1:
        runs.write_csv(out / COMPARISON, comparison_table(responses.evaluations))


def _draw(
    timelines: Sequence[Timeline], evaluations: Sequence[Sequence[Evaluation]], criteria: Sequence[Criteria],
    folder: Path, progress: Progress,
) -> None:  # fmt: skip
    taken: set[str] = set()
    total = len(timelines) * len(criteria)
    for timeline, under in zip(timelines, evaluations, strict=True):
        for one, evaluation in zip(criteria, under, strict=True):
            name = _unused(f"{_plain(timeline.patient)}_{_plain(one.name)}", taken)
            runs.write_bytes(folder / f"{name}.svg", draw_timeline(timeline, one, evaluation))
            progress(len(taken), total, timeline.patient)


def _unused(stem: str, taken: set[str]) -> str:
    """A name that is not taken, also where capitals do not count; it is from now on."""
    number, name = 1, stem
    while name.lower() in taken:
        number += 1
        name = f"{stem}_{number}"
    taken.add(name.lower())
    return name


def _plain(patient: str) -> str:
    """A patient's name as part of a file name on any system."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", patient).strip("-")[:60] or "patient"
