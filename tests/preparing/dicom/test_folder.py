"""What is found in a folder: patients, studies, series and everything else, counted and without a name."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import (
    BasicTextSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    MediaStorageDirectoryStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from ranoscope.errors import ImageError
from ranoscope.preparing.dicom.aside import Aside, AsideReason
from ranoscope.preparing.dicom.folder import read_dicom_folder

IDENTIFIERS = ("doe", "jane", "4711", "1960", "20240229")


def report(slices: list[Dataset], sop_class: str, modality: str) -> Dataset:
    """A file of the same study that holds no image."""
    made = deepcopy(slices[0])
    for keyword in ("PixelData", "Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(made, keyword)
    made.SOPClassUID, made.SeriesInstanceUID = sop_class, f"1.2.3.{modality.encode().hex()}".replace("a", "1")
    made.Modality, made.SeriesNumber = modality, 99
    return made


def test_files_are_found_by_content_at_any_depth_under_any_name(tmp_path, scanner):
    slices = scanner.slices()
    names = ["txt", "", "dcm"]
    scanner.write(tmp_path, slices, lambda number: f"{'abcdefgh'[number]}/deep {number}/x.{names[number % 3]}")
    (tmp_path / "notes.dcm").write_text("not DICOM at all")
    (tmp_path / "empty.dcm").touch()
    index = Dataset()
    index.file_meta = deepcopy(slices[0].file_meta)
    index.SOPClassUID, index.SOPInstanceUID = MediaStorageDirectoryStorage, "1.2.9"
    index.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    index.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    told = []
    found = read_dicom_folder(tmp_path, lambda *what: told.append(what))
    assert found.other_files == 2
    assert found.aside == (Aside("file 7 of the folder", AsideReason.EMPTY),)
    assert told[-1] == (11, 11, "DICOM headers")
    assert len(told) == 11
    (study,) = found.studies
    assert study.days == 0
    scanner.require_written(study.series[0].load(), slices)


def test_files_without_a_preamble_are_read(tmp_path, scanner):
    slices = scanner.slices()
    for number, one in enumerate(slices):
        del one.file_meta
        one.save_as(tmp_path / str(number), implicit_vr=True, little_endian=True)
    assert (tmp_path / "0").read_bytes()[:2] == b"\x08\0"
    scanner.require_written(scanner.series(tmp_path)[0].load(), slices)


@pytest.mark.parametrize(
    ("change", "patients"),
    [
        ({"PatientID": "H-4712"}, 2),
        ({"PatientName": "Roe^Jane"}, 2),
        ({"PatientID": "", "PatientName": "Roe^Jane"}, 2),
        ({"PatientBirthDate": "19600102"}, 2),
        ({"PatientName": "DOÉ^JANE^^", "PatientBirthDate": ""}, 1),
        ({"PatientName": "", "PatientID": ""}, 1),
        ({"PatientID": " h4711 "}, 1),
    ],
)
def test_two_patients_are_refused_without_naming_either(tmp_path, scanner, change, patients):
    scanner.write(tmp_path, scanner.slices(4, PatientBirthDate="19600101"))
    other = {"PatientBirthDate": "19600101", "SeriesInstanceUID": "1.2.3.6"} | change
    scanner.write(tmp_path / "b", scanner.slices(4, **other))
    if patients == 1:
        assert len(scanner.series(tmp_path)) == 2
        return
    with pytest.raises(ImageError) as error:
        scanner.read(tmp_path)
    assert "got 2 patients, in the folder" in str(error.value)
    assert not any(word in str(error.value).lower() for word in (*IDENTIFIERS, "roe", str(tmp_path).lower()))


def test_studies_are_apart_in_order_of_time_with_days_between(tmp_path, scanner):
    later = {"StudyInstanceUID": "1.2.1", "SeriesInstanceUID": "1.2.1.1", "StudyDate": "20240301"}
    scanner.write(tmp_path / "a", scanner.slices(4, **later))
    scanner.write(tmp_path / "b", scanner.slices(5))
    found = scanner.read(tmp_path).studies
    assert [study.days for study in found] == [0, 1]
    assert [study.series[0].where for study in found] == ["study 1, series 5", "study 2, series 5"]
    assert [study.series[0].facts.shape[2] for study in found] == [5, 4]
    undated = scanner.slices(4, StudyInstanceUID="1.2.0", SeriesInstanceUID="1.2.0.1", StudyDate="", AcquisitionTime="")
    scanner.write(tmp_path / "c", undated)
    assert [study.days for study in scanner.read(tmp_path).studies] == [0, 1, None]


def test_what_is_no_image_is_set_aside_with_a_reason_and_a_count(tmp_path, scanner):
    slices = scanner.slices()
    other = {
        "SR": report(slices, BasicTextSRStorage, "SR"),
        "PR": report(slices, GrayscaleSoftcopyPresentationStateStorage, "PR"),
        "SEG": report(slices, SegmentationStorage, "SEG"),
    }
    shot = deepcopy(slices[0])
    shot.SOPClassUID, shot.Modality, shot.SeriesNumber, shot.SeriesInstanceUID = (
        SecondaryCaptureImageStorage,
        "OT",
        7,
        "1.7",
    )
    del shot.ImagePositionPatient
    colour = deepcopy(shot)
    colour.SamplesPerPixel, colour.PhotometricInterpretation = 3, "RGB"
    mosaic = deepcopy(slices[0])
    mosaic.ImageType, mosaic.SeriesNumber, mosaic.SeriesInstanceUID = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"], 8, "1.8"
    cine = deepcopy(slices[0])
    cine.NumberOfFrames, cine.SeriesNumber, cine.SeriesInstanceUID = 10, 9, "1.9"
    lost = deepcopy(slices[0])
    del lost.SeriesInstanceUID
    scanner.write(tmp_path, [*slices, *other.values(), shot, shot, colour, mosaic, cine, lost])
    found = scanner.read(tmp_path)
    assert found.aside == (Aside("file 17 of the folder", AsideReason.NO_SERIES),)
    (study,) = found.studies
    assert [series.where for series in study.series] == ["series 5"]
    assert {(one.where, one.reason, one.files) for one in study.aside} == {
        ("series 99 (1 of 3) (SR)", AsideReason.NO_IMAGE, 1),
        ("series 99 (2 of 3) (PR)", AsideReason.NO_IMAGE, 1),
        ("series 99 (3 of 3) (SEG)", AsideReason.SEGMENTATION, 1),
        ("series 7 (OT)", AsideReason.NO_PLACE, 2),
        ("series 7 (OT)", AsideReason.COLOUR, 1),
        ("series 8 (MR)", AsideReason.MOSAIC, 1),
        ("series 9 (MR)", AsideReason.MULTI_FRAME, 1),
    }


def test_another_modality_with_places_is_a_series(tmp_path, scanner):
    slices = scanner.slices(Modality="CT", RescaleIntercept=-1024, RescaleSlope=1, PixelRepresentation=0)
    (series,) = scanner.series(scanner.write(tmp_path, slices))
    assert series.facts.modality == "CT"
    scanner.require_written(series.load(), slices)


def test_series_of_one_number_or_none_have_names_of_their_own(tmp_path, scanner):
    scanner.write(tmp_path / "a", scanner.slices(4))
    scanner.write(tmp_path / "b", scanner.slices(3, SeriesInstanceUID="1.6"))
    scanner.write(tmp_path / "c", scanner.slices(3, SeriesInstanceUID="1.7", SeriesNumber=None))
    names = [(one.where, one.facts.shape[2]) for one in scanner.series(tmp_path)]
    assert names == [("series 5 (1 of 2)", 4), ("series 5 (2 of 2)", 3), ("series without a number", 3)]


def test_a_folder_of_nothing_holds_no_study_and_no_folder_is_refused(tmp_path, scanner):
    (tmp_path / "readme.txt").write_text("hello")
    assert scanner.read(tmp_path).studies == ()
    with pytest.raises(ImageError, match="a folder of DICOM files"):
        scanner.read(tmp_path / "none")


def test_files_cut_short_are_named_by_their_place(tmp_path, scanner):
    slices = scanner.slices(4)
    scanner.write(tmp_path, slices)
    path = tmp_path / "IM0002"
    whole = path.read_bytes()
    (tmp_path / "IM0002").write_bytes(whole[:-100])
    with pytest.raises(ImageError, match=r"may be cut short, in series 5, slice 3 \(file 3 of the folder\); copy"):
        scanner.series(tmp_path)[0].load()
    outcomes = set()
    in_the_name = whole.index(b"Doe^Jane") + 5
    for length in [in_the_name, *np.linspace(140, len(whole) - 1, 40).astype(int)]:
        path.write_bytes(whole[:length])
        found = scanner.read(tmp_path)
        if found.aside:
            assert found.aside[0].where == "file 3 of the folder"
            assert found.aside[0].reason in (AsideReason.UNREADABLE, AsideReason.NO_SERIES)
        with pytest.raises(ImageError) as error:
            found.studies[0].series[0].load()
        assert "series 5" in str(error.value)
        outcomes.add(str(error.value)[:30])
    assert len(outcomes) > 2
