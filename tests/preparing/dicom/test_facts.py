"""Facts of a series as recognition reads them, and what never reaches it."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from ranoscope.preparing.dicom.header import Attributes
from ranoscope.preparing.dicom.patient import private_words, scrub


def facts(scanner, folder, **more):
    (series,) = scanner.series(scanner.write(folder, scanner.slices(4, **more)))
    return series.facts


def test_every_fact_of_a_header(tmp_path, scanner):
    found = facts(
        scanner, tmp_path, SeriesDescription="t1_mprage sag", ProtocolName="Brain Tumour", SequenceName="*tfl3d1",
        ScanningSequence=["GR", "IR"], SequenceVariant=["SK", "SP"], ScanOptions="FS", MRAcquisitionType="3D",
        EchoTime=2.9, RepetitionTime=2300, InversionTime=900, FlipAngle=9, EchoTrainLength=1, SliceThickness=3,
    )  # fmt: skip
    assert (found.number, found.description, found.protocol, found.sequence_name) == (
        5, "t1_mprage sag", "Brain Tumour", "*tfl3d1",
    )  # fmt: skip
    assert (found.modality, found.acquisition, found.image_type) == ("MR", "3D", ("ORIGINAL", "PRIMARY", "M"))
    assert (found.scanning_sequence, found.sequence_variant, found.scan_options) == (
        ("GR", "IR"),
        ("SK", "SP"),
        ("FS",),
    )
    assert (found.echo_time_ms, found.repetition_time_ms, found.inversion_time_ms) == (2.9, 2300, 900)
    assert (found.flip_angle_deg, found.echo_train_length, found.diffusion_b) == (9, 1, None)
    assert (found.shape, found.spacing_mm, found.volumes) == ((12, 16, 4), (2.0, 1.5, 3.0), 1)


def test_what_cannot_be_read_is_not_known(tmp_path, scanner):
    slices = scanner.slices(4)
    scanner.write(tmp_path, slices)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes().replace(b"5000", b"fast"))
    (series,) = scanner.series(tmp_path)
    assert series.facts.repetition_time_ms is None
    scanner.require_written(series.load(), slices)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, None),
        ({"ContrastBolusAgent": ""}, None),
        ({"ContrastBolusAgent": "Gadovist"}, True),
        ({"ContrastBolusAgent": "NONE"}, False),
        ({"ContrastBolusAgentSequence": [Dataset()]}, True),
    ],
)
def test_contrast_agent(tmp_path, scanner, more, expected):
    assert facts(scanner, tmp_path, **more).contrast is expected


def test_times_count_from_the_first_acquisition_of_the_study(tmp_path, scanner):
    scanner.write(tmp_path / "a", scanner.slices(4, AcquisitionTime=lambda index: f"0920{30 - index}.25"))
    scanner.write(tmp_path / "b", scanner.slices(3, SeriesInstanceUID="1.6", SeriesNumber=6, AcquisitionTime="091000"))
    late = {"AcquisitionTime": "001000", "AcquisitionDate": "20240301"}
    scanner.write(tmp_path / "c", scanner.slices(3, SeriesInstanceUID="1.7", SeriesNumber=7, **late))
    silent = {"AcquisitionTime": None, "ContentTime": "09:30:00"}
    scanner.write(tmp_path / "d", scanner.slices(3, SeriesInstanceUID="1.8", SeriesNumber=8, **silent))
    scanner.write(tmp_path / "e", scanner.slices(3, SeriesInstanceUID="1.9", SeriesNumber=9, AcquisitionTime=None))
    assert [one.facts.acquired_s for one in scanner.series(tmp_path)] == [627.25, 0, 15 * 3600, 1200, None]


def test_names_and_numbers_are_taken_out_of_descriptions(tmp_path, scanner):
    found = facts(
        scanner, tmp_path, PatientName="Müller-Lüdenscheidt^Anna Eva", PatientID="H.4711/b",
        SpecificCharacterSet="ISO_IR 192", PatientBirthDate="19610203",
        AccessionNumber="A98765", ReferringPhysicianName="Dr^Klöbner", OtherPatientIDs=["ZZ-17", "Q5"],
        SeriesDescription="T1 MULLER_4711 post ax Klöbner", ProtocolName="eva 03021961 T2 A98765 zz 1961 q5 FLAIR",
        SequenceName="tse",
    )  # fmt: skip
    assert found.description == "T1 post ax"
    assert found.protocol == "T2 FLAIR"
    assert found.sequence_name == "tse"


def test_only_whole_words_of_two_letters_and_more_are_private(scanner):
    words = private_words([Attributes((scanner.slices(1, PatientName="T^Ax^Ma")[0],))])
    assert scrub("T1 tra MAX_axial T", words) == "T1 tra MAX_axial T"
    assert scrub("ax_T2__ma", words) == "T2"
