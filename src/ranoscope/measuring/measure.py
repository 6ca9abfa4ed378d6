"""The stage: one patient's masks → lesions, diameters, volumes and identities over time, as files and pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ranoscope import provenance, runs
from ranoscope.config import Settings
from ranoscope.errors import ImageError, RunError, problem
from ranoscope.measuring import files
from ranoscope.measuring.alignment import Alignment, Outlined, align, on_one_grid
from ranoscope.measuring.files import FollowedScan
from ranoscope.measuring.linking import TrackingSettings
from ranoscope.measuring.parts import MeasuredScan, PartStore
from ranoscope.measuring.pictures import LesionPicture, as_png, draw
from ranoscope.measuring.scan import LesionSettings, OpenedScan, fingerprint
from ranoscope.measuring.tracking import Tracks, track
from ranoscope.measuring.visits import Note, NoteKind, PatientScans, VisitInput, check_order
from ranoscope.preparing.registration import RegistrationSettings
from ranoscope.response.reading import TIMELINE
from ranoscope.response.timeline import Compartment, Timeline

COMMAND = "measure"
PICTURES = "pictures"
Progress = Callable[[int, int, str], None]
# Changes whenever the same inputs would be aligned, or drawn, otherwise.
_ALIGNMENT_FORMAT = 2
_PICTURE_FORMAT = 1
# L1, L2 …: enhancing lesions; N1, N2 …: non-enhancing ones.
_PREFIX = {Compartment.ENHANCING: "L", Compartment.NONENHANCING: "N"}
_WORDS = {Compartment.ENHANCING: "enhancing", Compartment.NONENHANCING: "non-enhancing"}
_STEPS_A_SCAN = 3


class MeasureSettings(Settings):
    """Settings of `ranoscope measure`. ``pictures``: whether one is drawn of every lesion."""

    lesions: LesionSettings = LesionSettings()
    alignment: RegistrationSettings = RegistrationSettings()
    tracking: TrackingSettings = TrackingSettings()
    pictures: bool = True


@dataclass(frozen=True)
class Measurement:
    """What came of it: the timeline as written, and what a reader should know."""

    timeline: Timeline
    notes: tuple[Note, ...]


def measure(scans: PatientScans, out: Path, settings: MeasureSettings, progress: Progress) -> Measurement:
    """Measure every scan, align the later ones to the first, follow the lesions and write it all to ``out``.

    Writes ``pictures/<scan>_<lesion>.png``, ``lesions.csv``, ``events.csv``, ``notes.csv``, ``settings.yaml``,
    ``provenance.json`` and, last, ``timeline.json``. Diameters and volumes are those of each scan's own mask; alignment
    serves identities alone. A scan measured before from the same files and settings is not measured again.

    Args:
        scans: from ``visits_of_folder``, ``visits_of_patient`` or ``visits_of_masks``.
        out: a folder of its own, one patient in it.
        settings: see each group.
        progress: told (done, total, what), three steps a scan.

    Raises:
        TableError: scans out of order, or two of one name.
        ImageError: no mask at all, a file that cannot be read, labels outside the convention, an image on another grid
            than its mask, or masks on different grids without images to align them by.
        RunError: ``out`` holds another patient, or the output of another command.
        StorageError: the disk is full or not writable; what was finished is kept.
    """
    notes = [*scans.notes, *check_order(scans)]
    _check_folder(out, scans.patient)
    store = PartStore(out)
    steps = _Steps(progress, _STEPS_A_SCAN * sum(one.mask is not None for one in scans.visits))
    looked = _look(scans, settings, store, steps)
    notes += [note for one in looked for note in _findings(one, settings.lesions.minimum_mm3)]
    tracks = _follow(looked, settings)
    followed = _join(scans, looked, tracks)
    _draw(scans, looked, followed, settings, (store, out / PICTURES, steps))
    timeline = files.make_timeline(scans.patient, followed, scans.idh_mutant)
    inputs = {f"{one.visit.scan} {role}": value for one in looked for role, value in one.hashes.items()}
    provenance.record(out, COMMAND, {"labels": str(scans.convention), **settings.model_dump(mode="json")}, inputs)
    measured = [one for one in followed if one.measured is not None]
    events = {compartment: of_part.events for compartment, of_part in tracks.items()}
    tables = {
        files.LESIONS: files.lesions_table(scans.patient, measured),
        files.EVENTS: files.events_table(scans.patient, measured, events),
        files.NOTES: files.notes_table(scans.patient, notes),
    }
    files.write_outputs(out, timeline, tables)
    return Measurement(timeline, tuple(notes))


@dataclass
class _Steps:
    """Counts what is done."""

    progress: Progress
    total: int
    done: int = 0

    def tell(self, what: str) -> None:
        self.done += 1
        self.progress(self.done, self.total, what)


@dataclass(frozen=True)
class _Looked:
    """One scan with a mask: its measurements, where it lies, and what they were made from."""

    visit: VisitInput
    measured: MeasuredScan
    alignment: Alignment
    hashes: dict[str, str]


def _check_folder(out: Path, patient: str) -> None:
    """Refuse a folder with another patient's timeline or another command's output."""
    record = out / runs.PROVENANCE
    others = set(runs.read_json(record, COMMAND)) - {COMMAND} if record.is_file() else set()
    if others:
        got = f"the output of `{'`, `'.join(sorted(others))}`"
        raise RunError(problem("a folder of its own", got, str(out), "choose another --out"))
    if (out / TIMELINE).is_file():
        content = runs.read_json(out / TIMELINE, COMMAND)
        known = content.get("patient") if isinstance(content, dict) else "something else"
        if known != patient:
            raise RunError(problem(f"a folder for {patient}", f"one of {known}", str(out), "choose another --out"))


def _open(scans: PatientScans) -> list[OpenedScan]:
    opened = [OpenedScan(one, one.mask, scans.convention) for one in scans.visits if one.mask is not None]
    if not opened:
        raise ImageError(problem("a mask", "none", scans.patient, "name a scan that has one"))
    return opened


def _look(scans: PatientScans, settings: MeasureSettings, store: PartStore, steps: _Steps) -> list[_Looked]:
    """Measure and align scan by scan; only the first scan's image stays in memory."""
    first, looked = _open(scans)[0], list[_Looked]()
    chosen = settings.lesions
    steps.progress(0, steps.total, "scans to measure")
    for current in _open(scans):
        name = current.visit.scan
        measured = store.scan(name, current.key(chosen), partial(current.measure, chosen))
        steps.tell(f"{name}: lesions")
        if looked:
            alignment = _align((first, looked[0].measured), (current, measured), settings.alignment, store)
        else:
            alignment = Alignment(np.eye(4))
        steps.tell(f"{name}: alignment")
        looked.append(_Looked(current.visit, measured, alignment, current.hashes))
    return looked


def _align(
    first: tuple[OpenedScan, MeasuredScan],
    later: tuple[OpenedScan, MeasuredScan],
    settings: RegistrationSettings,
    store: PartStore,
) -> Alignment:
    """By the images where both have one; otherwise masks of one grid are taken as aligned, and others refused."""
    one, other = first[0], later[0]
    images = [scan.hashes.get("image") for scan in (one, other)]
    if None not in images:
        key = fingerprint(_ALIGNMENT_FORMAT, images, settings.model_dump(mode="json"))
        return store.alignment(other.visit.scan, key, partial(_register, one, other, settings))
    if first[1].shape == later[1].shape and np.allclose(first[1].affine, later[1].affine, atol=1e-3):
        without = one.visit.scan if images[0] is None else other.visit.scan
        return Alignment(np.eye(4), note=f"no image of {without}: taken as aligned, since the masks share one grid")
    grids = [f"{'x'.join(map(str, scan.shape))} voxels" for _, scan in (first, later)]
    raise ImageError(
        problem(
            f"the grid of {one.visit.scan}, {grids[0]}, where there are no images to align by",
            f"another one, {grids[1]}",
            other.where,
            "give the CT1 image of every mask",
        )
    )


def _register(first: OpenedScan, later: OpenedScan, settings: RegistrationSettings) -> Alignment:
    assert first.image is not None
    assert later.image is not None
    return align(first.image, later.image, settings)


def _findings(one: _Looked, minimum_mm3: float) -> list[Note]:
    """What the scan's labels, small pieces and alignment ask to be told."""
    scan = one.visit.scan
    notes = [Note(scan, NoteKind.LABELS, sentence) for sentence in one.measured.findings]
    for compartment, part in one.measured.parts.items():
        if part.dropped_mm3:
            count, total = len(part.dropped_mm3), sum(part.dropped_mm3)
            pieces = f"{count} {_WORDS[compartment]} piece{'' if count == 1 else 's'} below {minimum_mm3:g} mm³"
            notes.append(Note(scan, NoteKind.PIECES, f"{pieces} ({total:.0f} mm³ in all) left out"))
    if one.alignment.note:
        notes.append(Note(scan, NoteKind.ALIGNMENT, one.alignment.note))
    return notes


def _follow(looked: Sequence[_Looked], settings: MeasureSettings) -> dict[Compartment, Tracks]:
    """Identities, each compartment for itself."""
    tracks = {}
    for compartment in settings.lesions.compartments:
        outlined = [
            Outlined(scan.parts[compartment].labels, scan.affine_of(compartment), one.alignment.to_first)
            for one in looked
            for scan in (one.measured,)
        ]
        arrays, edges_mm = on_one_grid(outlined)
        tracks[compartment] = track(arrays, edges_mm, settings.tracking, _PREFIX[compartment])
    return tracks


def _join(scans: PatientScans, looked: Sequence[_Looked], tracks: Mapping[Compartment, Tracks]) -> list[FollowedScan]:
    """Every visit in order, those without a mask too."""
    places = {one.visit.scan: place for place, one in enumerate(looked)}
    followed = []
    for visit in scans.visits:
        place = places.get(visit.scan)
        if place is None:
            followed.append(FollowedScan(visit, None, {}))
        else:
            ids = {compartment: of_part.ids[place] for compartment, of_part in tracks.items()}
            followed.append(FollowedScan(visit, looked[place].measured, ids))
    return followed


def _draw(
    scans: PatientScans,
    looked: Sequence[_Looked],
    followed: Sequence[FollowedScan],
    settings: MeasureSettings,
    where: tuple[PartStore, Path, _Steps],
) -> None:
    """A picture of every lesion of every scan; those of lesions that are no longer there are removed."""
    store, folder, steps = where
    by_scan = {one.visit.scan: one for one in followed}
    expected: set[Path] = set()
    for one, opened in zip(looked, _open(scans), strict=True):
        scan, name = by_scan[one.visit.scan], one.visit.scan
        if settings.pictures:
            paths = {identity: folder / f"{name}_{identity}.png" for _, identity, _ in scan.lesions()}
            expected.update(paths.values())
            ids = {str(part): [*names.items()] for part, names in scan.ids.items()}
            key = fingerprint(_PICTURE_FORMAT, opened.key(settings.lesions), scans.patient, ids)
            if not (store.pictures(name, key) and all(path.is_file() for path in paths.values())):
                _draw_scan(scans.patient, scan, opened, paths)
                store.pictures_drawn(name, key)
        steps.tell(f"{name}: pictures")
    for stale in set(folder.glob("*.png")) - expected:
        stale.unlink()


def _draw_scan(patient: str, scan: FollowedScan, opened: OpenedScan, paths: Mapping[str, Path]) -> None:
    measured = scan.measured
    assert measured is not None
    for compartment, identity, lesion in scan.lesions():
        picture = LesionPicture(
            patient, scan.visit.scan, identity, compartment, lesion,
            measured.slice_labels(compartment, lesion.slice_index), measured.affine, measured.slice_axis, opened.image,
        )  # fmt: skip
        runs.write_bytes(paths[identity], as_png(draw(picture)))
