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
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

from ranoscope.cohort.files import read_cases, write_cohort
from ranoscope.cohort.pairing import build_cohort
from ranoscope.config import CohortSettings, Difficulty, GridSettings, PhantomSettings, load_recipe
from ranoscope.domain import SEQUENCES, Response, Sequence, Tissue, Visit, VisitState
from ranoscope.learning.studies import prepare_store
from ranoscope.phantom import scanner
from ranoscope.phantom.anatomy import make_anatomy
from ranoscope.phantom.cohort import make_phantom
from ranoscope.phantom.courses import Lesion, PlannedVisit
from ranoscope.phantom.difficulty import HARD, SCANNERS, STANDARD, TRAITS
from ranoscope.phantom.findings import Findings, draw_findings, draw_frailty, lay_findings
from ranoscope.phantom.mass_effect import push_aside
from ranoscope.phantom.plans import plan_cohort
from ranoscope.phantom.scanner import Look
from ranoscope.phantom.skull_strip import strip
from ranoscope.phantom.tumour import AGED, BLOOD, CAVITY, TREATED, draw_tissue, make_sites
from ranoscope.phantom.writer import VisitContent, write_visit

SMALL = PhantomSettings(patients=2, voxel_mm=6.0, seed=2, difficulty=Difficulty.HARD)
LESIONS = (Lesion(22_000, 8_000, 40_000), Lesion(2_000, 0, 3_000))


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


@pytest.fixture(scope="module")
def anatomy():
    return make_anatomy(np.random.default_rng(11), 4.0, HARD.brain)


@pytest.fixture(scope="module")
def sites(anatomy):
    return make_sites(np.random.default_rng(12), anatomy, 2, HARD.tumour)


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


def contrasts(traits, anatomy, visits=12):
    """Grey over white matter on T1 of visits on all scanners in turn."""
    white, grey = ((part > 0.9) & anatomy.brain for part in (anatomy.white, anatomy.grey))
    found = []
    for number in range(visits):
        look = Look(traits.scan, SCANNERS[number % len(SCANNERS)])
        image = scanner.signal(np.random.default_rng([5, number]), anatomy, {}, Sequence.T1, look)
        found.append(float(np.median(image[grey]) / np.median(image[white])))
    return found


def test_contrasts_differ_from_scanner_to_scanner(anatomy):
    usual, wide = contrasts(STANDARD, anatomy), contrasts(HARD, anatomy)
    assert np.std(wide) > 1.5 * np.std(usual)
    assert max(wide) < 1


def test_noise_is_a_multiple_and_slices_are_thick(anatomy):
    image = np.where(anatomy.brain, np.float32(100), 0)
    inside = [
        np.mean([
            scanner.with_noise(np.random.default_rng(n), image, anatomy.brain, traits.scan)[anatomy.brain].std()
            for n in range(20)
        ])
        for traits in (STANDARD, HARD)
    ]  # fmt: skip
    assert 1.8 < inside[1] / inside[0] < 3.5
    generator = np.random.default_rng(3)
    frames = [scanner.native_frames(generator, 1.0, np.eye(4), HARD.scan) for _ in range(60)]
    thick = {round(frame.slice_mm) for one in frames for frame in one.values() if frame.slice_mm > 2}
    assert thick == {5, 6, 7, 8}


def test_ghosts_are_faint_copies_along_the_phase_axis(anatomy):
    image = np.zeros((40, 60, 30), np.float32)
    image[10:30, 25:35, 5:25] = 100
    seen = [scanner.with_ghosts(np.random.default_rng(n), image, HARD.scan) for n in range(40)]
    moved = [one for one in seen if one is not image]
    assert 10 < len(moved) < 30
    for one in moved:
        assert one.sum() == pytest.approx(image.sum(), rel=1e-4)
        outside = one[image == 0]
        assert 0 < outside.max() < 100 * HARD.scan.ghosts[1]
        assert not one[:10].any()
        assert not one[:, :, :5].any()


def test_a_tumour_pushes_tissue_aside_and_the_skull_stays(anatomy, sites):
    pushed = push_aside(anatomy, sites, LESIONS, 0.5)
    np.testing.assert_array_equal(pushed.brain, anatomy.brain)
    np.testing.assert_allclose(pushed.grey + pushed.white + pushed.fluid, pushed.brain, atol=1e-5)
    assert np.abs(pushed.white - anatomy.white).max() > 0.5
    edge = anatomy.brain & ~ndimage.binary_erosion(anatomy.brain)
    assert np.abs(pushed.white - anatomy.white)[edge].mean() < 0.05
    assert push_aside(anatomy, sites, LESIONS, 0.0) is anatomy
    none = push_aside(anatomy, sites, (Lesion(0.0),), 0.5)
    np.testing.assert_allclose(none.white, anatomy.white, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(volume=st.floats(500, 60_000), start=st.floats(20, 30))
def test_what_is_pushed_keeps_its_volume(anatomy, sites, volume, start):
    """A ball about the centre deep in the brain grows by the volume that pushes: r³ → r³ + R³."""
    distance = np.linalg.norm(_world(anatomy) - sites[0].centre_mm, axis=-1)
    ball = np.where(distance < start, np.float32(1), np.float32(0))
    marked = type(anatomy)(ball, 0 * ball, 0 * ball, 0 * ball, distance < 60, anatomy.affine)
    pushed = push_aside(marked, sites, (Lesion(volume),), 1.0)
    grown = float(pushed.grey.sum()) * anatomy.voxel_mm**3
    expected = float(ball.sum()) * anatomy.voxel_mm**3 + volume
    # Beyond 45 mm the skull begins to hold tissue back; linear interpolation softens the border.
    if np.cbrt(start**3 + 3 * volume / (4 * np.pi)) < 43:
        assert grown == pytest.approx(expected, rel=0.08)


def _world(anatomy):
    indices = np.stack(np.meshgrid(*(np.arange(n) for n in anatomy.brain.shape), indexing="ij"), axis=-1)
    return indices @ anatomy.affine[:3, :3].T + anatomy.affine[:3, 3]


def test_a_skull_strip_errs_at_the_border_alone_and_otherwise_each_time(anatomy):
    one, two = (strip(np.random.default_rng(n), anatomy, 0.2) for n in range(2))
    depth = ndimage.distance_transform_edt(anatomy.brain, 4.0)
    away = ndimage.distance_transform_edt(~anatomy.brain, 4.0)
    for brain in (one, two):
        assert brain.brain[depth > 9].all()
        assert not brain.brain[away > 9].any()
        assert 0.01 < (brain.brain ^ anatomy.brain).sum() / anatomy.brain.sum() < 0.15
        assert not brain.white[~brain.brain].any()
        left = brain.brain & ~anatomy.brain
        assert (brain.grey[left] > 0).all()
    assert (one.brain ^ two.brain).any()
    assert strip(np.random.default_rng(0), anatomy, 0.0) is anatomy


def course(*visits):
    return [PlannedVisit(Visit(week), (Lesion(1_000.0),), truth) for week, truth in visits]


def test_blood_fades_treatment_comes_late_and_age_stays():
    before, after, later = VisitState.PRE_OP, VisitState.POST_OP, Response.PD
    visits = course((0, before), (1, after), (10, later), (40, later), (80, later), (82, after), (200, later))
    for seed in range(20):
        found = draw_findings(np.random.default_rng(seed), visits, HARD.tumour)
        blood = [one.blood for one in found]
        assert blood[0] == 0
        assert blood[1] > blood[2] > blood[3] > blood[4]
        assert blood[1] >= 0.1
        assert blood[4] < 0.01
        assert blood[5] >= 0.1
        assert [one.treated_mm3 for one in found][:3] == [0, 0, 0]
        assert np.all(np.diff([one.aged for one in found]) >= 0)
        assert found[0].aged * 1.5 > found[-1].aged > 0
    assert (
        np.mean([draw_findings(np.random.default_rng(n), visits, HARD.tumour)[-1].treated_mm3 for n in range(50)]) > 1e4
    )
    assert set(draw_findings(np.random.default_rng(0), visits, STANDARD.tumour)) == {Findings()}


def test_findings_lie_in_cavity_and_white_matter_and_leave_the_tumour_alone(anatomy, sites):
    lesions = (Lesion(6_000, 2_000, 10_000, 12_000), Lesion(2_000, 0, 3_000, 3_000))
    before = draw_tissue(anatomy, sites, lesions)
    after = before.copy()
    frailty = draw_frailty(np.random.default_rng(1), anatomy)
    lay_findings(after, anatomy, sites, frailty, Findings(0.3, 15_000, 0.02))
    for kind in (Tissue.ENHANCING, Tissue.NECROSIS_NONENHANCING, Tissue.EDEMA):
        np.testing.assert_array_equal(before == kind, after == kind)
    cavity, blood = before == CAVITY, after == BLOOD
    assert not blood[~cavity].any()
    assert blood.sum() == pytest.approx(0.3 * cavity.sum(), abs=1)
    # At the border: nearer to what is no cavity than the rest of it.
    depth = ndimage.distance_transform_edt(cavity)
    assert depth[blood].mean() < depth[after == CAVITY].mean()
    assert (after == TREATED).sum() * 64 == pytest.approx(15_000, abs=64)
    for kind in (TREATED, AGED):
        assert (anatomy.white[after == kind] > 0.6).all()
    near = ndimage.distance_transform_edt(
        ~((anatomy.fluid > 0.6) & (ndimage.distance_transform_edt(anatomy.brain) > 5))
    )
    assert near[after == AGED].mean() < near[anatomy.white > 0.6].mean()


def test_images_show_the_findings(anatomy, sites):
    """Blood is bright on T1 with and without contrast; changed and aged white matter on FLAIR, without uptake."""
    tissue = draw_tissue(anatomy, sites, (Lesion(3_000, 0, 5_000, 30_000),))
    lay_findings(tissue, anatomy, sites, draw_frailty(np.random.default_rng(1), anatomy), Findings(0.4, 30_000, 0.04))
    shares = scanner.lesion_shares(tissue, 4.0)
    level = {}
    for sequence in SEQUENCES:
        image = scanner.signal(np.random.default_rng(3), anatomy, shares, sequence)
        white = np.median(image[(anatomy.white > 0.9) & (tissue == 0)])
        level[sequence] = {kind: np.median(image[tissue == kind]) / white for kind in (BLOOD, TREATED, AGED)}
    assert level[Sequence.T1][BLOOD] > 1.1
    assert level[Sequence.CT1][BLOOD] > 1.1
    for kind in (TREATED, AGED):
        assert level[Sequence.FLAIR][kind] > 1.3
        assert level[Sequence.CT1][kind] < 1
        assert level[Sequence.CT1][kind] == pytest.approx(level[Sequence.T1][kind], abs=0.12)


def test_ventricles_are_larger_and_brains_further_apart():
    def heads(traits):
        made = [make_anatomy(np.random.default_rng(n), 5.0, traits.brain) for n in range(6)]
        fluid = [float(one.fluid.sum() / one.brain.sum()) for one in made]
        apart = [float((one.brain ^ other.brain).mean()) for one in made for other in made if one is not other]
        return np.mean(fluid), np.mean(apart)

    usual, wide = heads(STANDARD), heads(HARD)
    assert wide[0] > 1.25 * usual[0]
    assert wide[1] > 1.2 * usual[1]
