"""One small synthetic cohort with every quirk, made once, and ways to read its files without the reader's code."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from ranoscope.config import PhantomSettings
from ranoscope.phantom.cohort import make_phantom

# 16 patients: enough for every quirk. 6 mm: the coarsest grid, a visit in a tenth of a second.
SETTINGS = PhantomSettings(patients=16, voxel_mm=6.0, seed=3, reader_noise=0.0)


@dataclass(frozen=True)
class Cohort:
    """The folder of a synthetic cohort."""

    root: Path

    def visits(self) -> list[Path]:
        return sorted(self.root.glob("Imaging/*/*"))

    def complete(self) -> list[Path]:
        return [folder for folder in self.visits() if (folder / "HD-GLIO-AUTO-segmentation").is_dir()]

    def rows(self, name: str) -> list[list[str]]:
        with (self.root / name).open(newline="") as stream:
            return list(csv.reader(stream))


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    root = tmp_path_factory.mktemp("phantom")
    make_phantom(root, SETTINGS, 1, lambda done, total, what: None)
    return Cohort(root)


@pytest.fixture(scope="session")
def load() -> Callable[[Path], tuple[NDArray[np.generic], NDArray[np.float64]]]:
    """Stored voxels, in the stored type, and affine of a NIfTI file."""

    def read(path: Path) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
        image = nib.Nifti1Image.from_filename(path)
        return np.asarray(image.dataobj), image.affine

    return read
