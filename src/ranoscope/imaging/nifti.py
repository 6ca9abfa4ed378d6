"""NIfTI bytes to volumes in RAS orientation, with every way they can be broken named."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass, replace

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from ranoscope.domain import LABELS, LabelConvention, Tissue
from ranoscope.errors import ImageError, problem

# 1 mm^3 of label volume per voxel leaves rounding far below this (loader contract A9.10).
_VOLUME_TOLERANCE_MM3 = 0.5
_AFFINE_TOLERANCE_MM = 1e-3

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Volume:
    """A 3-D image whose axes i, j, k grow towards Right, Anterior, Superior.

    ``affine`` maps voxel indices to RAS world millimetres; ``where`` names patient, study and file for messages.
    """

    data: NDArray[np.float32]
    affine: NDArray[np.float64]
    where: str

    @property
    def spacing_mm(self) -> NDArray[np.float64]:
        """Voxel edge lengths in millimetres along i, j, k."""
        return np.asarray(np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0)), dtype=np.float64)

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel in cubic millimetres."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def moved(self, by: NDArray[np.floating]) -> Volume:
        """The same voxels where ``by`` (4 x 4, RAS world, mm) takes them: no interpolation."""
        return replace(self, affine=np.asarray(by @ self.affine, dtype=np.float64))


def decode(payload: bytes, where: str) -> Volume:
    """Decode a ``.nii`` or ``.nii.gz`` file held in memory and turn it to RAS axes (exact, no interpolation).

    Raises:
        ImageError: truncated or not gzip, not NIfTI, not 3-D, a singular affine, or no finite voxel.
    """
    image, data = _parse(payload, where)
    if data.ndim != 3:
        raise ImageError(problem("a 3-D image", f"{data.ndim} dimensions {data.shape}", where, "give one volume"))
    if not _invertible(image.affine):
        raise ImageError(problem("an invertible affine", "a singular one", where, "repair the header"))
    finite = np.isfinite(data)
    if not finite.any():
        raise ImageError(problem("finite intensities", "NaN in every voxel", where, "export the image again"))
    clean = nib.Nifti1Image(np.where(finite, data, np.float32(0)), image.affine)
    canonical = nib.as_closest_canonical(clean)
    return Volume(np.asarray(canonical.dataobj, dtype=np.float32), np.asarray(canonical.affine), where)


def _invertible(affine: NDArray[np.float64]) -> bool:
    """Whether three axes span the room; beside one of 10^15 mm others vanish, whatever the determinant is."""
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        return False
    return not np.isnan(nib.io_orientation(affine)).any()


def read_header(payload: bytes, where: str) -> nib.Nifti1Header:
    """Header of a ``.nii`` or ``.nii.gz`` file held in memory: shape, affine and codes as they are in the file.

    Raises:
        ImageError: truncated or not gzip, or not NIfTI.
    """
    return _parse(payload, where)[0].header


def _parse(payload: bytes, where: str) -> tuple[nib.Nifti1Image, NDArray[np.float32]]:
    try:
        raw = gzip.decompress(payload) if payload[:2] == b"\x1f\x8b" else payload
        image = nib.Nifti1Image.from_bytes(raw)
        # Whether the voxels are all there shows only when they are asked for.
        data = np.asarray(image.dataobj, dtype=np.float32)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ImageError(
            problem("a whole gzip file", f"a truncated or damaged one ({error})", where, "copy or download it again")
        ) from error
    except (ImageFileError, HeaderDataError, WrapStructError, ValueError, OSError) as error:
        raise ImageError(
            problem("a NIfTI image", f"an unreadable one ({error})", where, "copy or download it again")
        ) from error
    return image, data


def decode_labels(payload: bytes, where: str, convention: LabelConvention) -> tuple[NDArray[np.uint8], Volume]:
    """Decode a mask and translate its labels from a convention to ``Tissue``.

    Returns:
        Tissue values (uint8, axes as in ``Volume``) and the mask's volume, which carries its grid.

    Raises:
        ImageError: as ``decode``, or a label outside the convention.
    """
    volume = decode(payload, where)
    found = np.unique(volume.data)
    allowed = LABELS[convention]
    strangers = [float(value) for value in found if float(value) not in allowed]
    if strangers:
        raise ImageError(
            problem(
                f"{convention} labels {sorted(allowed)}",
                f"also {strangers[:5]}",
                where,
                "check which tool drew this mask",
            )
        )
    table = np.zeros(max(allowed) + 1, dtype=np.uint8)
    for label, tissue in allowed.items():
        table[label] = tissue
    return table[volume.data.astype(np.uint8)], volume


def require_same_grid(volume: Volume, reference: Volume) -> None:
    """Raise ImageError unless both volumes have one shape and one affine (within 0.001 mm per entry)."""
    if volume.data.shape == reference.data.shape and np.allclose(
        volume.affine, reference.affine, atol=_AFFINE_TOLERANCE_MM
    ):
        return
    raise ImageError(
        problem(
            f"the grid of {reference.where}, {_grid(reference)}",
            _grid(volume),
            volume.where,
            "bring both to one grid (of LUMIERE: the atlas-space files of one download)",
        )
    )


def require_measured_volumes(labels: NDArray[np.uint8], voxel_mm3: float, measured: bytes, where: str) -> None:
    """Raise ImageError unless the segmenter's own JSON of volumes equals what its mask holds, within 0.5 mm^3.

    Args:
        labels: Tissue values.
        voxel_mm3: volume of one voxel.
        measured: bytes of ``measured_volumes_in_mm3.json``.
        where: names that file for messages.
    """
    keys = {
        "Enhancing_Core": Tissue.ENHANCING,
        "Necrotic_NonEnhancing": Tissue.NECROSIS_NONENHANCING,
        "Edema_Compartment": Tissue.EDEMA,
    }
    try:
        content = {key: float(json.loads(measured)[key]) for key in keys}
    except (ValueError, KeyError, TypeError) as error:
        raise ImageError(
            problem(f"JSON with {', '.join(keys)}", f"{type(error).__name__}", where, "copy or download it again")
        ) from error
    for key, tissue in keys.items():
        counted = float((labels == tissue).sum()) * voxel_mm3
        if abs(counted - content[key]) > max(_VOLUME_TOLERANCE_MM3, 1e-5 * counted):
            raise ImageError(
                problem(
                    f"{key} of {counted:.1f} mm^3, as the mask beside it holds",
                    f"{content[key]:.1f} mm^3",
                    where,
                    "check that mask and table come from one download and labels are not exchanged",
                )
            )


def _grid(volume: Volume) -> str:
    shape = "x".join(map(str, volume.data.shape))
    spacing = " x ".join(f"{edge:g}" for edge in volume.spacing_mm)
    origin = ", ".join(f"{value:g}" for value in volume.affine[:3, 3])
    return f"{shape} voxels of {spacing} mm at ({origin})"
