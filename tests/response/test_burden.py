"""What counts at each scan: the published vectors and courses by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ranoscope.response.burden import burdens, measurable_at_baseline
from ranoscope.response.criteria import CRITERIA, MACDONALD, MRANO, RANO_2, RANO_HGG, RANO_LGG
from ranoscope.response.repeatability import product_sd, volume_sd
from ranoscope.response.series import make_series
from ranoscope.response.timeline import (
    Compartment,
    Disease,
    Lesion,
    Measure,
    NewLesion,
    NonMeasurable,
    Role,
    Scan,
    Sizes,
    Surgery,
    Timeline,
)

E, N = Compartment.ENHANCING, Compartment.NONENHANCING
ABSENT, PRESENT, WORSE = NonMeasurable.ABSENT, NonMeasurable.PRESENT, NonMeasurable.WORSE
NONE, SMALL, NEW = NewLesion.NONE, NewLesion.NON_MEASURABLE, NewLesion.MEASURABLE
RANO = [one for one in CRITERIA if one not in (MACDONALD, RANO_LGG)]


def lesions(text, **more):
    """``"A 20x15, B 12x10"`` → lesions by millimetres; ``A ?`` is there without a size."""
    made = []
    for word in filter(None, (one.strip() for one in text.split(","))):
        name, size = word.split()
        pair = (None, None) if size == "?" else map(float, size.split("x"))
        made.append(Lesion(id=name, **dict(zip(("longest_mm", "perpendicular_mm"), pair, strict=True)), **more))
    return tuple(made)


def course(*scans, measure=Measure.AREA, part=E, criteria=RANO_HGG, **more):
    """Burdens of a single series; a scan is a text of lesions, None (not listed) or the fields of a scan."""
    made = []
    for place, scan in enumerate(scans):
        fields = (
            scan if isinstance(scan, dict) else {"lesions": None if scan is None else lesions(scan, compartment=part)}
        )
        made.append(Scan(id=f"scan-{place}", day=60 * place, **fields))
    (series,) = make_series(Timeline(patient="P", scans=tuple(made), **more), criteria)
    return burdens(series, part, criteria, measure)


def sizes(found):
    return [one.size for one in found]


@pytest.mark.parametrize(
    ("scans", "expected"),
    [
        pytest.param(["A 20x15, B 12x10", "A 22x16, B 14x11"], [420, 506], id="H24"),
        pytest.param(["A 30x25, B 20x15", "A 21x15, B 18x12"], [1050, 531], id="H25"),
        pytest.param(["A 20x15, B 20x10", "A 21x20, B 10x6"], [500, 480], id="H26"),
        pytest.param(["A 30x20, B 9x9", "A 30x20, B 9x9"], [600, 600], id="M08"),
        pytest.param(["", ""], [0, 0], id="M15"),
        pytest.param(["A 20x20", "", "A 12x12"], [400, 0, 144], id="H22: gone and back"),
        pytest.param(["A 20x20", "A 4x3", "A 4x4"], [400, 12, 16], id="a target counts however small it becomes"),
        pytest.param(
            ["A 20x20", "A 0x0", "A 4x3", "A 10x10", "A 4x3"], [400, 0, 0, 100, 12], id="back, not measurable"
        ),
        pytest.param(["A 20x20, B 20x10", "A 20x20", "A 20x20, B 4x3"], [600, 400, 412], id="back beside another"),
        pytest.param(["A 20x20", "", None, "A 4x3"], [400, 0, None, 0], id="back after a scan without a list"),
        pytest.param(["A 20x20, B 20x10", "A ?, B 20x10", "A 20x20"], [600, None, 400], id="a target without a size"),
        pytest.param(["A 20x20", None, "A 20x20"], [400, None, 400], id="a scan without a list"),
        pytest.param(["A 20x20", "A 10x10, Ab 8x5", "Ab 8x5"], [400, 140, 40], id="split"),
        pytest.param(["A 20x20, B 20x10", "A 40x20"], [600, 800], id="merged"),
    ],
)
def test_the_same_targets_are_followed(scans, expected):
    for criteria in RANO:
        assert sizes(course(*scans, criteria=criteria)) == expected
    assert sizes(course(*scans, criteria=RANO_LGG, part=N)) == expected


def test_the_largest_are_not_chosen_again():
    """C4: the second scan's largest is not among the two targets of the first."""
    first, second = course("A 30x20, B 20x20, C 15x15", "A 10x10, B 10x10, C 40x40", criteria=RANO_2)
    assert (first.targets, first.size) == (("A", "B"), 1000)
    assert (second.targets, second.size) == (("A", "B"), 200)


@pytest.mark.parametrize(
    ("later", "summed", "new", "others"),
    [
        pytest.param("A 20x20, X 12x12", 544, NEW, ABSENT, id="Q06"),
        pytest.param("A 20x20, X 8x7", 400, SMALL, PRESENT, id="R06"),
        pytest.param("A 20x20", 400, NONE, ABSENT, id="nothing"),
    ],
)
def test_a_new_lesion_joins_the_sum_in_mrano_alone(later, summed, new, others):
    for criteria in CRITERIA:
        if criteria is not RANO_LGG:
            _, now = course("A 20x20", later, criteria=criteria)
            added = criteria is MRANO
            # Macdonald measures everything.
            grade = NEW if criteria is MACDONALD and new is SMALL else new
            assert (now.size, now.new_lesion) == (summed if added else 400, grade)
            assert now.non_measurable is (others if added or new is NONE else PRESENT)
            assert now.appeared == (() if new is NONE else ("X",))


def test_q07_and_the_scans_after_a_new_lesion_joined():
    found = course("A 40x25", "A 40x25, X 12x12", "A 40x25, X 10x5", "A 40x25", criteria=MRANO)
    assert sizes(found) == [1000, 1144, 1050, 1000]
    assert [one.targets for one in found] == [("A",), *[("A", "X")] * 3]
    assert [one.new_lesion for one in found] == [None, NEW, NONE, NONE]
    assert [one.appeared for one in found] == [(), ("X",), ("X",), ()]


def test_in_mrano_new_lesions_join_beyond_the_number_of_targets():
    five = ", ".join(f"{name} 20x20" for name in "ABCDE")
    assert sizes(course(f"{five}, F 11x11", f"{five}, F 11x11, X 12x12", criteria=MRANO)) == [2000, 2144]


def test_r07_a_new_lesion_that_becomes_measurable_later():
    found = course("A 20x20", "A 20x20, X 8x7", "A 20x20, X 12x11", "A 20x20, X 12x11", criteria=RANO_2)
    assert [one.new_lesion for one in found] == [None, SMALL, NEW, NONE]
    assert [one.non_measurable for one in found] == [ABSENT, PRESENT, PRESENT, PRESENT]
    added = course("A 20x20", "A 20x20, X 8x7", "A 20x20, X 12x11", criteria=MRANO)
    assert sizes(added) == [400, 400, 532]


@pytest.mark.parametrize(
    ("scans", "expected"),
    [
        pytest.param(["N 9x9", "N 11x10"], [(0, PRESENT), (0, PRESENT)], id="D03: +35.8 % but +2 mm"),
        pytest.param(["N 9x9", "N 11x10", "N 14x12"], [(0, PRESENT)] * 3, id="5 mm are not more than 5"),
        pytest.param(["N 9x9", "N 11x10", "N 14.5x12"], [(0, PRESENT)] * 2 + [(174, WORSE)], id="slow growth adds up"),
        pytest.param(["N 9x9", "N 20x9"], [(0, PRESENT)] * 2, id="still not measurable"),
        pytest.param(["N 40x9", "N 46x10"], [(0, PRESENT), (460, WORSE)], id="+6 mm, +27.8 %"),
        pytest.param(["N 90x9", "N 96x10"], [(0, PRESENT)] * 2, id="+6 mm, +18.5 %"),
        pytest.param(["N 9x9", "N 6x6", "N 12x12"], [(0, PRESENT)] * 2 + [(144, WORSE)], id="against the smallest"),
        pytest.param(["N 9x9", "", "N 10x10"], [(0, PRESENT), (0, ABSENT), (100, WORSE)], id="gone and back"),
        pytest.param(["", "", "N 15x10"], [(0, ABSENT)] * 2 + [(150, ABSENT)], id="S04"),
    ],
)
def test_small_lesions_that_become_measurable(scans, expected):
    found = course(*scans)
    assert [(one.size, one.non_measurable) for one in found] == expected


def test_d03_by_criteria():
    assert sizes(course("N 9x9", "N 11x10", criteria=MACDONALD)) == [81, 110]
    for criteria in RANO:
        assert [(one.size, one.non_measurable) for one in course("N 9x9", "N 11x10", criteria=criteria)] == [
            (0, PRESENT)
        ] * 2


def test_in_mrano_growth_of_a_small_lesion_counts_by_the_sum():
    now = course("A 20x20, N 9x9", "A 20x20, N 20x15", criteria=MRANO)[1]
    assert (now.size, now.non_measurable, now.new_lesion) == (700, ABSENT, NONE)
    other = course("A 20x20, N 9x9", "A 20x20, N 20x15", criteria=RANO_HGG)[1]
    assert (other.size, other.non_measurable) == (400, WORSE)


@pytest.mark.parametrize(("mm", "percent", "expected"), [(5, None, WORSE), (None, 25, WORSE), (None, None, PRESENT)])
def test_growth_limits_are_settings(mm, percent, expected):
    criteria = RANO_HGG.model_copy(update={"non_measurable_growth_mm": mm, "non_measurable_growth_percent": percent})
    assert course("N 9x9", "N 15x11", criteria=criteria)[1].non_measurable is expected
    by_percent = course("N 9x9", "N 11x10", criteria=criteria)[1].non_measurable
    assert by_percent is (WORSE if mm is None and percent else PRESENT)


def test_25_percent_is_reached_exactly():
    criteria = RANO_HGG.model_copy(update={"non_measurable_growth_mm": None})
    grown = [course("N 40x8", f"N 40x{width}", criteria=criteria)[1].non_measurable for width in (10, 12)]
    # 40 x 9.6 = 384 and 48 x 10 = 480 = 1.25 x 384; floats of such products need not agree to the last digit.
    exact = course("N 40x9.6", "N 48x10", criteria=criteria)[1].non_measurable
    short = course("N 40x9.6", "N 47.99x10", criteria=criteria)[1].non_measurable
    assert ([*grown, exact], short) == ([WORSE] * 3, PRESENT)


def test_lesions_left_out_by_the_limit_stay_outside_and_can_become_worse():
    found = course(
        "A 30x20, B 20x20, C 15x15", "A 30x20, B 20x20, C 20x19", "A 30x20, B 20x20, C 21x19", criteria=RANO_2
    )
    assert sizes(found) == [1000] * 3
    assert [one.non_measurable for one in found] == [PRESENT, PRESENT, WORSE]
    five = ", ".join(f"{name} 20x20" for name in "ABCDE")
    for criteria, end in ((RANO_HGG, 20), (MRANO, None)):
        now = course(f"{five}, F 15x15", f"{five}, F 25x19", criteria=criteria, radiotherapy_end_day=end)[1]
        assert (now.size, now.non_measurable) == (2000, WORSE)
    alone = course("A 30x20, B 20x20, C 15x15", "C 15x15", criteria=RANO_2)[1]
    assert (alone.size, alone.non_measurable) == (0, PRESENT)


def test_a_reader_s_non_target_never_joins():
    first = lesions("A 9x9", role=Role.NON_TARGET)
    then = lesions("A 30x30", role=Role.NON_TARGET)
    for criteria in (RANO_HGG, MRANO):
        now = course({"lesions": first}, {"lesions": then}, criteria=criteria)[1]
        assert (now.size, now.targets, now.non_measurable) == (0, (), WORSE)


def test_a_target_that_is_back_too_small_to_be_measured_is_still_there():
    found = course("A 20x20", "", "A 4x3", "A 12x12")
    assert [one.non_measurable for one in found] == [ABSENT, ABSENT, PRESENT, ABSENT]
    assert [one.targets for one in found] == [("A",)] * 4
    assert sizes(course("A 20x20", "", "A 4x3", criteria=MACDONALD)) == [400, 0, 12]


def test_statements_stand_before_the_lists():
    scan = {"lesions": lesions("A 20x20, X 12x12"), "new_lesion": NONE, "non_measurable": WORSE}
    now = course("A 20x20", scan)[1]
    assert (now.new_lesion, now.non_measurable, now.size) == (NONE, WORSE, 400)
    bare = course("A 20x20", {"new_lesion": NEW, "non_measurable": ABSENT})[1]
    assert (bare.new_lesion, bare.non_measurable, bare.size) == (NEW, ABSENT, None)


def test_without_lists_the_stated_sums_count_and_the_rest_is_unknown():
    scans = [{"enhancing": Sizes(spd_mm2=size, volume_mm3=10 * size)} for size in (400.0, 0.0)] + [{}]
    for measure, factor, sd in ((Measure.AREA, 1, product_sd), (Measure.VOLUME, 10, volume_sd)):
        found = course(*scans, measure=measure)
        assert sizes(found) == [400 * factor, 0, None]
        assert [one.size_sd for one in found] == [sd(400 * factor), 0, 0]
        assert {(one.targets, one.new_lesion, one.non_measurable) for one in found} == {((), None, None)}
    mixed = course(
        "A 20x20", {"enhancing": Sizes(spd_mm2=500)}, {"lesions": lesions("A ?"), "enhancing": Sizes(spd_mm2=7)}
    )
    assert sizes(mixed) == [400, 500, 7]


def test_a_compartment_that_nobody_lists_is_unknown_and_not_empty():
    """Enhancing lesions alone say nothing of T2/FLAIR."""
    scans = [{"lesions": lesions("A 20x20"), "nonenhancing": Sizes(spd_mm2=9)}, {"lesions": lesions("")}]
    found = course(*scans, part=N, criteria=RANO_LGG)
    assert [(one.size, one.new_lesion, one.non_measurable) for one in found] == [(9, None, None), (None, None, None)]


def test_lists_that_begin_after_the_baseline():
    found = course({"enhancing": Sizes(spd_mm2=400)}, "A 20x20, B 8x8", "A 20x20, B 8x8, C 11x11")
    assert sizes(found) == [400, 400, 400]
    assert [one.new_lesion for one in found] == [None, None, NEW], "nobody knows what the baseline showed"
    assert [one.targets for one in found] == [("A",)] * 3


def test_new_is_judged_from_the_baseline_on():
    """The list before the baseline lacks B; whether it was there at the baseline is not known."""
    found = course("A 20x20", {"enhancing": Sizes(spd_mm2=400)}, "A 20x20, B 12x12", baseline="scan-1")
    assert found[2].new_lesion is None
    assert found[2].targets == ("A", "B")


def test_after_radiotherapy_rano_hgg_measures_what_is_there_then():
    """B3: growth counts from the first scan after radiotherapy, so what appears there is measured from there on."""
    scans = ("A 20x20, S 9x9", "A 20x20, S 9x9, X 20x20", "A 20x20, S 9x9, X 24x22", "A 20x20, S 9x9, X 24x22, Y 6x6")
    found = course(*scans, radiotherapy_end_day=20)
    assert sizes(found) == [400, 800, 928, 928]
    assert [one.new_lesion for one in found] == [None, NEW, NONE, SMALL]
    assert [one.appeared for one in found] == [(), ("X",), (), ("Y",)]
    late = course(*scans, radiotherapy_end_day=60)
    assert sizes(late) == [400, 400, 928, 928], "a lesion that appeared before the new reference joins at it"


def test_places_at_a_new_reference_are_limited():
    four = ", ".join(f"{name} 20x20" for name in "ABCD")
    later = f"{four}, X 12x12, Y 15x15, Z 11x11"
    assert course(four, later, radiotherapy_end_day=20)[1].targets == ("A", "B", "C", "D", "Y")
    fresh = ", ".join(f"{name} {size}x{size}" for name, size in zip("UVWXYZ", range(11, 17), strict=True))
    assert course("", fresh)[1].targets == ("Z", "Y", "X", "W", "V")


def test_an_operation_starts_afresh():
    """S06: nothing of the pre-operative lesion is a target, new or gone after the operation."""
    scans = (
        Scan(id="pre", day=0, surgery=Surgery.PRE_OP, lesions=lesions("A 50x40")),
        Scan(id="post", day=2, surgery=Surgery.POST_OP, lesions=lesions("B 20x15")),
        Scan(id="later", day=60, lesions=lesions("B 20x14.5, A 11x11")),
    )
    before, after = make_series(Timeline(patient="P", scans=scans), RANO_HGG)
    assert [(one.size, one.targets, one.new_lesion) for one in burdens(before, E, RANO_HGG, Measure.AREA)] == [
        (2000, ("A",), None)
    ]
    assert [(one.size, one.targets, one.new_lesion) for one in burdens(after, E, RANO_HGG, Measure.AREA)] == [
        (300, ("B",), None),
        (290, ("B",), NEW),
    ]


def test_a_mixed_tumour_shares_its_targets():
    both = lesions("A 12x12, B 20x10, C 11x11") + lesions("T 50x40, U 40x40, V 12x10", compartment=N)
    later = lesions("A 6x5, B 10x10") + lesions("T 10x10, U 0x0, V 60x60", compartment=N)
    scans = (Scan(id="a", day=0, lesions=both), Scan(id="b", day=60, lesions=later))
    line = Timeline(patient="P", scans=scans, disease=Disease.MIXED, recurrent=True)
    (series,) = make_series(line, RANO_2)
    found = {part: burdens(series, part, RANO_2, Measure.AREA) for part in series.compartments}
    assert [(one.targets, one.size) for one in found[E]] == [(("B",), 200), (("B",), 100)]
    assert [(one.targets, one.size) for one in found[N]] == [(("T", "U"), 3600), (("T", "U"), 100)]
    (single,) = make_series(line.model_copy(update={"disease": Disease.ENHANCING}), RANO_2)
    assert burdens(single, E, RANO_2, Measure.AREA)[0].targets == ("B", "A")


def test_a_mixed_tumour_s_targets_are_limited_also_where_one_part_appears_later():
    before = lesions("T 50x40, U 40x40", compartment=N)
    later = lesions("A 12x12, B 20x10") + before
    line = Timeline(
        patient="P",
        scans=(Scan(id="a", day=0, lesions=before), Scan(id="b", day=60, lesions=later)),
        disease=Disease.MIXED,
        recurrent=True,
    )
    (series,) = make_series(line, RANO_2)
    assert [one.targets for one in burdens(series, E, RANO_2, Measure.AREA)] == [(), ("B",)]


def test_volumes_of_the_same_targets():
    def volumes(**sizes_mm3):
        return tuple(
            Lesion(id=name, longest_mm=long, perpendicular_mm=long, volume_mm3=volume)
            for name, (long, volume) in sizes_mm3.items()
        )

    scans = [
        {"lesions": volumes(A=(20, 900), B=(12, 5000), C=(9, 400))},
        {"lesions": volumes(A=(20, 800), B=(12, 4000), C=(9, 9000))},
    ]
    found = course(*scans, measure=Measure.VOLUME)
    assert [(one.targets, one.size) for one in found] == [(("A", "B"), 5900), (("A", "B"), 4800)]
    alone = [
        {"lesions": tuple(Lesion(id=n, volume_mm3=v) for n, v in one.items())} for one in ({"A": 90, "B": 5}, {"A": 60})
    ]
    assert sizes(course(*alone, measure=Measure.VOLUME)) == [95, 60]
    assert sizes(course(*alone)) == [None, None], "no product is known, and unknown is not 0"


@pytest.mark.parametrize(
    ("scans", "expected"),
    [
        (["A 20x20"], True),
        (["A 9x9"], False),
        ([""], False),
        ([None], None),
        ([None, "A 20x20"], None),
        ([{"lesions": lesions("A ?", role=Role.TARGET)}], True),
        ([{"enhancing": Sizes(spd_mm2=3)}], True),
        ([{"enhancing": Sizes(spd_mm2=0)}], False),
        ([{"surgery": Surgery.PRE_OP, "lesions": lesions("A 20x20")}], None),
    ],
)
def test_measurable_disease_at_the_baseline(scans, expected):
    made = tuple(
        Scan(
            id=str(day),
            day=day,
            **(one if isinstance(one, dict) else {"lesions": None if one is None else lesions(one)}),
        )
        for day, one in enumerate(scans)
    )
    (series,) = make_series(Timeline(patient="P", scans=made), RANO_HGG)
    assert measurable_at_baseline(series, burdens(series, E, RANO_HGG, Measure.AREA)) is expected


def test_error_of_a_sum_is_that_of_its_lesions_measured_again():
    """Against the spread of many simulated re-measurements, each lesion independently."""
    one = Lesion(id="A", longest_mm=20, perpendicular_mm=20, product_sd=0.05, volume_mm3=4000, volume_sd=0.02)
    two = Lesion(id="B", longest_mm=12, perpendicular_mm=11, product_sd=0.2, volume_mm3=700, volume_sd=0.1)
    three = Lesion(id="C", longest_mm=15, perpendicular_mm=12, volume_mm3=1400)
    random = np.random.default_rng(0)
    for measure, sd in ((Measure.AREA, product_sd(180)), (Measure.VOLUME, volume_sd(1400))):
        (now,) = course({"lesions": (one, two, three)}, measure=measure)
        means = np.array([400, 132, 180] if measure is Measure.AREA else [4000, 700, 1400])
        spread = np.array([0.05, 0.2, sd] if measure is Measure.AREA else [0.02, 0.1, sd])
        again = (means * random.normal(1, spread, (300_000, 3))).sum(axis=1)
        assert now.size_sd == pytest.approx(again.std() / means.sum(), rel=0.01)
