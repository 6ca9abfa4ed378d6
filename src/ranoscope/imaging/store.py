"""The store: atlas-space studies cropped, normalised and memory-mapped, each keyed by what went into it.

Layout: ``STORE/<settings key>/<patient>/<visit>/{volumes.npy, masks.npy, study.json}``. ``study.json`` is written last:
a study without it is not there. It holds the fingerprints of the files it was made from; when they change the study is
made again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy import ndimage

from ranoscope import runs
from ranoscope.config import GridSettings
from ranoscope.domain import SEQUENCES, Segmenter, Sequence, StudyKey, Tissue
from ranoscope.errors import ImageError, RanoscopeError, RunError, problem
from ranoscope.imaging.grid import Grid
from ranoscope.imaging.nifti import Volume, decode, decode_labels, require_measured_volumes, require_same_grid

_FORMAT = 4
Progress = Callable[[int, int, str], None]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class SourceFile:
    """One file of a study: where it is (for messages), a cheap fingerprint of its content, and how to read it."""

    where: str
    fingerprint: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class StudySource:
    """The atlas-space files one study is made from; all on one grid."""

    key: StudyKey
    volumes: Mapping[Sequence, SourceFile]
    brain: SourceFile
    tumour: SourceFile
    measured_volumes: SourceFile

    def fingerprint(self) -> str:
        """SHA-256 over the fingerprints of all files."""
        files = [*self.volumes.items(), ("brain", self.brain), ("tumour", self.tumour)]
        files.append(("measured", self.measured_volumes))
        text = json.dumps([[str(name), file.where, file.fingerprint] for name, file in files])
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class AlignedStudy:
    """One study on the common grid, axes i, j, k towards Right, Anterior, Superior.

    ``volumes``: float16 (sequence, i, j, k), z-scored inside the brain, 0 outside; ``brain``: bool (i, j, k);
    ``tumour``: uint8 (i, j, k) of ``Tissue``; ``affine``: voxel to RAS world, mm; ``brain_box``: the smallest box that
    holds the brain; ``content``: SHA-256 of the volumes, empty where unknown; ``tumour_mm3``: volumes of enhancing and
    of whole tumour by the mask as it was drawn, not as it is on this grid, NaN where unknown.
    """

    key: StudyKey
    sequences: tuple[Sequence, ...]
    volumes: NDArray[np.float16]
    brain: NDArray[np.bool_]
    tumour: NDArray[np.uint8]
    affine: NDArray[np.float64]
    brain_box: Box
    content: str = ""
    tumour_mm3: tuple[float, float] = (math.nan, math.nan)

    def volume(self, sequence: Sequence) -> NDArray[np.float16]:
        """One sequence, (i, j, k), without a copy.

        Raises:
            ImageError: the sequence is not among those of the study.
        """
        self._require((sequence,))
        view: NDArray[np.float16] = self.volumes[self.sequences.index(sequence)]
        return view

    def channels(self, sequences: tuple[Sequence, ...]) -> NDArray[np.float16]:
        """The volumes of these sequences in this order, (sequence, i, j, k).

        Raises:
            ImageError: a sequence is not among those of the study.
        """
        self._require(sequences)
        if sequences == self.sequences:
            return self.volumes
        return self.volumes[[self.sequences.index(sequence) for sequence in sequences]]

    def _require(self, sequences: tuple[Sequence, ...]) -> None:
        missing = [sequence for sequence in sequences if sequence not in self.sequences]
        if missing:
            raise ImageError(
                problem(
                    f"the sequence{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
                    ", ".join(self.sequences),
                    str(self.key),
                    "leave the sequence out of the recipe or the visit out of the cohort",
                )
            )


class StudyStore:
    """Read access to finished studies under one key of settings; arrays stay memory-mapped."""

    def __init__(self, folder: Path, grid: GridSettings) -> None:
        self.folder = folder / settings_key(grid)

    def __getitem__(self, key: StudyKey) -> AlignedStudy:
        """Open one study.

        Raises:
            RunError: the study was never finished in this store.
        """
        return _open(self.folder / key.patient / str(key.visit), key)

    def __contains__(self, key: StudyKey) -> bool:
        return (self.folder / key.patient / str(key.visit) / "study.json").is_file()


def settings_key(grid: GridSettings) -> str:
    """Name of the sub-folder for these grid settings and this version of the format (12 hex digits)."""
    text = json.dumps([_FORMAT, grid.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def build_store(
    folder: Path, sources: list[StudySource], grid: GridSettings, progress: Progress, workers: int = 1
) -> dict[StudyKey, str]:
    """Bring every study that is not yet in the store into it, ``workers`` side by side.

    A study that cannot be read does not stop the others.

    Returns:
        The studies that could not be read, each with its message.
    """
    target = folder / settings_key(grid)
    waiting = [source for source in sources if not _is_current(target, source)]
    done = len(sources) - len(waiting)
    progress(done, len(sources), "aligned studies")
    failures: dict[StudyKey, str] = {}
    for key, message in _build_all(target, waiting, grid, workers):
        done += 1
        if message is not None:
            failures[key] = message
        progress(done, len(sources), str(key))
    _open.cache_clear()
    return failures


def _build_all(
    target: Path, sources: list[StudySource], grid: GridSettings, workers: int
) -> Iterator[tuple[StudyKey, str | None]]:
    if workers <= 1 or len(sources) < 2 * workers:
        yield from (_build_one(target, source, grid) for source in sources)
        return
    tasks = (delayed(_build_one)(target, source, grid) for source in sources)
    yield from Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch=2 * workers)(tasks)


def _build_one(target: Path, source: StudySource, settings: GridSettings) -> tuple[StudyKey, str | None]:
    """Make one study; a StorageError stops everything, an ImageError is the study's own and is returned."""
    try:
        _write_study(target / source.key.patient / str(source.key.visit), source, settings)
    except ImageError as error:
        return source.key, str(error)
    return source.key, None


def _write_study(folder: Path, source: StudySource, settings: GridSettings) -> None:
    brain = decode(source.brain.read(), source.brain.where)
    labels, mask = decode_labels(source.tumour.read(), source.tumour.where, Segmenter.DEEPBRATUMIA)
    require_same_grid(mask, brain)
    require_measured_volumes(
        labels, mask.voxel_volume_mm3, source.measured_volumes.read(), source.measured_volumes.where
    )
    grid = Grid.around_brain(settings, brain)
    inside = brain.data > 0.5
    if not inside.any():
        raise ImageError(problem("a brain", "an empty brain mask", brain.where, "check the mask"))
    kept = grid.bring(brain.data, brain, labels=True) > 0.5
    if not kept.any():
        do = "set grid.centre_mm and grid.box_mm of the recipe to hold it"
        raise ImageError(problem("the brain inside the recipe's box", "all of it outside", brain.where, do))
    sequences = tuple(sequence for sequence in SEQUENCES if sequence in source.volumes)
    volumes = np.zeros((len(sequences), *grid.shape), dtype=np.float16)
    for index, sequence in enumerate(sequences):
        file = source.volumes[sequence]
        volume = decode(file.read(), file.where)
        require_same_grid(volume, brain)
        volumes[index] = np.where(kept, grid.bring(_standardise(volume, inside), brain), 0)
    tumour = grid.bring(labels.astype(np.float32), brain, labels=True).astype(np.uint8)
    _save(folder / "volumes.npy", volumes)
    _save(folder / "masks.npy", np.stack([kept.astype(np.uint8), tumour]))
    about = {
        "made_from": source.fingerprint(),
        "content": hashlib.sha256(volumes.data).hexdigest(),
        "sequences": list(sequences),
        "affine": grid.affine.tolist(),
        "brain_box": [[side.start, side.stop] for side in ndimage.find_objects(kept.astype(np.uint8))[0]],
        "tumour_mm3": tumour_volumes(labels, mask.voxel_volume_mm3),
        "brain_outside_box": 1 - float(kept.sum()) * settings.voxel_mm**3 / (inside.sum() * brain.voxel_volume_mm3),
    }
    runs.write_json(folder / "study.json", about)


def tumour_volumes(labels: NDArray[np.uint8], voxel_mm3: float) -> tuple[float, float]:
    """Volumes in mm³ of enhancing and of whole tumour, from ``Tissue`` labels (i, j, k)."""
    enhancing, whole = (np.count_nonzero(part) for part in (labels == Tissue.ENHANCING, labels != Tissue.BACKGROUND))
    return enhancing * voxel_mm3, whole * voxel_mm3


def _standardise(volume: Volume, inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """z-score by the brain's mean and standard deviation, taken between its 0.5 and 99.5 percentiles.

    Statistics over the brain alone and without extremes, so that neither the background nor a bright rim decides the
    scale; the rim itself is not clipped.
    """
    values = volume.data[inside]
    low, high = np.percentile(values, (0.5, 99.5))
    core = values[(values >= low) & (values <= high)]
    spread = float(core.std())
    if not spread > 0:
        raise ImageError(
            problem("intensities that vary inside the brain", f"{low:g} everywhere", volume.where, "export it again")
        )
    return np.where(inside, (volume.data - core.mean()) / spread, 0).astype(np.float32)


def _save(path: Path, array: NDArray[np.generic]) -> None:
    with runs.atomic_path(path) as part, part.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)


def _is_current(target: Path, source: StudySource) -> bool:
    path = target / source.key.patient / str(source.key.visit) / "study.json"
    if not path.is_file():
        return False
    try:
        about = runs.read_json(path, "ranoscope crossval")
        _arrays(path.parent, source.key)
    except RanoscopeError:
        return False
    return bool(about.get("made_from") == source.fingerprint())


def _arrays(folder: Path, key: StudyKey) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    """Volumes and masks, memory-mapped."""
    try:
        volumes = np.load(folder / "volumes.npy", mmap_mode="r", allow_pickle=False)
        masks = np.load(folder / "masks.npy", mmap_mode="r", allow_pickle=False)
    except (EOFError, OSError, ValueError) as error:
        do = "run `ranoscope crossval` again; it makes the study anew"
        raise RunError(problem("whole arrays", f"damaged ones ({error})", f"{key} of the store", do)) from error
    return volumes, masks


# Two open files per study: this many stay far below the usual limit of 1024 per process, in every loader process.
@lru_cache(maxsize=256)
def _open(folder: Path, key: StudyKey) -> AlignedStudy:
    path = folder / "study.json"
    if not path.is_file():
        raise RunError(problem("an aligned study", "none", f"{key} of the store", "run `ranoscope crossval` again"))
    about = runs.read_json(path, "ranoscope crossval")
    volumes, masks = _arrays(folder, key)
    i, j, k = (slice(*side) for side in about["brain_box"])
    return AlignedStudy(
        key=key,
        sequences=tuple(Sequence(name) for name in about["sequences"]),
        volumes=volumes,
        brain=masks[0].view(np.bool_),
        tumour=masks[1],
        affine=np.asarray(about["affine"]),
        brain_box=(i, j, k),
        tumour_mm3=(about["tumour_mm3"][0], about["tumour_mm3"][1]),
        content=about["content"],
    )
