"""What the tumour masks of a pair say of its change: the targets that networks with taught tissues also learn."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ranoscope.domain import Tissue
from ranoscope.imaging.store import AlignedStudy, tumour_volumes

# What masks tell apart for a network: where each is, how large, and by how much it grew.
TISSUES = ("enhancing", "whole tumour")
# Natural logarithm of current over prior volume of enhancing and of whole tumour; 1 for a new enhancing lesion, else 0.
MEASURES = (*(f"{tissue} growth" for tissue in TISSUES), "new lesion")
# Added to both volumes, so that what comes from nothing, or goes, has a finite ratio; about a lesion of 10 mm.
_LEAST_MM3 = 500.0
# A new lesion is at least so large, and farther from all of the prior's tumour than studies are off from each other:
# a voxel or two of noise, or the moved border of an old lesion, is none.
_LEAST_NEW_MM3, _LEAST_NEW_VOXELS, _AWAY_MM = 100.0, 2, 5.0


def measure_change(prior: AlignedStudy, current: AlignedStudy) -> NDArray[np.float32]:
    """The ``MEASURES`` of a pair on one grid with isotropic voxels, float32 (3,), by its masks."""
    voxel_mm3 = float(np.linalg.norm(current.affine[:3, 0])) ** 3
    volumes = (tumour_volumes(study.tumour, voxel_mm3) for study in (prior, current))
    growths = [log_volume(now) - log_volume(before) for before, now in zip(*volumes, strict=True)]
    return np.array([*growths, float(has_new_lesion(prior, current))], dtype=np.float32)


def has_new_lesion(prior: AlignedStudy, current: AlignedStudy) -> bool:
    """Whether enhancing tumour hangs together somewhere away from all that was tumour in the prior study."""
    voxel_mm = float(np.linalg.norm(current.affine[:3, 0]))
    labels, count = ndimage.label(current.tumour == Tissue.ENHANCING, ndimage.generate_binary_structure(3, 3))
    if not count:
        return False
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    least = max(_LEAST_NEW_VOXELS, _LEAST_NEW_MM3 / voxel_mm**3)
    old = prior.tumour != Tissue.BACKGROUND
    near = ndimage.distance_transform_edt(~old, voxel_mm) <= _AWAY_MM if old.any() else old
    touched = np.bincount(labels.ravel(), near.ravel(), minlength=count + 1)
    return bool(((sizes >= least) & (touched == 0))[1:].any())


def log_volume(volume_mm3: float) -> float:
    """Natural logarithm of a tumour's volume over the least that counts, 0 where there is none."""
    return math.log1p(volume_mm3 / _LEAST_MM3)
