"""Volumes from LUMIERE's own files: measured_volumes_in_mm3.json (through studies.csv) and the pyradiomics tables.

The pyradiomics table of DeepBraTumIA carries ``Necrosis`` and ``Contrast-enhancing`` exchanged: in all visits the JSON
agrees with the mask and the table does not. The names are swapped on reading, and the swap is checked against the JSON.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ranoscope.cohort.inventory import VOLUME_KEYS
from ranoscope.cohort.tables import Column, bad_values, find_table, read_lines
from ranoscope.domain import Segmenter, StudyKey, Visit
from ranoscope.errors import TableError, problem
from ranoscope.scoreboard.volumes import MeasuredVolumes

TABLES = {
    Segmenter.DEEPBRATUMIA: "LUMIERE-pyradiomics-deepbratumia-features.csv",
    Segmenter.HD_GLIO_AUTO: "LUMIERE-pyradiomics-hdglioauto-features.csv",
}
_SOURCES = {Segmenter.DEEPBRATUMIA: "deepbratumia", Segmenter.HD_GLIO_AUTO: "hdglio"}
# As the tables spell them, lower case → what the label is. The first two of DeepBraTumIA are exchanged there.
_LABELS = {
    Segmenter.DEEPBRATUMIA: {
        "necrosis": "enhancing",
        "contrast-enhancing": "necrosis_nonenhancing",
        "edema": "edema",
    },
    Segmenter.HD_GLIO_AUTO: {"non-enhancing": "nonenhancing", "contrast-enhancing": "enhancing"},
}
_COLUMNS = (
    Column("patient", ("Patient",)),
    Column("week", ("Time point", "Timepoint")),
    Column("label", ("Label name",)),
    Column("volume", ("original_shape_VoxelVolume", "original_shape_MeshVolume")),
)
_MISSING = frozenset({"", "na", "n/a", "n-a", "none", "nan"})
# JSON and voxel volume are the same count of 1 mm³ voxels; a mesh cuts corners.
_TOLERANCE_MM3, _TOLERANCE_SHARE = 0.5, 0.1
_AGREEING = 0.9


def read_download(root: Path | None, studies: pd.DataFrame) -> dict[str, MeasuredVolumes]:
    """Everything measured that a LUMIERE download holds, by origin; empty for tables alone.

    Args:
        root: the LUMIERE folder; None where the table of studies is all there is.
        studies: the cohort's table of studies; its volumes, as text, are those of the JSON files.

    Raises:
        TableError: a radiomics table lacks a column, holds an unknown label, or its label names are not those known.
    """
    parts = {"measured_volumes_in_mm3.json": _from_json(studies)}
    for tool, name in TABLES.items():
        path = None if root is None else find_table(root, name)
        if path is not None:
            parts[path.name] = read_radiomics(path, tool)
            if tool is Segmenter.DEEPBRATUMIA:
                _check_exchange(parts[path.name], parts["measured_volumes_in_mm3.json"], path.name)
    return {origin: part for origin, part in parts.items() if part.volumes}


def read_radiomics(path: Path, tool: Segmenter) -> MeasuredVolumes:
    """Volumes of one pyradiomics table, label names put right.

    A label that has no features in a study in which another label has some is empty there: 0 mm³. A study without any
    is unknown. The four sequences share one mask, so their volumes are the same; the median is taken.

    Raises:
        TableError: a column is missing, a label is unknown or a volume is negative or no number.
    """
    found: dict[StudyKey, dict[str, list[float]]] = {}
    faults = []
    for line in read_lines(path, _COLUMNS):
        visit, label = Visit.parse(line.cells["week"]), _LABELS[tool].get(line.cells["label"].casefold())
        text = line.cells["volume"]
        value = np.nan if text.casefold() in _MISSING else _number(text)
        if visit is None or label is None or value < 0:
            faults.append(f"`{line.cells['week']}`, `{line.cells['label']}`, `{text}` on line {line.number}")
            continue
        labels = found.setdefault(StudyKey(line.cells["patient"], visit), {})
        labels.setdefault(f"{_SOURCES[tool]}_{label}_mm3", []).append(value)
    if faults:
        expected = f"a week, a label among {', '.join(_LABELS[tool])} and a volume of 0 mm³ or more"
        raise bad_values(path.name, expected, faults[:20], "use the table as published")
    volumes = {}
    for key, labels in found.items():
        known = {name: [v for v in values if not np.isnan(v)] for name, values in labels.items()}
        if any(known.values()):
            volumes[key] = {name: float(np.median(values)) if values else 0.0 for name, values in known.items()}
    return MeasuredVolumes(volumes)


def _from_json(studies: pd.DataFrame) -> MeasuredVolumes:
    volumes: dict[StudyKey, dict[str, float]] = {}
    for row in studies.to_dict("records"):
        visit = Visit.parse(str(row["visit"]))
        known = {name: str(row[name]) for name in VOLUME_KEYS.values() if str(row[name]).casefold() not in _MISSING}
        values = {f"deepbratumia_{name}": float(text) for name, text in known.items()}
        if visit is not None and values:
            volumes[StudyKey(str(row["patient"]), visit)] = values
    return MeasuredVolumes(volumes)


def _check_exchange(radiomics: MeasuredVolumes, json: MeasuredVolumes, where: str) -> None:
    """Compare with the JSON wherever both are known; most studies must agree, or the names are not as we know them."""
    name = "deepbratumia_enhancing_mm3"
    both = [key for key in radiomics.volumes.keys() & json.volumes.keys() if name in json.volumes[key]]
    if not both:
        radiomics.notes.append(f"{where}: no JSON to check the exchanged label names against.")
        return
    table, truth = (np.array([part.volumes[key].get(name, np.nan) for key in both]) for part in (radiomics, json))
    agree = np.abs(table - truth) <= np.maximum(_TOLERANCE_MM3, _TOLERANCE_SHARE * truth)
    if agree.mean() < _AGREEING:
        raise TableError(
            problem(
                "label names `Necrosis` and `Contrast-enhancing` exchanged, as published",
                f"agreement of the swapped names with the JSON in {agree.mean():.0%} of {len(both)} studies",
                where,
                "use the table as published",
            )
        )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0
