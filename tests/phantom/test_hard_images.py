"""What makes a hard cohort's pictures hard, one effect at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ranoscope.domain import SEQUENCES, Response, Sequence, Tissue, Visit, VisitState
from ranoscope.phantom import scanner
from ranoscope.phantom.anatomy import make_anatomy
from ranoscope.phantom.courses import Lesion, PlannedVisit
from ranoscope.phantom.difficulty import HARD, SCANNERS, STANDARD
from ranoscope.phantom.findings import Findings, draw_findings, draw_frailty, lay_findings
from ranoscope.phantom.mass_effect import push_aside
from ranoscope.phantom.scanner import Look
from ranoscope.phantom.skull_strip import strip
from ranoscope.phantom.tumour import AGED, BLOOD, CAVITY, TREATED, draw_tissue, make_sites, segment

LESIONS = (Lesion(22_000, 8_000, 40_000), Lesion(2_000, 0, 3_000))


@pytest.fixture(scope="module")
def anatomy():
    return make_anatomy(np.random.default_rng(11), 4.0, HARD.brain)


@pytest.fixture(scope="module")
def sites(anatomy):
    return make_sites(np.random.default_rng(12), anatomy, 2, HARD.tumour)


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


def test_no_tool_tells_treated_white_matter_from_oedema_nor_finds_blood_and_age():
    tissue = np.array([TREATED, BLOOD, AGED, CAVITY, Tissue.EDEMA, Tissue.BACKGROUND] * 4, np.uint8).reshape(4, 6, 1)
    labels = segment(np.random.default_rng(0), tissue, 3.0)
    assert labels[0].ravel().tolist() == [Tissue.EDEMA, 0, 0, 0, Tissue.EDEMA, 0]


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
