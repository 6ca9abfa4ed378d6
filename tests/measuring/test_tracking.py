"""Identities over time: what stays, comes, goes, joins and parts; whatever the numbers of the labels are."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranoscope.measuring.linking import TrackingSettings
from ranoscope.measuring.tracking import Event, TrackEvent, Tracks, id_order, track
from ranoscope.response.targets import group
from ranoscope.response.timeline import Lesion

SHAPE = (48, 48, 48)
MM = (1.0, 1.0, 1.0)
SETTINGS = TrackingSettings()
Ball = tuple[tuple[float, float, float], float]


def scan(*balls: Ball, shape=SHAPE) -> np.ndarray:
    """Label array with ball n as label n; voxels of 1 mm."""
    grid = np.indices(shape).astype(float)
    labels = np.zeros(shape, np.int32)
    for number, (centre, radius) in enumerate(balls, start=1):
        labels[((grid - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2] = number
    return labels


def follow(*scans: np.ndarray, spacing=MM, **changes) -> Tracks:
    return track(scans, spacing, SETTINGS.model_copy(update=changes))


def happened(tracks: Tracks, place: int) -> set[tuple[str, Event, str | None]]:
    return {(one.id, one.event, one.source) for one in tracks.events if one.scan == place}


BIG, SMALL = ((16, 16, 16), 8), ((38, 38, 38), 3)
# A dumbbell: two balls of radius 6 and 4 with or without a bar between them.
LEFT, RIGHT = ((14, 24, 24), 6), ((30, 24, 24), 4)


def bar(labels: np.ndarray) -> np.ndarray:
    """The two balls of a scan and a bar between them, all one lesion."""
    joined = (labels > 0).astype(np.int32)
    joined[14:31, 23:26, 23:26] = 1
    return joined


def test_the_first_scan_numbers_its_lesions_by_size_and_none_of_them_is_new():
    tracks = follow(scan(SMALL, BIG))
    assert tracks.ids == ({1: "L2", 2: "L1"},)
    assert happened(tracks, 0) == {("L1", Event.FIRST, None), ("L2", Event.FIRST, None)}


def test_lesions_that_stay_are_kept_whatever_their_labels():
    tracks = follow(scan(BIG, SMALL), scan(SMALL, BIG))
    assert tracks.ids[1] == {1: "L2", 2: "L1"}
    assert happened(tracks, 1) == {("L1", Event.KEPT, "L1"), ("L2", Event.KEPT, "L2")}
    kept = next(one for one in tracks.events if one.scan == 1 and one.id == "L1")
    assert (kept.share, kept.distance_mm) == (1.0, 0.0)
    assert kept.overlap_mm3 == (scan(BIG) > 0).sum()


def test_a_lesion_that_goes_and_comes_back_gets_its_id_back():
    tracks = follow(scan(BIG, SMALL), scan(BIG), scan(BIG), scan(BIG, SMALL))
    assert ("L2", Event.VANISHED, None) in happened(tracks, 1)
    assert happened(tracks, 2) == {("L1", Event.KEPT, "L1")}
    assert ("L2", Event.REAPPEARED, "L2") in happened(tracks, 3)
    assert tracks.ids[3] == {1: "L1", 2: "L2"}


def test_a_lesion_elsewhere_is_new_and_takes_no_used_number():
    elsewhere = ((38, 10, 10), 3)
    tracks = follow(scan(BIG, SMALL), scan(BIG), scan(BIG, elsewhere))
    assert happened(tracks, 2) == {("L1", Event.KEPT, "L1"), ("L3", Event.NEW, None)}


def test_a_satellite_beside_a_large_lesion_is_new_and_no_part_of_it():
    satellite = ((16, 16, 27), 2)
    assert ("L2", Event.NEW, None) in happened(follow(scan(BIG), scan(BIG, satellite)), 1)


def test_the_largest_ancestor_lives_on_in_a_merger_and_comes_apart_again_under_the_old_names():
    apart = scan(RIGHT, LEFT)
    tracks = follow(apart, bar(apart), apart)
    assert tracks.ids[0] == {1: "L2", 2: "L1"}
    assert tracks.ids[1] == {1: "L1"}
    assert happened(tracks, 1) == {("L1", Event.KEPT, "L1"), ("L1", Event.MERGED, "L2")}
    assert tracks.ids[2] == {1: "L2", 2: "L1"}
    assert happened(tracks, 2) == {("L1", Event.KEPT, "L1"), ("L2", Event.REAPPEARED, "L2")}


def test_the_largest_ancestor_lives_on_though_a_smaller_one_overlaps_more():
    shrunk = np.zeros(SHAPE, np.int32)
    shrunk[18:31, 23:26, 23:26] = 1
    tracks = follow(scan(RIGHT, LEFT), shrunk)
    shares = {one.source: one.overlap_mm3 for one in tracks.events if one.scan == 1}
    assert shares["L2"] > shares["L1"] > 0
    assert tracks.ids[1] == {1: "L1"}


def test_the_largest_piece_keeps_the_id_and_the_other_is_a_part_but_not_new():
    apart = scan(RIGHT, LEFT)
    tracks = follow(bar(apart), apart)
    assert tracks.ids[1] == {2: "L1", 1: "L1b"}
    assert happened(tracks, 1) == {("L1", Event.KEPT, "L1"), ("L1b", Event.SPLIT, "L1")}


def test_the_largest_piece_keeps_the_id_though_a_smaller_one_overlaps_more():
    before, after = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.int32)
    before[10:30, 20:24, 20:24] = 1
    after[10:24, 20:24, 20:24] = 1
    after[26:30, 20:40, 20:24] = 2
    tracks = follow(before, after)
    assert tracks.ids[1] == {2: "L1", 1: "L1b"}
    shares = {one.id: one.overlap_mm3 for one in tracks.events if one.scan == 1}
    assert shares["L1b"] > shares["L1"]


def test_one_large_overlap_outweighs_two_that_sum_to_more():
    """L1 falls into halves (588 and 546 mm³ of overlap) while L2, next to it, is swallowed by the larger half (84)."""
    before, after = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.int32)
    before[6:34, 20:26, 20:27] = 1
    before[2:4, 20:26, 20:27] = 2
    after[2:20, 20:26, 20:27] = 1
    after[21:34, 20:26, 20:27] = 2
    tracks = follow(before, after)
    assert tracks.ids[1] == {1: "L1", 2: "L1b"}
    assert ("L1", Event.MERGED, "L2") in happened(tracks, 1)


def test_the_engine_sums_the_parts_of_a_split_lesion_and_sees_no_new_one():
    apart = scan(RIGHT, LEFT)
    tracks = follow(bar(apart), apart)
    listed = [[Lesion(id=name, longest_mm=20, perpendicular_mm=10) for name in ids.values()] for ids in tracks.ids]
    assert [sorted(lesions or ()) for lesions in group(listed, 0)] == [["L1"], ["L1"]]


def test_parts_of_parts_keep_their_descent():
    whole = np.zeros(SHAPE, np.int32)
    whole[4:44, 20:26, 20:26] = 1
    first = whole.copy()
    first[24:26] = 0
    first[26:] *= 2
    second = first.copy()
    second[36:37] = 0
    second[37:] = np.where(second[37:] > 0, 3, 0)
    tracks = follow(whole, first, second)
    assert tracks.ids[1] == {1: "L1", 2: "L1b"}
    assert tracks.ids[2] == {1: "L1", 2: "L1b", 3: "L1bb"}


def test_a_lesion_in_more_pieces_than_letters_still_has_unique_names():
    whole = np.zeros((120, 4, 4), np.int32)
    whole[:] = 1
    pieces = np.zeros_like(whole)
    for number in range(30):
        pieces[4 * number : 4 * number + 3] = number + 1
    names = set(follow(whole, pieces).ids[1].values())
    assert len(names) == 30
    assert {"L1", "L1b", "L1z", "L1zb"} <= names


def test_continuity_goes_before_merging_and_splitting():
    """A row of equal lesions moved by half their distance: each touches its old place and its neighbour's alike."""
    row = [((10.0 + 6 * n, 24, 24), 2.0) for n in range(5)]
    moved = [((13.0 + 6 * n, 24, 24), 2.0) for n in range(5)]
    tracks = follow(scan(*row), scan(*moved))
    assert {event for _, event, _ in happened(tracks, 1)} == {Event.KEPT}
    assert tracks.ids[0] == tracks.ids[1]


@pytest.mark.parametrize("floor", ["minimum_overlap_mm3", "minimum_share"])
def test_a_slight_touch_is_no_link(floor):
    """Six voxels of overlap, 9.4 % of the smaller lesion: each floor alone holds it back."""
    one, other = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.int32)
    one[10:14, 10:14, 10:14] = 1
    other[13:30, 12:14, 11:14] = 1
    low = {"minimum_overlap_mm3": 1.0, "minimum_share": 0.01, "tolerance_mm": 0.0}
    high = {"minimum_overlap_mm3": 6.5, "minimum_share": 0.1}
    assert happened(follow(one, other, **low), 1) == {("L1", Event.KEPT, "L1")}
    held = low | {floor: high[floor]}
    assert happened(follow(one, other, **held), 1) == {("L1", Event.VANISHED, None), ("L2", Event.NEW, None)}


def test_a_lesion_of_a_few_voxels_can_still_merge():
    """8 voxels of which 4 are swallowed, below 5 mm³, yet half of it."""
    before, after = scan(BIG), scan(BIG)
    before[24:26, 16:18, 16:18] = 0
    before[26:28, 16:18, 16:18] = 2
    after[26:27, 16:18, 16:18] = 1
    assert ("L1", Event.MERGED, "L2") in happened(follow(before, after, tolerance_mm=0.0), 1)


@pytest.mark.parametrize(("moved", "kept"), [(3, True), (5, True), (6, False)])
def test_a_small_lesion_may_miss_its_place_by_the_tolerance(moved, kept):
    """Radius 1.5 mm, 19 mm³: from 3 mm on, the two outlines do not touch."""
    tracks = follow(scan(BIG, ((38, 38, 30), 1.5)), scan(BIG, ((38, 38, 30 + moved), 1.5)))
    expected = {("L2", Event.KEPT, "L2")} if kept else {("L2", Event.VANISHED, None), ("L3", Event.NEW, None)}
    assert happened(tracks, 1) - {("L1", Event.KEPT, "L1")} == expected


def test_a_small_lesion_pushed_into_its_large_neighbours_place_is_still_itself():
    """Head moved by 4 mm: the small lesion lies where the large one was, and its own place is empty."""
    before = scan(((16, 16, 16), 8), ((16, 16, 28), 2))
    after = np.roll(before, -4, axis=2)
    tracks = follow(before, after)
    assert tracks.ids[1] == {1: "L1", 2: "L2"}
    assert {event for _, event, _ in happened(tracks, 1)} == {Event.KEPT}


def test_distances_and_volumes_are_millimetres_on_voxels_that_are_no_cubes():
    labels, moved = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.int32)
    labels[20:22, 20:22, 10] = 1
    moved[20:22, 20:22, 11] = 1
    near = follow(labels, moved, spacing=(1, 1, 4.5))
    assert [(one.event, one.distance_mm) for one in near.events if one.scan == 1] == [(Event.KEPT, 4.5)]
    assert len(follow(labels, moved, spacing=(1, 1, 6)).events) == 3
    whole = follow(labels, labels, spacing=(1, 1, 6))
    assert whole.events[-1].overlap_mm3 == 4 * 6


def test_scans_without_lesions_are_scans():
    nothing = scan()
    tracks = follow(nothing, scan(BIG), nothing)
    assert tracks.ids == ({}, {1: "L1"}, {})
    assert [one.event for one in tracks.events] == [Event.NEW, Event.VANISHED]
    assert track([], MM, SETTINGS) == Tracks((), ())


def test_scans_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="align"):
        follow(scan(BIG), scan(BIG, shape=(48, 48, 50)))


def test_ids_sort_as_people_count():
    assert sorted(["L10", "L2b", "L2", "N1", "L1"], key=id_order) == ["L1", "L2", "L2b", "L10", "N1"]


# -- properties ------------------------------------------------------------------------------------------------------


@st.composite
def courses(draw: st.DrawFn) -> list[np.ndarray]:
    """Two to four scans of arbitrary pieces on a small grid: random boxes, later ones over earlier ones."""
    scans = []
    for _ in range(draw(st.integers(2, 4))):
        labels = np.zeros((14, 14, 14), np.int32)
        for number in range(1, draw(st.integers(0, 6)) + 1):
            low = [draw(st.integers(0, 11)) for _ in range(3)]
            size = [draw(st.integers(1, 6)) for _ in range(3)]
            labels[tuple(slice(a, a + b) for a, b in zip(low, size, strict=True))] = number
        scans.append(labels)
    return scans


def renumbered(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    names = np.unique(labels[labels > 0])
    table = np.zeros(int(labels.max()) + 1, np.int32)
    table[names] = generator.choice(np.arange(1, 1000), len(names), replace=False)
    return table[labels]


def regions(labels: np.ndarray, ids: dict[int, str]) -> set[tuple[str, bytes]]:
    return {(name, (labels == label).tobytes()) for label, name in ids.items()}


@given(courses(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_the_numbers_of_labels_carry_no_meaning(scans, seed):
    generator = np.random.default_rng(seed)
    other = [renumbered(labels, generator) for labels in scans]
    one, two = follow(*scans), follow(*other)
    assert one.events == two.events
    for place, labels in enumerate(scans):
        assert regions(labels, one.ids[place]) == regions(other[place], two.ids[place])


@given(courses())
@settings(max_examples=60, deadline=None)
def test_every_lesion_is_named_once_and_none_goes_without_an_event(scans):
    tracks = follow(*scans)
    for place, labels in enumerate(scans):
        ids = tracks.ids[place]
        assert set(ids) == set(np.unique(labels[labels > 0]).tolist())
        assert len(set(ids.values())) == len(ids)
        events = [one for one in tracks.events if one.scan == place]
        began = [one.id for one in events if one.event not in (Event.MERGED, Event.VANISHED)]
        assert sorted(began) == sorted(ids.values())
        if place:
            check_ends(set(tracks.ids[place - 1].values()), set(ids.values()), events)


def check_ends(before: set[str], now: set[str], events: Iterable[TrackEvent]) -> None:
    """Every lesion of the scan before is here, has merged or has vanished; exactly one of them."""
    merged = {one.source for one in events if one.event is Event.MERGED}
    vanished = {one.id for one in events if one.event is Event.VANISHED}
    assert before <= now | merged | vanished
    assert not vanished & (now | merged)
    assert vanished <= before


@given(courses())
@settings(max_examples=30, deadline=None)
def test_an_identical_scan_changes_nothing(scans):
    tracks = follow(*scans, scans[-1])
    assert tracks.ids[-1] == tracks.ids[-2]
    assert {one.event for one in tracks.events if one.scan == len(scans)} <= {Event.KEPT}


@given(courses())
@settings(max_examples=30, deadline=None)
def test_lesions_that_all_vanish_and_all_return_have_their_ids_back(scans):
    first = scans[0]
    tracks = follow(first, np.zeros_like(first), first)
    assert tracks.ids[2] == tracks.ids[0]
    assert {one.event for one in tracks.events if one.scan == 2} <= {Event.REAPPEARED}


@st.composite
def balls_apart(draw: st.DrawFn) -> list[Ball]:
    """Balls of radius 1.5 to 6 mm, 3 mm and more between any two of them and 3 mm to the edge."""
    found: list[Ball] = []
    for _ in range(draw(st.integers(1, 8))):
        radius = draw(st.floats(1.5, 6))
        centre = tuple(draw(st.floats(radius + 3, 44 - radius)) for _ in range(3))
        if all(np.linalg.norm(np.subtract(centre, at)) >= radius + other + 3 for at, other in found):
            found.append((centre, radius))
    return found


@given(balls_apart(), st.tuples(*[st.floats(-2, 2)] * 3))
@settings(max_examples=60, deadline=None)
def test_blobs_moved_by_up_to_2_mm_keep_their_ids(balls, direction):
    length = np.linalg.norm(direction)
    shift = np.asarray(direction) * (2 / length if length > 2 else 1)
    before = scan(*balls)
    after = scan(*[(tuple(np.add(centre, shift)), radius) for centre, radius in balls])
    tracks = follow(before, after)
    assert tracks.ids[0] == tracks.ids[1]
    assert {one.event for one in tracks.events if one.scan == 1} == {Event.KEPT}
