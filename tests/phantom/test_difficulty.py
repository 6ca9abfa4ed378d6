"""The hard cohort: what differs from the standard one, masks and truth hold, and the loading code takes it."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from dataclasses import fields

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from pydantic import ValidationError
from scipy import ndimage

from ranoscope.cohort.files import read_cases, write_cohort
from ranoscope.cohort.pairing import build_cohort
from ranoscope.config import CohortSettings, Difficulty, GridSettings, PhantomSettings, load_recipe
from ranoscope.domain import SEQUENCES, Response
from ranoscope.learning.studies import prepare_store
from ranoscope.phantom.anatomy import make_anatomy
from ranoscope.phantom.cohort import make_phantom
from ranoscope.phantom.difficulty import HARD, SCANNERS, STANDARD, TRAITS
from ranoscope.phantom.plans import plan_cohort
from ranoscope.phantom.scanner import Look
from ranoscope.phantom.writer import VisitContent, write_visit

SMALL = PhantomSettings(patients=2, voxel_mm=6.0, seed=2, difficulty=Difficulty.HARD)


def silent(*_):
    pass


def digest(root):
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def hard(tmp_path_factory):
    root = tmp_path_factory.mktemp("hard")
    make_phantom(root, SMALL, 1, silent)
    return root


def test_every_difficulty_has_a_row_and_standard_has_none_of_the_further_effects():
    assert set(TRAITS) == set(Difficulty)
    assert TRAITS[Difficulty.STANDARD] is STANDARD
    for part in fields(STANDARD):
        rows = [vars(getattr(traits, part.name)) for traits in (STANDARD, HARD)]
        assert all(rows[0][name] != rows[1][name] for name in rows[0]), part.name
    none = {"asymmetry_sd", "nodules", "mass_effect", "treated_mm3", "aged_growth", "scanner_changes",
            "scanner_contrast", "contrast_sd", "gap", "moved", "resampled", "strip_error"}  # fmt: skip
    standard = {**vars(STANDARD.brain), **vars(STANDARD.tumour), **vars(STANDARD.scan)}
    assert not any(standard[name] for name in none)


def test_reader_noise_is_twice_as_much_unless_it_is_given():
    assert PhantomSettings().reader_noise == 0.05
    assert PhantomSettings(difficulty="hard").reader_noise == 0.10
    assert PhantomSettings(difficulty="hard", reader_noise=0.0).reader_noise == 0.0
    with pytest.raises(ValidationError, match="difficulty"):
        PhantomSettings(difficulty="harder")


def test_the_command_makes_it_and_says_so(ranoscope, tmp_path):
    answer = ranoscope("phantom", tmp_path / "hard", "--patients", 1, "--voxel-mm", 6, "--difficulty", "hard")
    assert answer.code == 0, answer.err
    about = json.loads((tmp_path / "hard/phantom.json").read_text())
    assert (about["difficulty"], about["reader_noise"]) == ("hard", 0.1)
    text = " ".join((tmp_path / "hard/README.md").read_text().split())
    assert "This is a *hard* cohort" in text
    assert "no mass effect" not in text
    for options, differs in (([], "'reader_noise': 0.05"), (["--difficulty", "hard", "--reader-noise", 0.2], "0.2")):
        other = ranoscope("phantom", tmp_path / "hard", "--patients", 1, "--voxel-mm", 6, *options)
        assert other.code != 0
        assert differs in " ".join(other.err.split()).split("got one of")[0]


def test_same_seed_same_bytes_interrupted_or_not(hard, tmp_path):
    shutil.copytree(hard, tmp_path / "again")
    shutil.rmtree(tmp_path / "again/Imaging/Patient-002")
    visits = sorted((tmp_path / "again/Imaging/Patient-001").iterdir())
    shutil.rmtree(visits[1])
    make_phantom(tmp_path / "again", SMALL, 2, silent)
    assert digest(tmp_path / "again") == digest(hard)


def test_the_readers_take_it_and_the_store_is_built(hard, tmp_path):
    read = build_cohort(hard, CohortSettings())
    assert read.synthetic
    assert read.flow["rejected"] == []
    assert [text for text in read.warnings if "differs" not in text] == []
    write_cohort(tmp_path, read, CohortSettings())
    recipe = load_recipe("demo").model_copy(update={"grid": GridSettings(voxel_mm=6.0)})
    cases = read_cases(tmp_path)
    assert len(cases) > 4
    store = prepare_store(recipe, tmp_path, cases, silent)
    for case in cases:
        study = store[case.current_study]
        assert study.sequences == SEQUENCES
        assert np.isfinite(study.volumes.astype(np.float32)).all()
        assert study.volumes[:, study.brain].astype(np.float32).std() == pytest.approx(1, abs=0.3)


def test_masks_move_with_the_images(hard, load):
    """CT1 minus T1 as stored, each over its brain's median: higher in label 1 than in the rest of the tumour."""
    gains = []
    for folder in sorted(hard.glob("Imaging/*/*")):
        atlas = folder / "DeepBraTumIA-segmentation/atlas"
        mask, _ = load(atlas / "segmentation/seg_mask.nii.gz")
        images = {n: load(atlas / f"skull_strip/{n}_skull_strip.nii.gz")[0] for n in ("ct1", "t1", "t2", "flair")}
        brain, _ = load(atlas / "skull_strip/brain_mask.nii.gz")
        for image in images.values():
            assert image.shape == mask.shape
            assert not image[brain == 0].any()
        assert not mask[brain == 0].any()
        if (mask == 1).sum() < 20:
            continue
        uptake = images["ct1"] / np.median(images["ct1"][brain > 0]) - images["t1"] / np.median(images["t1"][brain > 0])
        around = ndimage.binary_dilation(mask > 0, iterations=3) & (mask == 0) & (brain > 0)
        gains.append(np.median(uptake[mask == 1]) - np.median(uptake[around]))
    assert len(gains) > 4
    assert np.median(gains) > 0.3
    assert np.min(gains) > 0


def test_registration_leaves_more_between_visits(tmp_path):
    """Where visits of one head put its centre in atlas space: standard deviation per axis, mm.

    The brain's centre on the scanner's grid, taken back by the transform as published: masks on the atlas's own coarse
    grid do not show shifts below half a voxel.
    """
    anatomy = make_anatomy(np.random.default_rng(1), 6.0)
    tissue = np.zeros(anatomy.brain.shape, np.uint8)
    spread = {}
    for name, traits in (("standard", STANDARD), ("hard", HARD)):
        centres = []
        for number in range(10):
            folder = tmp_path / f"{name}-{number}"
            write_visit(
                folder, anatomy, VisitContent(tissue, look=Look(traits.scan)), np.random.default_rng([9, number])
            )
            native = sitk.ReadImage(str(folder / "DeepBraTumIA-segmentation/native/skull_strip/ct1_brain_mask.nii.gz"))
            place = np.argwhere(sitk.GetArrayFromImage(native)).mean(axis=0)[::-1]
            transform = sitk.ReadTransform(str(folder / "DeepBraTumIA-segmentation/native/transformation/ct1.tfm"))
            world = native.TransformContinuousIndexToPhysicalPoint(place.tolist())
            centres.append(transform.GetInverse().TransformPoint(world))
        spread[name] = float(np.std(centres, axis=0).mean())
    assert 0.3 < spread["standard"] < 0.8
    assert 0.8 < spread["hard"] < 1.6


@pytest.mark.parametrize(("difficulty", "noise"), [("standard", 0.05), ("hard", 0.1)])
def test_readers_err_as_often_as_is_said(difficulty, noise):
    agreed = []
    for plan in plan_cohort(PhantomSettings(patients=300, seed=3, difficulty=difficulty)):
        written = {row.visit: row.rating for row in plan.rows}
        rated = [(v.planned.truth, written.get(str(v.planned.visit))) for v in plan.visits]
        agreed += [true == row for true, row in rated if isinstance(true, Response) and row in set(Response)]
    assert len(agreed) > 1000
    assert 1 - np.mean(agreed) == pytest.approx(noise, abs=0.02)


def test_new_lesions_are_smaller():
    def first_sizes(difficulty):
        sizes = []
        for plan in plan_cohort(PhantomSettings(patients=150, seed=4, difficulty=difficulty)):
            for before, now in zip(plan.visits, plan.visits[1:], strict=False):
                sizes += [lesion.enhancing for lesion in now.planned.lesions[len(before.planned.lesions) :]]
        return sizes

    small, usual = (first_sizes(difficulty) for difficulty in ("hard", "standard"))
    assert min(len(small), len(usual)) > 30
    assert np.median(small) < 0.55 * np.median(usual)


def test_scanners_change_between_visits_and_the_table_says_which(hard):
    with (hard / "LUMIERE-MRinfo.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    models = {(row["Patient"], row["Timepoint"]): row["Model"] for row in rows}
    for plan in plan_cohort(SMALL):
        for visit in plan.visits:
            assert models[plan.name, str(visit.planned.visit)] == SCANNERS[visit.scanner].model
    used = [[visit.scanner for visit in plan.visits] for plan in plan_cohort(SMALL.model_copy(update={"patients": 60}))]
    changed = np.mean([scanner != max(set(own), key=own.count) for own in used for scanner in own])
    assert 0.1 < changed < 0.4
    assert {number for own in used for number in own} == set(range(HARD.scan.scanners))
