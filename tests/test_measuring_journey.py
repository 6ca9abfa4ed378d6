"""From a patient's masks to calls under every criteria set, with the commands a person gives."""

from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture(scope="module")
def patient(phantom_folder):
    """A synthetic patient with four visits or more."""
    folders = sorted((phantom_folder / "Imaging").iterdir())
    return next(folder for folder in folders if len(list(folder.glob("*/DeepBraTumIA*"))) >= 4)


def test_from_a_lumiere_patient_to_calls_and_trial_tables(ranoscope, patient, tmp_path):
    measured = ranoscope("measure", patient, "--out", tmp_path / "measured", "--set", "alignment.fine_mm=4")
    assert measured.code == 0, measured.err
    assert "Research use only" in measured.out
    with (tmp_path / "measured" / "lesions.csv").open() as stream:
        lesions = list(csv.DictReader(stream))
    timeline = json.loads((tmp_path / "measured" / "timeline.json").read_text())
    # The phantom's own volumes: what the segmenter's JSON says of each visit, less the pieces below the floor.
    for scan in timeline["scans"]:
        volumes = patient / scan["id"] / "DeepBraTumIA-segmentation/atlas/segmentation/measured_volumes_in_mm3.json"
        if not volumes.is_file():
            continue
        found = sum(
            float(row["volume_mm3"]) for row in lesions
            if row["scan"] == scan["id"] and row["compartment"] == "enhancing"
        )  # fmt: skip
        assert found == pytest.approx(json.loads(volumes.read_text())["Enhancing_Core"], rel=0.02, abs=3 * 216)
    assert len(list((tmp_path / "measured" / "pictures").glob("*.png"))) == len(lesions)

    responded = ranoscope("respond", tmp_path / "measured", "--criteria", "all", "--out", tmp_path / "responses")
    assert responded.code == 0, responded.err
    with (tmp_path / "responses" / "calls.csv").open() as stream:
        calls = list(csv.DictReader(stream))
    assert {row["criteria"] for row in calls} == {"macdonald", "rano-hgg", "rano-lgg", "mrano", "rano2", "irano"}
    assert len(calls) >= 6 * len(timeline["scans"])
    # Nothing is known of steroids or clinical state here, so whatever is not PD is provisional.
    final = [row for row in calls if row["category"] in ("CR", "PR", "SD") and row["provisional"] == "false"]
    assert {row["criteria"] for row in final} <= {"mrano"}
    assert len(list((tmp_path / "responses" / "cdisc").rglob("rs.csv"))) == 6


def test_masks_given_one_by_one(ranoscope, tmp_path):
    shape, affine = (30, 30, 20), np.diag([1.0, 1.0, 2.0, 1.0])
    names = []
    for number, radius in enumerate((8, 5, 9)):
        i, j, k = np.indices(shape)
        ball = (i - 15) ** 2 + (j - 15) ** 2 + (2 * (k - 10)) ** 2 <= radius**2
        names.append(tmp_path / f"mask{number}.nii.gz")
        nib.save(nib.Nifti1Image(ball.astype(np.uint8), affine), names[-1])
    measured = ranoscope("measure", *names, "--days", "0,60,120", "--patient", "P-01", "--out", tmp_path / "measured")
    assert measured.code == 0, measured.err
    responded = ranoscope("respond", tmp_path / "measured", "--criteria", "macdonald", "--out", tmp_path / "responses")
    assert responded.code == 0, responded.err
    with (tmp_path / "responses" / "calls.csv").open() as stream:
        calls = [(row["preliminary"], row["category"]) for row in csv.DictReader(stream)]
    # 16 mm, 10 mm (a product 61 % smaller: a response that waits), 18 mm (three times the nadir).
    assert calls == [("", ""), ("PR", "SD"), ("", "PD")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.nii.gz"], "nowhere.nii.gz"),
        (["nowhere.nii.gz", "--labels", "BraTS-212"], "nearest: BraTS-2012"),
        (["a.nii.gz", "b.nii.gz", "--days", "0,soon"], "whole days"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(ranoscope, tmp_path, arguments, words):
    answer = ranoscope("measure", *arguments, "--out", tmp_path / "measured")
    assert answer.code == 2
    assert words in answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_unknown_criteria_name_the_nearest(ranoscope, tmp_path):
    answer = ranoscope("respond", tmp_path, "--criteria", "rano-hg", "--out", tmp_path / "responses")
    assert answer.code == 2
    assert "did you mean `rano-hgg`" in answer.err
