"""BIDS: sessions by their days, sequences by suffix and contrast where both are told."""

from __future__ import annotations

import pytest

from ranoscope.errors import ImageError, TableError
from ranoscope.preparing.recognition import recognise


def names(study) -> dict[str, str]:
    return {str(sequence): series.facts.file_name for sequence, series in study.named.items()}


@pytest.fixture
def dataset(tmp_path, given):
    root = tmp_path / "data"
    for session in ("01", "02"):
        for name in ("T1w", "ce-gad_T1w", "T2w", "FLAIR"):
            given.nifti(root / "sub-A" / f"ses-{session}" / "anat" / f"sub-A_ses-{session}_{name}.nii.gz")
    given.nifti(root / "sub-A" / "ses-02" / "dwi" / "sub-A_ses-02_dwi.nii.gz")
    given.nifti(root / "sub-B" / "anat" / "sub-B_T2w.nii.gz")
    (root / "dataset_description.json").write_text("{}")
    (root / "sub-A" / "sub-A_sessions.tsv").write_text("session_id\tdays\nses-01\t-3\nses-02\t70\n")
    return root


def test_sessions_are_visits_and_suffixes_sequences(dataset, given):
    found = given.find(dataset)
    assert given.named(found) == ["sub-A/week-000", "sub-A/week-010", "sub-B/week-000"]
    assert names(found.studies[1]) == {
        "CT1": "sub-A_ses-02_ce-gad_T1w",
        "FLAIR": "sub-A_ses-02_FLAIR",
        "T1": "sub-A_ses-02_T1w",
        "T2": "sub-A_ses-02_T2w",
    }
    assert names(found.studies[2]) == {"T2": "sub-B_T2w"}
    assert len(found.studies[1].series) == 4
    assert found.studies[0].series[0].where.startswith("sub-A/ses-01/anat/")
    (dataset / "sub-A" / "ses-03" / "dwi").mkdir(parents=True)
    (note,) = given.find(dataset).notes
    assert note == (
        "input 1: BIDS, 3 sessions of 2 subjects, 1 folder of a subject or session without `anat`; "
        "images of `anat` alone are read."
    )
    recognised = recognise([series.facts for series in found.studies[1].series])
    chosen = {str(s): found.studies[1].series[at].facts.file_name for s, at in recognised.chosen.items()}
    assert chosen == names(found.studies[1])


def test_parts_of_a_dataset_are_the_same_studies(dataset, given):
    parts = (dataset / "sub-A" / "ses-02", dataset / "sub-B", dataset / "sub-A" / "ses-01")
    assert given.named(given.find(*parts)) == given.named(given.find(dataset))


def test_days_may_be_bids_own_dates_and_never_get_out(dataset, given):
    table = dataset / "sub-A" / "sub-A_sessions.tsv"
    table.write_text("session_id\tacq_time\n01\t1911-05-01T10:00:00\nses-02\t1911-05-15\n")
    found = given.find(dataset)
    assert given.named(found)[:2] == ["sub-A/week-000", "sub-A/week-002"]
    assert "1911" not in repr(found.notes) + "".join(study.where for study in found.studies)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (None, ImageError, "the day of every session, got none for ses-01, in sub-A_sessions.tsv"),
        ("session_id\tdays\nses-01\t0\nses-02\tn/a\n", ImageError, "got none for ses-02"),
        ("session_id\tday\nses-01\t0\n", TableError, "columns session_id and days"),
        (
            "session_id\tdays\nses-01\t0\nses-01\t4\nses-02\tsoon\nx\n",
            TableError,
            "row 3: a session.*row 4: no day; row 5",
        ),
        ("session_id\tacq_time\nses-01\t01.05.1911\n", TableError, "row 2: no day"),
        ("session_id\tdays\nses-01\t5\nses-02\t5\n", ImageError, "studies of different times"),
        ("", TableError, "columns session_id"),
        ("\xff\xfe", TableError, "a table with tabs"),
    ],
)
def test_sessions_without_days_are_not_guessed(dataset, given, content, error, words):
    table = dataset / "sub-A" / "sub-A_sessions.tsv"
    table.unlink()
    if content is not None:
        table.write_bytes(content.encode("latin-1"))
    with pytest.raises(error, match=words) as caught:
        given.find(dataset)
    assert "1911" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["ce-gad_T1w", "T1w"], {"CT1": "ce-gad_T1w", "T1": "T1w"}),
        (["acq-postgd_T1w", "acq-pregd_T1w", "run-1_FLAIR"],
         {"CT1": "acq-postgd_T1w", "T1": "acq-pregd_T1w", "FLAIR": "run-1_FLAIR"}),
        (["acq-mprage_T1w", "T2w"], {}),
        (["ce-none_T1w", "T2w"], {"T1": "ce-none_T1w", "T2": "T2w"}),
        (["run-1_T2w", "run-2_T2w", "FLAIR"], {}),
        (["T2w", "part-phase_T2w"], {}),
        (["part-phase_T2w"], {}),
        (["T2w", "T2starw", "angio"], {"T2": "T2w"}),
    ],
)  # fmt: skip
def test_what_is_not_told_is_left_to_recognition(tmp_path, given, files, expected):
    for name in files:
        given.nifti(tmp_path / "sub-1" / "anat" / f"sub-1_{name}.nii.gz")
    (study,) = given.find(tmp_path / "sub-1").studies
    assert names(study) == {sequence: f"sub-1_{name}" for sequence, name in expected.items()}
    assert len(study.series) == len(files)


def test_a_sidecar_tells_contrast(tmp_path, given):
    given.nifti(tmp_path / "sub-1" / "anat" / "sub-1_T1w.nii.gz", ContrastBolusIngredient="GADOLINIUM")
    (study,) = given.find(tmp_path).studies
    assert names(study) == {"CT1": "sub-1_T1w"}


def test_a_file_of_another_subject_is_refused(dataset, given):
    given.nifti(dataset / "sub-A" / "ses-01" / "anat" / "sub-B_ses-01_T1w.nii.gz")
    with pytest.raises(ImageError, match="a file of sub-A, got sub-B, in sub-A/ses-01, file 5 of anat"):
        given.find(dataset)
