"""Stored pixel values of one DICOM file, whatever their depth, sign, byte order and compression."""

from __future__ import annotations

import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the library's own abbreviation
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.tag import Tag
from pydicom.uid import UID, SecondaryCaptureImageStorage, generate_uid

from ranoscope.errors import ImageError, problem
from ranoscope.preparing.dicom.header import Attributes, quiet

_TAGS = [
    Tag(keyword)
    for keyword in (
        "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit",
        "PixelRepresentation", "PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
    )
]  # fmt: skip
_JPEG = b"\xff\xd8"
# SOF0 to SOF15 without the tables and reserved codes among them, and SOF55 of JPEG-LS.
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_AGAIN = "copy or export it again"


@dataclass(frozen=True)
class _Layout:
    """How the pixels of a file are written (PS3.5, 8.1.1)."""

    frames: int
    rows: int
    columns: int
    allocated: int
    stored: int
    high: int
    signed: bool

    @property
    def bytes(self) -> int:
        return self.frames * self.rows * self.columns * self.allocated // 8


def read_pixels(path: Path, where: str) -> NDArray[np.int64]:
    """Stored values before any rescaling, (frames, rows, columns).

    Raises:
        ImageError: the file cannot be read or is cut short; no pixels, or not as many as rows, columns and frames
            say; a compression that cannot be decoded.
    """
    # As with headers, what pydicom raises on damage is not a closed list.
    try:
        with quiet():
            dataset = dcmread(path, force=True, specific_tags=_TAGS)
            payload = dataset["PixelData"].value if "PixelData" in dataset else b""
            layout = _layout(Attributes((dataset,)))
            syntax = UID(getattr(dataset.file_meta, "TransferSyntaxUID", ""))
    except Exception as error:
        raise ImageError(problem("a DICOM file", f"a damaged one ({type(error).__name__})", where, _AGAIN)) from None
    if layout is None:
        raise ImageError(problem("pixels of 8, 16 or 32 bits", "none described in the header", where, _AGAIN))
    if not isinstance(payload, bytes) or not payload:
        raise ImageError(problem("pixels", "none; the file may be cut short", where, _AGAIN))
    if syntax.is_transfer_syntax and syntax.is_compressed:
        raw = _decompressed(dataset, layout, syntax, where)
    else:
        raw = _native(payload, layout, dataset.original_encoding[1] is not False, where)
    return _stored(raw, layout)


def _layout(said: Attributes) -> _Layout | None:
    rows, columns, allocated = (said.integer(keyword) or 0 for keyword in ("Rows", "Columns", "BitsAllocated"))
    stored, high = said.integer("BitsStored") or 0, said.integer("HighBit") or 0
    frames = (said.integer("NumberOfFrames") or 0) if said.says("NumberOfFrames") else 1
    signed = said.integer("PixelRepresentation")
    if min(rows, columns, frames) < 1 or allocated not in (8, 16, 32) or not 0 < stored <= high + 1 <= allocated:
        return None
    return _Layout(frames, rows, columns, allocated, stored, high, signed == 1) if signed in (0, 1) else None


def _native(payload: bytes, layout: _Layout, little_endian: bool, where: str) -> NDArray[np.int64]:
    # A value of odd length is padded to an even one.
    if len(payload) not in (layout.bytes, layout.bytes + layout.bytes % 2):
        got = f"{len(payload)}; the file may be cut short" if len(payload) < layout.bytes else f"{len(payload)}"
        raise ImageError(problem(f"{layout.bytes} bytes of pixels", got, where, _AGAIN))
    kind = np.dtype(f"{'<' if little_endian else '>'}u{layout.allocated // 8}")
    values = np.frombuffer(payload, kind, count=layout.frames * layout.rows * layout.columns)
    return values.reshape(layout.frames, layout.rows, layout.columns).astype(np.int64)


def _decompressed(dataset: FileDataset, layout: _Layout, syntax: UID, where: str) -> NDArray[np.int64]:
    said = Attributes((dataset,))
    offsets, lengths = said.value("ExtendedOffsetTable"), said.value("ExtendedOffsetTableLengths")
    extended = (offsets, lengths) if isinstance(offsets, bytes) and isinstance(lengths, bytes) else None
    frames = []
    try:
        with quiet(), tempfile.TemporaryDirectory() as folder:
            whole = generate_frames(dataset.PixelData, number_of_frames=layout.frames, extended_offsets=extended)
            for _, frame in zip(range(layout.frames), whole, strict=False):
                _require_jpeg_header(frame, layout)
                frames.append(_decode(frame, layout, syntax, Path(folder) / "frame.dcm"))
    except Exception as error:
        raise ImageError(
            problem(
                f"pixels that can be decompressed ({syntax.name})",
                f"damage or a compression that is not supported ({type(error).__name__})",
                where,
                "export the series uncompressed",
            )
        ) from None
    if {frame.shape for frame in frames} != {(layout.rows, layout.columns)} or len(frames) != layout.frames:
        shapes = ", ".join(sorted({f"{frame.shape[0]} x {frame.shape[1]}" for frame in frames}))
        raise ImageError(
            problem(
                f"{layout.frames} frames of {layout.rows} x {layout.columns} pixels", f"{len(frames)} of {shapes}",
                where, _AGAIN,
            )
        )  # fmt: skip
    return np.stack(frames)


def _require_jpeg_header(frame: bytes, layout: _Layout) -> None:
    """A JPEG or JPEG-LS stream is of this size (ISO 10918-1, B.2.2): GDCM crashes at an impossible precision."""
    if frame[:2] != _JPEG:
        return
    at = 2
    while frame[at + 1] not in _FRAME_HEADERS:
        at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    precision, rows, columns, components = struct.unpack(">BHHB", frame[at + 4 : at + 10])
    if (rows, columns, components) != (layout.rows, layout.columns, 1) or precision > layout.allocated:
        raise ValueError("another size")


def _decode(frame: bytes, layout: _Layout, syntax: UID, path: Path) -> NDArray[np.int64]:
    """One compressed frame by GDCM, from a file with nothing in it but these pixels.

    Of the original file GDCM would rescale the values, and not those of MR.
    """
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = syntax
    file.SOPClassUID, file.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    file.Rows, file.Columns, file.SamplesPerPixel = layout.rows, layout.columns, 1
    file.PhotometricInterpretation = "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit = layout.allocated, layout.stored, layout.high
    file.PixelRepresentation = int(layout.signed)
    file.PixelData = encapsulate([frame])
    file["PixelData"].VR = "OB"
    file.save_as(path, enforce_file_format=True)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    image = sitk.GetArrayFromImage(reader.Execute())
    mask = (1 << layout.allocated) - 1
    return np.asarray(image.reshape(image.shape[-2:]), dtype=np.int64) & mask


def _stored(raw: NDArray[np.int64], layout: _Layout) -> NDArray[np.int64]:
    """The bits that hold the value, with its sign; what stands in the other bits is not part of it."""
    values = (raw >> (layout.high - layout.stored + 1)) & ((1 << layout.stored) - 1)
    if layout.signed:
        values = np.where(values >> (layout.stored - 1) == 1, values - (1 << layout.stored), values)
    return values
