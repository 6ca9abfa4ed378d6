"""One study from its series to its folder: what a worker does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the library's own abbreviation
from numpy.typing import NDArray

from ranoscope import runs
from ranoscope.cohort import layout
from ranoscope.domain import SEQUENCES, Sequence, StudyKey
from ranoscope.errors import ImageError, RunError
from ranoscope.imaging.itk import from_itk, itk_to_rigid, to_itk
from ranoscope.imaging.nifti import Volume, decode, decode_labels
from ranoscope.preparing.between import FirstStudy, place
from ranoscope.preparing.inputs import TumourMask
from ranoscope.preparing.output import ATLAS, Prepared, on_atlas, write_study
from ranoscope.preparing.picture import Told, draw
from ranoscope.preparing.quality import COLUMNS, Quality, judge
from ranoscope.preparing.series import Series
from ranoscope.preparing.settings import PrepareSettings
from ranoscope.preparing.within import Within, align_within

_COMMAND = "ranoscope prepare"
_SAME_MM = 1e-3
# Stable for voxels of any edge: a 3-D diffusion may step by an eighth of the smallest edge at most (SimpleITK's
# documentation); scans' edges are above a tenth of a millimetre.
_STEP = 0.0125


@dataclass(frozen=True)
class Task:
    """``series``: which is which. ``first``: folder of the patient's first study, None for itself.

    ``made_from``: what the output follows from, as a hash; ``folder`` is written.
    """

    key: StudyKey
    series: Mapping[Sequence, Series]
    mask: TumourMask | None
    first: Path | None
    folder: Path
    made_from: str
    settings: PrepareSettings


def run(task: Task, processes: int = 1) -> Quality:
    """Prepare one study and write its folder; what is wrong with the study itself is its row, not an exception.

    Args:
        task: what to do.
        processes: for its steps that do not wait for each other.

    Raises:
        StorageError: the disk is full or not writable.
    """
    began = time.monotonic()
    try:
        return _prepare(task, began, processes)
    except ImageError as error:
        return Quality(task.key.patient, str(task.key.visit), "failed", problems=str(error))


def _prepare(task: Task, began: float, processes: int) -> Quality:
    images = {sequence: _loaded(series, task.settings) for sequence, series in task.series.items()}
    within = align_within(images, task.settings, processes)
    first = _read_first(task.first) if task.first else None
    placed = place(within, first, task.settings.registration)
    study = Prepared(
        images=within.images,
        to_atlas={sequence: placed.to_atlas @ within.to_study(sequence) for sequence in images},
        reference=within.reference,
        brain=within.brain,
        tumour=_tumour(task.mask, within) if task.mask else None,
    )
    atlas = on_atlas(study)
    figures, problems = judge(within, placed, atlas)
    quality = Quality(
        task.key.patient, str(task.key.visit), "check" if problems else "ok",
        problems="; ".join(problems), seconds=round(time.monotonic() - began, 1), **figures,
    )  # fmt: skip
    told = Told(f"{task.key.patient} {task.key.visit}", tuple(problems))
    picture = draw(atlas, first.brain_on_atlas if first else None, told)
    about = {"made_from": task.made_from, "quality": quality.row(), "series": _named(task)}
    write_study(task.folder, study, atlas, about, picture)
    return quality


def _loaded(series: Series, settings: PrepareSettings) -> Volume:
    """The voxels of a series, smoothed where the settings say so, never below 0: magnitudes."""
    volume = series.load()
    data = np.maximum(volume.data, 0)
    if settings.denoise:
        data = from_itk(sitk.CurvatureAnisotropicDiffusion(to_itk(data, volume.affine), _STEP)).astype(np.float32)
    return replace(volume, data=data)


def _tumour(mask: TumourMask, within: Within) -> Volume:
    """The tumour's ``Tissue`` values, where they lie in the study's world."""
    labels, volume = decode_labels(mask.path.read_bytes(), mask.where, mask.labels)
    drawn_on = mask.grid_of if mask.grid_of in within.images else None
    if drawn_on is None:
        alike = [s for s, image in within.images.items() if _same_grid(image, volume)]
        drawn_on = alike[0] if alike else within.reference
    to_study = within.to_study(drawn_on)
    return Volume(labels.astype(np.float32), to_study @ volume.affine, mask.where)


def _same_grid(one: Volume, other: Volume) -> bool:
    return one.data.shape == other.data.shape and np.allclose(one.affine, other.affine, atol=_SAME_MM)


def _named(task: Task) -> dict[str, str]:
    """Which series each sequence was taken from, in words without identifiers."""
    return {str(sequence): series.where for sequence, series in task.series.items()}


def _read_first(folder: Path) -> FirstStudy:
    """The first study as it was written; later ones are compared with that, whichever process made it."""
    about = runs.read_json(folder / layout.PREPARED, _COMMAND)
    images: dict[Sequence, Volume] = {}
    to_atlas: dict[Sequence, NDArray[np.float64]] = {}
    for sequence in SEQUENCES:
        path = folder / layout.sequence_file(sequence)
        if path.is_file():
            images[sequence] = decode(path.read_bytes(), f"the first study, {path.name}")
            transform = sitk.ReadTransform(str(folder / layout.native_transform(sequence)))
            to_atlas[sequence] = np.asarray(np.linalg.inv(itk_to_rigid(transform)), dtype=np.float64)
    brain = decode((folder / layout.ATLAS_BRAIN_MASK).read_bytes(), "the first study's brain mask")
    # Volumes are in RAS axes once read; the atlas grid's first axis goes the other way.
    on_grid = ATLAS.bring(brain.data, brain, labels=True) > 0
    return FirstStudy(images, to_atlas, Sequence(about["quality"]["reference"]), on_grid)


def read_quality(folder: Path, made_from: str) -> Quality | None:
    """The row of a study that was prepared from the same; None where none is there or it was made from another."""
    path = folder / layout.PREPARED
    if not path.is_file():
        return None
    try:
        about = runs.read_json(path, _COMMAND)
        known = about["quality"] if about["made_from"] == made_from else None
    except (RunError, KeyError, TypeError):
        return None
    return None if known is None else Quality(**{name: known[name] for name in COLUMNS if known[name] != ""})
