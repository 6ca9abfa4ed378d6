"""Spoilt files by the hundred: a volume whose every voxel lies where its header says, or a refusal; nothing else.

The check reads the spoilt headers itself: every voxel's value says which file, row and column it came from.
"""

from __future__ import annotations

import io
import random
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.config import disable_value_validation
from pydicom.multival import MultiValue

from ranoscope.errors import RanoscopeError
from ranoscope.preparing.dicom.folder import DicomFolder
from ranoscope.preparing.dicom.geometry import GRID_TOLERANCE_MM

MUTATIONS = 200
SLICES = 8
NUMBERS = ["nan", "inf", "1e400", "-1", "0", "", "abc", "1,5", "7.25", "1e-9"]
VALUES = {
    "ImageOrientationPatient": [
        ["1", "0", "0", "0", "1"], ["nan", "0", "0", "0", "1", "0"], ["1", "0", "0", "1", "0", "0"],
        ["0", "0", "0", "0", "0", "0"], ["0", "1", "0", "-1", "0", "0"], ["-1", "0", "0", "0", "1", "0"],
        ["1", "0.0008", "0", "-0.0008", "1", "0"], ["1", "0.004", "0", "-0.004", "1", "0"],
        ["2", "0", "0", "0", "2", "0"],
    ],
    "ImagePositionPatient": [
        ["-10", "-20", "30"], ["-10", "-20", "36.05"], ["-10", "-20", "36.4"], ["-10.2", "-20", "39"],
        ["-12", "-20", "39"], ["nan", "0", "0"], ["1e300", "0", "0"], ["-10", "-20"], ["a", "b", "c"], "",
    ],
    "PixelSpacing": [["1.5", "2.0005"], ["1.5", "2.1"], ["2", "1.5"], ["0", "1"], ["-1", "-1"], ["nan", "1"], ""],
    "Rows": [0, 15, 17, 24, 65535],
    "Columns": [0, 8, 13, 65535],
    "NumberOfFrames": NUMBERS,
    "RescaleSlope": NUMBERS,
    "RescaleIntercept": NUMBERS,
    "EchoTime": NUMBERS,
    "InstanceNumber": NUMBERS,
    "SliceThickness": NUMBERS,
    "SpacingBetweenSlices": ["1", "1.5", *NUMBERS],
    "ImageType": [["DERIVED", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "MOSAIC"], ""],
    "SamplesPerPixel": [0, 3],
    "SOPClassUID": ["", "1.2", "1.2.840.10008.5.1.4.1.1.7"],
    "SeriesInstanceUID": ["", "1.2.3.6"],
    "StudyInstanceUID": ["", "1.2.4"],
    "PatientName": ["", "Roe^Jane"],
    "TemporalPositionIdentifier": NUMBERS,
    "SeriesNumber": NUMBERS,
    "StudyDate": ["", "yesterday", "99999999"],
    "AcquisitionTime": ["", "noon", "999999"],
    "SpecificCharacterSet": ["NONSENSE"],
}  # fmt: skip
# A type that the element never has, and a value that passes for one.
WRONG = {"LO": "some text", "US": 7, "FD": float("nan"), "OB": b"\1\2", "SQ": [], "AT": 0x00100010, "DS": "3"}


def test_spoilt_files_give_a_true_grid_or_a_refusal(tmp_path, scanner):
    slices = scanner.slices(SLICES, pixel=(1.5, 2.0))
    scanner.write(tmp_path, slices)
    whole = {path: path.read_bytes() for path in sorted(tmp_path.iterdir())}
    rng = random.Random(7)
    volumes = refusals = 0
    for _ in range(MUTATIONS):
        spoilt = (spoilt_bytes if rng.random() < 0.4 else spoilt_headers)(whole, rng)
        for path, content in spoilt.items():
            path.write_bytes(content)
        try:
            found = scanner.read(tmp_path)
        except RanoscopeError as error:
            require_discreet(str(error), tmp_path)
            refusals += 1
        else:
            loaded = require_true(found, whole | spoilt, tmp_path)
            volumes, refusals = volumes + loaded, refusals + (not loaded)
        for path in spoilt:
            path.write_bytes(whole[path])
    assert volumes > MUTATIONS // 5
    assert refusals > MUTATIONS // 5


def spoilt_bytes(whole: dict[Path, bytes], rng: random.Random) -> dict[Path, bytes]:
    """One file with a few bytes changed, taken out, put in or cut off."""
    path = rng.choice(list(whole))
    content = bytearray(whole[path])
    for _ in range(rng.choice([1, 1, 3, 20])):
        at = rng.randrange(len(content))
        kind = rng.randrange(5)
        if kind == 0:
            del content[at : at + rng.randrange(1, 9)]
        elif kind == 1:
            content[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 2 and rng.random() < 0.2:
            del content[max(at, 200) :]
        else:
            content[at] = rng.randrange(256)
    return {path: bytes(content)}


def spoilt_headers(whole: dict[Path, bytes], rng: random.Random) -> dict[Path, bytes]:
    """An element of one, some or all files given another value or type, or taken out."""
    keyword = rng.choice(list(VALUES))
    change = rng.choice(["value", "value", "value", "type", "none"])
    value, kind = rng.choice(VALUES[keyword]), rng.choice(list(WRONG))
    paths = rng.sample(list(whole), rng.choice([1, 1, 2, SLICES]))
    return {path: rewritten(whole[path], keyword, change, value, kind) for path in paths}


def rewritten(content: bytes, keyword: str, change: str, value: object, kind: str) -> bytes:
    with disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = dcmread(io.BytesIO(content))
        if change == "value":
            overwrite(dataset, keyword, value)
        elif keyword in dataset:
            tag = dataset[keyword].tag
            del dataset[keyword]
            if change == "type":
                dataset.add_new(tag, kind, WRONG[kind])
        written = io.BytesIO()
        dataset.save_as(written, enforce_file_format=False)
    return written.getvalue()


def overwrite(dataset: Dataset, keyword: str, value: object) -> None:
    """Numbers that are written as text may be any text in a file: pydicom would refuse to hold them."""
    setattr(dataset, keyword, 1 if isinstance(value, int) else None)
    if isinstance(value, int):
        setattr(dataset, keyword, value)
        return
    element = dataset[keyword]
    dataset.add_new(element.tag, "LO" if element.VR in ("DS", "IS") else element.VR, value)


def require_discreet(message: str, folder: Path) -> None:
    assert not any(word in message.lower() for word in ("doe", "jane", "4711", str(folder).lower()))


def require_true(found: DicomFolder, contents: dict[Path, bytes], folder: Path) -> bool:
    """Whether a volume could be loaded; each that could is checked, and so is that every file is somewhere."""
    rng = np.random.default_rng(0)
    loaded, reasons = False, ""
    values, places = None, None
    for series in (series for study in found.studies for series in study.series):
        require_discreet(f"{series.where} {series.facts}", folder)
        try:
            volume = series.load()
        except RanoscopeError as error:
            require_discreet(str(error), folder)
            reasons += str(error)
            continue
        loaded = True
        if values is None:
            values, places = (np.concatenate(parts) for parts in zip(*voxels_by_header(contents), strict=True))
        for index in rng.integers(0, volume.data.shape, (40, 3)):
            here = (volume.affine @ [*index, 1])[:3]
            own = places[np.isclose(values, volume.data[tuple(index)], rtol=1e-6)]
            assert np.linalg.norm(own - here, axis=1).min() <= GRID_TOLERANCE_MM + 1e-6
    if "a place in the patient" not in reasons and "one slice at each place" not in reasons:
        aside = [*found.aside, *(one for study in found.studies for one in study.aside)]
        held = sum(series.facts.shape[2] for study in found.studies for series in study.series)
        assert held + sum(one.files for one in aside) + found.other_files == SLICES
    return loaded


def voxels_by_header(contents: dict[Path, bytes]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Values (n,) and RAS places (n, 3) of each file's pixels, by its own header; nothing of a file that has none."""
    for content in contents.values():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                yield voxels(dcmread(io.BytesIO(content), force=True))
            except Exception:
                # Such a file gives no voxel here: one of its that comes back in a volume is not found.
                continue


def voxels(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    along = np.array(numbers(dataset, "ImageOrientationPatient")).reshape(2, 3)
    between_rows, between_columns = numbers(dataset, "PixelSpacing")
    rows, columns, bits = (int(numbers(dataset, keyword)[0]) for keyword in ("Rows", "Columns", "BitsStored"))
    stored = np.frombuffer(dataset.PixelData, np.uint16).reshape(rows * columns).astype(int)
    stored = (stored >> (dataset.HighBit + 1 - bits)) & (2**bits - 1)
    stored = stored - 2**bits * (stored >= 2 ** (bits - 1)) * int(dataset.PixelRepresentation)
    slope, intercept = numbers(dataset, "RescaleSlope", 1), numbers(dataset, "RescaleIntercept", 0)
    row, column = np.divmod(np.arange(rows * columns), columns)
    start = np.array(numbers(dataset, "ImagePositionPatient"))
    lps = start + np.outer(column * between_columns, along[0]) + np.outer(row * between_rows, along[1])
    return stored * slope[0] + intercept[0], lps * [-1, -1, 1]


def numbers(dataset: Dataset, keyword: str, usual: float | None = None) -> list[float]:
    value = dataset[keyword].value if keyword in dataset else None
    if value in (None, "") and usual is not None:
        return [usual]
    parts = value if isinstance(value, list | MultiValue) else [value]
    return [float(part) for one in parts for part in str(one).split("\\")]
