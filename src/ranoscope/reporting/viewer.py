"""What the page's slice viewer shows: a case's volumes as grey PNG mosaics, small enough to live inside the page."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ranoscope.domain import Sequence, Tissue
from ranoscope.explaining.slices import tumour_slice, window
from ranoscope.imaging.store import AlignedStudy

# Finer grids are thinned to about this edge for display: a 1 mm case would be 40 times larger and not look better.
_FINEST_MM = 2.0
# Tissue values are spread over the grey scale, so that a browser's colour management cannot blur one into another.
_LABEL_STEP = 50


def viewer_payload(
    prior: AlignedStudy,
    current: AlignedStudy,
    sequences: tuple[Sequence, ...],
    maps: Mapping[str, Mapping[str, NDArray[np.float32]]],
) -> dict[str, Any]:
    """Everything the viewer needs of one case, JSON-ready.

    Args:
        prior: the earlier study.
        current: the later study, on the same grid.
        sequences: which to offer.
        maps: title → study (``"prior"``, ``"current"``) → non-negative map (i, j, k) on that grid. The two studies of
            one title share a scale, so that their colours can be compared.
    """
    step = max(1, round(_FINEST_MM / float(np.abs(prior.affine[0, 0]))))
    studies = {"prior": prior, "current": current}
    tumours = np.stack([study.tumour for study in studies.values()])
    brain = prior.brain | current.brain
    slice_index = tumour_slice(tumours, brain).index
    affine = prior.affine.copy()
    affine[:3, :3] *= step
    return {
        "shape": list(_thin(brain, step).shape),
        "start": [int(place) // step for place in _start(tumours, brain, slice_index)],
        "affine": affine[:3].tolist(),
        "studies": {
            name: {
                "images": {sequence: _mosaic(_grey(study, sequence, step)) for sequence in sequences},
                "labels": _mosaic(_thin(study.tumour, step) * np.uint8(_LABEL_STEP)),
            }
            for name, study in studies.items()
        },
        "maps": {title: _scaled(by_study, step) for title, by_study in maps.items()},
    }


def _start(tumours: NDArray[np.uint8], brain: NDArray[np.bool_], k: int) -> tuple[int, int, int]:
    """The voxel to open on: of the enhancing tumour in slice ``k``, else of any tumour, else of the brain, the one
    nearest to its middle (which lies outside a ring).
    """
    for volumes in (tumours == Tissue.ENHANCING, tumours > 0, brain[None]):
        places = np.argwhere(volumes[..., k].any(axis=0))
        if len(places):
            i, j = places[((places - places.mean(axis=0)) ** 2).sum(axis=1).argmin()]
            return int(i), int(j), k
    return brain.shape[0] // 2, brain.shape[1] // 2, k


def _grey(study: AlignedStudy, sequence: Sequence, step: int) -> NDArray[np.uint8]:
    """Black all over for a sequence that was not acquired."""
    if sequence not in study.sequences:
        return np.zeros(_thin(study.brain, step).shape, np.uint8)
    volume = study.channels((sequence,))[0].astype(np.float32)
    low, high = window(volume, study.brain)
    grey = np.clip((volume - low) / (high - low), 0, 1) * 255
    return _thin(np.where(study.brain, grey, 0).astype(np.float32), step).astype(np.uint8)


def _scaled(by_study: Mapping[str, NDArray[np.float32]], step: int) -> dict[str, dict[str, Any]]:
    top = max(float(data.max()) for data in by_study.values()) or 1.0
    return {
        study: _mosaic((_thin(np.clip(data, 0, None) / top * 255, step)).astype(np.uint8))
        for study, data in by_study.items()
    }


def _thin(data: NDArray[Any], step: int) -> NDArray[Any]:
    """Every ``step``-th voxel along each axis; images are averaged first, labels and masks are not."""
    if step > 1 and data.dtype == np.float32:
        data = ndimage.uniform_filter(data, step)
    return data[::step, ::step, ::step]


def _mosaic(volume: NDArray[np.uint8]) -> dict[str, Any]:
    """A volume (i, j, k) as one grey PNG: axial slices as tiles, row j, column i."""
    ni, nj, nk = volume.shape
    columns = math.ceil(math.sqrt(nk * nj / ni))
    sheet = np.zeros((math.ceil(nk / columns) * nj, columns * ni), dtype=np.uint8)
    for k in range(nk):
        top, left = (k // columns) * nj, (k % columns) * ni
        sheet[top : top + nj, left : left + ni] = volume[:, :, k].T
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "PNG", optimize=True)
    png = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return {"png": png, "shape": [ni, nj, nk], "columns": columns}
