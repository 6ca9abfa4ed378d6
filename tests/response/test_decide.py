"""The decision at one scan: the row that fires, the facts behind it, and what is said of unknown ones."""

from __future__ import annotations

import pytest

from ranoscope.errors import RecipeError
from ranoscope.response.calls import Category, Flag
from ranoscope.response.criteria import (
    CRITERIA,
    IRANO,
    MACDONALD,
    RANO_2,
    RANO_HGG,
    RANO_LGG,
    Criteria,
    criteria_by_name,
    with_changes,
)
from ranoscope.response.engine import evaluate, evaluate_all
from ranoscope.response.timeline import Disease, Lesion, Measure, Scan, Sizes, Timeline

KNOWN = {
    "new_lesion": "none", "non_measurable": "absent", "t2_flair": "stable", "steroids": "stable", "clinical": "stable",
    "leptomeningeal": False, "enhancement_worse": False, "anti_angiogenic": False, "viable_tumour": False,
    "outside_radiation_field": False,
}  # fmt: skip
FIRST = {"radiotherapy_end_day": -1000, "immunotherapy_start_day": -1000}


def course(*sizes, facts=(), days=None, known=KNOWN, **patient):
    """Scans 35 days apart with both compartments of one size; ``facts`` are those of the last scans."""
    told = [{}] * (len(sizes) - len(facts)) + list(facts)
    made = [
        Scan(
            id=f"s{n}", day=days[n] if days else 35 * n, **{**known, **more},
            enhancing=Sizes(spd_mm2=size), nonenhancing=Sizes(spd_mm2=size),
        )
        for n, (size, more) in enumerate(zip(sizes, told, strict=True))
    ]  # fmt: skip
    return Timeline(patient="P", scans=tuple(made), **{**FIRST, **patient})


def last(criteria, *sizes, **more):
    return evaluate(course(*sizes, **more), criteria).calls[-1]


ROWS = {
    "1": (RANO_HGG, (600, 200), {"new_lesion": "non-measurable", "clinical": "worse"}),
    "2": (RANO_HGG, (600, 600), {"non_measurable": "worse", "clinical": "worse"}),
    "2a": (RANO_LGG, (600, 600), {"enhancement_worse": True, "clinical": "worse"}),
    "3": (RANO_HGG, (600, 900), {"clinical": "worse", "t2_flair": "worse"}),
    "3a": (RANO_2, (600, 900), {"leptomeningeal": True}),
    "4": (RANO_HGG, (600, 900), {"t2_flair": "worse"}),
    "5": (RANO_HGG, (600, 900), {}),
    "6": (RANO_HGG, (600, 900), {"steroids": "lower", "t2_flair": "worse"}),
    "7": (RANO_HGG, (600, 0, 100), {"steroids": "lower"}),
    "8": (RANO_HGG, (0, 0), {"steroids": "none"}),
    "9": (RANO_HGG, (600, 0, 0), {"steroids": "none"}, {"steroids": "none"}),
    "10": (MACDONALD, (600, 0), {"steroids": "physiological"}),
    "10a": (RANO_HGG, (600, 300, 0), {"steroids": "none"}),
    "10b": (RANO_LGG, (600, 400, 0), {"steroids": "none"}),
    "11": (RANO_HGG, (600, 0, 0), {}),
    "12": (RANO_HGG, (600, 300, 300), {}),
    "13": (RANO_HGG, (600, 300), {}),
    "13a": (RANO_LGG, (600, 400, 300), {}),
    "14": (RANO_HGG, (600, 300, 0), {"steroids": "higher"}),
    "14a": (RANO_LGG, (600, 450, 450), {}),
    "14b": (RANO_LGG, (600, 450), {}),
    "15": (RANO_HGG, (600, 450, 450), {}),
    "NE": (RANO_HGG, (600, None), {}),
}


@pytest.mark.parametrize(("row", "case"), ROWS.items(), ids=ROWS)
def test_the_row_that_fires_is_named(row, case):
    criteria, sizes, *facts = case
    call = last(criteria, *sizes, facts=facts)
    assert call.rule == f"{criteria.name}/{row}"
    assert call.rule_sentence.endswith(".")


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        (RANO_HGG, "6a"),
        (RANO_2, "6b"),
        (criteria_by_name("mrano"), "6b"),
        (IRANO, "6b"),
        (MACDONALD, "5"),
    ],
)
def test_growth_soon_after_treatment(criteria, expected):
    call = last(criteria, 400, 600, radiotherapy_end_day=-21, immunotherapy_start_day=0)
    assert call.rule == f"{criteria.name}/{expected}"


@pytest.mark.parametrize("criteria", [RANO_2, IRANO, criteria_by_name("mrano"), RANO_HGG])
def test_tumour_on_histology_is_believed_at_once(criteria):
    facts = [{"viable_tumour": True}]
    assert last(criteria, 400, 600, facts=facts, radiotherapy_end_day=-21, immunotherapy_start_day=0).category == "PD"


@pytest.mark.parametrize(
    ("criteria", "patient", "category"),
    [
        (RANO_HGG, {"radiotherapy_end_day": 100 - 83}, "SD"),
        (RANO_HGG, {"radiotherapy_end_day": 100 - 84}, "PD"),
        (RANO_HGG, {"radiotherapy_end_day": 100 + 10}, "SD"),
        (IRANO, {"immunotherapy_start_day": 100 - 182}, "SD"),
        (IRANO, {"immunotherapy_start_day": 100 - 183}, "PD"),
        (IRANO, {"immunotherapy_start_day": 100}, "SD"),
        (IRANO, {"immunotherapy_start_day": 101}, "PD"),
    ],
)
def test_the_early_window_ends_sharply(criteria, patient, category):
    assert last(criteria, 400, 600, days=(0, 100), **patient).category == category


def test_decline_alone_within_the_window():
    decline = [{"clinical": "worse"}]
    early = {"radiotherapy_end_day": -21, "immunotherapy_start_day": 0, "facts": decline}
    assert last(RANO_HGG, 400, 150, **early).rule == "rano-hgg/6c"
    assert last(IRANO, 400, 150, **early).category == last(RANO_2, 400, 150, **early).category == "PD"


@pytest.mark.parametrize(
    ("doses", "sizes", "row"),
    [
        ((4, 2), (400, 600), "6"),
        ((4, 4), (400, 600), "5"),
        ((4, 0), (400, 600), "6"),
        ((0.5, 0), (400, 600), "5"),
        ((2, 8, 4), (600, 400, 600), "6"),
        ((2, 2, 4), (600, 300, 300), "14"),
        ((8, 2, 4), (600, 300, 300), "12"),
        ((0, 0, 4), (600, 300, 300), "14"),
        ((0, 0, 0.75), (600, 0, 0), "9"),
        ((4, 0, 0.76), (600, 0, 0), "11"),
    ],
)
def test_doses_in_milligrams_are_compared_with_the_reference_scans(doses, sizes, row):
    """Growth with the nadir's dose, response with the baseline's, CR with replacement of 0.75 mg a day."""
    facts = [{"steroids": None, "steroid_mg_per_day": dose} for dose in doses]
    assert last(RANO_HGG, *sizes, facts=facts).rule == f"rano-hgg/{row}"


def test_a_dose_in_milligrams_beside_a_baseline_stated_as_none():
    facts = [{"steroids": "none"}, {"steroids": "none"}, {"steroids": None, "steroid_mg_per_day": 4}]
    assert last(RANO_HGG, 600, 300, 300, facts=facts).rule == "rano-hgg/14"


def test_a_new_lesion_that_is_no_progression_is_tumour_left():
    small = [{"steroids": "none", "new_lesion": "non-measurable"}] * 2
    assert last(RANO_2, 600, 0, 0, facts=small).category == "PR"


UNKNOWN = dict.fromkeys(KNOWN)
COMMON = {"new lesion", "non-measurable disease", "clinical state"}
LISTS = {
    "macdonald": COMMON,
    "rano-hgg": COMMON | {"T2/FLAIR", "steroid dose", "end of radiotherapy", "radiation field", "histology"},
    "rano-lgg": COMMON | {"enhancement"},
    "mrano": {"clinical state"},
    "rano2": COMMON
    | {"leptomeningeal spread", "T2/FLAIR", "anti-angiogenic treatment", "steroid dose", "end of radiotherapy"}
    | {"histology"},
    "irano": COMMON | {"T2/FLAIR", "steroid dose", "start of immunotherapy", "histology"},
}


@pytest.mark.parametrize("criteria", CRITERIA, ids=lambda one: one.name)
def test_only_facts_that_these_criteria_ask_for_are_listed(criteria):
    """A stable size, and nothing else known. Preliminary progression is SD as well, so mRANO asks for decline alone."""
    call = last(criteria, 600, 600, known=UNKNOWN, radiotherapy_end_day=None, immunotherapy_start_day=None)
    expected = LISTS[criteria.name]
    if criteria.name == "mrano":
        expected = expected | {"non-measurable disease", "histology"}
    assert (call.category, call.provisional, set(call.unknown)) == ("SD", True, expected)


def test_without_facts_beyond_sizes_every_call_but_certain_progression_is_provisional():
    patient = {"known": UNKNOWN, "radiotherapy_end_day": None, "immunotherapy_start_day": None}
    for evaluation in evaluate_all(course(1000, 900, 400, 400, 0, 0, 100, None, **patient)):
        for call in evaluation.calls[1:]:
            assert call.provisional or call.category is Category.PD


def test_an_unknown_end_of_radiotherapy_is_not_long_ago():
    call = last(RANO_HGG, 400, 600, radiotherapy_end_day=None)
    assert (call.category, call.provisional, call.unknown) == ("PD", True, ("end of radiotherapy",))
    assert last(MACDONALD, 400, 600, radiotherapy_end_day=None).provisional is False


def test_an_unknown_baseline_leaves_a_response_open_and_progression_certain():
    assert last(RANO_HGG, None, 400, 390).category == "NE"
    assert last(RANO_HGG, None, 400, 390).unknown == ("size at s0", "findings at earlier scans")
    grown = last(RANO_HGG, None, 400, 600)
    assert (grown.category, grown.provisional) == ("PD", False)


def test_an_unknown_size_is_not_evaluable_even_where_every_size_would_be_stable_for_now():
    """Within the window growth is not believed, and a response would have to wait: SD either way, but not shown."""
    call = last(RANO_HGG, 400, None, radiotherapy_end_day=0)
    assert (call.category, call.provisional, call.unknown) == ("NE", True, ("size",))
    assert last(RANO_HGG, None, 400).category == "NE"


def test_a_size_passed_over_may_have_been_the_nadir():
    call = last(RANO_HGG, 600, None, 590)
    assert (call.category, call.provisional, call.unknown) == ("SD", True, ("size at s1",))
    assert any("passed over" in reason.sentence and "s1" in reason.sentence for reason in call.reasons)
    assert last(RANO_HGG, 600, None, 900).provisional is False


def test_an_impossible_change_is_not_listed():
    """Who was on no steroids at the reference cannot be on fewer; an unknown dose then changes nothing."""
    facts = [{"steroids": "none"}, {"steroids": None}]
    call = last(RANO_HGG, 400, 600, facts=facts)
    assert (call.category, call.unknown) == ("PD", ())


def test_numbers_never_read_as_the_threshold_they_miss():
    sentences = [reason.sentence for reason in last(RANO_HGG, 400, 499.99).reasons]
    assert "499.99 mm² is 24.998 % above the nadir" in sentences[0]
    assert "400 mm² equals the nadir" in last(RANO_HGG, 400, 400).reasons[0].sentence


def test_no_percentage_reads_as_a_threshold_that_is_not_named():
    """1001 of 2000 is a minor response, 49.95 % below; "50 %" would be a partial one."""
    sentences = [reason.sentence for reason in last(RANO_LGG, 2000, 1001, 1001).reasons]
    assert any("1,001 mm² is 49.95 % below the baseline of 2,000 mm²" in one for one in sentences)
    sentences = [reason.sentence for reason in last(RANO_LGG, 2000, 1000.01, 1000.01).reasons]
    assert any("1,000.01 mm² is 49.9995 % below the baseline" in one for one in sentences)


def test_lesions_outside_the_sum_that_grew_are_named():
    def scan(name, day, *sizes):
        listed = tuple(Lesion(id=one, longest_mm=mm, perpendicular_mm=mm) for one, mm in zip("ABC", sizes, strict=True))
        return Scan(id=name, day=day, lesions=listed)

    timeline = Timeline(patient="P", scans=(scan("s0", 0, 30, 9, 11), scan("s1", 60, 30, 9, 30)), **FIRST)
    one = with_changes(RANO_HGG, ["parts.enhancing.targets=1"])
    call = evaluate(timeline, one).calls[-1]
    assert call.rule == "rano-hgg/2"
    assert call.reasons[0].sentence == "Disease outside the sum has clearly grown (C)."
    stated = last(RANO_HGG, 600, 600, facts=[{"non_measurable": "worse"}])
    assert stated.reasons[0].sentence == "Non-measurable disease has clearly progressed."


def test_large_sizes_are_grouped_and_carry_their_unit():
    scans = course(1, 1).scans
    volumes = tuple(
        one.model_copy(update={"enhancing": Sizes(volume_mm3=size)})
        for one, size in zip(scans, (10000, 14000), strict=True)
    )
    timeline = Timeline(patient="P", scans=volumes, **FIRST)
    call = evaluate(timeline, RANO_HGG, Measure.VOLUME).calls[-1]
    assert call.reasons[0].sentence == (
        "Enhancing volume 14,000 mm³ is 40 % above the nadir of 10,000 mm³ (s0); progression begins at 40 % "
        "(14,000 mm³)."
    )


MIXED = {"disease": Disease.MIXED}


def compartments(criteria, enhancing, other, facts=()):
    plain = course(*enhancing, facts=facts, **MIXED)
    scans = tuple(
        one.model_copy(update={"nonenhancing": Sizes(spd_mm2=size)})
        for one, size in zip(plain.scans, other, strict=True)
    )
    return evaluate(plain.model_copy(update={"scans": scans}), criteria).calls[-1]


SHRINKING = {"CR": (1000, 0, 0), "PR": (1000, 400, 400), "MR": (1000, 700, 700), "SD": (1000, 1000, 1000)}


@pytest.mark.parametrize("other", SHRINKING)
@pytest.mark.parametrize("enhancing", ["CR", "PR", "SD"])
def test_mixed_tumours_by_the_table(enhancing, other):
    off = [{"steroids": "none"}] * 3
    call = compartments(RANO_2, SHRINKING[enhancing], SHRINKING[other], off)
    assert [part.category for part in call.parts] == [enhancing, other]
    assert call.category is RANO_2.mixed[enhancing][other]
    assert (call.rule, call.provisional) == ("rano2/mixed", False)
    assert call.confirmed is (None if call.category == "SD" else True)


def test_the_mixed_table_is_a_setting():
    strict = with_changes(RANO_2, ["mixed.PR.SD=SD"])
    assert compartments(RANO_2, SHRINKING["PR"], SHRINKING["SD"]).category == "PR"
    assert compartments(strict, SHRINKING["PR"], SHRINKING["SD"]).category == "SD"


def test_mixed_progression_is_dated_to_the_earlier_compartments():
    early = course(1000, 1300, 1300, facts=[{}, {"new_lesion": "measurable"}], radiotherapy_end_day=-28, **MIXED)
    sizes = ((1000, 1000), (1300, 1000), (1300, 1000))
    scans = tuple(
        one.model_copy(update={"enhancing": Sizes(spd_mm2=size), "nonenhancing": Sizes(spd_mm2=other)})
        for one, (size, other) in zip(early.scans, sizes, strict=True)
    )
    call = evaluate(early.model_copy(update={"scans": scans}), RANO_2).calls[-1]
    assert [part.progression_scan for part in call.parts] == ["s1", "s2"]
    assert (call.progression_scan, call.confirmed) == ("s1", True)


def test_mixed_tumours_that_are_not_evaluable_or_wait():
    assert compartments(RANO_2, (1000, None), (1000, 1300)).category == "PD"
    unknown = compartments(RANO_2, (1000, None), (1000, 1000))
    assert (unknown.category, unknown.provisional, unknown.unknown) == ("NE", True, ("size",))
    waits = compartments(RANO_2, (1000, 400), (1000, 1000))
    assert (waits.category, waits.preliminary, waits.confirmed) == ("SD", "PR", False)


def test_what_cannot_change_a_mixed_call_is_not_listed():
    """Progression of one compartment is certain; whatever the other one's unknown facts are."""
    call = compartments(RANO_2, (1000, 1300), (1000, None))
    assert (call.category, call.provisional, call.unknown) == ("PD", False, ())


def test_settings_by_name():
    changed = with_changes(RANO_HGG, ["confirmation_days=null", "parts.enhancing.targets=3", "early_window.days=90"])
    assert (changed.confirmation_days, changed.early_window.days) == (None, 90)
    assert [part.targets for part in changed.parts.values()] == [3]
    assert last(changed, 800, 400).rule == "rano-hgg/12"
    assert last(changed, 800, 400).confirmed is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("confirmation_day=3", "did you mean `confirmation_days`"),
        ("parts.enhancing.thresholds.area.progression=0", "parts.enhancing.thresholds.area.progression"),
        ("parts.enhancing.targets", "KEY=VALUE"),
        ("second_step=never", "second_step"),
    ],
)
def test_settings_that_are_none_are_refused_by_name(change, said):
    with pytest.raises(RecipeError, match="Expected") as refused:
        with_changes(RANO_HGG, [change])
    assert said in str(refused.value)


def test_criteria_that_do_not_exist_are_refused_with_the_nearest():
    with pytest.raises(RecipeError, match="did you mean `rano-hgg`"):
        criteria_by_name("RANO-HG")


def test_two_compartments_need_a_whole_table():
    with pytest.raises(ValueError, match="every pair"):
        Criteria.model_validate({**RANO_2.model_dump(), "mixed": {}})


def test_each_flag_has_a_place():
    """Flags of single scans; those of courses are tested beside the courses."""
    assert last(RANO_HGG, 400, 600, facts=[{"steroids": "lower"}]).flags == (Flag.DOSE_WAS_LOWERED,)
    assert last(RANO_HGG, 0, 0).flags == (Flag.NO_MEASURABLE_DISEASE,)
    assert last(RANO_HGG, 400, 600, radiotherapy_end_day=0).flags == (Flag.PSEUDOPROGRESSION_POSSIBLE,)
