"""A small scanner: series of numbered voxels, written as DICOM files, and where each voxel lies by its own header."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from ranoscope.imaging.nifti import Volume
from ranoscope.preparing.dicom.folder import DicomFolder, read_dicom_folder
from ranoscope.preparing.series import Series

ROWS, COLUMNS = 16, 12
STRAIGHT = np.eye(3)


def slice_values(index: int) -> np.ndarray:
    """A different number for every voxel of a series: thousands the slice, below them row and column."""
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    return (index * 1000 + rows * 20 + columns + 1).astype(np.uint16)


def make_slice(index: int, directions: np.ndarray, position: Sequence[float], pixel=(1.5, 2.0), **more) -> Dataset:
    """``directions``: (3, 3), rows of growing column, row and slice index, LPS; ``pixel``: between rows and columns."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = MRImageStorage, generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3", "1.2.3.5"
    made.PatientName, made.PatientID = "Doe^Jane", "H-4711"
    made.StudyDate, made.StudyTime, made.AcquisitionTime = "20240229", "091500", "092000"
    made.Modality, made.SeriesNumber, made.InstanceNumber = "MR", 5, index + 1
    made.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    made.EchoTime, made.RepetitionTime = 90, 5000
    made.Rows, made.Columns, made.SamplesPerPixel = ROWS, COLUMNS, 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 0
    made.ImageOrientationPatient = [f"{value:.9g}" for value in np.asarray(directions)[:2].ravel()]
    made.ImagePositionPatient = [f"{value:.9g}" for value in position]
    made.PixelSpacing = list(pixel)
    made.PixelData = slice_values(index).tobytes()
    made["PixelData"].VR = "OW"
    with disable_value_validation():
        for keyword, value in more.items():
            setattr(made, keyword, value)
    return made


def make_slices(count=8, directions=STRAIGHT, origin=(-10.0, -20.0, 30.0), step=3.0, **more) -> list[Dataset]:
    """A stack; a callable among ``more`` is asked for each slice's own value."""
    return [
        make_slice(
            index, directions, np.array(origin) + index * step * np.asarray(directions)[2],
            **{keyword: value(index) if callable(value) else value for keyword, value in more.items()},
        )
        for index in range(count)
    ]  # fmt: skip


def write_files(folder: Path, datasets: Sequence[Dataset], names: Callable[[int], str] = "IM{:04d}".format) -> Path:
    """Write them with the names given; folders are made."""
    for number, dataset in enumerate(datasets):
        path = folder / names(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        with disable_value_validation():
            dataset.save_as(path, enforce_file_format=True)
    return folder


def read_files(folder: Path) -> DicomFolder:
    return read_dicom_folder(folder, lambda *_: None)


def read_all_series(folder: Path) -> list[Series]:
    """The series of a folder's only study."""
    (study,) = read_files(folder).studies
    return list(study.series)


def places_ras(dataset: Dataset, places: np.ndarray) -> np.ndarray:
    """World of pixels (n, 2) of row and column by the standard's own formula, PS3.3 C.7.6.2.1.1, turned to RAS."""
    along_columns, along_rows = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = (float(edge) for edge in dataset.PixelSpacing)
    start = np.array(dataset.ImagePositionPatient, float)
    lps = start + places[:, 1:] * between_columns * along_columns + places[:, :1] * between_rows * along_rows
    return lps * [-1, -1, 1]


def require_written(volume: Volume, datasets: Sequence[Dataset], tolerance_mm: float = 1e-3) -> None:
    """Every voxel of these slices lies in the volume where its own header says, and there are no others."""
    assert volume.data.dtype == np.float32
    assert volume.data.size == len(datasets) * ROWS * COLUMNS
    assert nib.aff2axcodes(volume.affine) == ("R", "A", "S")
    places = np.argwhere(np.ones((ROWS, COLUMNS)))
    for dataset in datasets:
        index = (places_ras(dataset, places) - volume.affine[:3, 3]) @ np.linalg.inv(volume.affine[:3, :3]).T
        nearest = np.rint(index).astype(int)
        assert np.linalg.norm((index - nearest) * volume.spacing_mm, axis=1).max() <= tolerance_mm
        stored = np.frombuffer(dataset.PixelData, np.uint16)
        expected = stored * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0))
        assert np.allclose(volume.data[tuple(nearest.T)], expected, rtol=1e-6)


@pytest.fixture
def scanner():
    """The functions above, for tests beside this file."""

    class Scanner:
        slices = staticmethod(make_slices)
        slice = staticmethod(make_slice)
        values = staticmethod(slice_values)
        write = staticmethod(write_files)
        read = staticmethod(read_files)
        series = staticmethod(read_all_series)
        places_ras = staticmethod(places_ras)
        require_written = staticmethod(require_written)

    return Scanner
