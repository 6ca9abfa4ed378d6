"""What was measured of one scan, kept in files so that no scan is measured twice from the same inputs.

``parts/<scan>.npz`` holds the numbered lesions, ``parts/<scan>.json`` the measurements and the key of what they were
made from. The JSON is written last: a scan without it is not measured.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ranoscope import runs
from ranoscope.measuring.alignment import Alignment
from ranoscope.measuring.lesions import Chord, MeasuredLesion
from ranoscope.response.timeline import Compartment

PARTS = "parts"


@dataclass(frozen=True)
class MeasuredPart:
    """One compartment of one scan.

    ``labels``: int32 (i, j, k), cut to the box of its lesions, whose first voxel is ``corner`` of the whole mask.
    ``dropped_mm3``: volumes of the pieces too small for lesions.
    """

    labels: NDArray[np.int32]
    corner: tuple[int, int, int]
    lesions: tuple[MeasuredLesion, ...]
    dropped_mm3: tuple[float, ...]


@dataclass(frozen=True)
class MeasuredScan:
    """One scan. ``affine``, ``shape``: of the whole mask, axes R, A, S. ``findings``: on the labels' plausibility."""

    affine: NDArray[np.float64]
    shape: tuple[int, int, int]
    slice_axis: int
    slice_thickness_mm: float
    parts: Mapping[Compartment, MeasuredPart]
    findings: tuple[str, ...]

    def affine_of(self, compartment: Compartment) -> NDArray[np.float64]:
        """Voxel to world of that compartment's cut-out labels."""
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ np.array(self.parts[compartment].corner)
        return affine

    def slice_labels(self, compartment: Compartment, place: int) -> NDArray[np.int32]:
        """One whole slice (u, v) of a compartment's labels, the two in-plane axes in ascending order."""
        part = self.parts[compartment]
        plane = [axis for axis in range(3) if axis != self.slice_axis]
        whole = np.zeros([self.shape[axis] for axis in plane], dtype=np.int32)
        inside = place - part.corner[self.slice_axis]
        if 0 <= inside < part.labels.shape[self.slice_axis]:
            cut = np.moveaxis(part.labels, self.slice_axis, 0)[inside]
            u, v = (part.corner[axis] for axis in plane)
            whole[u : u + cut.shape[0], v : v + cut.shape[1]] = cut
        return whole


class PartStore:
    """Reads and writes parts of one output folder; whatever has another key, or cannot be read, is not there."""

    def __init__(self, out: Path) -> None:
        self._folder = out / PARTS

    def scan(self, name: str, key: str, make: Callable[[], MeasuredScan]) -> MeasuredScan:
        """The scan's measurements under this key, made and kept where they are not there."""
        found = self._read(f"{name}.json", key)
        arrays = self._folder / f"{name}.npz"
        if found is not None and arrays.is_file():
            return _scan_from(found, arrays)
        scan = make()
        payload = io.BytesIO()
        np.savez_compressed(payload, **{str(one): part.labels for one, part in scan.parts.items()})  # type: ignore[arg-type]
        (self._folder / f"{name}.json").unlink(missing_ok=True)
        runs.write_bytes(arrays, payload.getvalue())
        runs.write_json(self._folder / f"{name}.json", {"key": key, **_scan_content(scan)})
        return scan

    def alignment(self, name: str, key: str, make: Callable[[], Alignment]) -> Alignment:
        """The scan's alignment under this key, made and kept where it is not there."""
        found = self._read(f"{name}.alignment.json", key)
        if found is None:
            made = make()
            content = {"to_first": made.to_first.tolist(), "similarity_before": made.similarity_before,
                       "similarity_after": made.similarity_after, "note": made.note}  # fmt: skip
            runs.write_json(self._folder / f"{name}.alignment.json", {"key": key, **content})
            return made
        matrix = np.array(found["to_first"], dtype=np.float64)
        return Alignment(matrix, found["similarity_before"], found["similarity_after"], found["note"])

    def pictures(self, name: str, key: str) -> bool:
        """Whether the scan's pictures were drawn under this key."""
        return self._read(f"{name}.pictures.json", key) is not None

    def pictures_drawn(self, name: str, key: str) -> None:
        """Note that they were."""
        runs.write_json(self._folder / f"{name}.pictures.json", {"key": key})

    def _read(self, name: str, key: str) -> Any:
        try:
            content = json.loads((self._folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) and content.get("key") == key else None


def _scan_content(scan: MeasuredScan) -> dict[str, Any]:
    parts = {
        str(name): {
            "corner": list(part.corner),
            "dropped_mm3": list(part.dropped_mm3),
            "lesions": [_lesion_content(one) for one in part.lesions],
        }
        for name, part in scan.parts.items()
    }
    return {
        "affine": scan.affine.tolist(),
        "shape": list(scan.shape),
        "slice_axis": scan.slice_axis,
        "slice_thickness_mm": scan.slice_thickness_mm,
        "findings": list(scan.findings),
        "parts": parts,
    }


def _scan_from(content: dict[str, Any], arrays: Path) -> MeasuredScan:
    parts = {}
    with np.load(arrays, allow_pickle=False) as labels:
        for name, part in content["parts"].items():
            i, j, k = part["corner"]
            lesions = tuple(_lesion_from(one) for one in part["lesions"])
            parts[Compartment(name)] = MeasuredPart(labels[name], (i, j, k), lesions, tuple(part["dropped_mm3"]))
    i, j, k = content["shape"]
    affine = np.array(content["affine"], dtype=np.float64)
    thickness = content["slice_thickness_mm"]
    return MeasuredScan(affine, (i, j, k), content["slice_axis"], thickness, parts, tuple(content["findings"]))


def _lesion_content(lesion: MeasuredLesion) -> dict[str, Any]:
    chords = {"longest": lesion.longest, "perpendicular": lesion.perpendicular}
    plain = ("label", "voxels", "volume_mm3", "slice_index", "slices", "touches_edge")
    return {
        **{name: getattr(lesion, name) for name in plain},
        "centre_mm": lesion.centre_mm.tolist(),
        "why_not": list(lesion.why_not),
        **{name: [one.start_mm.tolist(), one.end_mm.tolist(), one.length_mm] for name, one in chords.items()},
    }


def _lesion_from(content: dict[str, Any]) -> MeasuredLesion:
    chords = {name: _chord_from(content[name]) for name in ("longest", "perpendicular")}
    others = {"centre_mm": np.array(content["centre_mm"]), "why_not": tuple(content["why_not"])}
    return MeasuredLesion(**{**content, **chords, **others})


def _chord_from(content: list[Any]) -> Chord:
    start, end, length = content
    return Chord(np.array(start), np.array(end), length)
