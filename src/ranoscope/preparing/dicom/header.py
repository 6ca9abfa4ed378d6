"""One DICOM file's header, read leniently: what a real scanner got wrong is missing, never an exception."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import MediaStorageDirectoryStorage

# A length that is not said (PS3.5, 7.1.1).
_UNDEFINED = 0xFFFFFFFF
# PS3.10, 7.1: a preamble of 128 bytes, then this.
_MAGIC_AT, _MAGIC = 128, b"DICM"
# Files of old archives begin with the data set itself: group 0008, elements 0000 to 0018, little endian.
_BARE = tuple(bytes([8, 0, element, 0]) for element in (0x00, 0x01, 0x05, 0x08, 0x12, 0x13, 0x14, 0x16, 0x18))


@dataclass(frozen=True)
class PrivateElement:
    """An element whose meaning its ``creator`` gave it (PS3.5, 7.8.1)."""

    tag: tuple[int, int]
    creator_tag: tuple[int, int]
    creator: str


PATIENT = (
    "PatientName", "PatientID", "PatientBirthDate", "OtherPatientIDs", "OtherPatientIDsSequence", "OtherPatientNames",
    "PatientBirthName", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
_IMAGE = (
    "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "ImageType", "InstanceNumber", "Rows",
    "Columns", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "RescaleSlope", "RescaleIntercept",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
_ACQUISITION = (
    "SeriesNumber", "SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName", "ScanningSequence",
    "SequenceVariant", "ScanOptions", "EchoPulseSequence", "EchoPlanarPulseSequence", "MRAcquisitionType",
    "ContrastBolusAgent", "ContrastBolusAgentSequence", "EchoTime", "EchoNumbers", "RepetitionTime", "InversionTime",
    "FlipAngle", "EchoTrainLength", "DiffusionBValue", "TemporalPositionIdentifier", "AcquisitionNumber",
)  # fmt: skip
_TIMES = (
    "StudyDate", "StudyTime", "SeriesDate", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "ContentDate",
    "ContentTime",
)  # fmt: skip
GE_DIFFUSION = PrivateElement((0x0043, 0x1039), (0x0043, 0x0010), "GEMS_PARM_01")
SIEMENS_DIFFUSION = PrivateElement((0x0019, 0x100C), (0x0019, 0x0010), "SIEMENS MR HEADER")
_PRIVATE = [tag for element in (GE_DIFFUSION, SIEMENS_DIFFUSION) for tag in (element.tag, element.creator_tag)]
_TAGS = [*map(Tag, (*PATIENT, *_IMAGE, *_ACQUISITION, *_TIMES)), *map(Tag, _PRIVATE)]


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom, which warns and logs of every invalid value, and names the file and the value when it does."""
    log = logging.getLogger("pydicom")
    was = log.disabled
    log.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = was


@dataclass(frozen=True, eq=False, repr=False)
class Attributes:
    """What is said of one image, by DICOM keyword, from several data sets of which the first that speaks counts.

    Empty values, values that cannot be converted and numbers that are not finite are as if they were not there.
    """

    datasets: tuple[Dataset, ...]

    def says(self, keyword: str) -> bool:
        """Whether anything stands there, readable or not."""
        tag = Tag(keyword)
        held = [dataset.get_item(tag) for dataset in self.datasets if tag in dataset]
        return any(one is not None and one.value not in (None, b"", "") for one in held)

    def value(self, *keywords: str) -> object:
        """The first value found, as pydicom converts it, or None."""
        for keyword in keywords:
            for dataset in self.datasets:
                found = _converted(dataset, keyword)
                if found is not None:
                    return found
        return None

    def texts(self, *keywords: str) -> tuple[str, ...]:
        """The parts of a value as stripped texts."""
        return tuple(part for part in map(_text, _parts(self.value(*keywords))) if part)

    def text(self, *keywords: str) -> str:
        """The whole value as a text, empty where there is none."""
        return " ".join(self.texts(*keywords))

    def numbers(self, *keywords: str) -> tuple[float, ...]:
        """The parts of a value as numbers; empty where one of them is none."""
        return _numbers(self.value(*keywords))

    def number(self, *keywords: str) -> float | None:
        """The first part of a value as a number."""
        found = self.numbers(*keywords)
        return found[0] if found else None

    def integer(self, *keywords: str) -> int | None:
        """The first part of a value as a whole number."""
        found = self.number(*keywords)
        return int(found) if found is not None and found == int(found) else None

    def items(self, keyword: str) -> tuple[Dataset, ...]:
        """The items of a sequence."""
        found = self.value(keyword)
        return tuple(found) if isinstance(found, DicomSequence) else ()

    def private(self, element: PrivateElement) -> tuple[float, ...]:
        """Numbers of a vendor's own element, whatever type it was written as."""
        for dataset in self.datasets:
            if _text(_converted(dataset, element.creator_tag)) == element.creator:
                return _numbers(_converted(dataset, element.tag))
        return ()


def is_dicom(path: Path) -> bool:
    """Whether the file begins as a DICOM file does, with or without a preamble.

    Raises:
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        start = file.read(_MAGIC_AT + len(_MAGIC))
    return start[_MAGIC_AT:] == _MAGIC or start[:4] in _BARE


def read_header(path: Path) -> Attributes | None:
    """Header of a DICOM file, without its pixels and with what is of use here alone; None where it cannot be read."""
    # pydicom leaves some damage to whoever asks for it next, as struct.error, zlib.error, NotImplementedError and more.
    try:
        with quiet():
            dataset = dcmread(path, stop_before_pixels=True, force=True, specific_tags=_TAGS)
            for tag in _cut_short(dataset):
                del dataset[tag]
            return Attributes((dataset,))
    except Exception:
        return None


def is_directory(header: Attributes) -> bool:
    """Whether the file is a DICOMDIR, an index of the files beside it."""
    meta = getattr(header.datasets[0], "file_meta", None)
    return meta is not None and Attributes((meta,)).text("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage


def _cut_short(dataset: Dataset) -> list[BaseTag]:
    """Elements of which the file ends before their value does: half a name would be another patient."""
    held: list[object] = [dataset.get_item(tag) for tag in dataset.keys()]  # noqa: SIM118 - iterating converts every element
    return [
        item.tag
        for item in held
        if isinstance(item, RawDataElement) and item.length != _UNDEFINED and len(item.value or b"") < item.length
    ]


def _converted(dataset: Dataset, key: str | tuple[int, int]) -> object:
    # As in read_header: what a value of the wrong type raises is not a closed list.
    try:
        tag = Tag(key)
        if tag not in dataset:
            return None
        with quiet():
            found = dataset[tag].value
        return None if found is None or (hasattr(found, "__len__") and len(found) == 0) else found
    except Exception:
        return None


def _parts(value: object) -> tuple[object, ...]:
    if value is None:
        return ()
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        return tuple(value.split("\\"))
    return tuple(value) if isinstance(value, MultiValue | list | tuple) else (value,)


def _text(value: object) -> str:
    return str(value.decode("latin-1") if isinstance(value, bytes) else value).strip(" \0")


def _numbers(value: object) -> tuple[float, ...]:
    try:
        found = tuple(float(_text(part)) for part in _parts(value))
    except ValueError:
        return ()
    return found if all(map(math.isfinite, found)) else ()
