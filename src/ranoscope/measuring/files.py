"""What `ranoscope measure` writes: the timeline that the response engine reads, and tables that people read.

``lesions.csv`` has a row per lesion and scan, and one row named ``none`` for a measured scan without any. Slices count
from the patient's left, back or feet (arrays turned to R, A, S); positions are RAS world millimetres of the scan's own
mask. Bands hold 95 % of repeated measurements.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ranoscope import runs
from ranoscope.measuring.lesions import Chord, MeasuredLesion
from ranoscope.measuring.parts import MeasuredScan
from ranoscope.measuring.tracking import Event, TrackEvent, id_order
from ranoscope.measuring.visits import Note, VisitInput
from ranoscope.response.reading import TIMELINE
from ranoscope.response.repeatability import band_95
from ranoscope.response.timeline import Compartment, Lesion, Scan, Timeline

LESIONS = "lesions.csv"
EVENTS = "events.csv"
NOTES = "notes.csv"
NO_LESION = "none"
_END_COLUMNS = tuple(
    f"{chord}_{end}_{axis}_mm" for chord in ("longest", "perpendicular") for end in ("start", "end") for axis in "ras"
)
LESION_COLUMNS = (
    "patient", "scan", "day", "lesion", "compartment", "label", "volume_mm3", "volume_low_mm3", "volume_high_mm3",
    "longest_mm", "perpendicular_mm", "product_mm2", "product_low_mm2", "product_high_mm2", "slice", "slices",
    "slice_thickness_mm", "measurable", "why_not", "touches_edge", "centre_r_mm", "centre_a_mm", "centre_s_mm",
    *_END_COLUMNS,
)  # fmt: skip
EVENT_COLUMNS = (
    "patient", "scan", "day", "lesion", "compartment", "event", "from", "overlap_mm3", "overlap_share", "distance_mm",
    "volume_mm3",
)  # fmt: skip
NOTE_COLUMNS = ("patient", "scan", "kind", "note")
# Thousandths of a millimetre: far below what is measured, and free of the noise of the last digits.
_DIGITS = 3


@dataclass(frozen=True)
class FollowedScan:
    """A visit, what was measured of it (None: nothing), and per compartment label → identity."""

    visit: VisitInput
    measured: MeasuredScan | None
    ids: Mapping[Compartment, Mapping[int, str]]

    def lesions(self) -> Iterator[tuple[Compartment, str, MeasuredLesion]]:
        """Every lesion with its compartment and identity, as people count."""
        for compartment, part in (self.measured.parts if self.measured else {}).items():
            names = self.ids[compartment]
            for lesion in sorted(part.lesions, key=lambda one: id_order(names[one.label])):
                yield compartment, names[lesion.label], lesion


def make_timeline(patient: str, scans: Sequence[FollowedScan], idh_mutant: bool | None = None) -> Timeline:
    """The timeline for the response engine.

    A lesion that was seen before and is not there is listed with 0: gone, where no entry would be unknown. So is one
    that merged into another, whose size now holds it. A scan without a mask lists no lesions: unknown.
    """
    seen: dict[tuple[Compartment, str], None] = {}
    listed = []
    for scan in scans:
        visit, lesions = scan.visit, None
        if scan.measured is not None:
            there = {(part, name): _lesion(name, part, one, scan.measured) for part, name, one in scan.lesions()}
            gone = {key: _gone(key, scan.measured) for key in seen if key not in there}
            seen.update(dict.fromkeys(there))
            together = {**there, **gone}
            lesions = tuple(together[key] for key in sorted(together, key=lambda key: (key[0], id_order(key[1]))))
        listed.append(Scan(id=visit.scan, day=visit.day, surgery=visit.surgery, lesions=lesions))
    return Timeline(patient=patient, scans=tuple(listed), idh_mutant=idh_mutant)


def lesions_table(patient: str, scans: Sequence[FollowedScan]) -> pd.DataFrame:
    """Columns ``LESION_COLUMNS``."""
    rows: list[dict[str, Any]] = []
    for scan in (one for one in scans if one.measured is not None):
        head = {"patient": patient, "scan": scan.visit.scan, "day": scan.visit.day}
        thickness = scan.measured.slice_thickness_mm if scan.measured else None
        found = [
            head
            | {"lesion": name, "compartment": str(part), "slice_thickness_mm": thickness}
            | _row(lesion)
            for part, name, lesion in scan.lesions()
        ]  # fmt: skip
        rows += found or [head | {"lesion": NO_LESION}]
    table = pd.DataFrame(rows, columns=list(LESION_COLUMNS))
    return table.astype({"label": "Int64", "slice": "Int64", "slices": "Int64"})


def events_table(
    patient: str, scans: Sequence[FollowedScan], events: Mapping[Compartment, Sequence[TrackEvent]]
) -> pd.DataFrame:
    """Columns ``EVENT_COLUMNS``; ``scans``: those that were measured, as the events count them."""
    volumes = [{(part, name): lesion.volume_mm3 for part, name, lesion in scan.lesions()} for scan in scans]
    rows = [
        {
            "patient": patient, "scan": scans[one.scan].visit.scan, "day": scans[one.scan].visit.day,
            "lesion": one.id, "compartment": str(part), "event": str(one.event), "from": one.source,
            "overlap_mm3": round(one.overlap_mm3, _DIGITS), "overlap_share": round(one.share, _DIGITS),
            "distance_mm": None if one.distance_mm is None else round(one.distance_mm, _DIGITS),
            "volume_mm3": 0.0 if one.event is Event.VANISHED else round(volumes[one.scan][part, one.id], _DIGITS),
        }
        for part, of_part in events.items()
        for one in of_part
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=list(EVENT_COLUMNS))
    order = {scan.visit.scan: place for place, scan in enumerate(scans)}
    return table.sort_values("scan", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def notes_table(patient: str, notes: Sequence[Note]) -> pd.DataFrame:
    """Columns ``NOTE_COLUMNS``."""
    rows = [(patient, note.scan, str(note.kind), note.sentence) for note in notes]
    return pd.DataFrame(rows, columns=list(NOTE_COLUMNS))


def write_outputs(out: Path, timeline: Timeline, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write the tables and, last, the timeline; an older timeline is removed first, so that it never stands beside
    tables of other lesions.
    """
    (out / TIMELINE).unlink(missing_ok=True)
    for name, table in tables.items():
        runs.write_csv(out / name, table)
    runs.write_json(out / TIMELINE, timeline.model_dump(mode="json"))


def _lesion(name: str, compartment: Compartment, lesion: MeasuredLesion, scan: MeasuredScan) -> Lesion:
    return Lesion(
        id=name,
        compartment=compartment,
        longest_mm=round(lesion.longest.length_mm, _DIGITS),
        perpendicular_mm=round(lesion.perpendicular.length_mm, _DIGITS),
        volume_mm3=round(lesion.volume_mm3, _DIGITS),
        slices=lesion.slices,
        slice_thickness_mm=round(scan.slice_thickness_mm, _DIGITS),
        product_sd=round(lesion.product_sd, 6),
        volume_sd=round(lesion.volume_sd, 6),
    )


def _gone(key: tuple[Compartment, str], scan: MeasuredScan) -> Lesion:
    nothing: dict[str, Any] = dict.fromkeys(
        ("longest_mm", "perpendicular_mm", "volume_mm3", "product_sd", "volume_sd"), 0
    )
    thickness = round(scan.slice_thickness_mm, _DIGITS)
    return Lesion(id=key[1], compartment=key[0], slices=0, slice_thickness_mm=thickness, **nothing)


def _row(lesion: MeasuredLesion) -> dict[str, Any]:
    volume, product = lesion.volume_mm3, lesion.product_mm2
    volumes = (volume, *band_95(volume, lesion.volume_sd))
    products = (product, *band_95(product, lesion.product_sd))
    numbers = {
        **dict(zip(("volume_mm3", "volume_low_mm3", "volume_high_mm3"), volumes, strict=True)),
        **dict(zip(("product_mm2", "product_low_mm2", "product_high_mm2"), products, strict=True)),
        "longest_mm": lesion.longest.length_mm,
        "perpendicular_mm": lesion.perpendicular.length_mm,
        **{f"centre_{axis}_mm": float(value) for axis, value in zip("ras", lesion.centre_mm, strict=True)},
        **_ends("longest", lesion.longest),
        **_ends("perpendicular", lesion.perpendicular),
    }
    return {
        **{name: round(value, _DIGITS) for name, value in numbers.items()},
        "label": lesion.label,
        "slice": lesion.slice_index,
        "slices": lesion.slices,
        "measurable": "yes" if lesion.measurable else "no",
        "why_not": "; ".join(lesion.why_not),
        "touches_edge": "yes" if lesion.touches_edge else "no",
    }


def _ends(name: str, chord: Chord) -> dict[str, float]:
    ends = {"start": chord.start_mm, "end": chord.end_mm}
    return {
        f"{name}_{end}_{axis}_mm": float(value)
        for end, point in ends.items()
        for axis, value in zip("ras", point, strict=True)
    }
