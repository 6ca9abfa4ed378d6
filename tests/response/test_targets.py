"""Measurable lesions and target selection against the published vectors (M) and a brute-force choice."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranoscope.response.criteria import MACDONALD, RANO_2, RANO_HGG, RANO_LGG
from ranoscope.response.targets import extent, gone, group, measurable, select_mixed, select_targets
from ranoscope.response.timeline import Compartment, Lesion, Role, Scan

HGG = RANO_HGG.parts[Compartment.ENHANCING]
TWO = RANO_2.parts[Compartment.ENHANCING]
ALL = MACDONALD.parts[Compartment.ENHANCING]
LGG = RANO_LGG.parts[Compartment.NONENHANCING]


def lesion(name, longest=None, perpendicular=None, **more):
    return Lesion(id=name, longest_mm=longest, perpendicular_mm=perpendicular, **more)


def spd(lesions, part):
    """Sum over the selection."""
    chosen = select_targets(lesions, part, part.targets)
    return sum(one.product_mm2 for one in lesions if one.id in chosen)


@pytest.mark.parametrize(
    ("longest", "perpendicular", "slices", "thickness", "expected"),
    [
        pytest.param(10.0, 10.0, 2, 3, True, id="M01"),
        pytest.param(20, 6, 2, 3, False, id="M02"),
        pytest.param(12, 9, 2, 3, False, id="M03"),
        pytest.param(11, 11, 2, 6, False, id="M04"),
        pytest.param(12, 12, 2, 6, True, id="M05"),
        pytest.param(15, 12, 1, 5, False, id="M06"),
        pytest.param(10, 10, 2, 5, True, id="slices of 5 mm are not thick"),
        pytest.param(10 - 1e-9, 10, 2, 3, True, id="rounding of a measured diameter"),
        pytest.param(10, 9.999, 2, 3, False, id="a thousandth of a millimetre short"),
        pytest.param(12, 12, None, None, True, id="unknown slices and thickness fail nothing"),
        pytest.param(12, None, 2, 3, True, id="one diameter unknown fails nothing"),
        pytest.param(None, 8, 2, 3, False, id="one diameter short is enough to fail"),
        pytest.param(None, None, None, None, True, id="known by its volume alone"),
    ],
)
def test_measurable_by_diameters_slices_and_thickness(longest, perpendicular, slices, thickness, expected):
    one = lesion("A", longest, perpendicular, slices=slices, slice_thickness_mm=thickness)
    assert measurable(one, HGG) is expected
    assert measurable(one, LGG) is expected
    assert measurable(one, ALL)


@pytest.mark.parametrize("part", [HGG, ALL])
def test_a_readers_word_on_measurability_decides(part):
    assert measurable(lesion("A", 4, 4, measurable=True), part)
    assert not measurable(lesion("A", 40, 30, measurable=False), part)
    assert measurable(lesion("A", 4, 4, role=Role.TARGET), part)
    assert not measurable(lesion("A", 40, 30, role=Role.TARGET, measurable=False), part)


SIX = [(30, 20), (25, 18), (15, 12), (14, 11), (12, 12), (11, 10)]


@pytest.mark.parametrize(
    ("sizes", "part", "expected"),
    [
        pytest.param([(20, 15), (12, 10)], HGG, 420, id="M07"),
        pytest.param([(30, 20), (9, 9)], HGG, 600, id="M08"),
        pytest.param(SIX, HGG, 1528, id="M09"),
        pytest.param(SIX, TWO, 1050, id="M10"),
        pytest.param(SIX, ALL, 1638, id="Macdonald adds all"),
        pytest.param([(18, 14)], HGG, 252, id="M14, longest-diameter slice"),
        pytest.param([], HGG, 0, id="M15"),
    ],
)
def test_sums_of_the_published_vectors(sizes, part, expected):
    assert spd([lesion(f"L{n}", *size) for n, size in enumerate(sizes)], part) == expected


@pytest.mark.parametrize(("nodule", "expected"), [((12, 11), 132), ((8, 8), 0)], ids=["M11", "M12"])
def test_of_a_cyst_only_the_nodule_is_measured(nodule, expected):
    assert spd([lesion("cyst", 40, 30, measurable=False), lesion("nodule", *nodule)], HGG) == expected


def test_twice_the_thickness_holds_on_slices_thicker_than_5_mm():
    small = HGG.model_copy(update={"minimum_mm": 8})
    assert measurable(lesion("A", 9, 9, slice_thickness_mm=5), small)
    assert not measurable(lesion("A", 9, 9, slice_thickness_mm=5.1), small)
    assert measurable(lesion("A", 11, 11, slice_thickness_mm=6), HGG.model_copy(update={"thick_slices_mm": None}))


def test_lesions_of_unknown_size_come_last():
    assert select_targets([lesion("A", measurable=True), lesion("B", 12, 12)], HGG, 1) == ("B",)


def test_order_of_the_list_is_irrelevant_and_ties_go_by_id():
    lesions = [lesion("C", 12, 12), lesion("A", 12, 12), lesion("B", 16, 9 * 16 / 9), lesion("D", 12, 12)]
    assert {select_targets(order, HGG, 3) for order in permutations(lesions)} == {("B", "A", "C")}


def test_targets_a_reader_named_stand_alone_and_within_the_limit():
    lesions = [lesion("big", 40, 40), lesion("a", 8, 8, role=Role.TARGET), lesion("b", 12, 12, role=Role.TARGET)]
    assert select_targets(lesions, HGG, 5) == ("b", "a")
    assert select_targets(lesions, HGG, 1) == ("b",)
    assert select_targets([lesion("big", 40, 40, role=Role.NON_TARGET), lesion("c", 12, 12)], HGG, 5) == ("c",)


def test_what_is_gone_is_no_target():
    zeros = [lesion("A", 0, 0), lesion("B", 0), lesion("C", volume_mm3=0), lesion("D", 0, 0, role=Role.TARGET)]
    assert all(gone(one) for one in zeros)
    assert select_targets(zeros, ALL, None) == ()
    assert not gone(lesion("E"))
    assert not gone(lesion("F", 0, volume_mm3=5))


def test_largest_by_volume_where_diameters_are_missing():
    lesions = [lesion("A", volume_mm3=900), lesion("B", volume_mm3=5000), lesion("C", 12, 12, volume_mm3=1500)]
    assert select_targets(lesions, HGG, 2) == ("B", "C")
    known = [lesion("A", 20, 20, volume_mm3=900), lesion("B", 12, 12, volume_mm3=5000)]
    assert select_targets(known, HGG, 1) == ("A",), "where products are known, area and volume follow the same lesions"


SIZES = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 60)), max_size=9)


@settings(max_examples=100, deadline=None)
@given(sizes=SIZES, limit=st.one_of(st.none(), st.integers(1, 6)))
def test_no_other_choice_of_measurable_lesions_has_a_larger_sum(sizes, limit):
    lesions = [lesion(f"L{n}", a, b) for n, (a, b) in enumerate(sizes)]
    chosen = select_targets(lesions, HGG, limit)
    able = sorted((a * b for a, b in sizes if min(a, b) >= 10), reverse=True)
    assert [one.product_mm2 for name in chosen for one in lesions if one.id == name] == able[:limit]


def mixed(enhancing, nonenhancing):
    lesions = [lesion(f"E{n}", size, 20) for n, size in enumerate(enhancing)]
    lesions += [lesion(f"N{n}", size, 20, compartment=Compartment.NONENHANCING) for n, size in enumerate(nonenhancing)]
    chosen = select_mixed(Scan(id="s", day=0, lesions=tuple(lesions)), RANO_2)
    return chosen[Compartment.ENHANCING], chosen[Compartment.NONENHANCING]


@pytest.mark.parametrize(
    ("enhancing", "nonenhancing", "expected"),
    [
        ([30, 40], [50, 60], (("E1",), ("N1", "N0"))),
        ([70, 40], [50, 35], (("E0", "E1"), ("N0",))),
        ([30, 40, 50], [], (("E2", "E1"), ())),
        ([12], [50, 60, 70], (("E0",), ("N2", "N1"))),
        ([9, 8], [50, 60], ((), ("N1", "N0"))),
    ],
)
def test_a_mixed_tumour_has_three_targets_over_both_parts(enhancing, nonenhancing, expected):
    assert mixed(enhancing, nonenhancing) == expected


def test_each_part_of_a_mixed_tumour_keeps_its_largest():
    two = RANO_2.model_copy(update={"mixed_targets": 2})
    lesions = (
        lesion("E", 12, 12),
        *(lesion(name, 50, 50, compartment=Compartment.NONENHANCING) for name in ("N", "M")),
    )
    assert select_mixed(Scan(id="s", day=0, lesions=lesions), two) == {
        Compartment.ENHANCING: ("E",),
        Compartment.NONENHANCING: ("M",),
    }


def names(grouped):
    return [
        None if one is None else {name: [part.id for part in parts] for name, parts in one.items()} for one in grouped
    ]


def test_parts_of_a_split_lesion_belong_to_it():
    lists = [
        [lesion("L1", 30, 30), lesion("M", 10, 10)],
        None,
        [lesion("L1b", 9, 9), lesion("L1", 20, 20)],
        [lesion("L1bc", 8, 8), lesion("L1b", 9, 9), lesion("L2", 5, 5), lesion("Mb", 0, 0)],
    ]
    expected = [{"L1": ["L1"], "M": ["M"]}, None, {"L1": ["L1", "L1b"]}, {"L1": ["L1b", "L1bc"], "L2": ["L2"]}]
    assert names(group(lists, 0)) == expected
    assert names(group([list(reversed(one)) if one else one for one in lists], 0)) == expected


def test_what_the_first_scan_shows_apart_stays_apart():
    lists = [[lesion("L1", 30, 30)], [lesion("L1", 20, 20), lesion("L1b", 15, 15)], [lesion("L1b", 15, 15)]]
    assert names(group(lists, 1))[1:] == [{"L1": ["L1"], "L1b": ["L1b"]}, {"L1b": ["L1b"]}]
    assert names(group(lists, 0))[1:] == [{"L1": ["L1", "L1b"]}, {"L1": ["L1b"]}]


def test_only_a_small_letter_after_a_known_id_marks_a_part():
    later = [lesion(name, 9, 9) for name in ("L1B", "L12", "L1é", "L9b", "b")]
    assert names(group([[lesion("L1", 30, 30)], later], 0))[1] == {one.id: [one.id] for one in later}


def test_extent_of_parts():
    assert extent([]) == (0.0, 0.0)
    assert extent([lesion("A", 20, 10), lesion("Ab", 12, 5)]) == (20, 260)
    assert extent([lesion("A", volume_mm3=4188.79)]) == pytest.approx((20, 400), rel=1e-6)
    assert extent([lesion("A", 20, 10), lesion("Ab", 12)]) is None
