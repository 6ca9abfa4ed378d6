"""Maps from the atlas's space back to the grid of the image that the scanner made.

LUMIERE ships a rigid transform per visit and sequence but does not say which way it maps. That is found out, visit by
visit: the visit's brain mask in atlas space is laid over its brain mask in scanner space both ways.
"""

from __future__ import annotations

import math
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813 - the library's own abbreviation
from numpy.typing import NDArray
from scipy import ndimage

from ranoscope.cohort import layout
from ranoscope.cohort.archive import ImagingArchive
from ranoscope.domain import Sequence, StudyKey
from ranoscope.errors import ImageError, problem
from ranoscope.imaging.nifti import decode, read_header

Affine = NDArray[np.float64]
# Two masks of one brain that agree less than this were not laid over one another.
_LEAST_DICE = 0.5
# How many parameters, and fixed ones, the transforms have that can be rigid (ITK's documentation of each class).
_PARAMETERS = {
    "Euler3DTransform": (6, (3, 4)),
    "VersorRigid3DTransform": (6, (3,)),
    "QuaternionRigidTransform": (7, (3,)),
    "AffineTransform": (12, (3,)),
    "MatrixOffsetTransformBase": (12, (3,)),
    "TranslationTransform": (3, (0,)),
}
_HEAD = "#Insight Transform File V1.0"
# ITK's world is LPS, NIfTI's RAS.
_TURN = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class NativeGrid:
    """The grid of one image as the scanner made it, and where the atlas's points lie on it.

    ``header``: of that image. ``atlas_to_native``: RAS world to RAS world, mm, 4 x 4, rigid. ``direction``: which way
    the file was found to be written. ``dice``: how well the brain masks agree that way; ``other_dice``: the other way.
    """

    header: nib.Nifti1Header
    atlas_to_native: Affine
    direction: str
    dice: float
    other_dice: float

    def bring(self, data: NDArray[np.float32], affine: Affine) -> nib.Nifti1Image:
        """A map on this grid, float32, interpolated linearly, 0 outside of what the map covers.

        Args:
            data: (i, j, k).
            affine: its voxels to the atlas's RAS world, mm.
        """
        native = self.header.get_best_affine()
        moved = _resample(data, affine, self.atlas_to_native, (self.header.get_data_shape(), native), order=1)
        image = nib.Nifti1Image(moved, native)
        image.header.set_xyzt_units("mm")
        image.set_sform(native, code=int(self.header["sform_code"]) or 1)
        image.set_qform(native, code=int(self.header["qform_code"]) or 1)
        return image


def native_grid(archive: ImagingArchive, key: StudyKey, sequence: Sequence) -> NativeGrid:
    """Find out how a visit's image lies to the atlas.

    Raises:
        ImageError: a file is absent or damaged, the transform is not rigid, or the masks agree neither way.
    """
    image, transform = layout.sequence_file(sequence), layout.native_transform(sequence)
    header = read_header(archive.read(key, image), archive.where(key, image))
    matrix = read_rigid(archive.read(key, transform), archive.where(key, transform))
    atlas, native = (
        decode(archive.read(key, name), archive.where(key, name))
        for name in (layout.ATLAS_BRAIN_MASK, layout.native_brain_mask(sequence))
    )
    ways: dict[str, Affine] = {
        "atlas to scanner": matrix,
        "scanner to atlas": np.asarray(np.linalg.inv(matrix), np.float64),
    }
    found = {
        name: _dice(_resample(atlas.data, atlas.affine, way, (native.data.shape, native.affine), order=0), native.data)
        for name, way in ways.items()
    }
    best, other = sorted(found, key=lambda name: -found[name])
    if found[best] < _LEAST_DICE:
        got = f"Dice {found[best]:.2f} and {found[other]:.2f}"
        do = "check that transform and masks are of this visit"
        where = archive.where(key, transform)
        raise ImageError(problem("a transform that lays the brain masks over one another", got, where, do))
    return NativeGrid(header, ways[best], best, found[best], found[other])


def read_rigid(payload: bytes, where: str) -> Affine:
    """ITK's text file of a transform as a 4 x 4 matrix between RAS worlds, mm.

    Raises:
        ImageError: not a transform, a damaged one, or not a rigid one.
    """
    do = "restore it from the download"
    _require_whole(payload.decode("ascii", "replace"), where, do)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "transform.tfm"
        path.write_bytes(payload)
        try:
            transform = sitk.ReadTransform(str(path))
        except RuntimeError as error:
            raise ImageError(problem("ITK's text file of a transform", "something else", where, do)) from error
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    matrix = np.eye(4)
    matrix[:3, 3] = origin
    matrix[:3, :3] = (
        np.array([transform.TransformPoint(tuple(map(float, axis))) for axis in np.eye(3)]).T - origin[:, None]
    )
    if not np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-3):
        raise ImageError(problem("a rigid transform", "one that scales or shears", where, do))
    return np.asarray(_TURN @ matrix @ _TURN)


def _require_whole(text: str, where: str, do: str) -> None:
    """One transform with all its numbers; ITK itself takes one without for the identity, or reads past their end."""
    fields = dict(re.findall(r"^(Transform|Parameters|FixedParameters):(.*)$", text, re.MULTILINE))
    name = fields.get("Transform", "").strip()
    if not text.startswith(_HEAD) or not name or text.count("Transform:") != 1:
        raise ImageError(problem("ITK's text file of one transform", "something else", where, do))
    kind = name.split("_")[0]
    if kind not in _PARAMETERS or not name.endswith("_3_3"):
        raise ImageError(problem(f"a rigid transform in 3-D, one of {', '.join(_PARAMETERS)}", name, where, do))
    free, fixed = _PARAMETERS[kind]
    for field, counts in (("Parameters", (free,)), ("FixedParameters", fixed)):
        values = _numbers(fields.get(field, ""))
        if values is None or len(values) not in counts:
            got = "fewer, more or others"
            raise ImageError(problem(f"{counts[0]} finite numbers as {field} of {kind}", got, where, do))


def _numbers(text: str) -> list[float] | None:
    """Finite numbers between blanks; None where something else stands."""
    try:
        values = [float(part) for part in text.split()]
    except ValueError:
        return None
    return values if all(map(math.isfinite, values)) else None


def _resample(
    data: NDArray[np.float32], affine: Affine, to_native: Affine, grid: tuple[tuple[int, ...], Affine], order: int
) -> NDArray[np.float32]:
    """``data`` seen on another grid (shape, affine), whose world ``to_native`` leads to."""
    shape, native = grid
    mapping = np.linalg.inv(affine) @ np.linalg.inv(to_native) @ native
    seen = ndimage.affine_transform(data, mapping[:3, :3], mapping[:3, 3], output_shape=shape, order=order)
    return np.asarray(seen, dtype=np.float32)


def _dice(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    a, b = first > 0.5, second > 0.5
    total = int(a.sum() + b.sum())
    return 2 * int((a & b).sum()) / total if total else 0.0
