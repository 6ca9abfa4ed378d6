"""Files to frames: one slice each, with its place in the patient, whether a file holds one slice or a whole volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import UID, SegmentationStorage

from ranoscope.preparing.dicom.aside import AsideReason
from ranoscope.preparing.dicom.header import Attributes, quiet

# How far a direction may be from a unit vector, and row and column from a right angle: headers are rounded, some to
# three decimals.
_DIRECTION_TOLERANCE = 2e-3
# What no scanner does: a pixel finer than 10 um or coarser than 10 cm, a slice 100 m from the centre.
_SPACING_MM = (0.01, 100.0)
_FARTHEST_MM = 1e5


@dataclass(frozen=True, eq=False, repr=False)
class Frame:
    """One slice: where its pixels lie (``path``, ``index`` of the frame in it) and where it lies in the patient.

    ``directions``: (2, 3), of growing column and row index (ImageOrientationPatient); ``position``: (3,), centre of the
    first pixel, mm; both in DICOM patient coordinates, LPS. ``pixel_mm``: between rows, between columns (PixelSpacing).
    Of a frame with a ``flaw`` they mean nothing. ``name``: for messages, e.g. "slice 12 (file 3 of the folder)".
    """

    path: Path
    index: int
    name: str
    attributes: Attributes
    rows: int
    columns: int
    directions: NDArray[np.float64]
    position: NDArray[np.float64]
    pixel_mm: tuple[float, float]
    flaw: str | None

    @property
    def place(self) -> tuple[float, ...]:
        """Position to a hundredth of a millimetre: two frames of one place are of one slice."""
        return tuple(np.round(self.position, 2) + 0.0)


def frames_of(header: Attributes, path: Path, file_number: int) -> list[Frame] | AsideReason:
    """The frames of a file, or why it is none of an image's.

    Args:
        header: of that file.
        path: its path, for its pixels only.
        file_number: its place among the folder's files, counted from 1.
    """
    reason = _no_image(header)
    if reason is not None:
        return reason
    groups = header.items("PerFrameFunctionalGroupsSequence")
    count = header.integer("NumberOfFrames") or 1
    at = f"file {file_number} of the folder"
    if not groups:
        if count > 1:
            return AsideReason.MULTI_FRAME
        number = header.integer("InstanceNumber")
        return [_frame(header, path, 0, at if number is None else f"slice {number} ({at})")]
    shared = [part for item in header.items("SharedFunctionalGroupsSequence") for part in _macros(item)]
    frames = [
        _frame(Attributes((*_macros(item), *shared, *header.datasets)), path, index, f"frame {index + 1} ({at})")
        for index, item in enumerate(groups)
    ]
    if count != len(frames):
        spoilt = f"{len(frames)} places for {count} frames"
        return [_frame(header, path, 0, at, spoilt)]
    return frames


def is_image_class(header: Attributes) -> bool:
    """Whether the file's class says that it holds an acquired image, as opposed to a screen shot or a report."""
    with quiet():
        name = UID(header.text("SOPClassUID")).name
    return "Image Storage" in name and "Secondary Capture" not in name


def _no_image(header: Attributes) -> AsideReason | None:
    if header.text("SOPClassUID") == SegmentationStorage or header.text("Modality") == "SEG":
        return AsideReason.SEGMENTATION
    if not (header.says("Rows") or is_image_class(header)):
        return AsideReason.NO_IMAGE
    if "MOSAIC" in header.texts("ImageType"):
        return AsideReason.MOSAIC
    samples = header.integer("SamplesPerPixel")
    if samples not in (None, 1) or header.text("PhotometricInterpretation") not in ("", "MONOCHROME2"):
        return AsideReason.COLOUR
    return None


def _macros(item: Dataset) -> list[Dataset]:
    """The data sets of an item of functional groups: each group (PS3.3 C.7.6.16.2) is a sequence of one item."""
    groups = Attributes((item,))
    return [part for element in item if element.VR == "SQ" for part in groups.items(element.keyword)[:1]]


def _frame(attributes: Attributes, path: Path, index: int, name: str, flaw: str | None = None) -> Frame:
    rows, columns = attributes.integer("Rows") or 0, attributes.integer("Columns") or 0
    directions = _array(attributes.numbers("ImageOrientationPatient"), (2, 3))
    position = _array(attributes.numbers("ImagePositionPatient"), (3,))
    pixel = _array(attributes.numbers("PixelSpacing"), (2,))
    flaw = flaw or _flaw((rows, columns), directions, position, pixel)
    edges = float(pixel[0]), float(pixel[1])
    return Frame(path, index, name, attributes, rows, columns, directions, position, edges, flaw)


def _array(numbers: Sequence[float], shape: tuple[int, ...]) -> NDArray[np.float64]:
    fits = len(numbers) == int(np.prod(shape))
    return np.array(numbers, dtype=np.float64).reshape(shape) if fits else np.full(shape, np.nan)


def _flaw(
    matrix: tuple[int, int],
    directions: NDArray[np.float64],
    position: NDArray[np.float64],
    pixel: NDArray[np.float64],
) -> str | None:
    if min(matrix) < 1:
        return "no Rows and Columns that can be read"
    if not np.isfinite(directions).all():
        return "no ImageOrientationPatient that can be read"
    if np.abs(directions @ directions.T - np.eye(2)).max() > _DIRECTION_TOLERANCE:
        return "an ImageOrientationPatient that is not two perpendicular directions of length 1"
    if not (np.abs(position) <= _FARTHEST_MM).all():
        return "no ImagePositionPatient that can be read"
    if not ((pixel >= _SPACING_MM[0]) & (pixel <= _SPACING_MM[1])).all():
        return "no PixelSpacing that can be read"
    return None
