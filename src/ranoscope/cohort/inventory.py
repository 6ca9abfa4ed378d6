"""What each visit holds: from the files on disk, else from the completeness table, else unknown."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from ranoscope.cohort import layout
from ranoscope.cohort.archive import ImagingArchive
from ranoscope.cohort.lumiere import Marks
from ranoscope.domain import SEQUENCES, Segmenter, Sequence, StudyKey
from ranoscope.errors import ImageError, problem

# The JSON's keys → our columns. Source: LUMIERE; the values equal voxel counts of seg_mask in 599 of 599 visits.
VOLUME_KEYS = {
    "Enhancing_Core": "enhancing_mm3",
    "Necrotic_NonEnhancing": "necrosis_nonenhancing_mm3",
    "Edema_Compartment": "edema_mm3",
}


@dataclass(frozen=True)
class Holding:
    """One visit's holding. ``atlas``: sequences with an atlas-space volume; ``volumes``: mm³ by column, or empty."""

    sequences: frozenset[Sequence] = frozenset()
    atlas: frozenset[Sequence] = frozenset()
    segmenters: frozenset[Segmenter] = frozenset()
    volumes: dict[str, float] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether the visit has no image at all."""
        return not self.sequences


@dataclass(frozen=True)
class Inventory:
    """All visits' holdings. ``from_disk`` is False with tables alone; ``is_known`` is False without completeness too.

    ``differences``: where the completeness table and the disk disagree, a sentence per visit.
    """

    holdings: dict[StudyKey, Holding]
    from_disk: bool
    is_known: bool
    differences: list[str]
    warnings: list[str]

    def get(self, key: StudyKey) -> Holding:
        """A visit's holding; an empty one where nothing is known of it."""
        return self.holdings.get(key, Holding())

    def is_usable(self, key: StudyKey, required: Iterable[Sequence]) -> bool:
        """Whether all required atlas volumes are there; always, where presence is unknown."""
        return not self.is_known or set(required) <= self.get(key).atlas


def take_inventory(archive: ImagingArchive | None, completeness: dict[StudyKey, Marks] | None) -> Inventory:
    """Trust the files for presence and the completeness table as a cross-check; without files, trust the table."""
    if archive is None:
        marks = completeness or {}
        holdings = {key: _from_marks(mark) for key, mark in marks.items()}
        return Inventory(holdings, from_disk=False, is_known=completeness is not None, differences=[], warnings=[])
    warnings: list[str] = []
    holdings = {key: _from_files(archive, key, warnings) for key in archive.studies()}
    differences = [] if completeness is None else _differences(holdings, completeness)
    return Inventory(holdings, from_disk=True, is_known=True, differences=differences, warnings=warnings)


def read_volumes(archive: ImagingArchive, key: StudyKey) -> dict[str, float]:
    """Tissue volumes of one visit in mm³ by column name, as DeepBraTumIA measured them.

    Raises:
        ImageError: the JSON is unreadable, lacks a compartment or holds what is no volume.
    """
    payload = archive.read(key, layout.VOLUMES_JSON)
    where = archive.where(key, layout.VOLUMES_JSON)
    try:
        content = json.loads(payload)
        volumes = {column: float(content[name]) for name, column in VOLUME_KEYS.items()}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        got = f"{type(error).__name__} ({error})"
        raise ImageError(problem(f"JSON with {', '.join(VOLUME_KEYS)}", got, where, "restore the file")) from error
    wrong = [f"{name} {volume}" for name, volume in volumes.items() if not (math.isfinite(volume) and volume >= 0)]
    if wrong:
        raise ImageError(problem("volumes of 0 mm³ or more", ", ".join(wrong), where, "restore the file"))
    return volumes


def _from_marks(marks: Marks) -> Holding:
    segmented = Segmenter.DEEPBRATUMIA in marks.segmenters
    return Holding(marks.sequences, marks.sequences if segmented else frozenset(), marks.segmenters)


def _from_files(archive: ImagingArchive, key: StudyKey, warnings: list[str]) -> Holding:
    names = archive.names(key)
    atlas = frozenset(sequence for sequence in SEQUENCES if layout.atlas_file(sequence) in names)
    masks = {Segmenter.DEEPBRATUMIA: layout.ATLAS_MASK, Segmenter.HD_GLIO_AUTO: layout.HDGLIO_MASK}
    volumes: dict[str, float] = {}
    if layout.VOLUMES_JSON in names:
        try:
            volumes = read_volumes(archive, key)
        except ImageError as error:
            warnings.append(f"{error} Its volumes stay unknown.")
    elif layout.ATLAS_MASK in names:
        warnings.append(f"{archive.where(key, layout.VOLUMES_JSON)} is absent: its volumes stay unknown.")
    return Holding(
        sequences=atlas | {sequence for sequence in SEQUENCES if layout.sequence_file(sequence) in names},
        atlas=atlas,
        segmenters=frozenset(tool for tool, mask in masks.items() if mask in names),
        volumes=volumes,
    )


def _differences(holdings: dict[StudyKey, Holding], completeness: dict[StudyKey, Marks]) -> list[str]:
    nothing = Marks(frozenset(), frozenset())
    sentences = []
    for key in sorted(holdings.keys() | completeness.keys()):
        holding, marks = holdings.get(key, Holding()), completeness.get(key, nothing)
        on_disk = [*_in_order(holding.sequences), *_in_order(holding.segmenters)]
        marked = [*_in_order(marks.sequences), *_in_order(marks.segmenters)]
        lost = [name for name in marked if name not in on_disk]
        extra = [name for name in on_disk if name not in marked]
        parts = [f"marked but not on disk: {', '.join(lost)}"] if lost else []
        parts += [f"on disk but not marked: {', '.join(extra)}"] if extra else []
        if parts:
            sentences.append(f"{key} differs from {layout.COMPLETENESS}: {'; '.join(parts)}.")
    return sentences


def _in_order(members: Iterable[Sequence] | Iterable[Segmenter]) -> list[str]:
    order: list[str] = [*SEQUENCES, *Segmenter]
    return sorted(members, key=order.index)
