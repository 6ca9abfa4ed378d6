"""A study's own tumour, taken out or resized, and synthetic ones painted: what the images then hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ranoscope.domain import SEQUENCES, Response, Sequence, Tissue
from ranoscope.learning.pretraining.change.facts import find_facts, largest_part
from ranoscope.learning.pretraining.change.fields import draw_field
from ranoscope.learning.pretraining.change.images import paint
from ranoscope.learning.pretraining.change.lesions import Extent
from ranoscope.learning.pretraining.change.scenes import Course, Look, Scene
from ranoscope.learning.pretraining.change.tumours import resize, take_out

CT1 = SEQUENCES.index(Sequence.CT1)
OWN_MM3 = (7**3 - 3**3) * 64.0


@pytest.fixture
def cropped(study):
    box = study.brain_box
    return study.volumes[(slice(None), *box)].astype(np.float32), study.brain[box], study.tumour[box]


def plain_look():
    look = np.repeat(np.array((8.0, -3.0, 2.0), np.float32)[:, None], len(SEQUENCES), axis=1)
    grain = draw_field(np.random.default_rng(0), 8.0)
    return Look(look, np.ones(3, np.float32), np.zeros(len(SEQUENCES), np.float32), grain)


@pytest.fixture
def course(shape_at):
    def make(before, now, place=(6, 8, 12)):
        extents = Extent(before, 0.0, 0.0), Extent(now, 0.0, 0.0)
        return Course((shape_at(place), shape_at(place)), extents, (plain_look(), plain_look()))

    return make


def test_facts(study):
    facts = find_facts(study, (Sequence.CT1, Sequence.T2))
    assert facts.voxel_mm == 4
    assert facts.enhancing_mm3 == facts.largest_mm3 == OWN_MM3
    assert facts.look[0, 0] == pytest.approx(6)
    assert np.isnan(facts.look[2]).all()
    brain, tumour = study.brain[study.brain_box], study.tumour[study.brain_box]
    assert brain[tuple(facts.sites.T)].all()
    assert facts.sites.min() >= 2
    near = facts.sites[~facts.apart]
    assert len(near)
    assert len(near) < len(facts.sites)
    assert not tumour[tuple(facts.sites[facts.apart].T)].any()


def test_of_two_tumours_the_larger_is_the_largest(study):
    tumour = study.tumour.copy()
    tumour[5:8, 5:8, 5:8] = Tissue.ENHANCING
    facts = find_facts(replace(study, tumour=tumour), (Sequence.CT1,))
    assert facts.largest_mm3 == OWN_MM3
    assert facts.enhancing_mm3 == OWN_MM3 + 27 * 64
    assert not largest_part(tumour)[5:8, 5:8, 5:8].any()


def test_a_tumour_taken_out_is_the_other_sides_tissue_and_the_rest_stays(cropped):
    volumes, brain, tumour = cropped
    result = take_out(volumes, brain, tumour, 4.0)
    sick = tumour > 0
    assert np.array_equal(result[:, sick], volumes[:, ::-1][:, sick])
    assert volumes[CT1][tumour == Tissue.ENHANCING].min() == 6
    assert result[CT1][sick].max() < 5
    assert np.array_equal(result[:, :10], volumes[:, :10])
    assert np.array_equal(take_out(volumes, brain, tumour * 0, 4.0), volumes)


def test_a_tumour_on_both_sides_is_replaced_by_what_is_around_it(cropped):
    volumes, brain, tumour = cropped
    both = np.maximum(tumour, tumour[::-1])
    volumes[CT1][both == Tissue.ENHANCING] = 6
    result = take_out(volumes, brain, both, 4.0)
    assert np.isfinite(result).all()
    assert np.abs(result[CT1][both > 0]).max() < 1.5, "a mean over healthy tissue of deviation 1"


@pytest.mark.parametrize("factor", [0.3, 0.6, 1.5, 3.0])
def test_a_resized_tumour_has_the_volume_asked_for_and_moves_with_its_image(cropped, factor):
    volumes, brain, tumour = cropped
    part = tumour > 0
    tumour[part] = Tissue.ENHANCING
    volumes[CT1] = 5.0 * part
    images, shares, labels = resize(volumes, brain, tumour, part, factor)
    # A cube of seven voxels, each wholly in or out, is seen on the grid again.
    assert shares.sum() == pytest.approx(factor * part.sum(), rel=0.25)
    assert np.allclose(images[CT1], 5 * shares, atol=0.05)
    assert (labels[shares > 0.75] == Tissue.ENHANCING).all()
    assert not labels[shares == 0].any()
    from_centre = np.array(np.indices(part.shape)) - np.argwhere(part).mean(axis=0)[:, None, None, None]
    far = np.linalg.norm(from_centre, axis=0) > 19
    assert far.sum() > 100
    assert np.array_equal(images[:, far], volumes[:, far])
    assert not images[:, ~brain].any()


def test_a_warp_by_one_changes_nothing(cropped):
    volumes, brain, tumour = cropped
    images, shares, labels = resize(volumes, brain, tumour, tumour > 0, 1.0)
    assert np.allclose(images, volumes, atol=1e-4)
    assert np.allclose(shares, tumour == Tissue.ENHANCING, atol=1e-4)
    assert np.array_equal(labels, tumour)


def test_volumes_in_the_image_are_those_of_the_label(study, course):
    """The share of each voxel is worked out again from the intensities alone."""
    facts = find_facts(study, SEQUENCES)
    pair = paint(
        study, SEQUENCES, facts, Scene((0, 0), (course(2000.0, 6000.0), course(0.0, 900.0, place=(18, 20, 6))))
    )
    ground = paint(study, SEQUENCES, facts, Scene((0, 0))).prior.volumes
    assert pair.volumes_mm3 == pytest.approx((2000, 6900), rel=0.01)
    for one, true in zip((pair.prior, pair.current), pair.volumes_mm3, strict=True):
        shares = (one.volumes - ground) / (8.0 - ground)
        for sequence in shares:
            assert float(sequence.sum()) * 64 == pytest.approx(true, rel=1e-3)
        assert np.allclose(shares[0], one.enhancing, atol=1e-4)
    assert pair.new_lesion
    assert pair.response is Response.PD


def test_own_and_synthetic_tumour_count_together(study, course):
    facts = find_facts(study, SEQUENCES)
    pair = paint(study, SEQUENCES, facts, Scene((1, 1), (course(2000.0, 2500.0),)))
    assert pair.volumes_mm3 == pytest.approx((OWN_MM3 + 2000, OWN_MM3 + 2500), rel=0.01)
    assert pair.response is Response.SD
    tumour = study.tumour[study.brain_box]
    assert np.array_equal(pair.current.tumour[tumour > 0], tumour[tumour > 0])
    added = (pair.current.tumour == Tissue.ENHANCING).sum() - (tumour == Tissue.ENHANCING).sum()
    assert added * 64 == pytest.approx(2500, rel=0.25), "labels have whole voxels"
    original = study.volumes[(slice(None), *study.brain_box)].astype(np.float32)
    assert np.array_equal(pair.current.volumes[:, tumour > 0], original[:, tumour > 0])


def test_a_removed_lesion_is_gone(study, course):
    facts = find_facts(study, SEQUENCES)
    pair = paint(study, SEQUENCES, facts, Scene((0, 0), (course(4000.0, 0.0),)))
    assert pair.volumes_mm3 == (pytest.approx(4000, rel=0.01), 0)
    assert pair.response is Response.CR
    assert pair.prior.volumes[CT1].max() > 7.5
    assert pair.current.volumes[CT1].max() < 5
    assert np.array_equal(pair.current.volumes, paint(study, SEQUENCES, facts, Scene((0, 0))).current.volumes)
    assert not pair.current.enhancing.any()
    assert not pair.current.tumour.any()


@pytest.mark.parametrize(
    ("own", "expected", "new"),
    [((1, 0), "CR", False), ((0, 1), "PD", True), ((1, 1), "SD", False), ((0, 0), "SD", False),
     ((1, 0.25), "PR", False), ((0.5, 1), "PD", False), ((1, 0.7), "SD", False)],
)  # fmt: skip
def test_what_becomes_of_the_own_tumour_is_labelled(study, own, expected, new):
    pair = paint(study, SEQUENCES, find_facts(study, SEQUENCES), Scene(own))
    assert pair.response is Response(expected)
    assert pair.new_lesion is new
    for factor, seen in zip(own, pair.volumes_mm3, strict=True):
        assert seen == pytest.approx(factor * OWN_MM3, rel=0.2, abs=1)


def test_a_lesion_that_finds_no_room_is_not_new(study, course):
    facts = find_facts(study, SEQUENCES)
    full = replace(study, tumour=np.full_like(study.tumour, Tissue.EDEMA))
    pair = paint(full, SEQUENCES, replace(facts, enhancing_mm3=0.0), Scene((1, 1), (course(0.0, 3000.0),)))
    assert pair.volumes_mm3 == (0, 0)
    assert pair.response is Response.SD
