"""Images read in place from folder and zip: same answers, clear errors, usable from several processes."""

from __future__ import annotations

import copy
import multiprocessing
import shutil
import zipfile
from pathlib import Path

import pytest

from ranoscope.cohort import layout
from ranoscope.cohort.archive import FolderArchive, ZipArchive, open_archive
from ranoscope.domain import SEQUENCES, Sequence, StudyKey, Visit
from ranoscope.errors import ImageError

KEY = StudyKey("Patient-002", Visit(40, 1))
ATLAS_CT1 = "DeepBraTumIA-segmentation/atlas/skull_strip/ct1_skull_strip.nii.gz"


@pytest.fixture(params=["folder", "zip"])
def archive(request, lumiere_folder, lumiere_zip):
    opened = open_archive(lumiere_folder if request.param == "folder" else lumiere_zip)
    assert type(opened) is (FolderArchive if request.param == "folder" else ZipArchive)
    return opened


def test_studies_are_in_time_order(archive):
    studies = archive.studies()
    assert studies == sorted(studies)
    assert len(studies) == 66
    of_second = [str(study.visit) for study in studies if study.patient == "Patient-002"]
    assert of_second == ["week-000-1", "week-000-2", "week-020", "week-032", "week-040-1", "week-040-2"]


def test_a_complete_visit_has_its_40_files(archive):
    names = archive.names(KEY)
    assert len(names) == 40
    named = {layout.sequence_file(sequence) for sequence in SEQUENCES} | {layout.atlas_file(s) for s in SEQUENCES}
    named |= {layout.ATLAS_MASK, layout.ATLAS_BRAIN_MASK, layout.VOLUMES_JSON, layout.HDGLIO_MASK}
    assert len(named) == 12
    assert named <= names
    assert layout.atlas_file(Sequence.CT1) == ATLAS_CT1


def test_hidden_files_are_left_out_and_foreign_ones_listed(archive):
    names = archive.names(StudyKey("Patient-001", Visit(0, 1)))
    assert "CT1_tostd.nii.gz" in names
    assert not any(".DS_Store" in name for name in names)
    assert archive.rejected == ["Patient-001/week 99: not a visit folder (week-NNN or week-NNN-S)"]


def test_read_and_where(archive):
    assert archive.read(KEY, ATLAS_CT1) == ATLAS_CT1.encode()
    assert archive.where(KEY, "CT1.nii.gz") == "Patient-002/week-040-1/CT1.nii.gz"


def test_absent_files_and_visits_are_named(archive):
    with pytest.raises(ImageError, match=r"PET\.nii\.gz, got .*Patient-002/week-040-1/PET\.nii\.gz"):
        archive.read(KEY, "PET.nii.gz")
    with pytest.raises(ImageError, match=r"Patient-002/week-040-1/PET"):
        archive.fingerprint(KEY, "PET.nii.gz")
    elsewhere = StudyKey("Patient-999", Visit(1))
    assert archive.names(elsewhere) == frozenset()
    with pytest.raises(ImageError, match="Patient-999/week-001"):
        archive.read(elsewhere, "CT1.nii.gz")


def test_other_processes_can_read(archive):
    archive.read(KEY, ATLAS_CT1)
    twin = copy.deepcopy(archive)
    assert twin.read(KEY, ATLAS_CT1) == ATLAS_CT1.encode()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(archive.read, (KEY, "CT1.nii.gz")) == b"CT1.nii.gz"


def test_a_forked_child_opens_the_zip_anew(lumiere_zip, monkeypatch):
    archive = ZipArchive(lumiere_zip / "Imaging-v202211.zip")
    before = archive._zip()
    assert archive._zip() is before
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert archive._zip() is not before


def test_folder_fingerprint_changes_with_the_file(lumiere_copy):
    archive = open_archive(lumiere_copy)
    before = archive.fingerprint(KEY, "CT1.nii.gz")
    assert archive.fingerprint(KEY, "CT1.nii.gz") == before
    (lumiere_copy / "Imaging" / str(KEY) / "CT1.nii.gz").write_bytes(b"another image")
    assert archive.fingerprint(KEY, "CT1.nii.gz") != before


def test_zip_fingerprint_tells_contents_of_equal_size_apart(tmp_path):
    prints = []
    for payload in (b"one", b"two"):
        with zipfile.ZipFile(tmp_path / "Imaging.zip", "w") as packed:
            packed.writestr(f"Imaging/{KEY}/CT1.nii.gz", payload)
        prints.append(open_archive(tmp_path).fingerprint(KEY, "CT1.nii.gz"))
    assert prints[0] != prints[1]


def test_a_vanished_file_is_named(lumiere_copy):
    archive = open_archive(lumiere_copy)
    assert "CT1.nii.gz" in archive.names(KEY)
    (lumiere_copy / "Imaging" / str(KEY) / "CT1.nii.gz").unlink()
    with pytest.raises(ImageError, match=r"Patient-002/week-040-1/CT1\.nii\.gz"):
        archive.read(KEY, "CT1.nii.gz")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_unreadable_zip_member_is_named(tmp_path, method):
    payload = bytes(range(256)) * 40
    path = tmp_path / "Imaging-v202211.zip"
    with zipfile.ZipFile(path, "w", method) as packed:
        packed.writestr(f"Imaging/{KEY}/CT1.nii.gz", payload)
    spoilt = bytearray(path.read_bytes())
    spoilt[90:110] = b"\xff" * 20
    path.write_bytes(spoilt)
    with pytest.raises(ImageError, match=r"readable zip member, got .* in Patient-002/week-040-1/CT1\.nii\.gz of Imag"):
        open_archive(tmp_path).read(KEY, "CT1.nii.gz")


def test_a_truncated_zip_is_refused_at_once(lumiere_zip, tmp_path):
    whole = (lumiere_zip / "Imaging-v202211.zip").read_bytes()
    (tmp_path / "Imaging-v202211.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"whole zip .* in Imaging-v202211\.zip; .*download"):
        open_archive(tmp_path)


def test_a_zip_without_its_top_folder_or_with_another(tmp_path):
    for prefix in ("", "LUMIERE/Imaging/"):
        path = tmp_path / "Imaging.zip"
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr(f"{prefix}{KEY}/CT1.nii.gz", b"image")
            packed.writestr(f"{prefix}readme.txt", b"no patient")
            packed.writestr(f"{prefix}notes/readme.txt", b"no patient")
        archive = open_archive(path)
        assert archive.studies() == [KEY]
        assert archive.names(KEY) == {"CT1.nii.gz"}
        assert archive.rejected == ["notes: not a patient folder (Patient-NNN)"]


def test_two_folders_of_one_visit_are_not_mixed(tmp_path):
    for name in ("week-003", "week-003-0"):
        (tmp_path / "Imaging/Patient-001" / name).mkdir(parents=True)
    archive = open_archive(tmp_path)
    assert archive.studies() == [StudyKey("Patient-001", Visit(3))]
    assert archive.rejected == ["Patient-001/week-003-0: another folder already stands for Patient-001/week-003"]


def test_where_images_are_looked_for(lumiere_folder, lumiere_zip, tmp_path):
    assert open_archive(tmp_path) is None
    assert open_archive(tmp_path / "absent") is None
    assert open_archive(lumiere_folder / "LUMIERE-datacompleteness.csv") is None
    unpacked = tmp_path / "Imaging-v202211"
    shutil.copytree(lumiere_folder / "Imaging/Patient-012", unpacked / "Imaging/Patient-012")
    assert len(open_archive(tmp_path).studies()) == 1
    assert len(open_archive(unpacked).studies()) == 1
    (tmp_path / "Imaging-v202211.zip").write_bytes((lumiere_zip / "Imaging-v202211.zip").read_bytes())
    assert isinstance(open_archive(tmp_path), FolderArchive)
    shutil.rmtree(unpacked)
    assert isinstance(open_archive(tmp_path), ZipArchive)
    shutil.copy(tmp_path / "Imaging-v202211.zip", tmp_path / "Imaging-old.zip")
    with pytest.raises(ImageError, match=r"one zip .* got Imaging-old\.zip, Imaging-v202211\.zip"):
        open_archive(tmp_path)


def test_an_empty_imaging_folder_is_an_archive_without_studies(tmp_path: Path):
    (tmp_path / "Imaging").mkdir()
    assert open_archive(tmp_path).studies() == []


def test_a_patient_that_was_prepared_keeps_whatever_pseudonym_it_has(tmp_path):
    for patient, name in (("sub-01", "prepared.json"), ("Jane", "T1.nii.gz")):
        (tmp_path / "Imaging" / patient / "week-003").mkdir(parents=True)
        (tmp_path / "Imaging" / patient / "week-003" / name).write_text("{}")
    archive = open_archive(tmp_path)
    assert [str(key) for key in archive.studies()] == ["sub-01/week-003"]
    assert archive.rejected == ["Jane: not a patient folder (Patient-NNN)"]
