"""Timelines cut at operations, with the baseline each criteria set asks for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranoscope.errors import TableError
from ranoscope.response.calls import Flag, Stage
from ranoscope.response.criteria import CRITERIA, IRANO, MACDONALD, MRANO, RANO_2, RANO_HGG, RANO_LGG
from ranoscope.response.series import compartments, make_series, validate
from ranoscope.response.timeline import (
    Change,
    Compartment,
    Disease,
    Lesion,
    NewLesion,
    NonMeasurable,
    Scan,
    Sizes,
    Surgery,
    Timeline,
)

NOT_THE_CRITERIAS = (Flag.BASELINE_IS_NOT_THE_CRITERIAS,)
E, N = Compartment.ENHANCING, Compartment.NONENHANCING
KINDS = {"pre": Surgery.PRE_OP, "post": Surgery.POST_OP, "": None}


def timeline(words, **more):
    """``"0 pre, 2 post, 40"``: days and what happened; ids are the words themselves with their place."""
    scans = []
    for place, word in enumerate(words.split(",")):
        day, _, kind = word.strip().partition(" ")
        scans.append(Scan(id=f"{place}:{word.strip()}", day=int(day), surgery=KINDS[kind]))
    return Timeline(patient="Patient-007", scans=tuple(scans), **more)


def described(series):
    """Days with a letter for the stage, the reference in brackets: ``o`` post-op, ``x`` pre-op, ``b``, ``.`` before."""
    letters = {
        Stage.PRE_OP: "x",
        Stage.POST_OP: "o",
        Stage.BASELINE: "b",
        Stage.BEFORE_BASELINE: ".",
        Stage.ASSESSED: "",
    }
    words = [f"{scan.day}{letters[stage]}" for scan, stage in zip(series.scans, series.stages, strict=True)]
    return " ".join(f"[{word}]" if place == series.baseline else word for place, word in enumerate(words))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("5", ["[5b]"]),
        ("0, 60, 120", ["[0b] 60 120"]),
        ("0 post, 60, 120", ["[0o] 60 120"]),
        ("0 pre, 2 post, 60", ["0x", "[2o] 60"]),
        ("0 pre, 5 pre, 7 post, 60", ["0x 5x", "[7o] 60"]),
        ("0 pre, 7 post, 8 post, 15 post, 60", ["0x", "7o 8o [15o] 60"]),
        ("0 post, 60, 120 post, 180", ["[0o] 60", "[120o] 180"]),
        ("0 post, 60, 118 pre, 120 post, 121 post, 180", ["[0o] 60 118x", "120o [121o] 180"]),
        ("0 pre, 60, 120", ["0x", "[60b] 120"]),
        ("0, 60 pre, 90 pre, 100", ["[0b] 60x 90x", "[100b]"]),
        ("0 pre", ["0x"]),
        ("0 post, 60 pre", ["[0o] 60x"]),
    ],
)
def test_operations_cut_the_timeline(words, expected):
    made = make_series(timeline(words), MACDONALD)
    assert [described(one) for one in made] == expected
    assert all(one.progression_reference_from == one.baseline for one in made)


def test_progression_that_leads_to_surgery_stays_assessed():
    first, second = make_series(timeline("0 post, 60, 90, 92 post"), RANO_HGG)
    assert first.stages[-1] is Stage.ASSESSED
    assert list(first.references(2)) == [0, 1]
    assert list(second.references(0)) == []


def test_what_was_cut_out_is_never_a_reference():
    """S06: pre-op 2000, post-op 300, 290."""
    _, after = make_series(timeline("0 pre, 2 post, 60"), RANO_HGG)
    assert [scan.day for place in after.references(1) for scan in after.scans[place : place + 1]] == [2]


@pytest.mark.parametrize(
    ("words", "end", "expected", "flagged"),
    [
        pytest.param("0 post, 60, 101, 160", 80, ["0o 60. [101b] 160"], [False], id="21 days suffice"),
        pytest.param("0 post, 60, 100, 160", 80, ["0o 60. 100. [160b]"], [False], id="20 do not"),
        pytest.param("0 post, 60, 160", None, ["[0o] 60 160"], [True], id="end unknown"),
        pytest.param("0 post, 60, 100", 80, ["[0o] 60 100"], [True], id="no scan late enough"),
        pytest.param(
            "0 pre, 2 post, 110", 80, ["0x", "2o [110b]"], [False, False], id="an empty series is passed over"
        ),
        pytest.param(
            "0 post, 110, 200, 210 post, 300", 80, ["0o [110b] 200", "[210o] 300"], [False, False], id="only the first"
        ),
        pytest.param("0 post, 60, 62 post, 150", 100, ["[0o] 60", "62o [150b]"], [True, False], id="second operation"),
        pytest.param("0 post, 50, 210 post, 300", None, ["[0o] 50", "[210o] 300"], [True, False], id="unknown: once"),
        pytest.param(
            "0 pre, 150 post, 151 post, 200", 80, ["0x", "150o [151o] 200"], [False] * 2, id="operation later"
        ),
        pytest.param(
            "0 post, 120 pre, 122 post, 200", 80, ["[0o] 120x", "[122o] 200"], [True, False], id="never pre-op"
        ),
    ],
)
def test_baseline_after_radiotherapy(words, end, expected, flagged):
    for criteria in (MRANO, RANO_2):
        made = make_series(timeline(words, radiotherapy_end_day=end), criteria)
        assert [described(one) for one in made] == expected
        assert [one.notes == NOT_THE_CRITERIAS for one in made] == flagged


def test_recurrent_disease_starts_at_the_first_scan_whatever_the_criteria():
    for criteria in CRITERIA:
        (only,) = make_series(timeline("0, 60, 160", radiotherapy_end_day=80, recurrent=True), criteria)
        assert described(only) == "[0b] 60 160"
        assert only.notes == ()
        assert only.progression_reference_from == 0


def test_in_rano_hgg_the_first_scan_after_radiotherapy_becomes_the_reference_for_progression():
    (only,) = make_series(timeline("0 post, 60, 110, 170, 230", radiotherapy_end_day=80), RANO_HGG)
    assert described(only) == "[0o] 60 110 170 230"
    assert [list(only.references(place)) for place in range(5)] == [[], [0], [0, 1], [2], [2, 3]]
    for criteria in (MACDONALD, IRANO, RANO_LGG):
        (same,) = make_series(timeline("0 post, 60, 110, 170", radiotherapy_end_day=80), criteria)
        assert list(same.references(3)) == [0, 1, 2]


def test_the_reference_for_progression_does_not_move_before_the_baseline_or_over_an_operation():
    first, second = make_series(timeline("110 post, 170, 200 post, 260", radiotherapy_end_day=80), RANO_HGG)
    assert (first.progression_reference_from, second.progression_reference_from) == (0, 0)
    (unknown,) = make_series(timeline("0 post, 60, 110"), RANO_HGG)
    assert unknown.progression_reference_from == 0


@pytest.mark.parametrize("criteria", CRITERIA, ids=lambda one: one.name)
def test_a_named_baseline_overrides_in_its_series(criteria):
    words = "0 post, 60, 110, 170, 200 post, 260, 300"
    first, second = make_series(timeline(words, baseline="5:260", radiotherapy_end_day=80), criteria)
    assert described(second) == "200o [260b] 300"
    assert second.notes == ()
    assert first.baseline == (2 if criteria in (MRANO, RANO_2) else 0)
    (only,) = make_series(timeline("0, 60, 110, 170", baseline="1:60", radiotherapy_end_day=80), criteria)
    assert described(only) == "0. [60b] 110 170"
    assert only.progression_reference_from == (2 if criteria is RANO_HGG else 1)


def test_a_named_baseline_is_no_doubtful_one_and_leaves_other_series_alone():
    words = "0, 60, 70 post, 200"
    made = make_series(timeline(words, baseline="0:0", radiotherapy_end_day=100), MRANO)
    assert [(described(one), one.notes) for one in made] == [("[0b] 60", ()), ("70o [200b]", ())]
    made = make_series(timeline(words, baseline="0:0"), MRANO)
    assert [(described(one), one.notes) for one in made] == [("[0b] 60", ()), ("[70o] 200", ())]
    (late,) = make_series(timeline("0, 60, 110, 170, 200", baseline="3:170", radiotherapy_end_day=80), RANO_HGG)
    assert (late.baseline, late.progression_reference_from) == (3, 3)


@pytest.mark.parametrize(
    "statement",
    [
        {"clinical": Change.WORSE},
        {"t2_flair": Change.WORSE},
        {"non_measurable": NonMeasurable.WORSE},
        {"new_lesion": NewLesion.NON_MEASURABLE},
        {"enhancement_worse": True},
    ],
)
def test_a_timeline_that_starts_with_progression_is_flagged(statement):
    scans = (Scan(id="a", day=0, **statement), Scan(id="b", day=60))
    (only,) = make_series(Timeline(patient="P", scans=scans), RANO_HGG)
    assert (only.baseline, only.notes) == (0, NOT_THE_CRITERIAS)
    (recurrent,) = make_series(Timeline(patient="P", scans=scans, recurrent=True), RANO_HGG)
    assert recurrent.notes == ()
    (later,) = make_series(Timeline(patient="P", scans=scans, radiotherapy_end_day=20), MRANO)
    assert (later.baseline, later.notes) == (1, ()), "the doubt is about the first scan alone"
    (at_once,) = make_series(Timeline(patient="P", scans=scans, radiotherapy_end_day=-90), MRANO)
    assert (at_once.baseline, at_once.notes) == (0, NOT_THE_CRITERIAS)


def test_an_operation_without_its_scan_is_flagged():
    before, after = make_series(timeline("0 pre, 60, 120", recurrent=True), MACDONALD)
    assert (before.baseline, before.notes) == (None, ())
    assert (after.baseline, after.notes) == (0, NOT_THE_CRITERIAS)


WORDS = st.lists(st.sampled_from(["", "pre", "post"]), min_size=1, max_size=9)


@settings(max_examples=100, deadline=None)
@given(
    kinds=WORDS,
    end=st.one_of(st.none(), st.integers(-90, 400)),
    recurrent=st.sampled_from([None, True, False]),
    criteria=st.sampled_from(CRITERIA),
)
def test_series_hold_every_scan_once_and_no_reference_was_cut_out(kinds, end, recurrent, criteria):
    words = ", ".join(f"{40 * place} {kind}".strip() for place, kind in enumerate(kinds))
    given_line = timeline(words, radiotherapy_end_day=end, recurrent=recurrent)
    made = make_series(given_line, criteria)
    assert tuple(scan for one in made for scan in one.scans) == given_line.scans
    for one in made:
        operated = [scan.surgery for scan in one.scans]
        assert operated == sorted(operated, key=[Surgery.POST_OP, None, Surgery.PRE_OP].index)
        assert (one.baseline is None) == all(kind is Surgery.PRE_OP for kind in operated)
        for place, stage in enumerate(one.stages):
            references = [one.scans[n] for n in one.references(place)]
            assert bool(references) == (one.baseline is not None and place > one.baseline)
            assert all(scan.day < one.scans[place].day for scan in references)
            if stage is Stage.ASSESSED:
                assert references
                assert all(scan.surgery is not Surgery.PRE_OP for scan in references)


@pytest.mark.parametrize(
    ("scans", "named", "words"),
    [
        ([], None, ["at least one scan", "none"]),
        ([("a", 0), ("b", 9), ("c", 8)], None, ["c on day 8 after b on day 9"]),
        ([("a", 0), ("b", 9), ("a", 10)], None, ["a twice"]),
        ([("a", 0), ("b", 9)], "week-3", ["`week-3`", "a, b"]),
        ([("a", 0, Surgery.PRE_OP), ("b", 9)], "a", ["pre-operative a"]),
    ],
)
def test_what_no_engine_can_read_is_refused(scans, named, words):
    made = tuple(Scan(id=one[0], day=one[1], surgery=one[2] if len(one) > 2 else None) for one in scans)
    with pytest.raises(TableError) as refused:
        validate(Timeline(patient="Patient-042", scans=made, baseline=named))
    message = str(refused.value)
    assert all(word in message for word in [*words, "Patient-042", "Expected"])


def test_odd_but_defined_timelines_get_a_note():
    assert validate(timeline("0 post, 60", baseline="1:60")) == ()
    (alone,) = validate(timeline("0"))
    assert "only scan" in alone
    (same,) = validate(timeline("0, 60, 60 post"))
    assert "1:60 and 2:60 post" in same
    assert [described(one) for one in make_series(timeline("0, 60, 60 post"), RANO_HGG)] == ["[0b] 60", "[60o]"]


SUMS = Sizes(spd_mm2=100)
LISTED = {part: (Lesion(id="A", compartment=part),) for part in Compartment}


@pytest.mark.parametrize(
    ("scan", "known", "expected"),
    [
        ({}, {}, (E,)),
        ({"enhancing": SUMS}, {"idh_mutant": True}, (E,)),
        ({"nonenhancing": SUMS}, {"idh_mutant": False}, (E,)),
        ({"nonenhancing": SUMS}, {}, (E,)),
        ({"enhancing": SUMS, "nonenhancing": Sizes(volume_mm3=3)}, {"idh_mutant": True}, (E, N)),
        ({"nonenhancing": SUMS}, {"idh_mutant": True}, (N,)),
        ({"lesions": LISTED[N]}, {"idh_mutant": True}, (N,)),
        ({"lesions": LISTED[N], "enhancing": SUMS}, {"idh_mutant": True}, (E, N)),
        ({"lesions": LISTED[E]}, {"idh_mutant": True}, (E,)),
        ({"lesions": ()}, {"idh_mutant": True}, (E, N)),
        ({}, {"disease": Disease.NONENHANCING}, (N,)),
        ({}, {"disease": Disease.MIXED, "idh_mutant": False}, (E, N)),
        ({"nonenhancing": SUMS}, {"disease": Disease.ENHANCING, "idh_mutant": True}, (E,)),
    ],
)
def test_which_parts_are_assessed(scan, known, expected):
    line = Timeline(patient="P", scans=(Scan(id="a", day=0), Scan(id="b", day=9, **scan)), **known)
    assert compartments(line, RANO_2) == expected
    assert all(one.compartments == expected for one in make_series(line, RANO_2))
    for criteria in (MACDONALD, RANO_HGG, MRANO, IRANO):
        assert compartments(line, criteria) == (E,)
    assert compartments(line, RANO_LGG) == (N,)


def test_a_compartment_is_listed_if_any_scan_lists_a_lesion_of_it():
    def listed(*lists):
        scans = tuple(Scan(id=str(day), day=day, lesions=lesions) for day, lesions in enumerate(lists))
        return make_series(Timeline(patient="P", scans=scans), MACDONALD)[0].listed

    assert listed((), LISTED[E]) == {E}
    assert listed((), LISTED[N], LISTED[E]) == {E, N}
    assert listed((), None) == {E, N}
