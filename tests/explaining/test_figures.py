"""The figure says what the record says, and shows it the right way round."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.image import imread
from matplotlib.text import Text

from ranoscope.domain import RESEARCH_USE_ONLY, RESPONSES, Case, Response, Sequence, Visit
from ranoscope.explaining.cases import CalledCase
from ranoscope.explaining.figures import Scene, as_png, draw
from ranoscope.explaining.maps import keep
from ranoscope.explaining.slices import SliceChoice

SHAPE = (20, 26, 8)
K = 4
LEFT_ANTERIOR = (4, 20, K)  # i = 0 is the patient's left, j counts towards anterior


def make_scene(call: str = "SD", **maps: float) -> Scene:
    """An even brain with one bright voxel; maps of a single hot voxel, of the given height, at the same place."""
    case = Case("Patient-007", Visit(5), Visit(17), Response.PD, 12, Response.SD, True)
    called = CalledCase(case, Response(call), dict(zip(RESPONSES, (0.1, 0.6, 0.25, 0.05), strict=True)), 0, 0)
    brain = np.zeros(SHAPE, bool)
    brain[2:18, 2:24, 1:7] = True
    volume = np.where(brain, 0.5, 0).astype(np.float32)
    volume[LEFT_ANTERIOR] = 9
    tumours = np.zeros((2, *SHAPE), np.uint8)
    tumours[:, 3:6, 19:22, K] = 1
    heights = {"saliency": 1.0, "gradcam": 2.0} | maps
    made = []
    for response in called.explained:
        for method, height in heights.items():
            values = np.zeros((2 if method == "saliency" else 1, 1, *SHAPE), np.float32)
            values[(..., *LEFT_ANTERIOR)] = height
            made += keep(method, response, values, brain)
    affine = np.diag([3.0, 3, 3, 1])
    affine[2, 3] = -30
    return Scene(
        called=called, sequence=Sequence.CT1, volumes=np.stack([volume, volume]), brains=np.stack([brain, brain]),
        tumours=tumours, maps=made, place=SliceChoice(K, "the reason"), affine=affine,
        sentences=("First sentence.", "Second sentence."),
    )  # fmt: skip


def words(figure) -> str:
    return " | ".join(text.get_text() for text in figure.findobj(Text))


def panels(figure) -> list:
    """Axes with the letters of the edges: pictures, not colour bars."""
    return [axes for axes in figure.axes if {"R", "L", "A", "P"} <= {text.get_text() for text in axes.texts}]


def test_the_title_and_foot_say_who_what_and_how_sure():
    said = words(draw(make_scene()))
    for part in (
        "Patient-007", "week-005 → week-017", "expert PD", "call SD (differs)", "PD 0.10", "SD 0.60", "PR 0.25",
        "CR 0.05", "12 weeks between", f"k = {K}", "z = −18 mm", "the reason", "Maps explain class SD: the call",
        "Maps explain class PD: the expert's response", "Second sentence.", "99.5th percentile", "50 mm",
        "patient's left is at the right", RESEARCH_USE_ONLY,
    ):  # fmt: skip
        assert part in said, part


@pytest.mark.parametrize(("call", "rows"), [("PD", 1), ("SD", 2)])
def test_two_rows_of_anatomy_and_a_column_per_method_for_each_explained_class(call, rows):
    figure = draw(make_scene(call))
    assert len(panels(figure)) == 6 * rows
    assert words(figure).count("Maps explain class") == rows
    assert words(figure).count("Current\nweek-017") == rows
    for title in ("Saliency", "Grad-CAM, coarse"):
        assert words(figure).split(" | ").count(title) == rows


def test_every_panel_shows_the_left_anterior_voxel_at_the_right_top():
    for place, axes in enumerate(panels(draw(make_scene("PD")))):
        anatomy = axes.images[0].get_array()
        rows, columns = anatomy.shape
        for picture in (image.get_array() for image in axes.images):
            row, column = np.unravel_index(np.argmax(picture), picture.shape)
            assert row < rows / 3, place
            assert column > columns * 2 / 3, place
        assert len(axes.images) == (1 if place < 2 else 2), place
        assert axes.collections, "the tumour's outline"
        box = axes.collections[-1].get_paths()[0].get_extents()
        assert box.x0 < column < box.x1
        assert box.y0 < row < box.y1


def test_every_map_lies_over_its_own_study_and_gradcam_over_both():
    scene = make_scene("PD")
    scene.volumes[1][LEFT_ANTERIOR] = 7
    shown = [float(axes.images[0].get_array().max()) for axes in panels(draw(scene))]
    assert shown == [9, 7] * 3


def test_each_panel_is_inside_the_page_and_nothing_overlaps():
    figure = draw(make_scene())
    boxes = [axes.get_position() for axes in figure.axes]
    for place, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= 1
        assert 0 <= box.y0 < box.y1 <= 1
        for other in boxes[place + 1 :]:
            apart = box.x1 <= other.x0 or other.x1 <= box.x0 or box.y1 <= other.y0 or other.y1 <= box.y0
            assert apart
    renderer = figure.canvas.get_renderer()
    width, height = figure.get_size_inches() * figure.dpi
    texts = [text.get_window_extent(renderer) for text in figure.texts if text.get_text()]
    assert all(extent.x0 >= 0 and extent.x1 <= width and extent.y0 >= 0 and extent.y1 <= height for extent in texts)
    assert not any(a.overlaps(b) for i, a in enumerate(texts) for b in texts[i + 1 :])


def test_a_map_that_is_zero_says_so_and_has_no_colour_scale():
    with_map, without = draw(make_scene("PD")), draw(make_scene("PD", gradcam=0.0))
    assert "no place in the brain" not in words(with_map)
    assert "no place in the brain" in words(without)
    assert len(without.axes) == len(with_map.axes) - 1


def test_the_colour_scale_ends_at_the_recorded_value():
    scene = make_scene("PD", gradcam=3.25)
    assert [entry.shown_up_to for entry, _ in scene.maps][-1] == 3.25
    assert "≥ 3.2" in words(draw(scene))


def test_outside_the_brain_is_black_even_where_the_brain_is_darker_than_zero():
    scene = make_scene("PD")
    scene.volumes[:] -= 5 * scene.brains
    (picture,) = panels(draw(scene))[0].images
    shown = picture.norm(picture.get_array())
    assert shown[0, 0] == 0


def test_the_same_figure_gives_the_same_bytes():
    first, second = (as_png(draw(make_scene())) for _ in range(2))
    assert first == second
    assert imread(io.BytesIO(first)).shape[1] > 1000
