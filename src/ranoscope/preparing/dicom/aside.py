"""What a folder holds that is no image to work with: kept as rows, so that nothing disappears silently."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AsideReason(StrEnum):
    """Why a DICOM file is not among the series."""

    EMPTY = "empty file"
    UNREADABLE = "header cannot be read"
    NO_SERIES = "no study or series identifier in the header"
    NO_IMAGE = "no image, e.g. a structured report or a presentation state"
    SEGMENTATION = "segmentation"
    MOSAIC = "Siemens mosaic: all slices as tiles of one image"
    COLOUR = "colour or inverted grey values"
    MULTI_FRAME = "several frames without a place of each"
    NO_PLACE = "image without a usable place in the patient"
    DUPLICATE = "slice that is there twice with equal voxels"


@dataclass(frozen=True)
class Aside:
    """``where``: e.g. "series 7 (SR)" or "file 17 of the folder", no identifier; ``files``: files or slices."""

    where: str
    reason: AsideReason
    files: int = 1
