"""Lesions of one patient's scans → identities that last: kept, new, vanished, merged, split, reappeared.

Which lesion continues which is decided in ``linking``. What is named there for the first time, though it came off a
known lesion, is a part of it and not new; and a lesion that returns to the place of one that is gone is that one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count

import numpy as np
from numpy.typing import NDArray

from ranoscope.measuring.linking import Frame, Placed, TrackingSettings, distance_mm, link

_PART_LETTERS = "bcdefghijklmnopqrstuvwxyz"


class Event(StrEnum):
    """What happened to a lesion at a scan.

    ``merged``: the lesion named under ``source`` is part of this one from now on. ``split``: this lesion came off the
    one named under ``source``; it is not new. ``reappeared``: it is back where it was last seen.
    """

    FIRST = "first"
    KEPT = "kept"
    NEW = "new"
    VANISHED = "vanished"
    MERGED = "merged"
    SPLIT = "split"
    REAPPEARED = "reappeared"


@dataclass(frozen=True)
class TrackEvent:
    """One event.

    ``scan``: index of the scan. ``source``: id of the lesion it came from; None where it came from none.
    ``overlap_mm3`` with it, ``share``: the same over the smaller volume; ``distance_mm`` between both centres.
    """

    scan: int
    id: str
    event: Event
    source: str | None = None
    overlap_mm3: float = 0.0
    share: float = 0.0
    distance_mm: float | None = None


@dataclass(frozen=True)
class Tracks:
    """``ids``: per scan, label → identity. ``events``: by scan, then by identity."""

    ids: tuple[dict[int, str], ...]
    events: tuple[TrackEvent, ...]


def track(
    scans: Sequence[NDArray[np.integer]],
    spacing_mm: Sequence[float],
    settings: TrackingSettings,
    prefix: str = "L",
) -> Tracks:
    """Follow the lesions of one patient.

    Args:
        scans: label arrays (i, j, k) in time order, 0 background, all on one grid after alignment. The numbers of the
            labels carry no meaning: any other numbering of a scan's lesions gets the same identities.
        spacing_mm: voxel edges along i, j, k.
        settings: when two lesions are one.
        prefix: of the identities. ``L1`` is the first scan's largest lesion; a part that splits off ``L1`` is ``L1b``.

    Raises:
        ValueError: label arrays of different shapes.
    """
    if len({labels.shape for labels in scans}) > 1:
        raise ValueError("Expected label arrays of one shape: align the scans first.")
    tracker = _Tracker(settings, prefix)
    ids = []
    for place, labels in enumerate(scans):
        now = Frame.of(np.asarray(labels), np.asarray(spacing_mm, dtype=np.float64))
        ids.append(tracker.advance(place, now))
    return Tracks(tuple(ids), tuple(sorted(tracker.events, key=lambda one: (one.scan, *id_order(one.id), one.event))))


def id_order(name: str) -> tuple[str, int, str]:
    """Sorting key of identities: L2 before L10, L1 before L1b before L2."""
    match = re.match(r"(\D*)(\d*)(.*)", name)
    assert match is not None
    return match[1], int(match[2] or 0), match[3]


@dataclass
class _Step:
    """One scan on its way: ``named``: identity → lesion; ``parents``: column of a piece → what it came off."""

    place: int
    frame: Frame
    named: dict[str, Placed] = field(default_factory=dict)
    parents: dict[int, str] = field(default_factory=dict)

    @property
    def unnamed(self) -> list[Placed]:
        """Lesions without an identity, largest first."""
        taken = {one.column for one in self.named.values()}
        return [one for one in self.frame.lesions if one.column not in taken]


@dataclass
class _Tracker:
    """``living``: lesions of the scan before; ``gone``: those that vanished or merged, as last seen."""

    settings: TrackingSettings
    prefix: str
    living: dict[str, Placed] = field(default_factory=dict)
    gone: dict[str, Placed] = field(default_factory=dict)
    events: list[TrackEvent] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def advance(self, place: int, frame: Frame) -> dict[int, str]:
        """Name the lesions of the next scan; label → identity."""
        step = _Step(place, frame)
        linked = self._continue(step, self.living, Event.KEPT)
        self._continue(step, self.gone, Event.REAPPEARED)
        for lesion in step.unnamed:
            self._begin(step, lesion)
        for name in self.living.keys() - linked:
            self.events.append(TrackEvent(place, name, Event.VANISHED))
        self.gone = {name: one for name, one in {**self.gone, **self.living}.items() if name not in step.named}
        self.living = step.named
        return {one.label: name for name, one in step.named.items()}

    def _continue(self, step: _Step, earlier: Mapping[str, Placed], event: Event) -> set[str]:
        """Give ids to what continues earlier lesions; returns the ids of all earlier lesions that are in it.

        The largest ancestor's id lives on in the largest piece; the other pieces are noted with their parent.
        """
        linked: set[str] = set()
        for star in link(earlier, step.unnamed, step.frame, self.settings):
            heir, *merged = star.before
            body, *pieces = star.now
            step.named[heir] = body
            for piece in pieces:
                step.parents.setdefault(piece.column, heir)
            self._record(step, (heir, event, heir), earlier[heir], body)
            for other in merged:
                self._record(step, (heir, Event.MERGED, other), earlier[other], body)
            linked.update(star.before)
        return linked

    def _begin(self, step: _Step, lesion: Placed) -> None:
        """A lesion that continues none: a piece of one, or new."""
        parent = step.parents.get(lesion.column)
        name = self._first_unused(_part_names(parent) if parent else (f"{self.prefix}{n}" for n in count(1)))
        step.named[name] = lesion
        if parent:
            earlier = {**self.gone, **self.living}[parent]
            self._record(step, (name, Event.SPLIT, parent), earlier, lesion)
        else:
            self.events.append(TrackEvent(step.place, name, Event.NEW if step.place else Event.FIRST))

    def _record(self, step: _Step, what: tuple[str, Event, str], earlier: Placed, later: Placed) -> None:
        overlap = float(step.frame.overlap_mm3(earlier)[later.column])
        share = overlap / min(earlier.volume_mm3, later.volume_mm3)
        self.events.append(TrackEvent(step.place, *what, overlap, share, distance_mm(earlier, later)))

    def _first_unused(self, names: Iterable[str]) -> str:
        name = next(name for name in names if name not in self.used)
        self.used.add(name)
        return name


def _part_names(parent: str) -> Iterator[str]:
    """``L1`` → ``L1b``, ``L1c`` …; behind ``L1z`` follow ``L1zb``, ``L1zc`` …"""
    return (parent + "z" * more + letter for more in count() for letter in _PART_LETTERS)
