"""What holds of every timeline: order, scale, triggers, and that knowing less never makes a call firmer."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ranoscope.response.calls import Category, Stage
from ranoscope.response.criteria import CRITERIA, IRANO, MACDONALD, RANO_2, RANO_LGG
from ranoscope.response.engine import evaluate, evaluate_all
from ranoscope.response.timeline import (
    Change,
    Disease,
    Lesion,
    Measure,
    NewLesion,
    NonMeasurable,
    Scan,
    Sizes,
    Steroids,
    Surgery,
    Timeline,
)

BEST = [Category.PD, Category.SD, Category.MR, Category.PR, Category.CR]
VALUES = {
    "new_lesion": list(NewLesion), "non_measurable": list(NonMeasurable), "t2_flair": list(Change),
    "clinical": list(Change), "steroids": list(Steroids), "leptomeningeal": [False, True],
    "enhancement_worse": [False, True], "anti_angiogenic": [False, True], "viable_tumour": [False, True],
    "outside_radiation_field": [False, True],
}  # fmt: skip
NAMES = {
    "new_lesion": "new lesion", "non_measurable": "non-measurable disease", "t2_flair": "T2/FLAIR",
    "clinical": "clinical state", "steroids": "steroid dose", "leptomeningeal": "leptomeningeal spread",
    "enhancement_worse": "enhancement", "anti_angiogenic": "anti-angiogenic treatment", "viable_tumour": "histology",
    "outside_radiation_field": "radiation field",
}  # fmt: skip
TRIGGERS = {
    "new_lesion": NewLesion.MEASURABLE, "non_measurable": NonMeasurable.WORSE, "t2_flair": Change.WORSE,
    "clinical": Change.WORSE, "leptomeningeal": True, "enhancement_worse": True,
}  # fmt: skip
HARMLESS = {field: values[0] for field, values in VALUES.items()} | {"t2_flair": "stable", "clinical": "stable"}
# Mostly sizes near each other and near thresholds.
SIZE = st.sampled_from([0, 100, 120, 125, 150, 200, 240, 250, 300, 400, 500, 600, 800, 1000])
GAP = st.sampled_from([0, 14, 21, 27, 28, 35, 56, 84, 90])
REAL = settings(max_examples=30, deadline=None)
FEW = settings(max_examples=15, deadline=None)


DOSES = (Steroids.NONE, Steroids.PHYSIOLOGICAL), (Steroids.LOWER, Steroids.STABLE, Steroids.HIGHER)


def mostly(field, odd):
    """A fact that is harmless most of the time, else any of its values or, if ``odd`` says so, unknown."""
    return st.one_of(*[st.just(HARMLESS[field])] * 3, st.sampled_from(VALUES[field] + [None] * odd))


@st.composite
def timelines(draw, unknown=True, sized=False, least=1):
    """Sums of both compartments; every fact and size stated unless ``unknown``, every size if ``sized``.

    Without operations if sized. Doses are absolute or relative over a whole timeline: none is lower than none.
    """
    made, day, doses = [], 0, [*draw(st.sampled_from(DOSES)), *[None] * unknown]
    for number in range(draw(st.integers(least, 6))):
        day += draw(GAP)
        facts = {field: draw(mostly(field, unknown)) for field in VALUES if field != "steroids"}
        sizes = [draw(st.one_of(SIZE, st.none()) if unknown and not sized else SIZE) for _ in range(2)]
        surgery = draw(st.sampled_from([None] * 8 + list(Surgery) * (not sized)))
        one, other = (Sizes(spd_mm2=size, volume_mm3=size) for size in sizes)
        facts |= {"steroids": draw(st.sampled_from(doses)), "surgery": surgery}
        made.append(Scan(id=f"s{number}", day=day, enhancing=one, nonenhancing=other, **facts))
    return Timeline(
        patient="P",
        scans=tuple(made),
        recurrent=draw(st.sampled_from([None, True])),
        disease=draw(st.sampled_from([None, *Disease])),
        radiotherapy_end_day=draw(st.sampled_from([-1000, -30, 0, 60] + [None] * unknown)),
        immunotherapy_start_day=draw(st.sampled_from([-1000, 0] + [None] * unknown)),
    )


RATED = timelines(sized=True, least=2)


@st.composite
def listed(draw):
    """Timelines of lesions, doses in mg and stated days of treatment."""
    made, day = [], 0
    for number in range(draw(st.integers(1, 5))):
        day += draw(GAP)
        millimetres = st.sampled_from([0.0, 8.0, 10.0, 12.0, 15.0, 20.0, None])
        lesions = [
            Lesion(id=name, longest_mm=draw(millimetres), perpendicular_mm=draw(millimetres), volume_mm3=draw(SIZE))
            for name in "ABCD"[: draw(st.integers(0, 4))]
        ]
        dose = draw(st.sampled_from([None, 0, 0.5, 2, 4, 8]))
        found = tuple(lesions) if draw(st.booleans()) else None
        made.append(Scan(id=f"s{number}", day=day, lesions=found, steroid_mg_per_day=dose, clinical="stable"))
    return Timeline(patient="P", scans=tuple(made), radiotherapy_end_day=draw(st.sampled_from([None, -1000, 0])))


def last(timeline, criteria, measure=Measure.AREA):
    return evaluate(timeline, criteria, measure).calls[-1]


def change_last(timeline, **fields):
    *before, scan = timeline.scans
    return timeline.model_copy(update={"scans": (*before, scan.model_copy(update=fields))})


def categories(evaluation):
    return [(call.category, call.preliminary) for call in evaluation.calls]


def rank(call):
    assume(call.category in BEST)
    return BEST.index(call.category)


every_criteria = pytest.mark.parametrize("criteria", CRITERIA, ids=lambda one: one.name)


@REAL
@given(st.one_of(timelines(), listed()), st.sampled_from(Measure))
def test_every_timeline_has_calls_that_explain_themselves(timeline, measure):
    for found in evaluate_all(timeline, measure):
        assert [call.scan for call in found.calls] == [scan.id for scan in timeline.scans]
        for call in found.calls:
            assert (call.category is not None) == (call.stage is Stage.ASSESSED)
            assert call.provisional == bool(call.unknown)
            if call.category is not None:
                assert call.rule.startswith(found.criteria)
                assert call.reasons
            if call.size is not None:
                assert 0 <= call.size.probability_other <= 1
            assert (call.progression_scan is not None) == (call.category is Category.PD)


@every_criteria
@FEW
@given(size=SIZE.filter(bool), gaps=st.lists(GAP, min_size=1, max_size=5), disease=st.sampled_from(Disease))
def test_equal_scans_are_stable(criteria, size, gaps, disease):
    sums = Sizes(spd_mm2=size)
    days = [sum(gaps[:n]) for n in range(len(gaps) + 1)]
    scans = [Scan(id=f"s{n}", day=day, enhancing=sums, nonenhancing=sums, **HARMLESS) for n, day in enumerate(days)]
    found = evaluate(Timeline(patient="P", scans=tuple(scans), disease=disease, radiotherapy_end_day=-1000), criteria)
    assert {call.category for call in found.calls[1:]} == {Category.SD}
    assert not any(call.preliminary for call in found.calls)


@every_criteria
@FEW
@given(timeline=timelines(), factor=st.sampled_from([1e-3, 0.1, 1 / 3, 7, 1234.5]))
def test_scale_does_not_matter(criteria, timeline, factor):
    def scaled(sizes):
        return Sizes(spd_mm2=None if sizes.spd_mm2 is None else sizes.spd_mm2 * factor)

    scans = [
        scan.model_copy(update={"enhancing": scaled(scan.enhancing), "nonenhancing": scaled(scan.nonenhancing)})
        for scan in timeline.scans
    ]
    larger = timeline.model_copy(update={"scans": tuple(scans)})
    assert categories(evaluate(larger, criteria)) == categories(evaluate(timeline, criteria))


@every_criteria
@FEW
@given(timeline=RATED, trigger=st.sampled_from(list(TRIGGERS)))
def test_a_trigger_more_never_improves_the_category(criteria, timeline, trigger):
    assume(getattr(timeline.scans[-1], trigger) is not None)
    before = last(timeline, criteria)
    after = last(change_last(timeline, **{trigger: TRIGGERS[trigger]}), criteria)
    assert rank(after) <= rank(before)


@every_criteria
@FEW
@given(timeline=RATED, larger=SIZE)
def test_a_larger_tumour_never_improves_the_category(criteria, timeline, larger):
    """Of one compartment: the published table of mixed tumours puts CR beside SD below PR beside SD."""
    assume(not (criteria is RANO_2 and timeline.disease is Disease.MIXED))
    scan = timeline.scans[-1]
    grown = {name: Sizes(spd_mm2=max(getattr(scan, name).spd_mm2, larger)) for name in ("enhancing", "nonenhancing")}
    assert rank(last(change_last(timeline, **grown), criteria)) <= rank(last(timeline, criteria))


@every_criteria
@FEW
@given(timeline=RATED)
def test_the_nadir_never_rises(criteria, timeline):
    """Until a progression that was not confirmed, or radiotherapy, sets a new reference."""
    fixed = criteria.model_copy(
        update={"unconfirmed_becomes_reference": False, "progression_from_radiotherapy": False, "second_step": "nadir"}
    )
    sizes = [call.size.nadir for call in evaluate(timeline, fixed).calls if call.size is not None]
    assert sizes == sorted(sizes, reverse=True)


@every_criteria
@FEW
@given(timeline=listed(), data=st.data())
def test_the_order_of_lesions_does_not_matter(criteria, timeline, data):
    scans = [
        scan.model_copy(update={"lesions": scan.lesions and tuple(data.draw(st.permutations(scan.lesions)))})
        for scan in timeline.scans
    ]
    shuffled = timeline.model_copy(update={"scans": tuple(scans)})
    assert categories(evaluate(shuffled, criteria)) == categories(evaluate(timeline, criteria))


def forget(timeline, number, field):
    """The timeline without one fact; sizes are facts, too."""
    if field == "immunotherapy_start_day":
        return timeline.model_copy(update={field: None})
    value = Sizes() if field.endswith("enhancing") else None
    scans = list(timeline.scans)
    scans[number] = scans[number].model_copy(update={field: value})
    return timeline.model_copy(update={"scans": tuple(scans)})


FORGOTTEN = [*VALUES, "enhancing", "nonenhancing", "immunotherapy_start_day"]


@every_criteria
@settings(max_examples=30, deadline=None)
@given(timeline=timelines(), field=st.sampled_from(FORGOTTEN), data=st.data())
def test_knowing_less_never_makes_a_call_firmer_or_another(criteria, timeline, field, data):
    number = data.draw(st.integers(0, len(timeline.scans) - 1))
    knowing, less = (evaluate(one, criteria) for one in (timeline, forget(timeline, number, field)))
    for before, after in zip(knowing.calls, less.calls, strict=True):
        if not after.provisional:
            assert (after.category, after.provisional) == (before.category, before.provisional)


@pytest.mark.parametrize("criteria", [MACDONALD, RANO_LGG, RANO_2, IRANO], ids=lambda one: one.name)
@FEW
@given(timeline=timelines(least=2))
def test_a_trigger_that_is_known_decides_whatever_is_unknown(criteria, timeline):
    """Clinical decline, where it is progression at any time."""
    call = last(change_last(timeline, clinical=Change.WORSE), criteria)
    assume(call.category is not None)
    assert (call.category, call.provisional, call.unknown) == (Category.PD, False, ())


@every_criteria
@settings(max_examples=12, deadline=None)
@given(
    timeline=timelines(unknown=False, sized=True, least=2),
    fields=st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=2, unique=True),
)
def test_unknown_facts_are_listed_exactly_where_they_can_change_the_category(criteria, timeline, fields):
    assume(not (criteria is RANO_2 and timeline.disease is Disease.MIXED))
    on_steroids = tuple(scan.model_copy(update={"steroids": Steroids.STABLE}) for scan in timeline.scans)
    timeline = timeline.model_copy(update={"scans": on_steroids})
    call = last(change_last(timeline, **dict.fromkeys(fields)), criteria)
    assume(call.category is not None)
    found = {
        answers: last(change_last(timeline, **dict(zip(fields, answers, strict=True))), criteria).category
        for answers in product(*(VALUES[field] for field in fields))
    }
    expected = {
        NAMES[field]
        for place, field in enumerate(fields)
        for answers in found
        if any(found[answers] != found[(*answers[:place], other, *answers[place + 1 :])] for other in VALUES[field])
    }
    assert set(call.unknown) == expected
    assert call.category in found.values()
