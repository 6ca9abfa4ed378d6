"""From raw scans to a cohort: LUMIERE's own scanner-space images prepared anew, as a person would."""

from __future__ import annotations

import shutil

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the library's own abbreviation

from ranoscope.cohort import layout
from ranoscope.domain import SEQUENCES, Sequence
from ranoscope.imaging.itk import itk_to_rigid
from ranoscope.preparing.output import PICTURE
from ranoscope.runs import read_csv, read_json

COLUMNS = ("patient", "study", "status", "sequences", "missing", "problems")
VISITS = 2
# A part of the sequences, other ones in the later visit: registration is what takes time.
KEPT = (("CT1", "T1", "FLAIR"), ("CT1", "T2"))
# Nor is there a coil's bias in them.
QUICK = "bias.iterations=[15]"


@pytest.fixture(scope="module")
def raw(phantom_folder, tmp_path_factory):
    """Two visits of one patient, as published: scanner space, without skull, and DeepBraTumIA's masks."""
    folder = tmp_path_factory.mktemp("raw")
    patient = next(
        path for path in sorted((phantom_folder / "Imaging").iterdir())
        if sum(len(list(visit.glob("*.nii.gz"))) == len(SEQUENCES) for visit in path.iterdir()) >= VISITS
    )  # fmt: skip
    visits = [v for v in sorted(patient.iterdir()) if len(list(v.glob("*.nii.gz"))) == len(SEQUENCES)][:VISITS]
    for visit, kept in zip(visits, KEPT, strict=True):
        copy = folder / "Imaging" / patient.name / visit.name
        shutil.copytree(visit, copy)
        for sequence in set(SEQUENCES) - set(kept):
            (copy / layout.sequence_file(sequence)).unlink()
    return folder


@pytest.fixture(scope="module")
def prepared(raw, tmp_path_factory):
    from ranoscope.cli import preparation_stages as stages

    out = tmp_path_factory.mktemp("prepared") / "STORE"
    choice = stages.choose(stages.find([raw / "Imaging"], None), None)
    assert not stages.run_prepare(choice, [QUICK], out, 1, None)
    return out


def visits(folder):
    (patient,) = (folder / "Imaging").iterdir()
    return sorted(patient.iterdir())


def pose(visit, sequence):
    """Points of the atlas to those of the scanner."""
    return itk_to_rigid(sitk.ReadTransform(str(visit / layout.native_transform(sequence))))


def test_every_study_is_there_with_its_row_and_picture(raw, prepared):
    table = read_csv(prepared / "quality.csv", "prepare", COLUMNS)
    assert list(table["study"]) == [visit.name for visit in visits(raw)]
    assert set(table["status"]) <= {"ok", "check"}
    assert list(table["sequences"]) == [" ".join(kept) for kept in KEPT]
    assert list(table["missing"]) == ["T2", "T1 FLAIR"]
    for visit in visits(prepared):
        assert (visit / PICTURE).read_bytes()[:4] == b"\x89PNG"
        assert read_json(visit / layout.PREPARED, "prepare")["quality"]["study"] == visit.name


def test_sequences_of_a_study_lie_as_the_scanner_had_them(raw, prepared):
    """The truth is known: how each sequence was posed when it was drawn. Voxels are of 6 mm, slices thicker still."""
    directions = np.random.default_rng(0).normal(size=(200, 3))
    surface = directions / np.linalg.norm(directions, axis=1)[:, None] * (65, 80, 65)
    for truth, found, kept in zip(visits(raw), visits(prepared), KEPT, strict=True):
        points = pose(truth, SEQUENCES[0]) @ np.c_[surface, np.ones(len(surface))].T
        for sequence in map(Sequence, kept[1:]):
            there = pose(truth, sequence) @ np.linalg.inv(pose(truth, SEQUENCES[0])) @ points
            here = pose(found, sequence) @ np.linalg.inv(pose(found, SEQUENCES[0])) @ points
            assert np.linalg.norm((there - here)[:3], axis=0).mean() < 1.5, (truth.name, sequence)


def test_masks_come_along_with_their_volume(raw, prepared):
    for truth, found in zip(visits(raw), visits(prepared), strict=True):
        volumes = []
        for visit in (truth, found):
            mask = nib.load(visit / layout.ATLAS_MASK)
            volumes.append(np.count_nonzero(mask.dataobj) * abs(np.linalg.det(mask.affine[:3, :3])) / 1000)
        # The truth's mask was drawn on a grid of 6 mm, the prepared one comes from the scanner's.
        assert volumes[1] == pytest.approx(volumes[0], rel=0.25, abs=1.0)


def test_the_cohort_reads_what_was_prepared(phantom_folder, prepared, ranoscope, tmp_path):
    for table in phantom_folder.glob("*.csv"):
        shutil.copy(table, prepared)
    answer = ranoscope("cohort", prepared, "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    studies = read_csv(tmp_path / "run" / "studies.csv", "cohort", ("patient", "visit"))
    ours = {visit.name for visit in visits(prepared)}
    assert ours <= set(studies[studies["patient"] == visits(prepared)[0].parent.name]["visit"])


def test_given_again_it_does_nothing_again(raw, prepared, ranoscope):
    before = {path: path.stat().st_mtime_ns for path in (prepared / "Imaging").rglob("*") if path.is_file()}
    answer = ranoscope("prepare", raw / "Imaging", "--out", prepared, "--workers", "1", "--set", QUICK)
    assert answer.code == 0, answer.err
    assert f"{VISITS} studies were prepared before and kept" in answer.out
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_dry_run_shows_studies_and_writes_nothing(raw, ranoscope, tmp_path):
    answer = ranoscope("prepare", raw / "Imaging", "--out", tmp_path / "STORE", "--dry-run")
    assert answer.code == 0, answer.err
    assert "CT1, T1, FLAIR" in answer.out
    assert not (tmp_path / "STORE").exists()


def test_where_nothing_can_be_prepared_no_next_step_is_named(ranoscope, tmp_path):
    thin = nib.Nifti1Image(np.random.default_rng(0).random((60, 60, 2), np.float32), np.diag([4.0, 4.0, 5.0, 1.0]))
    thin.set_sform(thin.affine, 1)
    nib.save(thin, tmp_path / "T1.nii.gz")
    answer = ranoscope("prepare", tmp_path / "T1.nii.gz", "--out", tmp_path / "STORE")
    assert answer.code == 4
    assert "No study was prepared" in answer.out
    assert "next: ranoscope cohort" not in answer.out


def test_what_is_no_scan_is_said(ranoscope, tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    answer = ranoscope("prepare", tmp_path, "--out", tmp_path / "STORE")
    assert answer.code == 2
    assert "Expected DICOM" in answer.err or "Expected a DICOM" in answer.err
    assert "Traceback" not in answer.err
