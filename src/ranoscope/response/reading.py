"""A TIMELINE file → timelines: JSON as `ranoscope measure` writes it, or a table that a reader typed.

Format: docs/timeline.md.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ranoscope.errors import TableError, problem
from ranoscope.response.drafts import Draft, draft_patients
from ranoscope.response.series import validate
from ranoscope.response.spreadsheet import read_spreadsheet, rule
from ranoscope.response.timeline import Lesion, Scan, Sizes, Steroids, Timeline

TIMELINE = "timeline.json"
_TABLES = (".csv", ".tsv", ".txt")
# 2021-03-04, 4.3.2021 or 20210304 in a scan's name would reach every output.
_DATE = re.compile(r"(?<!\d)(?:\d{4}[-/._]\d{1,2}[-/._]\d{1,2}|\d{1,2}[-/._]\d{1,2}[-/._]\d{4}|(?:19|20)\d{6})(?!\d)")
_MODELS: dict[str, type[BaseModel]] = {"scans": Scan, "lesions": Lesion, "enhancing": Sizes, "nonenhancing": Sizes}
_SHOWN = 40


@dataclass(frozen=True)
class TimelineFile:
    """What a file holds: ``timelines`` that can be evaluated, patients that cannot with the reason, notes."""

    timelines: tuple[Timeline, ...]
    refused: dict[str, TableError] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_timelines(path: Path) -> tuple[Timeline, ...]:
    """Read every patient of a JSON file (one timeline or a list), of a folder that holds one, or of a CSV table.

    Raises:
        TableError: see ``read_timeline_file``; also if a single patient is refused.
    """
    found = read_timeline_file(path)
    if found.refused:
        raise TableError("\n".join(str(error) for error in found.refused.values()))
    return found.timelines


def read_timeline_file(path: Path) -> TimelineFile:
    """Read what can be read: a patient with a fault is refused and named, the others stand.

    Raises:
        TableError: no such file, no JSON or CSV, unknown columns, or no patient in it.
    """
    file = path / TIMELINE if path.is_dir() else path
    if not file.is_file():
        do = f"give a .json or .csv file, or a folder with {TIMELINE}"
        raise TableError(problem("a timeline", "no such file", str(file), do))
    notes = []
    if file.suffix.lower() in _TABLES:
        table = read_spreadsheet(file)
        drafts = draft_patients(table)
        if table.time in ("week", "scan"):
            notes.append("Times are known to the week: an interval may be up to 6 days longer or shorter.")
    else:
        drafts = _json_drafts(file)
    timelines, refused = [], {}
    for patient, draft in drafts.items():
        try:
            timelines.append(_timeline(draft, f"{file.name}, patient {patient}"))
        except TableError as error:
            refused[patient] = error
    return TimelineFile(tuple(timelines), refused, tuple(notes))


def timeline_schema() -> dict[str, Any]:
    """JSON Schema of one patient's timeline."""
    return Timeline.model_json_schema()


def _json_drafts(file: Path) -> dict[str, Draft]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        do = "export the timeline again"
        raise TableError(problem("JSON as UTF-8 text", str(error), file.name, do)) from error
    patients = content if isinstance(content, list) else [content]
    if not patients or not all(isinstance(one, dict) for one in patients):
        expected = "a timeline with `patient` and `scans`, or a list of them"
        raise TableError(problem(expected, "something else", file.name, "see docs/timeline.md"))
    drafts: dict[str, Draft] = {}
    for number, one in enumerate(patients, start=1):
        name = str(one.get("patient", f"number {number}"))
        if name in drafts:
            drafts[name].faults.append("the patient twice")
        drafts.setdefault(name, Draft(one))
    return drafts


def _timeline(draft: Draft, where: str) -> Timeline:
    """The draft as a timeline that every later step accepts."""
    faults = list(draft.faults)
    try:
        timeline = Timeline.model_validate(draft.content)
        faults += _contradictions(timeline, draft.places)
    except ValidationError as error:
        faults += [_sentence(dict(one), draft.content) for one in error.errors()]
    if faults:
        raise TableError(problem("a timeline", "; ".join(faults), where, "correct this patient"))
    validate(timeline)
    return timeline


def _contradictions(timeline: Timeline, places: Mapping[str, str]) -> Iterator[str]:
    """What a table or list says that cannot be; the order of scans here only where lines can be named."""
    for before, after in pairwise(timeline.scans):
        if places and after.day < before.day:
            named = [f"scan {one.id} of day {one.day} on {places[one.id]}" for one in (after, before)]
            yield f"{named[0]} after {named[1]} (put rows in order of time)"
    for scan in timeline.scans:
        if _DATE.search(scan.id):
            yield f"a date in the name of the scan {places.get(scan.id, f'of day {scan.day}')} (give it as `date`)"
        if scan.steroids is Steroids.NONE and scan.steroid_mg_per_day:
            where = f" on {places[scan.id]}" if places else ""
            yield f"no steroids and {scan.steroid_mg_per_day:g} mg of them a day at scan {scan.id}{where}"
        for lesion in scan.lesions or ():
            if lesion.longest_mm is not None and (lesion.perpendicular_mm or 0) > lesion.longest_mm:
                where = f" on {places[scan.id]}" if places else ""
                yield f"lesion {lesion.id} of scan {scan.id}{where} wider than long (swapped diameters?)"


def _sentence(error: dict[str, Any], content: dict[str, Any]) -> str:
    """A validation error as a value, its field and the scan and lesion it belongs to."""
    place: Any = content
    model: type[BaseModel] = Timeline
    whose = []
    for step in error["loc"][:-1]:
        model = _MODELS.get(step, model)
        place = place[step]
        if isinstance(step, int) and isinstance(place, dict):
            whose.append(f"{'lesion' if model is Lesion else 'scan'} {place.get('id', f'number {step + 1}')}")
    of = f" of {', '.join(whose)}" if whose else ""
    name = error["loc"][-1] if error["loc"] else ""
    if error["type"] == "missing":
        return f"no `{name}`{of}"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(name), list(model.model_fields), n=1)
        return f"the unknown `{name}`{of}" + (f" (nearest: `{near[0]}`)" if near else "")
    if isinstance(name, int):
        return rule(error["msg"])
    return f"`{str(error['input'])[:_SHOWN]}` for `{name}`{of} ({rule(error['msg'])})"
