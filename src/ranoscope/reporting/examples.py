"""One explained case as the page shows it: figure, words, and the volumes behind the slice viewer."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ranoscope.config import Recipe
from ranoscope.domain import SEQUENCES, StudyKey, Visit
from ranoscope.errors import RunError, problem
from ranoscope.explaining.methods import METHODS
from ranoscope.explaining.record import ExplainedCase, MapFile
from ranoscope.imaging.nifti import decode
from ranoscope.learning.studies import open_run_store
from ranoscope.reporting.viewer import viewer_payload


def describe_example(run: Path, recipe: Recipe, entry: ExplainedCase) -> dict[str, Any]:
    """Everything the template needs of one case; images as data, so that the page stands alone.

    Raises:
        RunError: a map is no longer on the grid of the run's store.
        ImageError: a map cannot be read.
    """
    store = open_run_store(run, recipe)
    prior, current = (store[_key(entry.patient, visit)] for visit in (entry.prior, entry.current))
    sequences = tuple(sequence for sequence in SEQUENCES if sequence in recipe.sequences)
    maps = _maps(entry, prior.brain.shape)
    verdict = "called correctly" if entry.explained == (entry.call,) else f"called {entry.call}"
    certainty = ", ".join(f"{name} {100 * value:.0f} %" for name, value in entry.probabilities.items())
    return {
        "response": str(entry.response),
        "title": f"{entry.patient}, {entry.prior} → {entry.current}: expert {entry.response}, {verdict} ({certainty})",
        "prior": entry.prior,
        "current": entry.current,
        "figure": _data_url(entry.folder / entry.figure),
        "role": str(entry.role),
        "alt": f"{entry.patient}: prior and current {entry.shown_sequence} with a map per method on one axial slice",
        "caption": " ".join((f"Slice chosen by rule: {entry.slice_because}.", *entry.sentences)),
        "sequences": [str(sequence) for sequence in sequences],
        "maps": list(maps),
        "payload": viewer_payload(prior, current, sequences, maps),
    }


def _key(patient: str, visit: str) -> StudyKey:
    parsed = Visit.parse(visit)
    if parsed is None:
        raise RunError(problem("week-NNN", visit, f"the explanations of {patient}", "run `ranoscope explain` again"))
    return StudyKey(patient, parsed)


def _maps(entry: ExplainedCase, shape: tuple[int, ...]) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Title → study → map, cut at the top of the figure's colour scale. A map of both studies together is shown on
    each of them.
    """
    maps: dict[str, dict[str, NDArray[np.float32]]] = {}
    for record in entry.maps:
        role = "called" if record.response is entry.call else "expert's"
        title = f"{METHODS[record.method].title} for {record.response} ({role})"
        studies = ("prior", "current") if record.study is None else (record.study,)
        data = _read(entry.folder, record, shape)
        maps.setdefault(title, {}).update(dict.fromkeys(studies, data))
    return maps


def _read(folder: Path, record: MapFile, shape: tuple[int, ...]) -> NDArray[np.float32]:
    path = folder / record.file
    if not path.is_file():
        raise RunError(problem(f"the map {record.file}", "none", str(folder), "run `ranoscope explain` again"))
    data = decode(path.read_bytes(), str(path)).data
    if data.shape != shape:
        raise RunError(problem(f"a map of shape {shape}", f"{data.shape}", str(path), "run `ranoscope explain` again"))
    return np.clip(data, 0, record.shown_up_to)


def _data_url(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
