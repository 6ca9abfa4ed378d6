"""Pictures of lesions: the right way round, diameters where they were measured, nothing left unsaid."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.image import imread

from ranoscope.domain import RESEARCH_USE_ONLY
from ranoscope.imaging.nifti import Volume
from ranoscope.measuring.lesions import DiameterSettings, label_lesions, measure_lesions
from ranoscope.measuring.parts import MeasuredPart, MeasuredScan
from ranoscope.measuring.pictures import LesionPicture, as_png, draw
from ranoscope.response.repeatability import band_95
from ranoscope.response.timeline import Compartment

SHAPE = (60, 70, 50)
EDGES = np.array([1.5, 1.0, 2.0])
CYAN, YELLOW, PINK = (0x35, 0xE0, 0xFF), (0xFF, 0xE1, 0x4D), (0xFF, 0x7A, 0xB8)


def affine() -> np.ndarray:
    matrix = np.diag([*EDGES, 1.0])
    matrix[:3, 3] = (-40, -30, -20)
    return matrix


def lesions() -> np.ndarray:
    """An oblong in the patient's right front upper part, and a cube in the left back lower part."""
    mask = np.zeros(SHAPE, bool)
    mask[42:48, 45:65, 30:38] = True
    mask[8:14, 8:14, 30:38] = True
    return mask


def picture(axis: int = 2, image: bool = True, place: int = 0) -> LesionPicture:
    labels = label_lesions(lesions(), EDGES).labels
    lesion = measure_lesions(labels, affine(), axis, float(EDGES[axis]), DiameterSettings())[place]
    scan = MeasuredScan(affine(), SHAPE, axis, float(EDGES[axis]), {Compartment.ENHANCING: part(labels)}, ())
    data = np.zeros(SHAPE, np.float32)
    data[3:57, 3:67, 3:47] = 100 + np.random.default_rng(0).normal(0, 5, (54, 64, 44))
    shown = Volume(np.where(labels > 0, 150, data).astype(np.float32), affine(), "x") if image else None
    cut = scan.slice_labels(Compartment.ENHANCING, lesion.slice_index)
    return LesionPicture(
        "Patient-007", "week-044", "L1", Compartment.ENHANCING, lesion, cut, affine(), axis, shown
    )  # fmt: skip


def part(labels: np.ndarray) -> MeasuredPart:
    """The labels cut to their box."""
    return MeasuredPart(labels[8:48, 8:65, 30:38], (8, 8, 30), (), ())


def pixels(one: LesionPicture, colour: tuple[int, int, int], panel: int) -> np.ndarray:
    """Places (n, 2) as (x, y) from 0 to 1 of a colour inside a panel, y upwards."""
    figure = draw(one)
    rgb = imread(io.BytesIO(as_png(figure)))[..., :3] * 255
    box = figure.axes[panel].get_position()
    # By hue: thin lines are blended with what lies beneath.
    likeness = rgb @ np.array(colour) / (np.linalg.norm(rgb, axis=2) * np.linalg.norm(colour) + 1e-9)
    rows, columns = np.nonzero((likeness > 0.985) & (rgb.max(axis=2) > 90))
    x, y = columns / rgb.shape[1], 1 - rows / rgb.shape[0]
    inside = (x > box.x0) & (x < box.x1) & (y > box.y0) & (y < box.y1)
    return np.c_[(x - box.x0) / box.width, (y - box.y0) / box.height][inside]


def words(one: LesionPicture) -> str:
    figure = draw(one)
    return "\n".join(text.get_text() for text in (*figure.texts, *(t for axes in figure.axes for t in axes.texts)))


@pytest.mark.parametrize(
    ("axis", "place", "left", "up"),
    [(2, 0, True, True), (2, 1, False, False), (1, 0, True, True), (0, 0, True, True), (0, 1, False, True)],
)
def test_right_and_front_are_where_the_letters_say(axis, place, left, up):
    """The first lesion lies right and in front, the second left and behind, both in the upper half."""
    x, y = pixels(picture(axis, place=place), CYAN, panel=0).mean(axis=0)
    assert bool(x < 0.5) is left
    assert bool(y > 0.5) is up


@pytest.mark.parametrize(("axis", "letters"), [(2, "RLAP"), (1, "RLSI"), (0, "APSI")])
def test_the_edges_carry_the_letters_of_their_plane(axis, letters):
    for axes in draw(picture(axis)).axes:
        found = {text.get_text(): text.get_position() for text in axes.texts if len(text.get_text()) == 1}
        assert set(found) == set(letters)
        left, right, top, bottom = (found[letter] for letter in letters)
        assert left[0] < 0.1 < 0.9 < right[0]
        assert bottom[1] < 0.1 < 0.9 < top[1]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_diameters_stand_where_they_were_measured(axis):
    one = picture(axis)
    plane = [other for other in range(3) if other != axis]
    for chord in (one.lesion.longest, one.lesion.perpendicular):
        ends = one.in_plane_mm(chord)
        assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(chord.length_mm)
        assert np.allclose(ends + affine()[plane, 3], [chord.start_mm[plane], chord.end_mm[plane]])
    near = draw(one).axes[1]
    drawn = [line.get_xydata() for line in near.lines if len(line.get_xydata()) == 2 and line.get_marker() == "o"]
    assert len(drawn) == 2
    assert np.allclose(drawn[0], one.in_plane_mm(one.lesion.longest))
    assert np.allclose(drawn[1], one.in_plane_mm(one.lesion.perpendicular))


def test_diameters_are_seen_with_their_lengths():
    one = picture()
    for colour, chord in ((YELLOW, one.lesion.longest), (PINK, one.lesion.perpendicular)):
        assert len(pixels(one, colour, panel=1)) > 50
        assert f"{chord.length_mm:.1f} mm" in words(one)


def test_the_outline_runs_along_the_voxels():
    """A rectangle of 6 x 20 voxels of 1.5 x 1 mm: 52 voxel edges, 58 mm around."""
    own = [c for c in draw(picture()).axes[1].collections if isinstance(c, LineCollection)][1]
    segments = np.array(own.get_segments())
    assert len(segments) == 52
    assert np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1).sum() == pytest.approx(2 * (6 * 1.5 + 20))
    low, high = segments.reshape(-1, 2).min(axis=0), segments.reshape(-1, 2).max(axis=0)
    assert np.allclose(low, ((42 - 0.5) * 1.5, 45 - 0.5))
    assert np.allclose(high, ((47 + 0.5) * 1.5, 64 + 0.5))


def test_the_scale_bar_is_as_long_as_it_says():
    for axes in draw(picture()).axes:
        bar = next(line for line in axes.lines if line.get_marker() == "None" and len(set(line.get_ydata())) == 1
                   and line.get_color() == "white")  # fmt: skip
        length = abs(np.diff(bar.get_xdata())[0])
        assert f"{length:.0f} mm" in [text.get_text() for text in axes.texts]


def test_the_words_name_everything_and_the_band():
    one = picture()
    text = words(one)
    low, high = band_95(one.lesion.volume_mm3, one.lesion.volume_sd)
    assert "Patient-007   week-044   lesion L1" in text
    assert f"enhancing · axial slice k = {one.lesion.slice_index}" in text
    assert f"volume {one.lesion.volume_mm3:,.0f} mm³ ({low:,.0f} to {high:,.0f})" in text
    assert f"Not measurable: {one.lesion.why_not[0]}." in text
    assert RESEARCH_USE_ONLY in text
    assert "The patient's right is at the left." in text
    assert "Anterior is at the left." in words(picture(0))
    assert "may be cut" in words(replace(one, lesion=replace(one.lesion, touches_edge=True)))


def test_without_an_image_the_mask_alone_is_shown():
    assert len(pixels(picture(image=False), CYAN, panel=1)) > 50


def test_an_image_without_any_head_is_drawn():
    one = picture()
    empty = Volume(np.zeros(SHAPE, np.float32), affine(), "x")
    assert len(pixels(replace(one, image=empty), CYAN, panel=1)) > 50


def test_the_same_lesion_makes_the_same_bytes():
    assert as_png(draw(picture())) == as_png(draw(picture()))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_of_cut_out_labels_is_the_slice_of_the_whole(axis):
    labels = label_lesions(lesions(), EDGES).labels
    scan = MeasuredScan(affine(), SHAPE, axis, 1.0, {Compartment.ENHANCING: part(labels)}, ())
    for place in (0, 31, 33, 47):
        assert np.array_equal(scan.slice_labels(Compartment.ENHANCING, place), np.moveaxis(labels, axis, 0)[place])
