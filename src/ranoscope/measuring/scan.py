"""One scan: its mask and image decoded and checked, its lesions found and measured, compartment by compartment."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from functools import cached_property
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from ranoscope.config import Settings
from ranoscope.domain import LabelConvention, Tissue
from ranoscope.imaging.nifti import Volume, decode, require_same_grid
from ranoscope.imaging.store import SourceFile
from ranoscope.measuring.labels import decode_tissue
from ranoscope.measuring.lesions import MINIMUM_MM3, DiameterSettings, label_lesions, measure_lesions
from ranoscope.measuring.parts import MeasuredPart, MeasuredScan
from ranoscope.measuring.plausibility import check_labels
from ranoscope.measuring.visits import VisitInput
from ranoscope.response.criteria import RANO_HGG, RANO_LGG, Part
from ranoscope.response.timeline import Compartment

# Changes whenever other measurements would come of the same inputs: parts of an older number are made again.
_FORMAT = 1
# Slices at least this thick, and twice as thick as the finest edge of the voxel, are those of a 2-D acquisition.
_THICK_MM, _THICK_RATIO = 2.0, 2.0
_MEASURABLE: dict[Compartment, Part] = {
    Compartment.ENHANCING: RANO_HGG.parts[Compartment.ENHANCING],
    Compartment.NONENHANCING: RANO_LGG.parts[Compartment.NONENHANCING],
}


class Plane(StrEnum):
    """In which slices diameters are taken. ``auto``: as acquired where the slices are thick, otherwise axial."""

    AUTO = "auto"
    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


# The axis across the slices, of arrays towards R, A, S.
_AXES = {Plane.SAGITTAL: 0, Plane.CORONAL: 1, Plane.AXIAL: 2}


class LesionSettings(Settings):
    """What is a lesion and how it is measured.

    ``minimum_mm3``: smaller pieces are counted apart. ``largest_product``: diameters in the slice with the largest
    product, instead of that with the longest diameter, which is RANO's wording. ``outside``: share of the longest
    diameter that may lie outside the lesion. ``compartments``: which are measured.
    """

    minimum_mm3: Annotated[float, Field(ge=0)] = MINIMUM_MM3
    plane: Plane = Plane.AUTO
    largest_product: bool = False
    outside: Annotated[float, Field(ge=0, lt=1)] = 0.05
    compartments: Annotated[tuple[Compartment, ...], Field(min_length=1)] = tuple(Compartment)


class OpenedScan:
    """One visit's files, read and decoded when they are first asked for.

    Raises:
        ImageError: from any of its members: a file is absent or unreadable, labels outside the convention, or an image
            on another grid than the mask.
    """

    def __init__(self, visit: VisitInput, mask: SourceFile, convention: LabelConvention) -> None:
        self.visit = visit
        self._mask = mask
        self._convention = convention

    @cached_property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of each file there is, by its role: mask, image, plain."""
        files = {"mask": self._mask, "image": self.visit.image, "plain": self.visit.plain}
        return {role: hashlib.sha256(file.read()).hexdigest() for role, file in files.items() if file is not None}

    def key(self, settings: LesionSettings) -> str:
        """Fingerprint of what the measurements are made from."""
        return fingerprint(_FORMAT, self.hashes, str(self._convention), settings.model_dump(mode="json"))

    @property
    def where(self) -> str:
        """The mask's place, for messages."""
        return self._mask.where

    @cached_property
    def image(self) -> Volume | None:
        """CT1, on the grid of the mask."""
        return self._on_grid(self.visit.image)

    def measure(self, settings: LesionSettings) -> MeasuredScan:
        """Find and measure the lesions, and judge the labels by the image."""
        grid, axis = self._grid, slice_axis(self._grid.spacing_mm, settings.plane)
        parts = {one: self._part(one, axis, settings) for one in settings.compartments}
        plain = self._on_grid(self.visit.plain)
        findings: tuple[str, ...] = ()
        if self.image is not None:
            findings = check_labels(self._tissue, self.image.data, None if plain is None else plain.data)
        i, j, k = grid.data.shape
        return MeasuredScan(grid.affine, (i, j, k), axis, self._thickness_mm(axis), parts, findings)

    def _part(self, compartment: Compartment, axis: int, settings: LesionSettings) -> MeasuredPart:
        found = label_lesions(
            compartment_mask(self._tissue, compartment, axis), self._grid.spacing_mm, settings.minimum_mm3
        )
        how = DiameterSettings(settings.largest_product, settings.outside, _MEASURABLE[compartment])
        thickness = self._thickness_mm(axis)
        lesions = measure_lesions(found.labels, self._grid.affine, axis, thickness, how)
        box = ndimage.find_objects((found.labels > 0).astype(np.uint8))
        cut = box[0] if box else (slice(0, 1),) * 3
        i, j, k = (side.start for side in cut)
        return MeasuredPart(found.labels[cut], (i, j, k), lesions, found.dropped_mm3)

    def _thickness_mm(self, axis: int) -> float:
        """Thickness plus gap; headers in single precision write 5 mm as 5.0000002, which is not above 5 mm."""
        return round(float(self._grid.spacing_mm[axis]), 4)

    @property
    def _tissue(self) -> NDArray[np.uint8]:
        return self._decoded[0]

    @property
    def _grid(self) -> Volume:
        return self._decoded[1]

    @cached_property
    def _decoded(self) -> tuple[NDArray[np.uint8], Volume]:
        return decode_tissue(self._mask.read(), self._mask.where, self._convention)

    def _on_grid(self, file: SourceFile | None) -> Volume | None:
        if file is None:
            return None
        volume = decode(file.read(), file.where)
        require_same_grid(self._grid, volume)
        return volume


def compartment_mask(tissue: NDArray[np.uint8], compartment: Compartment, axis: int) -> NDArray[np.bool_]:
    """Which voxels are a compartment's.

    Enhancing: enhancing tumour. Non-enhancing: edema, non-enhancing tumour and necrosis as one, since tools draw the
    border between them differently or not at all; but for what enhancement encloses in a slice, which is the inside of
    an enhancing lesion.

    Args:
        tissue: ``Tissue`` values (i, j, k).
        compartment: which.
        axis: across the slices.
    """
    enhancing: NDArray[np.bool_] = tissue == Tissue.ENHANCING
    if compartment is Compartment.ENHANCING:
        return enhancing
    mask: NDArray[np.bool_] = (tissue != Tissue.BACKGROUND) & ~enhancing
    slices, masks = np.moveaxis(enhancing, axis, 0), np.moveaxis(mask, axis, 0)
    for place in np.flatnonzero(slices.any(axis=(1, 2))):
        masks[place] &= ~ndimage.binary_fill_holes(slices[place])
    return mask


def slice_axis(spacing_mm: NDArray[np.float64], plane: Plane) -> int:
    """The axis across the slices on which diameters are taken."""
    if plane is not Plane.AUTO:
        return _AXES[plane]
    thickest = int(spacing_mm.argmax())
    acquired = spacing_mm[thickest] >= _THICK_MM and spacing_mm[thickest] >= _THICK_RATIO * spacing_mm.min()
    return thickest if acquired else _AXES[Plane.AXIAL]


def fingerprint(*content: object) -> str:
    """SHA-256 over plain values, shortened."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
