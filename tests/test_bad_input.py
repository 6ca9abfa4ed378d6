"""Bad input gets one clear message that names the place, never a stack trace, and costs nothing already computed."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ranoscope import runs
from ranoscope.cohort.files import read_cases, read_studies
from ranoscope.config import load_recipe
from ranoscope.imaging.store import StudyStore

RATINGS = "LUMIERE-ExpertRating-v202211.csv"
ATLAS = "DeepBraTumIA-segmentation/atlas"
SMALL = ("--set", "grid.voxel_mm=6", "--set", "training.epochs=1", "--set", "folds.count=2", "--set",
         "training.accelerator=cpu")  # fmt: skip


@pytest.fixture
def lumiere(phantom_folder, tmp_path) -> Path:
    """A copy to be broken; files are hard links, so breaking one means replacing it."""
    shutil.copytree(phantom_folder, tmp_path / "LUMIERE", copy_function=os.link)
    return tmp_path / "LUMIERE"


@pytest.fixture(scope="session")
def prepared(phantom_folder, tmp_path_factory) -> Path:
    """A run whose cohort is made; copies of it are used."""
    from ranoscope.cli import stages
    from ranoscope.config import CohortSettings

    run = tmp_path_factory.mktemp("prepared") / "run"
    stages.run_cohort(phantom_folder, CohortSettings(), run)
    return run


@pytest.fixture
def case_visit(prepared) -> str:
    """Patient and visit of a study that a kept case needs, with some enhancing tumour."""
    studies = read_studies(prepared).set_index(["patient", "visit"])["enhancing_mm3"]
    keys = [(case.patient, str(case.current)) for case in read_cases(prepared)]
    return "/".join(next(key for key in keys if studies[key] > 2000))


def rewrite(path: Path, payload: bytes) -> None:
    path.unlink()
    path.write_bytes(payload)


def replace_text(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    rewrite(path, text.replace(old, new, 1).encode())


def edit_image(path: Path, change) -> None:
    image = nib.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes()))
    data, affine = change(np.asarray(image.dataobj).copy(), image.affine.copy())
    rewrite(path, gzip.compress(nib.Nifti1Image(data, affine).to_bytes()))


def assert_one_clear_message(answer, *words: str) -> None:
    assert answer.code == 2, answer.out + answer.err
    assert "Traceback" not in answer.out + answer.err
    assert answer.err.count("Error Expected") == 1, answer.err
    assert answer.err.rstrip().endswith(".")
    for word in (*words, "got", ";"):
        assert word in answer.err, answer.err


def test_a_missing_table(ranoscope, lumiere, tmp_path):
    (lumiere / RATINGS).unlink()
    assert_one_clear_message(ranoscope("cohort", lumiere, "--out", tmp_path / "run"), RATINGS)


def test_a_renamed_column(ranoscope, lumiere, tmp_path):
    replace_text(lumiere / RATINGS, "LessThan3Months", "Early")
    assert_one_clear_message(ranoscope("cohort", lumiere, "--out", tmp_path / "run"), RATINGS, "LessThan3Months")


def test_an_unknown_rating(ranoscope, lumiere, tmp_path):
    replace_text(lumiere / RATINGS, ",PD,", ",PDD,")
    answer = ranoscope("cohort", lumiere, "--out", tmp_path / "run")
    assert_one_clear_message(answer, RATINGS, "PDD", "line ")


def test_a_folder_that_is_not_there(ranoscope, tmp_path):
    assert_one_clear_message(ranoscope("cohort", tmp_path / "nowhere", "--out", tmp_path / "run"), "nowhere")


def test_a_visit_without_a_sequence_is_counted_not_fatal(ranoscope, lumiere, tmp_path, case_visit):
    (lumiere / "Imaging" / case_visit / "FLAIR.nii.gz").unlink()
    (lumiere / "Imaging" / case_visit / f"{ATLAS}/skull_strip/flair_skull_strip.nii.gz").unlink()
    assert ranoscope("cohort", lumiere, "--out", tmp_path / "run").code == 0
    table = runs.read_csv(tmp_path / "run" / runs.COHORT, "ranoscope cohort", ("patient", "current"))
    patient, visit = case_visit.split("/")
    row = table[(table["patient"] == patient) & (table["current"] == visit)]
    assert list(row["excluded_because"]) == ["missing-sequences"]


def truncate(path: Path) -> None:
    rewrite(path, path.read_bytes()[:2000])


def shift_grid(path: Path) -> None:
    edit_image(path, lambda data, affine: (data, affine + np.diag([0, 0, 0, 0]) + np.eye(4, k=3) * 7))


def crop_grid(path: Path) -> None:
    edit_image(path, lambda data, affine: (data[:-2], affine))


def all_nan(path: Path) -> None:
    edit_image(path, lambda data, affine: (np.full_like(data, np.nan), affine))


def strange_label(path: Path) -> None:
    edit_image(path, lambda data, affine: (np.where(data == 1, 7, data).astype(np.uint8), affine))


def swapped_labels(path: Path) -> None:
    edit_image(path, lambda data, affine: (np.array([0, 2, 1, 3], np.uint8)[data], affine))


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        ("skull_strip/t1_skull_strip.nii.gz", truncate, "truncated"),
        ("skull_strip/t2_skull_strip.nii.gz", shift_grid, "grid"),
        ("skull_strip/t2_skull_strip.nii.gz", crop_grid, "grid"),
        ("skull_strip/flair_skull_strip.nii.gz", all_nan, "NaN"),
        ("segmentation/seg_mask.nii.gz", strange_label, "7.0"),
        ("segmentation/seg_mask.nii.gz", swapped_labels, "measured_volumes_in_mm3.json; check that mask"),
    ],
)
def test_a_damaged_image_is_named_and_the_others_are_kept(
    ranoscope, lumiere, prepared, case_visit, tmp_path, file, damage, words
):
    run = tmp_path / "run"
    shutil.copytree(prepared, run)
    damage(lumiere / "Imaging" / case_visit / ATLAS / file)
    answer = ranoscope("crossval", "demo", *SMALL, "--cohort", run, "--out", run, "--images", lumiere)
    assert_one_clear_message(answer, case_visit, f"{Path(file).parent.name}/", words)
    finished = list((run / "store").rglob("study.json"))
    assert len(finished) > 5
    assert not (run / runs.CALLS).exists()


def test_an_unreadable_zip_member(ranoscope, lumiere, prepared, case_visit, tmp_path):
    run, packed = tmp_path / "run", tmp_path / "zip" / "Imaging-v202211.zip"
    shutil.copytree(prepared, run)
    packed.parent.mkdir()
    member = f"Imaging/{case_visit}/{ATLAS}/skull_strip/ct1_skull_strip.nii.gz"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted((lumiere / "Imaging").rglob("*")):
            archive.write(path, path.relative_to(lumiere).as_posix())
        offset = archive.getinfo(member).header_offset + 200
    with packed.open("r+b") as stream:
        stream.seek(offset)
        stream.write(bytes(64))
    answer = ranoscope("crossval", "demo", *SMALL, "--cohort", run, "--out", run, "--images", packed)
    assert_one_clear_message(answer, case_visit, "ct1_skull_strip.nii.gz", "zip member")


def test_a_full_disk_while_writing(ranoscope, phantom_folder, tmp_path, monkeypatch):
    def full(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    answer = ranoscope("cohort", phantom_folder, "--out", tmp_path / "run")
    assert_one_clear_message(answer, "a full disk", "free space")
    assert not (tmp_path / "run" / runs.COHORT).exists()
    assert not list((tmp_path / "run").glob("*.part"))


def test_a_recipe_with_a_typo(ranoscope, prepared, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("name: mine\ndescription: mine\ntraining: {learning_rte: 0.1}\n")
    answer = ranoscope("crossval", recipe, "--cohort", prepared, "--out", tmp_path / "run")
    assert_one_clear_message(answer, "training.learning_rte", "learning_rate", "mine.yaml")


def test_a_recipe_that_does_not_exist(ranoscope, prepared, tmp_path):
    answer = ranoscope("crossval", "densnet", "--cohort", prepared, "--out", tmp_path / "run")
    assert_one_clear_message(answer, "densnet", "demo")


@pytest.mark.parametrize("command", ["crossval", "evaluate", "explain", "report"])
def test_a_stage_before_its_time_names_the_one_to_run_first(ranoscope, tmp_path, command):
    empty = tmp_path / "empty"
    empty.mkdir()
    arguments = ("demo", "--cohort", empty, "--out", empty) if command == "crossval" else (empty,)
    assert_one_clear_message(ranoscope(command, *arguments), "run `ranoscope c")


def test_an_unknown_option_is_refused_by_name(ranoscope, prepared):
    answer = ranoscope("evaluate", prepared, "--bootstraps", 10)
    assert answer.code == 2
    assert "--bootstraps" in answer.err


def test_a_checkpoint_of_another_recipe(ranoscope, prepared, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(prepared, run)
    wide = ("--set", "network.widths=[4,4]", *SMALL, "--cohort", run, "--out", run)
    assert ranoscope("crossval", "demo", *wide).code == 0
    before = (run / runs.CALLS).read_bytes()
    other = ("--set", "network.widths=[4,6]", *SMALL, "--cohort", run, "--out", run)
    assert_one_clear_message(ranoscope("crossval", "demo", *other), "checkpoint", "seed-0_fold-0")
    assert (run / runs.CALLS).read_bytes() == before
    assert StudyStore(run / "store", load_recipe("demo", ["grid.voxel_mm=6"]).grid).folder.is_dir()


def test_an_unexpected_error_is_one_line_unless_asked_for(ranoscope, prepared, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("ranoscope.cli.stages.run_report", broken)
    answer = ranoscope("report", prepared)
    assert (answer.code, "Traceback" in answer.err) == (1, False)
    assert "ZeroDivisionError" in answer.err
    monkeypatch.setenv("RANOSCOPE_TRACE", "1")
    with pytest.raises(ZeroDivisionError):
        ranoscope("report", prepared)
