"""Enhanced MR: a whole series in one file, with the places of its frames in functional groups."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.uid import EnhancedMRImageStorage, RLELossless
from scipy.spatial.transform import Rotation

from ranoscope.errors import ImageError
from ranoscope.preparing.dicom.aside import AsideReason

OBLIQUE = Rotation.from_euler("xyz", [80, 5, -20], degrees=True).as_matrix()


def item(**values) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def enhanced(slices: list[Dataset], **per_frame) -> Dataset:
    """One file of these slices. ``per_frame``: name of a group to its attributes, asked for each frame."""
    made = Dataset()
    made.file_meta = slices[0].file_meta
    for keyword in (
        "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientName", "PatientID", "StudyDate", "StudyTime",
        "Modality", "SeriesNumber", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated",
        "BitsStored", "HighBit", "PixelRepresentation",
    ):  # fmt: skip
        setattr(made, keyword, slices[0][keyword].value)
    made.SOPClassUID, made.NumberOfFrames = EnhancedMRImageStorage, len(slices)
    made.EchoPulseSequence, made.MRAcquisitionType = "SPIN", "2D"
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=slices[0].ImageOrientationPatient)],
        PixelMeasuresSequence=[item(PixelSpacing=slices[0].PixelSpacing, SliceThickness=3)],
        MRTimingAndRelatedParametersSequence=[item(RepetitionTime=4000.0, FlipAngle=90.0, RFEchoTrainLength=9)],
        MRModifierSequence=[item(InversionRecovery="YES", InversionTimes=[2200.0])],
        PixelValueTransformationSequence=[item(RescaleSlope=2, RescaleIntercept=1)],
    )
    made.SharedFunctionalGroupsSequence = [shared]
    made.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=one.ImagePositionPatient)],
            FrameContentSequence=[item(FrameAcquisitionDateTime=f"20240229092{index % 10}00.5")],
            **{group: [item(**make(index))] for group, make in per_frame.items()},
        )
        for index, one in enumerate(slices)
    ]
    made.PixelData = b"".join(one.PixelData for one in slices)
    made["PixelData"].VR = "OW"
    return made


def test_a_volume_in_one_file(tmp_path, scanner):
    slices = scanner.slices(6, OBLIQUE, RescaleSlope=2, RescaleIntercept=1)
    shuffled = [slices[one] for one in (3, 0, 5, 1, 4, 2)]
    whole = enhanced(shuffled, MREchoSequence=lambda _: {"EffectiveEchoTime": 95.0})
    (series,) = scanner.series(scanner.write(tmp_path, [whole]))
    scanner.require_written(series.load(), slices)
    facts = series.facts
    assert (facts.echo_time_ms, facts.repetition_time_ms, facts.inversion_time_ms) == (95, 4000, 2200)
    assert (facts.flip_angle_deg, facts.echo_train_length, facts.acquisition) == (90, 9, "2D")
    assert facts.scanning_sequence == ("SE", "IR")
    assert facts.shape == (12, 16, 6)
    assert facts.spacing_mm == pytest.approx((2.0, 1.5, 3.0))
    assert facts.acquired_s == 0


def test_echoes_in_one_file_are_apart_and_rescaled_by_frame(tmp_path, scanner):
    slices = scanner.slices(4)
    later = scanner.slices(4)
    for one in later:
        one.PixelData = (np.frombuffer(one.PixelData, np.uint16) + 7).tobytes()
    whole = enhanced(
        [one for pair in zip(slices, later, strict=True) for one in pair],
        MREchoSequence=lambda index: {"EffectiveEchoTime": 20.0 + 60 * (index % 2)},
        PixelValueTransformationSequence=lambda index: {"RescaleSlope": 1 + index % 2, "RescaleIntercept": 0},
    )
    first, second = scanner.series(scanner.write(tmp_path, [whole]))
    assert (first.where, second.where) == ("series 5, echo 1", "series 5, echo 2")
    scanner.require_written(first.load(), slices)
    for one in later:
        one.RescaleSlope = 2
    scanner.require_written(second.load(), later)


def test_a_missing_frame_is_named(tmp_path, scanner):
    slices = scanner.slices(8)
    scanner.write(tmp_path, [enhanced(slices[:4] + slices[5:])])
    with pytest.raises(ImageError, match=r"between frame 4 \(file 1 of the folder\) and frame 5 \(file 1"):
        scanner.series(tmp_path)[0].load()


def test_a_frame_without_a_place_spoils_its_series(tmp_path, scanner):
    whole = enhanced(scanner.slices(8))
    del whole.PerFrameFunctionalGroupsSequence[7].PlanePositionSequence
    scanner.write(tmp_path, [whole])
    with pytest.raises(ImageError, match=r"no ImagePositionPatient that can be read in frame 8 \(file 1"):
        scanner.series(tmp_path)[0].load()


def test_fewer_places_than_frames_leave_no_series(tmp_path, scanner):
    whole = enhanced(scanner.slices(8))
    del whole.PerFrameFunctionalGroupsSequence[7]
    (study,) = scanner.read(scanner.write(tmp_path, [whole])).studies
    assert study.series == ()
    assert [one.reason for one in study.aside] == [AsideReason.NO_PLACE]


def test_fewer_pixels_than_frames_are_refused(tmp_path, scanner):
    whole = enhanced(scanner.slices(8))
    whole.PixelData = whole.PixelData[: -16 * 12 * 2]
    with pytest.raises(ImageError, match="3072 bytes of pixels, got 2688"):
        scanner.series(scanner.write(tmp_path, [whole]))[0].load()


def test_compressed_frames_in_one_file(tmp_path, scanner):
    slices = scanner.slices(5, OBLIQUE, RescaleSlope=2, RescaleIntercept=1)
    whole = enhanced(slices)
    encode = get_encoder(RLELossless).encode
    layout = {"rows": 16, "columns": 12, "samples_per_pixel": 1, "number_of_frames": 1, "bits_allocated": 16}
    layout |= {"bits_stored": 16, "pixel_representation": 0, "photometric_interpretation": "MONOCHROME2"}
    whole.PixelData = encapsulate([encode(scanner.values(index), **layout) for index in range(5)])
    whole["PixelData"].VR = "OB"
    whole.file_meta.TransferSyntaxUID = RLELossless
    (series,) = scanner.series(scanner.write(tmp_path, [whole]))
    scanner.require_written(series.load(), slices)
