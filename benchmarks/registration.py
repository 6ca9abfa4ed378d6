"""How exactly heads are brought together: a patient scanned twice against published transforms, and known motions.

Run alone: ``python benchmarks/registration.py [--motions N] [--seed S] [--data FOLDER]``. Prints two tables:

- the MS patient of ``shared/data``: visit to visit, and T1 and T2 to FLAIR of each visit. Distances over the brain
  between where a place lands and where the published transforms have it; these hold scaling and shear, so that no rigid
  motion comes nearer than the column "best rigid". "there and back": how far both ways found differ;
- N known motions (20 degrees about and 30 mm along each axis at most) of real scans with noise, a bias field and a
  lesion that is there or grows: how many came within 1 mm, and how many failures were flagged.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ranoscope.imaging.nifti import Volume, decode
from ranoscope.preparing.registration import RegistrationSettings, register
from ranoscope.preparing.registration.rigid import about, inverse, moved

DATA = Path(__file__).parents[2] / "shared" / "data"
SETTINGS = RegistrationSettings()
WITHIN_MM = 1.0
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_EVERY = 200
_TURN_DEG, _SHIFT_MM = 20.0, 30.0
# Share of the head's 98th percentile; of the field's mean; the lesion's radii in mm, the first scan's and the second's.
_NOISE, _BIAS, _RADII_MM = 0.03, 0.2, (8.0, 18.0)


def published(folder: Path, name: str) -> np.ndarray:
    """An ITK text file as 4 x 4, RAS world, mm: points of the space that is named to the image's own."""
    lines = (folder / name).read_text().splitlines()
    values, centre = (np.array([float(one) for one in line.split()[1:]]) for line in lines[3:5])
    lps = np.eye(4)
    lps[:3, :3] = values[:9].reshape(3, 3)
    lps[:3, 3] = values[9:] + centre - lps[:3, :3] @ centre
    return _LPS @ lps @ _LPS


def read(path: Path) -> Volume:
    return decode(path.read_bytes(), path.name)


def to_image(folder: Path, study: str, sequence: str) -> np.ndarray:
    """Points of the common space to the image's own world."""
    to_flair = published(folder, f"{study}_FLAIR_to_common_space.txt")
    if sequence == "FLAIR":
        return to_flair
    return published(folder, f"{study}_{sequence}_intrastudy_to_FLAIR.txt") @ to_flair


def best_rigid(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The rigid motion that brings points (n, 3) nearest to their partners."""
    rotation, _ = Rotation.align_vectors(end - end.mean(axis=0), start - start.mean(axis=0))
    return about(rotation, start.mean(axis=0), end.mean(axis=0))


def compare_with_published(folder: Path) -> Iterator[str]:
    """Rows of the first table."""
    brain = read(folder / "brainmask.nii.gz")
    common = moved(np.argwhere(brain.data > 0)[::_EVERY], brain.affine)
    pairs = [(("study1", "FLAIR"), ("study2", "FLAIR")), (("study1", "T1W"), ("study2", "T1W"))]
    pairs += [((study, "FLAIR"), (study, other)) for study in ("study1", "study2") for other in ("T1W", "T2W")]
    for fixed, moving in pairs:
        here, there = (moved(common, to_image(folder, *one)) for one in (fixed, moving))
        images = [read(folder / f"{'_'.join(one)}.nii.gz") for one in (fixed, moving)]
        began = time.process_time()
        found = register(*images, SETTINGS)
        spent = time.process_time() - began
        off = np.linalg.norm(moved(there, found.to_fixed) - here, axis=1)
        least = np.linalg.norm(moved(there, best_rigid(there, here)) - here, axis=1)
        cells = [f"{' '.join(moving)} to {' '.join(fixed)}", f"{off.mean():.2f}", f"{off.max():.2f}"]
        cells += [f"{least.mean():.2f}, {least.max():.2f}", f"{found.disagreement_mm:.2f}"]
        yield _row(*cells, f"{found.similarity:.3f}", found.problem or "none", f"{spent:.1f}")


def disturbed(volume: Volume, radius_mm: float, lesion_mm: np.ndarray, generator: np.random.Generator) -> Volume:
    """The scan with a bright lesion, a bias field and noise; the lesion's middle in RAS world, mm."""
    shape, bright = volume.data.shape, np.percentile(volume.data, 98)
    world = moved(np.indices(shape).reshape(3, -1).T, volume.affine)
    data = volume.data.ravel().copy()
    data[np.linalg.norm(world - lesion_mm, axis=1) < radius_mm] = bright
    slope = generator.normal(size=3)
    along = (world - world.mean(axis=0)) @ slope / np.linalg.norm(slope)
    data = data * (1 + _BIAS * along / np.abs(along).max())
    real, imaginary = _NOISE * bright * generator.normal(size=(2, *data.shape))
    noisy = np.hypot(data + real, imaginary)
    return replace(volume, data=noisy.reshape(shape).astype(np.float32))


def moved_scan(volume: Volume, truth: np.ndarray) -> Volume:
    """The same head as a scan on the same grid that lies as ``truth`` says in the world, resampled by cubic splines."""
    mapping = np.linalg.inv(volume.affine) @ inverse(truth) @ volume.affine
    data = ndimage.affine_transform(volume.data, mapping[:3, :3], mapping[:3, 3], order=3)
    return replace(volume, data=np.maximum(data, 0))


def recover(scans: dict[str, Path], motions: int, seed: int) -> Iterator[tuple[str, float, bool]]:
    """Per motion: the scan's name, how far from its place the head is at most, mm, and whether flagged."""
    generator = np.random.default_rng(seed)
    for number in range(motions):
        name = list(scans)[number % len(scans)]
        volume = read(scans[name])
        head = moved(np.argwhere(volume.data > 0.2 * np.percentile(volume.data, 98))[::_EVERY], volume.affine)
        middle = head.mean(axis=0)
        turn = Rotation.from_euler("xyz", generator.uniform(-_TURN_DEG, _TURN_DEG, 3), degrees=True)
        truth = about(turn, middle, middle + generator.uniform(-_SHIFT_MM, _SHIFT_MM, 3))
        lesion = middle + generator.uniform(-35, 35, 3)
        first = disturbed(volume, _RADII_MM[0], lesion, generator)
        second = disturbed(moved_scan(volume, truth), _RADII_MM[1], moved(lesion, truth), generator)
        found = register(first, second, SETTINGS)
        off = np.linalg.norm(moved(moved(head, truth), found.to_fixed) - head, axis=1)
        yield name, float(off.max()), found.problem is not None


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--motions", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=DATA)
    chosen = parser.parse_args()
    ms, glioma = chosen.data / "ms_two_timepoints", chosen.data / "glioma_raw"
    if not (ms.is_dir() and glioma.is_dir()):
        parser.exit(message=f"skipped: the real scans ({ms.name}, {glioma.name}) are not here; give --data FOLDER\n")
    print(_row("pair", "mean mm", "max mm", "best rigid", "there and back mm", "similarity", "problem", "processor s"))
    print(_row(*["---"] * 8))
    for line in compare_with_published(ms):
        print(line, flush=True)
    scans = {f"MS {name}": ms / f"study1_{name}.nii.gz" for name in ("FLAIR", "T1W")}
    scans |= {f"glioma {name}": glioma / f"{name}.nii.gz" for name in ("CT1", "FLAIR", "T2")}
    done = []
    for name, off_mm, flagged in recover(scans, chosen.motions, chosen.seed):
        done.append((off_mm < WITHIN_MM, flagged))
        print(f"{name}: at most {off_mm:.2f} mm off{', flagged' if flagged else ''}", flush=True)
    good, flags = np.array(done, dtype=bool).reshape(-1, 2).T
    print(
        f"{good.sum()} of {len(good)} motions within {WITHIN_MM:g} mm everywhere; of {(~good).sum()} others "
        f"{(flags & ~good).sum()} flagged; {(flags & good).sum()} good ones flagged"
    )


if __name__ == "__main__":
    main()
