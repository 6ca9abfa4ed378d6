"""From a method's raw answer to maps per study: what is scored, what is kept as a file, and its value range."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ranoscope.domain import Response
from ranoscope.explaining.cases import STUDIES
from ranoscope.explaining.methods import METHODS
from ranoscope.explaining.record import MapFile

FloatVolume = NDArray[np.float32]
Maps = list[tuple[MapFile, FloatVolume]]
# A handful of voxels hold gradients many times the rest; above this percentile the colour stays the same.
SALIENCY_TOP = 99.5


def over_sequences(method: str, values: FloatVolume) -> FloatVolume:
    """One map per study, (study, i, j, k), from (study, sequence, i, j, k).

    Where a method's values add up to the change of the output they are summed; absolute gradients have no such sum, and
    of them the largest stands for all.
    """
    combined: FloatVolume = values.max(axis=1) if METHODS[method].over_sequences == "max" else values.sum(axis=1)
    return combined


def keep(method: str, response: Response, values: FloatVolume, brain: NDArray[np.bool_]) -> Maps:
    """One map (i, j, k) per study, with its signs, and the record of each.

    The colour scale is the same for both studies. It goes from 0 to a percentile of the positive values inside the
    brain, or to the maximum there where that is 0 and for maps that cannot tell studies apart, which are smooth.

    Args:
        method: its name in ``METHODS``.
        response: the class explained.
        values: (study, sequence, i, j, k), as the method returned them.
        brain: (i, j, k).
    """
    combined = over_sequences(method, values)
    studies: tuple[str | None, ...] = STUDIES if len(combined) == len(STUDIES) else (None,)
    inside = np.clip(combined[:, brain], 0, None)
    highest = float(inside.max(initial=0))
    top = float(np.percentile(inside, SALIENCY_TOP)) if len(combined) > 1 and highest > 0 else highest
    return [
        (
            MapFile(
                method=method,
                study=study,
                response=response,
                file="_".join(filter(None, (method, study, response))) + ".nii.gz",
                lowest=float(data.min()),
                highest=float(data.max()),
                shown_up_to=top or highest,
            ),
            data,
        )
        for study, data in zip(studies, combined, strict=True)
    ]


def nifti(data: FloatVolume, affine: NDArray[np.float64]) -> bytes:
    """A gzipped NIfTI file, float32, world in RAS mm; the same bytes for the same map.

    Args:
        data: (i, j, k).
        affine: voxel to RAS world, mm.
    """
    image = nib.Nifti1Image(np.asarray(data, dtype=np.float32), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=4)  # MNI152 space, where LUMIERE's atlas volumes are
    image.set_qform(affine, code=4)
    return packed(image)


def packed(image: nib.Nifti1Image) -> bytes:
    """Gzipped, without a time stamp: the same bytes for the same image."""
    return gzip.compress(image.to_bytes(), compresslevel=4, mtime=0)
