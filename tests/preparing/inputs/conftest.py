"""Small inputs of every kind: headers are read and no voxel, so images are as small as they can be."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from ranoscope.preparing.inputs import Inputs, find_studies


def write_nifti(path: Path, **sidecar: object) -> Path:
    """A tiny image, and a sidecar where it says anything."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.arange(80, dtype=np.int16).reshape(2, 2, 20), np.diag([1, 1, 5, 1])), path)
    if sidecar:
        path.with_name(f"{path.name.split('.')[0]}.json").write_text(json.dumps(sidecar))
    return path


def write_dicom(folder: Path, study="1.2.3", day="20240229", slices=3, **more: object) -> Path:
    """One series of one study."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(slices):
        made = Dataset()
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.SOPClassUID, made.SOPInstanceUID = MRImageStorage, generate_uid()
        made.StudyInstanceUID, made.SeriesInstanceUID = study, f"{study}.5"
        made.PatientName, made.PatientID = "Doe^Jane", "H-4711"
        made.StudyDate, made.StudyTime, made.Modality, made.SeriesNumber = day, "091500", "MR", 5
        made.Rows, made.Columns, made.SamplesPerPixel, made.PhotometricInterpretation = 4, 4, 1, "MONOCHROME2"
        made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 0
        made.ImageOrientationPatient, made.PixelSpacing = [1, 0, 0, 0, 1, 0], [1, 1]
        made.ImagePositionPatient = [0, 0, index]
        made.PixelData = np.full(16, index, np.uint16).tobytes()
        made["PixelData"].VR = "OW"
        for keyword, value in more.items():
            setattr(made, keyword, value)
        made.save_as(folder / f"{study}-{index}", enforce_file_format=True)
    return folder


def find(*inputs: Path, patient: str | None = None) -> Inputs:
    return find_studies(inputs, lambda *_: None, patient)


def named(inputs: Inputs) -> list[str]:
    """The studies by patient and visit."""
    return [f"{study.patient}/{study.visit}" for study in inputs.studies]


@pytest.fixture
def given():
    """The functions above, for tests beside this file."""

    class Given:
        nifti = staticmethod(write_nifti)
        dicom = staticmethod(write_dicom)
        find = staticmethod(find)
        named = staticmethod(named)

    return Given
