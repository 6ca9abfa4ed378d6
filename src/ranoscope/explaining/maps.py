"""From a method's raw answer to the maps that are kept: one per study, class and method, with its value range."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ranoscope.domain import Response, Sequence
from ranoscope.explaining.cases import STUDIES, MapFile, Shares
from ranoscope.explaining.methods import METHODS
from ranoscope.learning.networks import PairNetwork

Maps = list[tuple[MapFile, NDArray[np.float32]]]
# A handful of voxels hold gradients many times the rest; above this percentile the colour stays the same.
SALIENCY_TOP = 99.5


def make_maps(
    network: PairNetwork,
    pair: Tensor,
    explained: tuple[Response, ...],
    brain: NDArray[np.bool_],
    sequences: tuple[Sequence, ...],
) -> tuple[Maps, dict[Response, Shares]]:
    """Every method's maps of one case, and what share of Saliency each volume has.

    Args:
        network: in evaluation mode.
        pair: (study, sequence, i, j, k) on the network's device.
        explained: the classes.
        brain: (i, j, k), either study's.
        sequences: names of the pair's second axis.
    """
    maps: Maps = []
    shares: dict[Response, Shares] = {}
    for response in explained:
        for method in METHODS:
            values = METHODS[method].compute(network, pair, response).float().cpu().numpy()
            maps += keep(method, response, values, brain)
            if method == "saliency":
                shares[response] = volume_shares(values, brain, sequences)
    return maps, shares


def keep(method: str, response: Response, values: NDArray[np.float32], brain: NDArray[np.bool_]) -> Maps:
    """One map (i, j, k) per study: where the method tells sequences apart, the largest of them at each voxel.

    The colour scale is the same for both studies. It goes from 0 to a percentile of Saliency inside the brain, or to
    the maximum there where that is 0 and for maps that cannot tell studies apart, which are smooth.

    Args:
        method: its name in ``METHODS``.
        response: the class explained.
        values: (study, sequence, i, j, k), as the method returned them.
        brain: (i, j, k).
    """
    largest = values.max(axis=1)
    studies: tuple[str | None, ...] = STUDIES if len(largest) == len(STUDIES) else (None,)
    inside = largest[:, brain]
    highest = float(inside.max(initial=0))
    top = float(np.percentile(inside, SALIENCY_TOP)) if len(largest) > 1 and highest > 0 else highest
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
        for study, data in zip(studies, largest, strict=True)
    ]


def volume_shares(values: NDArray[np.float32], brain: NDArray[np.bool_], sequences: tuple[Sequence, ...]) -> Shares:
    """Study → sequence → share of a map's sum inside the brain; they add up to 1, or are all 0 for a map that is 0."""
    sums = values[:, :, brain].sum(axis=2, dtype=np.float64)
    parts = sums / sums.sum() if sums.sum() > 0 else sums
    return {
        study: {sequence: float(part) for sequence, part in zip(sequences, row, strict=True)}
        for study, row in zip(STUDIES, parts, strict=True)
    }


def nifti(data: NDArray[np.float32], affine: NDArray[np.float64]) -> bytes:
    """A gzipped NIfTI file, float32, world in RAS mm; the same bytes for the same map.

    Args:
        data: (i, j, k).
        affine: voxel to RAS world, mm.
    """
    image = nib.Nifti1Image(np.asarray(data, dtype=np.float32), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=4)  # MNI152 space, where LUMIERE's atlas volumes are
    image.set_qform(affine, code=4)
    return gzip.compress(image.to_bytes(), compresslevel=4, mtime=0)
