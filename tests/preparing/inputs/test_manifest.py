"""The manifest: strict, all faults at once, no date, name or path repeated; and no other way out for broken tables."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from ranoscope.domain import BratsYear, Sequence
from ranoscope.errors import ImageError, RanoscopeError, TableError
from ranoscope.preparing.inputs import find_studies


@pytest.fixture
def folder(tmp_path, given):
    for name in ("a/ct1", "a/t1", "b/ct1", "b/seg"):
        given.nifti(tmp_path / f"{name}.nii.gz")
    given.dicom(tmp_path / "d", "1.1", "20200101")
    return tmp_path


def read(given, folder, text):
    path = folder / "manifest.csv"
    path.write_text(text)
    return given.find(path)


def test_rows_are_studies(folder, given):
    found = read(
        given, folder,
        "Patient,Days,ct1,T1,dicom,mask,mask_labels\n"
        "P-2,100,b/ct1.nii.gz,,,b/seg.nii.gz,brats-2023\n"
        "P-1,-2,a/ct1.nii.gz,a/t1.nii.gz,,,\n"
        "P-2,30,,,d,,\n",
    )  # fmt: skip
    assert given.named(found) == ["P-1/week-000", "P-2/week-000", "P-2/week-010"]
    first, second, third = found.studies
    assert {str(s): one.where for s, one in first.named.items()} == {
        "CT1": "P-1, line 3, column `CT1`", "T1": "P-1, line 3, column `T1`",
    }  # fmt: skip
    assert (second.named, [one.where for one in second.series]) == ({}, ["series 5"])
    assert (third.mask.labels, third.mask.grid_of, third.mask.path.name) == (BratsYear.Y2023, None, "seg.nii.gz")
    assert set(third.named) == {Sequence.CT1}
    assert found.notes == ("input 1: a manifest of 3 studies of 2 patients.",)


@pytest.mark.parametrize(
    ("column", "cells", "weeks"),
    [
        ("study", ("week-044-2", "week-044-1"), ["044-1", "044-2"]),
        ("week", ("9", "0"), ["000", "009"]),
        ("days", ("10", "8"), ["000-1", "000-2"]),
        ("date", ("2021-03-08", "2021-03-01"), ["000", "001"]),
    ],
)
def test_time_is_said_in_one_of_four_ways(folder, given, column, cells, weeks):
    text = f"patient,{column},T1\nP,{cells[0]},a/t1.nii.gz\nP,{cells[1]},b/ct1.nii.gz\n"
    found = read(given, folder, text)
    assert given.named(found) == [f"P/week-{week}" for week in weeks]
    assert "2021" not in repr(found.notes) + "".join(one.where + one.series[0].where for one in found.studies)


def test_all_faults_are_listed_at_once_and_repeat_no_cell(folder, given):
    with pytest.raises(TableError) as caught:
        read(
            given, folder,
            "patient,date,CT1,T1,dicom,mask,mask_labels\n"
            "Jane Doe,2021-03-01,a/ct1.nii.gz,,,,\n"
            "P-1,03/08/2021,a/missing.nii.gz,a/t1.nii.gz,,b/seg.nii.gz,BraTS\n"
            "P-1,2021-13-08,,,,,\n"
            "P-1,2021-03-08,,a/t1.nii.gz,d,,\n"
            "P-2,2021-03-08,b/ct1.nii.gz,,,,HD-GLIO-AUTO\n"
            "P-3,2021-03-08,a/t1.nii.gz,,,,\n"
            "P-3,2021-03-08,,a/t1.nii.gz,,,\n"
            "P-4,2021-03-08,manifest.csv,,nowhere,,\n"
            "P-5,2021-03-08,,,nowhere,,\n",
        )  # fmt: skip
    message = str(caught.value)
    for place in (
        "line 2, column `patient`: no pseudonym", "line 3, column `date`: no date",
        "line 3, column `CT1`: no such file",
        "line 3, column `mask_labels`: none of DeepBraTumIA", "line 4, column `date`", "line 4, column `CT1`: no image",
        "line 5, column `dicom`: a folder beside", "line 6, column `mask`: none",
        "line 8: P-3 at one date again, as on line 7",
        "line 8, column `T1`: what line 7, column `CT1` names already", "line 9, column `CT1`: no NIfTI file",
        "line 10, column `dicom`: no such folder",
    ):  # fmt: skip
        assert place in message
    assert not any(word in message for word in ("Jane", "2021", "03/08", "missing", "nowhere", str(folder)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "column `patient`, got an empty file"),
        ("patient,days,T1\n", "a header alone"),
        ("patient,days,T1,Doe\nP,0,a/t1.nii.gz,\n", "an unknown column 4"),
        ("patient,days,T1,t1\nP,0,a/t1.nii.gz,\n", "2 columns `t1`"),
        ("patient,T1\nP,a/t1.nii.gz\n", "0 of the columns study, week, days, date"),
        ("patient,days,week,T1\nP,0,0,a/t1.nii.gz\n", "2 of the columns study"),
        ("patient,days\nP,0\n", "no column of images"),
        ("patient,days,T1,mask\nP,0,a/t1.nii.gz,\n", "`mask` or `mask_labels` without the other"),
        ("patient,days,T1\nP,0\n", "3 fields on every line, got 2 on line 2"),
        ("patient,week,T1\nP,1000,a/t1.nii.gz\n", "line 2, column `week`: no week from 0 to 999"),
        ("patient,days,T1\nP,0.5,a/t1.nii.gz\n", "no whole number"),
        ("patient,study,T1\nP,week-1,a/t1.nii.gz\n", "no visit, e.g. week-044"),
        ("patient,study,T1\nP,week-001-" + "9" * 5000 + ",a/t1.nii.gz\n", "no visit"),
        ("patient,days,T1\nP,0," + "a" * 5000 + ".nii\n", "no such file"),
        ("patient,week,T1\nP,3,a/t1.nii.gz\nP,3,b/ct1.nii.gz\n", "line 3: P at week-003 again, as on line 2"),
    ],
)
def test_other_tables_are_refused(folder, given, text, words):
    with pytest.raises(TableError, match=words):
        read(given, folder, text)


def test_what_is_listed_must_be_readable(folder, given):
    (folder / "a/t1.nii.gz").write_bytes(b"no image")
    with pytest.raises(ImageError, match="in P, line 2, column `T1`"):
        read(given, folder, "patient,days,T1\nP,0,a/t1.nii.gz\n")
    for name in "123":
        (folder / "a" / name).touch()
    with pytest.raises(ImageError, match="DICOM files of MR images, got none in 3 files, in P, line 2"):
        read(given, folder, "patient,days,dicom\nP,0,a\n")
    given.dicom(folder / "d", "1.2", "20200301")
    with pytest.raises(ImageError, match="one study, got 2 studies, in the folder of P, line 2"):
        read(given, folder, "patient,days,dicom\nP,0,d\n")


def test_rows_of_one_pseudonym_and_two_patients_are_refused(folder, given):
    given.dicom(folder / "e", "1.2", PatientID="H-4712")
    with pytest.raises(ImageError, match="2 patients by the headers of 2 folders") as caught:
        read(given, folder, "patient,days,dicom\nP,0,d\nP,7,e\n")
    assert "4712" not in str(caught.value)
    found = read(given, folder, "patient,days,dicom\nP,0,d\nQ,7,e\n")
    assert len(found.notes) == 1


words = st.sampled_from(
    ["patient", "study", "week", "days", "date", "CT1", "T1", "dicom", "mask", "mask_labels", "P-1", "a/t1.nii.gz", "d",
     "..", "0", "-7", "2021-01-01", "week-001", "BraTS-2017", "", '"', "\0", "\n", ",", "é", "٣", "a" * 300]
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@drawn(
    header=st.lists(words, max_size=8),
    rows=st.lists(st.lists(words | st.text(max_size=5), max_size=8), max_size=4),
    raw=st.none() | st.binary(max_size=60),
)
def test_any_table_is_read_or_refused_by_name(folder, header, rows, raw):
    path = folder / "manifest.csv"
    text = "\n".join(",".join(row) for row in [header, *rows])
    path.write_bytes(text.encode("utf-8", "surrogatepass") if raw is None else raw)
    message = ""
    try:
        found = find_studies([path], lambda *_: None)
    except RanoscopeError as error:
        message = str(error)
    assert message or found.studies
    assert str(folder) not in message


cells = {
    "patient": ["P", "Q", "Jane Doe"], "days": ["0", "7", "x"], "T1": ["a/t1.nii.gz", "b/ct1.nii.gz", "", "a"],
    "dicom": ["d", "", "a"], "mask": ["b/seg.nii.gz", ""], "mask_labels": ["BraTS-2017", "", "?"],
}  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@drawn(st.lists(st.tuples(*(st.sampled_from(one) for one in cells.values())), min_size=1, max_size=3))
def test_what_is_read_is_what_was_written(folder, rows):
    path = folder / "manifest.csv"
    path.write_text("\n".join(map(",".join, [tuple(cells), *rows])))
    try:
        found = find_studies([path], lambda *_: None)
    except RanoscopeError:
        return
    assert sorted(study.patient for study in found.studies) == sorted(row[0] for row in rows)
    for patient, _, image, folder_given, mask, _ in rows:
        held = [study for study in found.studies if study.patient == patient]
        assert any(bool(one.named) == bool(image) and bool(one.mask) == bool(mask) for one in held)
        assert bool(image) != bool(folder_given)
