"""Images that come without skull."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ranoscope.imaging.nifti import Volume
from ranoscope.preparing.brain.pieces import largest_piece

# The field of view around a brain is empty for its greater part; around a head of which the air was blanked as well.
_LEAST_BLANK = 0.5
# What is not blank holds a brain and no head: heads have 2.6 l and more even in scans that end below the brain.
_NOT_BLANK_ML = (500.0, 2100.0)
# Fluid that a stripping tool set to 0 between folds is closed over.
_CLOSED_MM = 4.0


def brain_of_stripped(volume: Volume) -> NDArray[np.bool_] | None:
    """Where an image without skull is not blank, its holes filled; None of an image of a head.

    Without skull: at least half of the field of view has one and the same value, the darkest, and the rest has the
    volume of a brain.
    """
    content = volume.data > volume.data.min()
    if content.mean() > 1 - _LEAST_BLANK:
        return None
    content = largest_piece(content)
    millilitres = np.count_nonzero(content) * volume.voxel_volume_mm3 / 1000
    if not _NOT_BLANK_ML[0] <= millilitres <= _NOT_BLANK_ML[1]:
        return None
    padding = np.ceil(_CLOSED_MM / volume.spacing_mm).astype(int) + 1
    padded = np.pad(content, [(edge, edge) for edge in padding])
    near = ndimage.distance_transform_edt(~padded, sampling=volume.spacing_mm) <= _CLOSED_MM
    closed = ndimage.distance_transform_edt(near, sampling=volume.spacing_mm) > _CLOSED_MM
    inner = tuple(slice(edge, -edge) for edge in padding)
    return np.asarray(ndimage.binary_fill_holes((closed | padded)[inner]))
