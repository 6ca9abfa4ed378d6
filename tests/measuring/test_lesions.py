from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranoscope.errors import ImageError
from ranoscope.measuring.lesions import DiameterSettings, label_lesions, measure_lesions
from ranoscope.response.repeatability import product_sd, volume_sd

SETTINGS = DiameterSettings()
IDENTITY = np.eye(4)


def ball(shape, centre, diameters_mm, spacing=(1.0, 1.0, 1.0)):
    """An ellipsoid by its three diameters in mm."""
    distances = [
        ((axis - middle) * edge / (diameter / 2)) ** 2
        for axis, middle, edge, diameter in zip(np.indices(shape), centre, spacing, diameters_mm, strict=True)
    ]
    return sum(distances) <= 1


def only(mask, affine=IDENTITY, thickness=1.0, axis=2, settings_=SETTINGS):
    labelled = label_lesions(mask, np.sqrt((affine[:3, :3] ** 2).sum(axis=0)))
    return measure_lesions(labelled.labels, affine, axis, thickness, settings_)


def test_a_sphere_of_20_mm_has_its_diameters_and_volume():
    (lesion,) = only(ball((30, 30, 30), (15, 15, 15), (20, 20, 20)))
    assert lesion.longest.length_mm == pytest.approx(20, abs=0.6)
    assert lesion.perpendicular.length_mm == pytest.approx(20, abs=0.6)
    assert lesion.volume_mm3 == pytest.approx(4189, rel=0.02)
    assert (lesion.slice_index, lesion.measurable, lesion.touches_edge) == (15, True, False)
    assert lesion.product_sd == product_sd(lesion.product_mm2)
    assert lesion.volume_sd == volume_sd(lesion.volume_mm3)


# Vectors M01 to M06 of the domain's table, as ellipses (whose diameters are theirs, unlike a rectangle's).
@pytest.mark.parametrize(
    ("diameters", "slices", "thickness", "measurable", "why"),
    [
        ((10.6, 10.6), 2, 3.0, True, ()),
        ((20.0, 6.0), 2, 3.0, False, ("perpendicular diameter",)),
        ((12.0, 8.4), 3, 3.0, False, ("perpendicular diameter",)),
        ((11.2, 11.2), 2, 6.0, False, ("longest diameter", "perpendicular diameter")),
        ((12.9, 12.9), 2, 6.0, True, ()),
        ((15.0, 12.0), 1, 5.0, False, ("seen on 1 consecutive slice",)),
    ],
    ids=["M01", "M02", "M03", "M04", "M05", "M06"],
)
def test_measurable_by_diameters_slices_and_slice_thickness(diameters, slices, thickness, measurable, why):
    plane = ball((40, 40, 1), (20, 20, 0), (*diameters, 1))
    mask = np.repeat(np.pad(plane, ((0, 0), (0, 0), (2, 2)))[:, :, [0, 1, 2, 3, 4]], 1, axis=2)
    mask[:, :, 2 : 2 + slices] = plane
    affine = np.diag([1.0, 1.0, thickness, 1.0])
    (lesion,) = only(mask, affine, thickness)
    assert lesion.measurable is measurable, lesion.why_not
    assert len(lesion.why_not) == len(why)
    assert all(reason.startswith(words) for reason, words in zip(lesion.why_not, why, strict=True))
    assert lesion.slices == slices


def test_a_ring_is_measured_by_its_outer_contour():  # M13
    outer, core = (ball((40, 40, 9), (20, 20, 4), (24 - shrink, 20 - shrink, 100)) for shrink in (0, 8))
    (ring,) = only(outer & ~core)
    (whole,) = only(outer)
    assert ring.product_mm2 == pytest.approx(whole.product_mm2)
    assert ring.product_mm2 == pytest.approx(480, rel=0.05)
    assert ring.volume_mm3 < whole.volume_mm3


def test_the_longest_diameter_chooses_the_slice_unless_the_product_is_asked_for():  # M14
    mask = np.zeros((40, 40, 4), dtype=bool)
    mask[:, :, 1] = ball((40, 40, 1), (20, 20, 0), (18, 14, 1))[:, :, 0]
    mask[:, :, 2] = ball((40, 40, 1), (20, 20, 0), (16.6, 16.6, 1))[:, :, 0]
    (by_length,) = only(mask)
    (by_product,) = only(mask, settings_=DiameterSettings(largest_product=True))
    assert (by_length.slice_index, by_product.slice_index) == (1, 2)
    assert by_length.product_mm2 < by_product.product_mm2


def test_small_components_are_left_out_and_told():
    mask = ball((30, 30, 30), (10, 10, 10), (10, 10, 10))
    mask[25, 25, 25] = mask[20:22, 3, 3] = True
    labelled = label_lesions(mask, np.ones(3))
    assert labelled.labels.max() == 1
    assert labelled.dropped_mm3 == (2.0, 1.0)


def test_no_voxel_no_lesion_and_one_voxel_is_measured_but_not_measurable():
    assert only(np.zeros((5, 5, 5), dtype=bool)) == ()
    one = np.zeros((5, 5, 5), dtype=bool)
    one[2, 2, 2] = True
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    (lesion,) = only(one, affine, 3.0)
    assert lesion.voxels == 1
    assert lesion.volume_mm3 == pytest.approx(27)
    assert 0 < lesion.longest.length_mm <= 3 * 2**0.5
    assert len(lesion.why_not) == 3


@pytest.mark.parametrize("centre", [(2, 15, 15), (15, 27, 15), (15, 15, 1)])
def test_a_lesion_cut_by_the_edge_of_the_volume_is_flagged(centre):
    (lesion,) = only(ball((30, 30, 30), centre, (12, 12, 12)))
    assert lesion.touches_edge


def test_end_points_lie_in_world_millimetres_of_an_oblique_image():
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.5, 1.5, 4.0])
    affine[:3, 3] = (-30, 12, 7)
    mask = ball((80, 40, 7), (40, 20, 3), (25, 15, 12), (0.5, 1.5, 4.0))
    (lesion,) = only(mask, affine, 4.0)
    assert np.linalg.norm(lesion.longest.end_mm - lesion.longest.start_mm) == pytest.approx(lesion.longest.length_mm)
    assert lesion.longest.length_mm == pytest.approx(25, abs=1.5)
    centre = affine[:3, :3] @ (40, 20, 3) + affine[:3, 3]
    assert lesion.centre_mm == pytest.approx(centre, abs=1e-6)
    assert (lesion.longest.start_mm + lesion.longest.end_mm) / 2 == pytest.approx(centre, abs=1.5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_may_lie_along_any_axis(axis):
    mask = np.moveaxis(ball((30, 40, 9), (15, 20, 4), (16, 22, 7)), 2, axis)
    (lesion,) = only(mask, axis=axis)
    assert lesion.longest.length_mm == pytest.approx(22, abs=0.8)
    assert lesion.slice_index == 4
    assert lesion.longest.start_mm[axis] == lesion.longest.end_mm[axis] == 4


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_numbers_go_by_volume_and_volumes_add_up(seed):
    generator = np.random.default_rng(seed)
    mask = np.zeros((24, 24, 12), dtype=bool)
    for _ in range(5):
        i, j, k = [*generator.integers(0, 18, 2).tolist(), int(generator.integers(0, 9))]
        mask[i : i + generator.integers(1, 7), j : j + generator.integers(1, 7), k : k + generator.integers(1, 4)] = (
            True
        )
    labelled = label_lesions(mask, np.ones(3))
    lesions = measure_lesions(labelled.labels, IDENTITY, 2, 1.0, SETTINGS)
    volumes = [lesion.volume_mm3 for lesion in lesions]
    assert volumes == sorted(volumes, reverse=True)
    assert [lesion.label for lesion in lesions] == list(range(1, len(lesions) + 1))
    assert sum(volumes) + sum(labelled.dropped_mm3) == mask.sum()
    for lesion in lesions:
        assert lesion.perpendicular.length_mm <= lesion.longest.length_mm + 1e-6


def rectangle(longest_mm, perpendicular_mm, slices):
    """A mask of 8 x 8 voxels in so many slices, and the voxel edges at which its diameters are these, exactly.

    A rectangle of sides w and h has the diagonal d and the perpendicular h d / w.
    """
    share = perpendicular_mm / longest_mm
    width = longest_mm / np.sqrt(1 + share**2)
    mask = np.zeros((14, 14, 5), dtype=bool)
    mask[3:11, 3:11, 1 : 1 + slices] = True
    return mask, (width / 8, width * share / 8)


# The same vectors with the table's own numbers, which lie exactly at the limits.
@pytest.mark.parametrize(
    ("diameters", "slices", "thickness", "measurable"),
    [
        ((10.0, 10.0), 2, 3.0, True),
        ((20.0, 6.0), 2, 3.0, False),
        ((12.0, 9.0), 2, 3.0, False),
        ((11.0, 11.0), 2, 6.0, False),
        ((12.0, 12.0), 2, 6.0, True),
        ((15.0, 12.0), 1, 5.0, False),
        ((12.0, 11.0), 2, 3.0, True),
        ((8.0, 8.0), 2, 3.0, False),
    ],
    ids=["M01", "M02", "M03", "M04", "M05", "M06", "M11", "M12"],
)
def test_the_published_vectors_at_their_exact_sizes(diameters, slices, thickness, measurable):
    mask, edges = rectangle(*diameters, slices)
    (lesion,) = only(mask, np.diag([*edges, thickness, 1.0]), thickness)
    assert lesion.longest.length_mm == pytest.approx(diameters[0], abs=1e-6)
    assert lesion.perpendicular.length_mm == pytest.approx(diameters[1], abs=1e-6)
    assert lesion.product_mm2 == pytest.approx(diameters[0] * diameters[1], abs=1e-4)
    assert lesion.measurable is measurable, lesion.why_not


def rows(*codes, width):
    """A shape by its rows, each the bits of a number."""
    return np.array([[int(bit) for bit in f"{code:0{width}b}"] for code in codes], dtype=bool)


def test_a_piece_whose_outline_bulges_beyond_its_box_is_not_passed_over():
    """Slice 0: 19.53 mm in a box of 19.31 mm. Slice 1: 19.37 mm in a larger box, which is therefore looked at first."""
    bulging = rows(0x1E, 0x3F, 0x3F, 0x3F, 0x3E, 0x3C, 0x1C, width=6)
    bent = rows(0x52, 0x51, 0x7E, 0x78, 0x40, width=7)
    labels = np.zeros((7, 7, 2), dtype=np.int32)
    for place, shape in enumerate((bulging, bent)):
        labels[: shape.shape[0], : shape.shape[1], place] = shape
    affine = np.diag([1.0, 3.0, 1.0, 1.0])
    single = [measure_lesions(labels * (np.arange(2) == place), affine, 2, 1.0, SETTINGS)[0] for place in (0, 1)]
    assert single[0].longest.length_mm > single[1].longest.length_mm
    (both,) = measure_lesions(labels, affine, 2, 1.0, SETTINGS)
    assert both.slice_index == 0
    assert both.longest.length_mm == single[0].longest.length_mm


def test_sheared_slices_are_refused_and_a_tilted_stack_is_not():
    labels = np.pad(np.ones((10, 10, 3), dtype=np.int32), 2)
    sheared, tilted = np.eye(4), np.eye(4)
    sheared[0, 1], tilted[1, 2] = 0.3, 0.3
    with pytest.raises(ImageError, match=r"axes 73\.3 degrees apart"):
        measure_lesions(labels, sheared, 2, 1.0, SETTINGS)
    (lesion,) = measure_lesions(labels, tilted, 2, 1.0, SETTINGS)
    for chord in (lesion.longest, lesion.perpendicular):
        assert np.linalg.norm(chord.end_mm - chord.start_mm) == pytest.approx(chord.length_mm)
