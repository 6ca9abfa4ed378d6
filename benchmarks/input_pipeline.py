"""Samples per second: ranoscope's input pipeline beside the reference paper's, same volumes, same augmentations.

Both make one training sample of six volumes (three sequences of two studies, 240 x 240 x 155 voxels of 1 mm, uint16,
gzipped NIfTI, a brain of 1.4 litres), each on one core, in turns, files in the page cache.

* The paper's (arXiv 2504.18268): MONAI LoadImaged, z-score, flip, intensity scaling, gamma, noise, concatenation.
* Ours: the store, made once from the same files, memory-mapped; then ``CaseDataset`` with augmentation. On the full
  grid (like for like), and with the crop to the brain that recipes use.

Augmentations of both, in every sample: left-right flip with probability 0.5, scale 0.9 to 1.1, gamma 0.8 to 1.2,
Gaussian noise with a standard deviation of 0 to 0.1.

Equivalence: the same z-scored volume goes through both augmentations many times; mean, standard deviation and
quantiles inside the brain must agree, in their average over the draws and in their spread. What differs by design, and
is not part of that comparison:

* we z-score inside the brain, the paper over everything; our background stays 0, the paper's gets noise;
* the paper flips all three axes, we only mirror left and right (both do so here);
* the paper draws one factor, one gamma and one field of noise per sample, we draw them per study and sequence;
* our noise comes from a bank of 4 million normal numbers, from a drawn place and with a drawn sign.

Run: ``python benchmarks/input_pipeline.py``; about two minutes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from monai.transforms import (
    Compose,
    ConcatItemsd,
    EnsureChannelFirstd,
    LoadImaged,
    NormalizeIntensityd,
    RandAdjustContrastd,
    RandFlipd,
    RandGaussianNoised,
    RandScaleIntensityd,
)
from numpy.typing import NDArray
from scipy import ndimage

from ranoscope.config import AugmentationSettings, GridSettings, Recipe
from ranoscope.domain import Case, Response, Sequence, StudyKey, Visit
from ranoscope.imaging.store import AlignedStudy, SourceFile, StudySource, StudyStore, build_store
from ranoscope.learning.data import CaseDataset, Material
from ranoscope.learning.facts import FactScale
from ranoscope.learning.transforms import apply, decide

SEQUENCES = (Sequence.T1, Sequence.T2, Sequence.FLAIR)
CASE = Case("Patient-001", Visit(10), Visit(20), Response.SD, 10, Response.SD, False)
SHAPE = (240, 240, 155)
BRAIN_RADII_MM = (65, 85, 62)
AUGMENTATION = AugmentationSettings(
    flip_left_right=0.5, scale_intensity=0.1, shift_intensity=0.0, gamma=(0.8, 1.2), noise=0.1
)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
DRAWS = 1000
# In units of the brain's standard deviation: some 3 standard errors of a difference of averages over so many draws.
AVERAGE_TOLERANCE = 0.04
# Share by which the spread of a statistic over the draws may differ: some 4 standard errors of a ratio of spreads.
SPREAD_TOLERANCE = 0.15


def brain_like(shape: tuple[int, int, int], generator: np.random.Generator) -> tuple[NDArray[np.bool_], NDArray]:
    """An ellipsoid of a brain and an image in it: smooth tissue, some noise, positive inside, 0 outside."""
    scale = np.asarray(SHAPE) / shape
    axes = [((np.arange(n) + 0.5) * s - n * s / 2) / r for n, s, r in zip(shape, scale, BRAIN_RADII_MM, strict=True)]
    brain = (axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + axes[2][None, None, :] ** 2) < 1
    coarse = tuple(max(2, n // 8) for n in shape)
    tissue = ndimage.zoom(generator.normal(size=coarse), np.asarray(shape) / coarse, order=1)
    image = (600 + 150 * tissue + generator.normal(0, 15, shape)).clip(1) * brain
    return brain, image


def write_studies(folder: Path) -> dict[str, Path]:
    """The six volumes, two brain masks and two empty tumour masks as gzipped NIfTI; name → path."""
    generator = np.random.default_rng(0)
    files: dict[str, Path] = {}
    for visit in (CASE.prior, CASE.current):
        for sequence in SEQUENCES:
            brain, image = brain_like(SHAPE, generator)
            files[f"{visit}_{sequence}"] = _save(folder / f"{visit}_{sequence}.nii.gz", image.astype(np.uint16))
        files[f"{visit}_brain"] = _save(folder / f"{visit}_brain.nii.gz", brain.astype(np.uint8))
        files[f"{visit}_tumour"] = _save(folder / f"{visit}_tumour.nii.gz", np.zeros(SHAPE, np.uint8))
    return files


def _save(path: Path, data: NDArray) -> Path:
    affine = np.eye(4)
    affine[:3, 3] = -(np.asarray(SHAPE) - 1) / 2
    path.write_bytes(gzip.compress(nib.Nifti1Image(data, affine).to_bytes(), 6))
    return path


def paper_pipeline(files: dict[str, Path]) -> Callable[[], torch.Tensor]:
    keys = [f"{visit}_{sequence}" for sequence in SEQUENCES for visit in (CASE.current, CASE.prior)]
    item = {key: str(files[key]) for key in keys}
    pipeline = Compose(
        [
            LoadImaged(keys),
            EnsureChannelFirstd(keys),
            NormalizeIntensityd(keys),
            *paper_augmentation(keys),
            ConcatItemsd(keys, "image"),
        ]
    )
    return lambda: pipeline(dict(item))["image"]


def paper_augmentation(keys: list[str]) -> list[Callable]:
    return [
        RandFlipd(keys, prob=AUGMENTATION.flip_left_right, spatial_axis=0),
        RandScaleIntensityd(keys, factors=AUGMENTATION.scale_intensity, prob=1.0),
        RandAdjustContrastd(keys, prob=1.0, gamma=AUGMENTATION.gamma),
        RandGaussianNoised(keys, prob=1.0, std=AUGMENTATION.noise),
    ]


def our_pipeline(files: dict[str, Path], folder: Path, grid: GridSettings) -> Callable[[], torch.Tensor]:
    empty = {"Enhancing_Core": 0.0, "Necrotic_NonEnhancing": 0.0, "Edema_Compartment": 0.0}

    def source(visit: Visit) -> StudySource:
        def file(name: str) -> SourceFile:
            path = files[f"{visit}_{name}"]
            return SourceFile(path.name, path.name, path.read_bytes)

        measured = SourceFile("volumes", "volumes", partial(json.dumps(empty).encode))
        volumes = {sequence: file(sequence) for sequence in SEQUENCES}
        return StudySource(StudyKey(CASE.patient, visit), volumes, file("brain"), file("tumour"), measured)

    failures = build_store(folder, [source(CASE.prior), source(CASE.current)], grid, lambda *_: None)
    if failures:
        sys.exit("\n".join(failures.values()))
    recipe = Recipe(name="benchmark", description="", sequences=SEQUENCES, grid=grid, augmentation=AUGMENTATION)
    material = Material(StudyStore(folder, grid), pd.DataFrame(columns=["patient"]))
    dataset = CaseDataset(material, [CASE], recipe, FactScale({}), seed=0)

    def sample() -> torch.Tensor:
        dataset.epoch.add_(1)
        return dataset[0][0]

    return sample


def seconds_per_sample(pipelines: dict[str, Callable[[], torch.Tensor]], rounds: int) -> dict[str, float]:
    """Median wall seconds of one sample; the pipelines take turns, several samples a turn for the fast ones."""
    seconds: dict[str, list[float]] = {name: [] for name in pipelines}
    for number in range(rounds + 1):
        for name, sample in pipelines.items():
            repeats = 1 if name == "paper" else 5
            start = time.perf_counter()
            for _ in range(repeats):
                sample()
            if number:  # the first round warms up
                seconds[name].append((time.perf_counter() - start) / repeats)
    return {name: statistics.median(values) for name, values in seconds.items()}


def compare_augmentations(shape: tuple[int, int, int], draws: int) -> list[tuple[str, float, float, float, float]]:
    """Statistics inside the brain after both augmentations of one z-scored volume.

    Returns:
        Per statistic: its name, the paper's and our average over the draws, the paper's and our spread (standard
        deviation over the draws), all in units of the unchanged brain's standard deviation.
    """
    generator = np.random.default_rng(1)
    brain, image = brain_like(shape, generator)
    image = np.where(brain, (image - image[brain].mean()) / image[brain].std(), 0).astype(np.float16)
    theirs = Compose(paper_augmentation(["image"]))
    theirs.set_random_state(0)
    study = AlignedStudy(
        key=CASE.prior_study,
        sequences=SEQUENCES[:1],
        volumes=image[None],
        brain=brain,
        tumour=np.zeros(shape, np.uint8),
        affine=np.eye(4),
        brain_box=ndimage.find_objects(brain.astype(np.uint8))[0],
    )
    samples: list[list[list[float]]] = [[], []]
    for _ in range(draws):
        volume = torch.from_numpy(image.astype(np.float32))[None]
        samples[0].append(describe(np.asarray(theirs({"image": volume})["image"])[0][brain]))
        ours = apply((study, study), study.sequences, decide(AUGMENTATION, np.ones((2, 1), bool), 1.0, generator))
        samples[1].append(describe(ours[0, 0].numpy()[brain]))
    names = ["mean", "standard deviation", *(f"quantile {q:g}" for q in QUANTILES)]
    averages = [np.mean(side, axis=0) for side in samples]
    spreads = [np.std(side, axis=0) for side in samples]
    return list(zip(names, *averages, *spreads, strict=True))


def describe(values: NDArray) -> list[float]:
    return [float(values.mean()), float(values.std()), *np.quantile(values, QUANTILES)]


def is_equivalent(row: tuple[str, float, float, float, float]) -> bool:
    _, average, our_average, spread, our_spread = row
    close_spread = abs(our_spread / spread - 1) <= SPREAD_TOLERANCE
    return abs(our_average - average) <= AVERAGE_TOLERANCE and close_spread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="turns per pipeline")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_studies(folder)
        start = time.perf_counter()
        full = our_pipeline(files, folder, GridSettings(voxel_mm=1, box_mm=SHAPE, centre_mm=(0, 0, 0)))
        store_seconds = (time.perf_counter() - start) / 2
        crop = our_pipeline(files, folder, GridSettings(voxel_mm=1, centre_mm=(0, 0, 0)))
        seconds = seconds_per_sample({"paper": paper_pipeline(files), "full grid": full, "brain crop": crop}, rounds)
    print(f"Six volumes of {'x'.join(map(str, SHAPE))}, one core, median of {rounds} rounds in turns:")
    for pipeline, value in seconds.items():
        ratio = seconds["paper"] / value
        print(f"  {pipeline:12s} {1 / value:8.2f} samples/s  {1000 * value:8.1f} ms/sample  {ratio:6.1f} x the paper's")
    print(f"  (not counted: the store, made once per study in {store_seconds:.1f} s)")
    print(f"Equivalence inside the brain, {DRAWS} draws of one volume: average (spread over draws)")
    rows = compare_augmentations((48, 48, 31), DRAWS)
    for row in rows:
        verdict = "equal" if is_equivalent(row) else "DIFFERENT"
        print(f"  {row[0]:20s} paper {row[1]:7.3f} ({row[3]:.3f})   ours {row[2]:7.3f} ({row[4]:.3f})   {verdict}")
    if not all(map(is_equivalent, rows)):
        sys.exit(1)


if __name__ == "__main__":
    main()
