"""NIfTI files as series: what header and sidecar say, and a grid that is believed only where it can be."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from ranoscope.errors import ImageError, problem
from ranoscope.imaging.nifti import Volume, decode, read_header
from ranoscope.preparing.series import Series, SeriesFacts

ENDINGS = (".nii.gz", ".nii")
# What a head scan's voxels and field of view can be, in millimetres. Beyond them the header is of another unit, or of
# no image of a patient: micrometres, metres, or the spacing of a phantom's drawing.
_VOXEL_MM, _EXTENT_MM = (0.1, 15.0), (30.0, 700.0)
_LEAST_SLICES = 3
# Axes that are not at right angles: a stack with gantry tilt. A degree moves the far slice of a head by 3 mm.
_SHEAR_DEGREES = 0.5
# Both orientations of a header may differ by the rounding of the quaternion, not by half a voxel of a fine scan.
_FORMS_MM = 0.5


def read_nifti_series(path: Path, where: str) -> Series:
    """One ``.nii`` or ``.nii.gz`` file, and the ``.json`` of the same name beside it, as BIDS and dcm2niix write it.

    Args:
        path: the file.
        where: names patient, study and file for messages.

    Raises:
        ImageError: the file is not there, truncated or not NIfTI, or the sidecar is not JSON.
    """
    if not path.is_file():
        raise ImageError(problem("a NIfTI file", "none", where, "check the path"))
    header = _header_alone(path, where)
    shape = tuple(int(size) for size in header.get_data_shape())
    spacing = tuple(float(edge) for edge in header.get_zooms()[:3])
    facts = SeriesFacts(
        file_name=_stem(path),
        modality="MR",
        shape=(shape[0], shape[1], shape[2]) if len(shape) >= 3 else None,
        spacing_mm=(spacing[0], spacing[1], spacing[2]) if len(spacing) == 3 else None,
        volumes=int(np.prod(shape[3:])) if len(shape) > 3 else 1,
        **_of_sidecar(path, where),
    )
    return Series(facts, where, partial(load_nifti, path, where))


def load_nifti(path: Path, where: str) -> Volume:
    """The voxels of a file whose grid can be believed, in RAS axes; what is not finite is 0.

    Raises:
        ImageError: as ``imaging.nifti.decode``; or several volumes in one file, no orientation in the header or two
            that differ, voxels or a field of view that no head scan has, sheared axes, or fewer than three slices.
    """
    payload = path.read_bytes()
    header = read_header(payload, where)
    _require_orientation(header, where)
    shape = header.get_data_shape()
    if len(shape) > 3 and int(np.prod(shape[3:])) == 1:
        payload = _without_time(payload)
    volume = decode(payload, where)
    _require_head(volume)
    return volume


def _header_alone(path: Path, where: str) -> nib.Nifti1Header:
    """The header of a file without its voxels: whether these are all there shows when they are loaded."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            header: nib.Nifti1Header = nib.Nifti1Header.from_fileobj(stream)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        got = f"a truncated or damaged one ({error})"
        raise ImageError(problem("a whole gzip file", got, where, "copy or download it again")) from error
    except (HeaderDataError, WrapStructError, ValueError) as error:
        got = f"an unreadable one ({error})"
        raise ImageError(problem("a NIfTI image", got, where, "copy or download it again")) from error
    return header


def _stem(path: Path) -> str:
    ending = next((one for one in ENDINGS if path.name.lower().endswith(one)), "")
    return path.name[: len(path.name) - len(ending)]


def _require_orientation(header: nib.Nifti1Header, where: str) -> None:
    """Raise ImageError unless the header says, once, how the image lies in the patient."""
    quaternion, matrix = int(header["qform_code"]), int(header["sform_code"])
    if not quaternion and not matrix:
        got = "none: both qform_code and sform_code are 0"
        do = "convert the scan again from its DICOM files; which side is left cannot be told from this file"
        raise ImageError(problem("an orientation", got, where, do))
    if not (quaternion and matrix):
        return
    corners = np.array(list(product(*[(0, size - 1) for size in header.get_data_shape()[:3]])), float)
    forms = (header.get_qform(), header.get_sform())
    if not all(np.isfinite(form).all() for form in forms):
        raise ImageError(problem("a finite orientation", "NaN or infinity", where, "convert the scan again"))
    apart = np.linalg.norm(np.subtract(*(nib.affines.apply_affine(form, corners) for form in forms)), axis=1).max()
    if apart > _FORMS_MM:
        got = f"two that are up to {apart:.1f} mm apart (qform and sform)"
        do = "convert the scan again, or remove the form that is wrong (its code 0)"
        raise ImageError(problem("one orientation", got, where, do))


def _without_time(payload: bytes) -> bytes:
    """A file of one volume with further axes of length 1, as one of three axes."""
    raw = nib.Nifti1Image.from_bytes(gzip.decompress(payload) if payload[:2] == b"\x1f\x8b" else payload)
    data = np.asarray(raw.dataobj)
    flat: bytes = nib.Nifti1Image(data.reshape(data.shape[:3]), raw.affine).to_bytes()
    return flat


def _require_head(volume: Volume) -> None:
    """Raise ImageError where grid or voxels are none of a head scan."""
    where, spacing = volume.where, volume.spacing_mm
    extent = spacing * volume.data.shape
    do = "check the unit of its header, or convert the scan again"
    if spacing.min() < _VOXEL_MM[0] or spacing.max() > _VOXEL_MM[1]:
        expected = f"voxel edges of {_VOXEL_MM[0]:g} to {_VOXEL_MM[1]:g} mm"
        raise ImageError(problem(expected, _by(spacing), where, do))
    if min(volume.data.shape) < _LEAST_SLICES:
        got = " x ".join(map(str, volume.data.shape)) + " voxels"
        raise ImageError(problem(f"at least {_LEAST_SLICES} slices", got, where, "give the whole series"))
    if extent.max() > _EXTENT_MM[1] or np.sort(extent)[1] < _EXTENT_MM[0]:
        expected = f"a field of view of {_EXTENT_MM[0]:g} to {_EXTENT_MM[1]:g} mm"
        raise ImageError(problem(expected, _by(extent), where, do))
    axes = volume.affine[:3, :3] / spacing
    shear = max(_off_right_angle(axes[:, one], axes[:, other]) for one, other in combinations(range(3), 2))
    if shear > _SHEAR_DEGREES:
        got = f"axes {shear:.1f} degrees off a right angle (gantry tilt)"
        raise ImageError(problem("axes at right angles", got, where, "give a series without tilt"))
    if not np.ptp(volume.data) > 0:
        raise ImageError(problem("intensities that vary", "one value in every voxel", where, "export it again"))


def _off_right_angle(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(abs(90 - np.degrees(np.arccos(np.clip(one @ other, -1, 1)))))


def _by(lengths: NDArray[np.float64]) -> str:
    return " x ".join(f"{one:.3g}" for one in lengths) + " mm"


def _of_sidecar(path: Path, where: str) -> dict[str, Any]:
    """Facts of the JSON beside a file; none where there is none. BIDS has times in seconds."""
    beside = path.with_name(f"{_stem(path)}.json")
    if not beside.is_file():
        return {}
    try:
        content = json.loads(beside.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, ValueError) as error:
        do = "correct or remove it"
        raise ImageError(problem("JSON", f"({error})", f"{where}, sidecar {beside.name}", do)) from error
    if not isinstance(content, Mapping):
        do = "correct or remove it"
        raise ImageError(problem("a JSON object", type(content).__name__, f"{where}, sidecar {beside.name}", do))
    return facts_of_json(content)


def facts_of_json(content: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of ``SeriesFacts`` from a sidecar's content; what has another type than BIDS gives it is not there."""
    facts: dict[str, Any] = {
        name: content[key]
        for name, key in (("description", "SeriesDescription"), ("protocol", "ProtocolName"))
        if isinstance(content.get(key), str)
    }
    sequence = content.get("PulseSequenceName") or content.get("SequenceName")
    facts |= {"sequence_name": sequence} if isinstance(sequence, str) else {}
    facts |= {
        name: _words(content[key])
        for name, key in (
            ("image_type", "ImageType"), ("scanning_sequence", "ScanningSequence"),
            ("sequence_variant", "SequenceVariant"), ("scan_options", "ScanOptions"),
        )
        if content.get(key)
    }  # fmt: skip
    for name, key, scale in (
        ("echo_time_ms", "EchoTime", 1000.0), ("repetition_time_ms", "RepetitionTime", 1000.0),
        ("inversion_time_ms", "InversionTime", 1000.0), ("flip_angle_deg", "FlipAngle", 1.0),
    ):  # fmt: skip
        value = content.get(key)
        if isinstance(value, int | float) and np.isfinite(value):
            facts[name] = float(value) * scale
    for name, key in (("number", "SeriesNumber"), ("echo_train_length", "EchoTrainLength")):
        value = content.get(key)
        if isinstance(value, int | float) and np.isfinite(value):
            facts[name] = int(value)
    if content.get("MRAcquisitionType") in ("2D", "3D"):
        facts["acquisition"] = content["MRAcquisitionType"]
    if content.get("ContrastBolusIngredient") or content.get("ContrastBolusAgent"):
        facts["contrast"] = True
    return facts


def _words(value: Any) -> tuple[str, ...]:
    """Upper-case words of a list, or of a text in DICOM's way with backslashes, or dcm2niix's with underscores."""
    parts = value if isinstance(value, list) else str(value).replace("\\", "_").split("_")
    return tuple(str(part).upper() for part in parts)
