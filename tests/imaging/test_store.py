"""Bytes on disk to aligned studies: geometry, intensities, refusals, and what happens after an interruption."""

from __future__ import annotations

import gzip
import json
from functools import partial

import nibabel as nib
import numpy as np
import pytest

from ranoscope.config import GridSettings
from ranoscope.domain import SEQUENCES, Segmenter, StudyKey, Tissue, Visit
from ranoscope.errors import ImageError, RunError
from ranoscope.imaging.grid import Grid
from ranoscope.imaging.nifti import Volume, decode, decode_labels
from ranoscope.imaging.store import SourceFile, StudySource, StudyStore, build_store

LAS = np.array([[-3.0, 0, 0, 90], [0, 3, 0, -126], [0, 0, 3, -72], [0, 0, 0, 1]])
SHAPE = (61, 73, 61)
GRID = GridSettings(voxel_mm=3.0, box_mm=(162, 192, 162))
KEY = StudyKey("Patient-001", Visit(4))


def nifti(data: np.ndarray, affine: np.ndarray = LAS) -> bytes:
    return gzip.compress(nib.Nifti1Image(data, affine).to_bytes(), 1)


def make_files() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    brain = np.zeros(SHAPE, np.uint8)
    brain[12:50, 15:60, 10:52] = 1
    labels = np.zeros(SHAPE, np.uint8)
    labels[20:24, 30:34, 30:34] = 1
    files = {str(s): nifti((rng.gamma(4, 50, SHAPE) * brain).astype(np.float32)) for s in SEQUENCES}
    measured = {"Enhancing_Core": 64 * 27.0, "Necrotic_NonEnhancing": 0.0, "Edema_Compartment": 0.0}
    return files | {"brain": nifti(brain), "mask": nifti(labels), "json": json.dumps(measured).encode()}


def source(files: dict[str, bytes]) -> StudySource:
    def file(name: str) -> SourceFile:
        return SourceFile(f"{KEY}/{name}", str(hash(files[name])), partial(files.__getitem__, name))

    volumes = {s: file(str(s)) for s in SEQUENCES if str(s) in files}
    return StudySource(KEY, volumes, file("brain"), file("mask"), file("json"))


def build(folder, files) -> dict:
    return build_store(folder, [source(files)], GRID, lambda *_: None)


def test_a_study_lands_on_the_common_grid_standardised_inside_the_brain(tmp_path):
    assert build(tmp_path, make_files()) == {}
    study = StudyStore(tmp_path, GRID)[KEY]
    assert study.volumes.shape == (4, 54, 64, 54)
    assert (np.asarray(study.volumes)[:, ~study.brain] == 0).all()
    inside = np.asarray(study.volumes, np.float32)[:, study.brain]
    assert np.allclose(inside.mean(axis=1), 0, atol=0.1)
    assert np.allclose(inside.std(axis=1), 1, atol=0.15)
    assert (study.tumour == Tissue.ENHANCING).sum() == 64


def test_left_stays_left_and_millimetres_stay_millimetres(tmp_path):
    """The tumour sits at voxels 20..23 of an L-A-S image: world x = 90 - 3 * 21.5 = 25.5 mm, the patient's right."""
    build(tmp_path, make_files())
    study = StudyStore(tmp_path, GRID)[KEY]
    centre = np.argwhere(study.tumour == Tissue.ENHANCING).mean(axis=0)
    world = study.affine @ [*centre, 1]
    assert np.allclose(world[:3], [90 - 3 * 21.5, -126 + 3 * 31.5, -72 + 3 * 31.5], atol=1e-3)
    assert np.all(np.diag(study.affine)[:3] > 0)


def test_a_coarser_grid_keeps_the_place_of_a_blob_and_its_total_amount():
    data = np.zeros((60, 60, 60), np.float32)
    data[30:36, 20:26, 25:31] = 1
    fine = Volume(data, np.eye(4), "x")
    coarse = Grid((30, 30, 30), np.diag([2.0, 2, 2, 1]))
    brought = coarse.bring(data, fine)
    centre = [(np.indices(brought.shape)[a] * brought).sum() / brought.sum() * 2 for a in range(3)]
    assert np.allclose(centre, [32.5, 22.5, 27.5], atol=0.6)
    assert brought.sum() * 8 == pytest.approx(216, rel=0.05)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: {"T2": f["T2"][:2000]}, ["T2", "truncated"]),
        (lambda f: {"T1": nifti(np.full(SHAPE, np.nan, np.float32))}, ["T1", "NaN in every voxel"]),
        (lambda f: {"FLAIR": nifti(np.ones((60, 73, 61), np.float32))}, ["FLAIR", "60x73x61"]),
        (lambda f: {"CT1": nifti(np.ones(SHAPE, np.float32), LAS + np.eye(4)[3] * 5)}, ["CT1"]),
        (lambda f: {"mask": nifti(np.full(SHAPE, 7, np.uint8))}, ["mask", "7.0"]),
        (lambda f: {"json": b'{"Enhancing_Core": 1}'}, ["json", "Edema_Compartment"]),
        (
            lambda f: {"json": f["json"].replace(b"1728.0", b"5.0")},
            ["json", "1728.0", "5.0"],
        ),
        (lambda f: {"CT1": b"not an image"}, ["CT1", "unreadable"]),
        (lambda f: {"T1": nifti(np.ones(SHAPE, np.float32))}, ["T1", "vary"]),
        (lambda f: {"brain": nifti(np.zeros(SHAPE, np.uint8))}, ["brain", "empty"]),
    ],
)
def test_a_broken_file_is_named_with_patient_and_visit_and_leaves_no_study(tmp_path, change, words):
    files = make_files()
    failures = build(tmp_path, files | change(files))
    assert list(failures) == [KEY]
    assert "Patient-001/week-004" in failures[KEY]
    assert all(word in failures[KEY] for word in words), failures[KEY]
    with pytest.raises(RunError, match="week-004"):
        StudyStore(tmp_path, GRID)[KEY]


def test_one_broken_study_does_not_stop_the_others_and_is_retried_when_mended(tmp_path):
    files = make_files()
    assert build(tmp_path, files | {"T2": b"\x1f\x8bbroken"})
    assert build(tmp_path, files) == {}
    assert KEY in StudyStore(tmp_path, GRID)


def test_a_finished_study_is_not_read_again_and_a_changed_file_is(tmp_path):
    files = make_files()
    build(tmp_path, files)
    reads: list[str] = []

    class Counting(dict):
        def __getitem__(self, name):
            reads.append(name)
            return super().__getitem__(name)

    same = Counting(files)
    made = source(same)
    reads.clear()
    build_store(tmp_path, [made], GRID, lambda *_: None)
    assert reads == []
    changed = files | {"T1": files["T2"]}
    build(tmp_path, changed)
    study = StudyStore(tmp_path, GRID)[KEY]
    first, second = study.channels((SEQUENCES[1], SEQUENCES[2]))
    assert np.array_equal(first, second)


def test_the_brain_box_is_the_smallest_that_holds_the_brain(tmp_path):
    build(tmp_path, make_files())
    study = StudyStore(tmp_path, GRID)[KEY]
    assert study.brain[study.brain_box].sum() == study.brain.sum() > 0
    for axis, side in enumerate(study.brain_box):
        found = np.flatnonzero(study.brain.any(axis=tuple({0, 1, 2} - {axis})))
        assert (side.start, side.stop) == (found[0], found[-1] + 1)


def test_a_brain_outside_the_box_of_the_recipe_is_refused(tmp_path):
    elsewhere = GridSettings(voxel_mm=3.0, box_mm=(30, 30, 30), centre_mm=(500, 0, 0))
    failures = build_store(tmp_path, [source(make_files())], elsewhere, lambda *_: None)
    assert "the brain inside the recipe's box, got all of it outside" in failures[KEY]


@pytest.mark.parametrize("name", ["volumes.npy", "masks.npy"])
def test_damaged_arrays_are_named_and_made_anew(tmp_path, name):
    files = make_files()
    build(tmp_path, files)
    array = next(tmp_path.rglob(name))
    whole = array.read_bytes()
    for damaged in (whole[:200], b"", None):
        array.unlink() if damaged is None else array.write_bytes(damaged)
        with pytest.raises(RunError, match=r"damaged ones .* in Patient-001/week-004 of the store; run"):
            StudyStore(tmp_path, GRID)[KEY]
        build(tmp_path, files)
        assert array.read_bytes() == whole


def test_a_missing_sequence_is_refused_by_name(tmp_path):
    files = make_files()
    del files["FLAIR"]
    build(tmp_path, files)
    study = StudyStore(tmp_path, GRID)[KEY]
    assert study.channels(SEQUENCES[:3]).shape[0] == 3
    with pytest.raises(ImageError, match="FLAIR"):
        study.channels(SEQUENCES)


def test_one_means_enhancing_in_one_tool_and_not_in_the_other():
    mask = np.zeros((4, 4, 4), np.uint8)
    mask[0], mask[1] = 1, 2
    deep, _ = decode_labels(nifti(mask, np.eye(4)), "a", Segmenter.DEEPBRATUMIA)
    glio, _ = decode_labels(nifti(mask, np.eye(4)), "b", Segmenter.HD_GLIO_AUTO)
    assert (deep[0] == Tissue.ENHANCING).all()
    assert (glio[0] == Tissue.NONENHANCING_T2).all()
    assert (glio[1] == Tissue.ENHANCING).all()


def test_decode_turns_any_axis_order_to_ras():
    data = np.zeros((3, 4, 5), np.float32)
    data[2, 0, 1] = 1
    lps = np.diag([-1.0, -1, 1, 1])
    volume = decode(nifti(data, lps), "x")
    index = np.argwhere(volume.data == 1)[0]
    assert np.allclose(volume.affine @ [*index, 1], lps @ [2, 0, 1, 1])
    assert np.all(np.diag(volume.affine)[:3] > 0)
