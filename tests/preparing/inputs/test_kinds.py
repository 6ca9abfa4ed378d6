"""What an input is, whose images it holds, and what is refused; no name of a folder or header gets out."""

from __future__ import annotations

import os
import random
from itertools import permutations

import pytest

from ranoscope.domain import Segmenter, Sequence
from ranoscope.errors import ImageError, RanoscopeError, RecipeError
from ranoscope.preparing.inputs import find_studies

SECRET = ("doe", "jane", "4711", "miller")


def refused(given, words, *inputs, **more):
    with pytest.raises(ImageError, match=words) as caught:
        given.find(*inputs, **more)
    assert not any(word in str(caught.value).lower() for word in SECRET)
    return str(caught.value)


def test_a_dicom_folder_is_studies_in_weeks_of_a_patient_without_a_name(tmp_path, given):
    folder = tmp_path / "Miller Jane"
    given.dicom(folder / "x", "1.1", "20240101")
    given.dicom(folder / "x", "1.2", "20240108")
    given.dicom(folder, "1.3", "20240111", StudyTime="120000")
    given.dicom(folder / "sub", "1.0", "20230101", Modality="CT")
    (folder / "notes.txt").write_text("not DICOM")
    found = given.find(folder)
    assert given.named(found) == ["Patient-001/week-000", "Patient-001/week-001-1", "Patient-001/week-001-2"]
    assert [study.series[0].facts.number for study in found.studies] == [5, 5, 5]
    assert all(not study.named and study.mask is None for study in found.studies)
    told = " ".join([*found.notes, *(study.where for study in found.studies)])
    assert "input 1: a DICOM folder of 3 studies beside 1 other file." in found.notes
    assert "input 1, study 1: no MR image, 1 series of other modalities; not used." in found.notes
    assert "its patient is Patient-001" in told
    assert not any(word in told.lower() for word in SECRET)


def test_two_folders_are_two_patients_unless_one_is_named(tmp_path, given):
    one = given.dicom(tmp_path / "b", "1.1", "20240101")
    other = given.dicom(tmp_path / "a", "1.2", "20240311")
    apart = given.find(one, other)
    assert given.named(apart) == ["Patient-001/week-000", "Patient-002/week-000"]
    assert any("if they are one, give --patient" in note for note in apart.notes)
    assert any("bear one patient number" in note for note in apart.notes)
    for order in ((one, other), (other, one)):
        together = given.find(*order, patient="P-7")
        assert given.named(together) == ["P-7/week-000", "P-7/week-010"]
        assert [study.where[-2] for study in together.studies] == [str(order.index(at) + 1) for at in (one, other)]


def test_examinations_of_one_day_in_two_folders_are_in_order_of_time(tmp_path, given):
    late = given.dicom(tmp_path / "a", "1.1", StudyTime="171500", SeriesNumber=9)
    early = given.dicom(tmp_path / "b", "1.2", StudyTime="080000", SeriesNumber=2)
    found = given.find(late, early, patient="P-7")
    assert given.named(found) == ["P-7/week-000-1", "P-7/week-000-2"]
    assert [study.series[0].facts.number for study in found.studies] == [2, 9]


def test_dicom_headers_of_two_patients_are_never_one(tmp_path, given):
    one = given.dicom(tmp_path / "a", "1.1")
    other = given.dicom(tmp_path / "b", "1.2", PatientID="H-4712")
    refused(given, r"one patient, got 2 patients by the headers of 2 folders, in P-7 \(inputs 1, 2\)", one, other,
            patient="P-7")  # fmt: skip
    given.dicom(one, "1.3", PatientID="H-4712")
    assert "The folder is input 1" in refused(given, "got 2 patients", one)


def test_a_study_is_not_torn_between_folders_and_days_need_dates(tmp_path, given):
    one, other = given.dicom(tmp_path / "a", "1.1"), given.dicom(tmp_path / "b", "1.1", SeriesInstanceUID="1.9")
    refused(given, "every study in one folder", one, other, patient="P-7")
    given.dicom(tmp_path / "c", "1.4", day="")
    refused(given, "a date in every study", one, tmp_path / "c", patient="P-7")
    given.dicom(one, "1.5", day="")
    refused(given, "a date in every study", one)


def test_pseudonyms_come_from_folders_that_look_like_one(tmp_path, given):
    found = given.find(given.dicom(tmp_path / "Patient-042" / "week-010" / "..", "1.1"))
    assert given.named(found) == ["Patient-042/week-000"]
    found = given.find(given.dicom(tmp_path / "Patient-7" / "week-010", "1.2"))
    assert given.named(found) == ["Patient-7/week-010"]
    found = given.find(given.dicom(tmp_path / "sub-A1" / "ses-02" / "dicom"))
    assert given.named(found) == ["sub-A1/week-000"]
    given.dicom(tmp_path / "all" / "Patient-001")
    given.dicom(tmp_path / "all" / "Patient-002")
    refused(given, "one patient, got folders of 2 pseudonyms", tmp_path / "all")


def test_a_made_up_name_is_not_a_given_one(tmp_path, given):
    inputs = [given.dicom(tmp_path / "Miller", "1.1"), given.dicom(tmp_path / "Patient-001", "1.2", PatientID="")]
    assert given.named(given.find(*inputs)) == ["Patient-001/week-000", "Patient-002/week-000"]
    assert given.find(*inputs).studies[0].where == "Patient-001/week-000 (input 2)"


def test_loose_files_are_one_study_and_it_is_said(tmp_path, given):
    files = [given.nifti(tmp_path / "Miller" / f"{name}.nii.gz") for name in ("t2", "flair", "t1")]
    for inputs in ([tmp_path / "Miller"], *permutations(files)):
        found = given.find(*inputs)
        assert given.named(found) == ["Patient-001/week-000"]
        assert [series.facts.file_name for series in found.studies[0].series] == ["flair", "t1", "t2"]
        assert found.studies[0].named == {}
        assert any("read as one study; files of several sessions could not be told apart" in one for one in found.notes)
    found = given.find(given.nifti(tmp_path / "sub-02_T1w.nii"), *files)
    assert given.named(found) == ["Patient-001/week-000", "sub-02/week-000"]


def test_a_file_that_cannot_be_read_is_set_aside(tmp_path, given):
    given.nifti(tmp_path / "t1.nii.gz")
    (tmp_path / "t2.nii.gz").write_bytes(b"")
    (tmp_path / "flair.nii").write_bytes(b"no image")
    (tmp_path / "._t1.nii.gz").write_bytes(b"what macOS leaves")
    (study,) = given.find(tmp_path).studies
    assert [series.facts.file_name for series in study.series] == ["t1"]
    assert [(one.where, one.reason.value) for one in study.aside] == [
        ("flair.nii", "header cannot be read"), ("t2.nii.gz", "empty file"),
    ]  # fmt: skip
    (tmp_path / "t1.nii.gz").unlink()
    refused(given, "images, got none that can be read", tmp_path)


def test_links_are_counted_and_never_followed_round(tmp_path, given):
    given.nifti(tmp_path / "t1.nii.gz")
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "t2.nii.gz").symlink_to(tmp_path / "t2.nii.gz")
    found = given.find(tmp_path)
    assert len(found.studies[0].series) == 1
    assert "input 1: 1 link to folders not followed." in found.notes


def test_what_is_no_input_is_refused_with_counts(tmp_path, given):
    refused(given, "got an empty folder, in input 1", tmp_path)
    (tmp_path / "Miller.txt").touch()
    refused(given, "got 1 file of other kinds", tmp_path)
    given.dicom(tmp_path / "d")
    given.nifti(tmp_path / "n" / "t1.nii.gz")
    refused(given, "got 3 DICOM files and 1 NIfTI file, in input 1", tmp_path)
    refused(given, "got one DICOM file", tmp_path / "d" / "1.2.3-0")
    refused(given, "got nothing, in input 2", tmp_path / "n", tmp_path / "Miller")
    refused(given, "got none, in the inputs")
    refused(given, "one twice, in inputs 1 and 2", tmp_path / "d", tmp_path / "n" / ".." / "d")
    refused(given, "in input 1, which lies in input 2", tmp_path / "n" / "t1.nii.gz", tmp_path / "n")
    refused(given, "a file of another kind", tmp_path / "Miller.txt")
    (tmp_path / "Miller.zip").touch()
    refused(given, r"a \.zip file", tmp_path / "Miller.zip")
    with pytest.raises(RecipeError, match="a pseudonym"):
        given.find(tmp_path / "n", patient="Jane Doe")


def test_files_of_several_studies_are_not_mixed(tmp_path, given):
    for name in ("Miller", "Smith"):
        given.nifti(tmp_path / name / "T1.nii.gz")
    refused(given, "2 files that share their names", tmp_path)
    refused(
        given, "2 files that share their names", tmp_path / "Miller" / "T1.nii.gz", tmp_path / "Smith" / "T1.nii.gz"
    )
    given.nifti(tmp_path / "x" / "sub-01_T1w.nii.gz")
    given.nifti(tmp_path / "x" / "sub-02_T1w.nii.gz")
    refused(given, "one patient, got 2 pseudonyms", tmp_path / "x")


LUMIERE_MASK = "DeepBraTumIA-segmentation/native/segmentation"


@pytest.fixture
def lumiere(tmp_path, given):
    folder = tmp_path / "LUMIERE" / "Imaging"
    for patient, visit, names in (
        ("Patient-001", "week-000-1", ("CT1", "T1", "T2", "FLAIR", "CT1_tostd")),
        ("Patient-001", "week-010", ("T1", "T2")),
        ("Patient-002", "week-004", ("CT1",)),
    ):
        for name in names:
            given.nifti(folder / patient / visit / f"{name}.nii.gz")
    given.nifti(folder / "Patient-001" / "week-000-1" / LUMIERE_MASK / "t1_seg_mask.nii.gz")
    given.nifti(folder / "Patient-001" / "week-000-1" / LUMIERE_MASK / "ct1_seg_mask.nii.gz")
    hdglio = "HD-GLIO-AUTO-segmentation/native/segmentation_T2_origspace.nii.gz"
    given.nifti(folder / "Patient-001" / "week-010" / hdglio)
    given.nifti(
        folder / "Patient-001" / "week-000-1" / "DeepBraTumIA-segmentation/atlas/skull_strip/t1_skull_strip.nii.gz"
    )
    (folder / "Patient-002" / "week-008").mkdir()
    (folder / "Miller").mkdir()
    (folder / "Patient-002" / "notes").mkdir()
    return folder


def test_lumiere_is_read_by_its_names(lumiere, given):
    found = given.find(lumiere)
    assert given.named(found) == ["Patient-001/week-000-1", "Patient-001/week-010", "Patient-002/week-004"]
    first, second, third = found.studies
    assert [str(sequence) for sequence in first.named] == ["CT1", "T1", "T2", "FLAIR"]
    assert first.named[Sequence.T2].where == "Patient-001/week-000-1/T2.nii.gz"
    assert set(first.series) == set(first.named.values())
    assert (first.mask.path.name, first.mask.labels, first.mask.grid_of) == (
        "ct1_seg_mask.nii.gz", Segmenter.DEEPBRATUMIA, Sequence.CT1,
    )  # fmt: skip
    assert (second.mask.labels, second.mask.grid_of) == (Segmenter.HD_GLIO_AUTO, Sequence.T2)
    assert third.mask is None
    (note,) = found.notes
    assert note == (
        "input 1: LUMIERE's folders, 3 studies, 1 empty visit folder; 1 NIfTI file beside LUMIERE's own not read; "
        "2 folders that are no visits of a patient not read."
    )


def test_parts_of_lumiere_are_the_same_studies(lumiere, given):
    whole = given.named(given.find(lumiere))
    assert given.named(given.find(lumiere.parent)) == whole
    assert given.find(lumiere / "Patient-002" / "week-004").notes == ("input 1: LUMIERE's folders, 1 study.",)
    assert given.find(lumiere.parent).notes == given.find(lumiere).notes
    parts = [lumiere / "Patient-002", *(lumiere / "Patient-001").iterdir()]
    for order in permutations(parts):
        assert given.named(given.find(*order)) == whole


def test_a_visit_folder_of_other_names_keeps_its_patient_and_visit(lumiere, given):
    given.nifti(lumiere / "Patient-002" / "week-008" / "t1.nii.gz")
    given.dicom(lumiere / "Patient-002" / "week-012")
    found = given.find(lumiere / "Patient-002")
    assert given.named(found) == [f"Patient-002/week-{week}" for week in ("004", "008", "012")]
    assert [bool(study.named) for study in found.studies] == [True, False, False]
    given.dicom(lumiere / "Patient-002" / "week-012", "1.7", "20250101")
    refused(given, "2 studies in a folder called week-012", lumiere)


def test_the_order_of_inputs_changes_no_study(tmp_path, lumiere, given):
    (tmp_path / "m.csv").write_text("patient,week,T1\nP9,3,n/a.nii\nPatient-002,20,n/b.nii\n")
    given.nifti(tmp_path / "n" / "a.nii")
    given.nifti(tmp_path / "n" / "b.nii")
    inputs = [lumiere, tmp_path / "m.csv", given.dicom(tmp_path / "Patient-009" / "d")]
    seen = set()
    for order in permutations(inputs):
        found = given.find(*order)
        seen.add(
            tuple(zip(given.named(found), [tuple(s.where for s in one.series) for one in found.studies], strict=True))
        )
    (studies,) = seen
    assert [name for name, _ in studies if name.startswith(("P9", "Patient-009", "Patient-002"))] == [
        "P9/week-003", "Patient-002/week-004", "Patient-002/week-020", "Patient-009/week-000",
    ]  # fmt: skip


def test_one_visit_in_two_inputs_is_refused(tmp_path, lumiere, given):
    given.nifti(tmp_path / "b.nii")
    (tmp_path / "m.csv").write_text("patient,week,T1\nPatient-002,4,b.nii\n")
    refused(given, r"got several of week-004, in Patient-002 \(inputs 1, 2\)", tmp_path / "m.csv", lumiere)
    other = given.dicom(tmp_path / "Patient-002")
    refused(given, "studies on one time axis", lumiere, other)


def test_a_manifest_and_a_folder_share_the_calendar_alone(tmp_path, given):
    folder = given.dicom(tmp_path / "Patient-5", "1.1", "20240311")
    given.nifti(tmp_path / "a.nii")
    table = tmp_path / "m.csv"
    table.write_text("patient,date,T1\nPatient-5,2024-01-01,a.nii\n")
    assert given.named(given.find(folder, table)) == ["Patient-5/week-000", "Patient-5/week-010"]
    table.write_text("patient,days,T1\nPatient-5,-70,a.nii\n")
    refused(given, "studies on one time axis", folder, table)
    table.write_text("patient,days,dicom\nPatient-5,-70,d\n")
    given.dicom(tmp_path / "d", "1.2", "20231231")
    refused(given, "studies on one time axis", folder, table)


def test_a_folder_that_cannot_be_opened_is_counted(tmp_path, given, monkeypatch):
    given.nifti(tmp_path / "t1.nii.gz")
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert "input 1: 1 folder could not be opened." in given.find(tmp_path).notes
    refused(given, "got an empty folder and 1 folder that cannot be opened", tmp_path / "closed")


def test_every_header_is_told(tmp_path, given):
    given.dicom(tmp_path / "d", slices=4)
    given.nifti(tmp_path / "n" / "t1.nii.gz")
    told = []
    find_studies([tmp_path / "d", tmp_path / "n"], lambda *what: told.append(what))
    assert told == [*((number, 4, "DICOM headers") for number in (1, 2, 3, 4)), (1, 1, "NIfTI headers")]


@pytest.mark.parametrize("seed", range(3))
def test_any_folder_of_rubbish_is_refused_or_read(tmp_path, given, seed):
    draw = random.Random(seed)
    names = ["T1.nii.gz", "CT1.nii", "week-000", "Patient-001", "sub-01", "ses-1", "anat", "x.csv", "dcm", "Imaging"]
    whole = given.nifti(tmp_path / "whole.nii").read_bytes()
    for _ in range(20):
        path = tmp_path.joinpath(*draw.choices(names, k=draw.randint(1, 4)))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(draw.choice([b"", whole, whole[:100], b"\0" * 128 + b"DICM", b"a,b\n"]))
        except OSError:
            continue
    for path in [tmp_path, *tmp_path.rglob("*")]:
        message = ""
        try:
            found = given.find(path)
        except RanoscopeError as error:
            message = str(error)
        assert message or found.studies
        assert str(tmp_path) not in message
