"""Courses over several scans: confirmation, repeats of progression, new references, what a later scan takes back."""

from __future__ import annotations

import pytest

from ranoscope.response.calls import Flag
from ranoscope.response.criteria import IRANO, MRANO, RANO_2, RANO_HGG, RANO_LGG, with_changes
from ranoscope.response.engine import evaluate
from ranoscope.response.timeline import Lesion, Scan, Sizes, Timeline

KNOWN = {
    "new_lesion": "none", "non_measurable": "absent", "t2_flair": "stable", "steroids": "stable", "clinical": "stable",
    "leptomeningeal": False, "enhancement_worse": False, "anti_angiogenic": False, "viable_tumour": False,
    "outside_radiation_field": False,
}  # fmt: skip


def calls(criteria, *scans, end=-1000, start=-1000):
    """Calls of scans, each a size, or (day, size) or (day, size, facts); days are 35 apart where not given."""
    made = []
    for n, scan in enumerate(scans):
        day, size, facts = (35 * n, scan, {}) if not isinstance(scan, tuple) else (*scan, {})[:3]
        sums = Sizes(spd_mm2=size)
        made.append(Scan(id=f"s{n}", day=day, enhancing=sums, nonenhancing=sums, **{**KNOWN, **facts}))
    timeline = Timeline(patient="P", scans=tuple(made), radiotherapy_end_day=end, immunotherapy_start_day=start)
    return evaluate(timeline, criteria).calls


def words(found):
    """As in the vectors: the category, ``~`` what waits, ``?`` if provisional."""
    return " ".join(
        f"{call.category or '-'}{'~' + call.preliminary if call.preliminary else ''}{'?' if call.provisional else ''}"
        for call in found
    )


@pytest.mark.parametrize(
    ("scans", "expected"),
    [
        ([800, (35, 400), (62, 400)], "- SD~PR SD~PR"),
        ([800, (35, 400), (63, 400)], "- SD~PR PR"),
        ([800, (35, 400), (49, 390), (63, 380)], "- SD~PR SD~PR PR"),
        ([800, (35, 400), (49, 410), (70, 400)], "- SD~PR SD SD~PR"),
        ([800, 400, 400, 0], "- SD~PR PR PR"),
        ([800, (35, 400), (35, 400)], "- SD~PR SD~PR"),
    ],
)
def test_a_response_needs_two_scans_four_weeks_apart_and_no_break(scans, expected):
    assert words(calls(RANO_HGG, *scans)) == expected


def test_complete_response_waits_while_the_partial_one_stands():
    off = {"steroids": "none"}
    found = calls(RANO_HGG, (0, 800), (35, 400), (70, 0, off), (105, 0, off))
    assert words(found) == "- SD~PR PR~CR CR"
    assert [call.confirmed for call in found] == [None, False, False, True]


def test_minor_response_stands_while_the_partial_one_waits():
    assert words(calls(RANO_LGG, 800, 600, 400, 400)) == "- SD~MR MR~PR PR"


def test_an_unknown_size_between_is_passed_over_but_may_have_broken_the_response():
    found = calls(RANO_HGG, 800, 400, None, 390)
    assert words(found) == "- SD~PR NE? PR?"
    assert found[-1].unknown == ("size at s2", "findings at earlier scans")


def test_a_scan_that_is_not_evaluable_starts_no_response():
    found = calls(RANO_HGG, (0, 800), (35, None), (49, 400), (70, 400))
    assert words(found) == "- NE? SD~PR? SD~PR?"


def test_an_unknown_fact_at_the_first_scan_of_a_response_makes_its_confirmation_provisional():
    found = calls(RANO_HGG, 800, (35, 400, {"steroids": None}), 400)
    assert words(found) == "- SD~PR PR?"
    assert found[-1].unknown == ("findings at earlier scans",)


def test_a_repeat_that_comes_too_soon_settles_nothing():
    found = calls(MRANO, (0, 900), (28, 600), (56, 760), (83, 980), (84, 960))
    assert words(found) == "- SD SD~PD SD~PD PD"
    assert (found[-1].progression_scan, found[-1].confirmed, found[-1].nadir) == ("s2", True, "s2")
    assert "comes too soon" in " ".join(reason.sentence for reason in found[3].reasons)


def test_a_smaller_scan_that_comes_too_soon_does_not_move_the_date():
    found = calls(MRANO, (0, 900), (28, 600), (56, 760), (70, 700), (90, 960))
    assert (words(found), found[-1].progression_scan) == ("- SD SD~PD SD PD", "s2")


def test_progression_that_was_not_confirmed_becomes_the_reference():
    scans = (900, 600, 760, 940, 949, 950)
    found = calls(MRANO, *scans)
    assert words(found) == "- SD SD~PD SD SD SD~PD"
    assert [call.nadir for call in found[2:]] == ["s1", "s2", "s2", "s2"]
    kept = with_changes(MRANO, ["unconfirmed_becomes_reference=false"])
    assert words(calls(kept, *scans)) == "- SD SD~PD SD SD~PD SD"


def test_progression_that_was_not_of_size_is_confirmed_against_the_nadir():
    found = calls(MRANO, 1000, 500, (70, 600, {"non_measurable": "worse"}), 640)
    assert (words(found), found[-1].nadir) == ("- SD~PR SD~PD PD", "s1")


def test_a_repeat_scan_of_unknown_size_settles_nothing():
    found = calls(MRANO, 900, 600, 760, None, 960)
    assert words(found) == "- SD SD~PD NE? PD?"
    assert found[-1].progression_scan == "s2"


def test_progression_that_may_not_have_waited_makes_its_repeat_provisional():
    """Were the dose lowered at s1, nothing would wait, and growth against the nadir at s2 would be progression."""
    found = calls(IRANO, (0, 500), (122, 700, {"steroids": None}), (213, 735), start=0)
    assert words(found) == "- SD~PD SD?"
    assert found[-1].unknown == ("findings at earlier scans",)


def test_a_reference_for_progression_of_unknown_size_leaves_the_call_open():
    found = calls(RANO_HGG, (0, 400), (60, None), (130, 600), end=10)
    assert words(found) == "- NE? NE?"
    assert found[-1].unknown == ("size at s1",)


def test_progression_that_was_not_of_size_leaves_the_reference():
    worse = {"non_measurable": "worse"}
    found = calls(MRANO, 1000, 500, (70, 600, worse), 600, 700)
    assert words(found) == "- SD~PR SD~PD SD SD~PD"
    assert found[-1].nadir == "s1"


def test_after_the_new_reference_a_smaller_scan_is_the_nadir_again():
    found = calls(MRANO, 900, 600, 760, 700, 875)
    assert (words(found), found[-1].nadir) == ("- SD SD~PD SD SD~PD", "s3")


def test_both_readings_of_the_second_step():
    scans = (900, 600, 760, 755)
    assert words(calls(MRANO, *scans)) == "- SD SD~PD SD"
    assert words(calls(with_changes(MRANO, ["second_step=still beyond the threshold against the nadir"]), *scans)) == (
        "- SD SD~PD PD"
    )


def test_confirmed_progression_needs_no_second_confirmation():
    found = calls(MRANO, 900, 600, 760, 960, 980, 700)
    assert words(found) == "- SD SD~PD PD PD SD"
    assert [Flag.AFTER_PROGRESSION in call.flags for call in found] == [False] * 4 + [True] * 2


def test_immunotherapy_repeat_waits_three_months_even_past_the_window():
    found = calls(IRANO, (0, 500), (150, 700), (200, 950), (234, 950), start=0)
    assert words(found) == "- SD~PD SD~PD PD"
    assert found[-1].progression_scan == "s1"


def test_outside_the_window_progression_stands_and_is_dated_to_the_scan_that_waited():
    found = calls(RANO_2, (28, 700), (77, 900), (91, 900), end=0)
    assert (words(found), found[-1].progression_scan) == ("- SD~PD PD", "s1")


def test_progression_doubted_within_the_window_dates_the_one_believed_after_it():
    found = calls(RANO_HGG, (30, 400), (60, 600), (100, 610), end=0)
    assert (words(found), found[-1].progression_scan, found[-1].confirmed) == ("- SD PD", "s1", None)


def test_the_first_scan_after_radiotherapy_is_the_reference_for_progression():
    found = calls(RANO_HGG, (0, 400), (60, 600), (100, 610), (130, 750), end=10)
    assert (words(found), [call.nadir for call in found]) == ("- SD SD PD", [None, "s0", "s1", "s1"])


def lesions(*sizes):
    return tuple(
        Lesion(id=name, longest_mm=size, perpendicular_mm=size) for name, size in zip("ABC", sizes, strict=False)
    )


def listed(criteria, *scans, **more):
    """As ``calls``, with lesions A and B by their diameter in mm and new lesions found in the lists."""
    told = {"new_lesion": None, "non_measurable": None}
    return calls(criteria, *[(day, None, {**told, "lesions": lesions(*sizes)}) for day, *sizes in scans], **more)


@pytest.mark.parametrize("criteria", [RANO_HGG, RANO_2, IRANO])
def test_a_new_lesion_that_was_not_believed_is_progression_if_it_stays(criteria):
    found = listed(criteria, (30, 20), (40, 20, 12), (130, 20, 12), end=0, start=0)
    gone = listed(criteria, (30, 20), (40, 20, 12), (130, 20, 0), end=0, start=0)
    assert [call.category for call in found] == [None, "SD", "PD"]
    assert found[-1].progression_scan == "s1"
    assert [call.category for call in gone] == [None, "SD", "SD"]
    if criteria is RANO_HGG:
        assert "not believed at first is still there (B)" in found[-1].reasons[0].sentence


def test_a_new_lesion_too_small_to_count_does_not_stand_in_for_the_one_that_went():
    found = listed(RANO_2, (30, 20), (40, 20, 12, 6), (130, 20, 0, 6), end=0)
    assert [call.category for call in found] == [None, "SD", "SD"]


def test_rating_after_progression_is_a_setting():
    stops = with_changes(RANO_HGG, ["rate_after_progression=false"])
    found = calls(stops, 1000, 400, 800, 400, (140, 600, {"surgery": "post-op"}), (200, 600))
    assert words(found) == "- SD~PR PD - - SD"
    assert found[3].flags == (Flag.AFTER_PROGRESSION,)
    assert found[5].flags == ()


def weeks(criteria, *scans, **patient):
    """Scans named by their week."""
    made = tuple(
        Scan(id=f"week-{week:03d}", day=7 * week, enhancing=Sizes(spd_mm2=size), **KNOWN) for week, size in scans
    )
    return evaluate(Timeline(patient="P", scans=made, **patient), criteria).calls[-1]


@pytest.mark.parametrize(
    ("criteria", "scans", "end", "rounded"),
    [
        (RANO_HGG, [(0, 800), (4, 400), (8, 400)], -700, True),
        (RANO_HGG, [(0, 800), (4, 400), (9, 400)], -700, False),
        (RANO_HGG, [(0, 800), (2, 400), (4, 400), (8, 400)], -700, False),
        (RANO_HGG, [(0, 400), (20, 600)], 7 * 8, True),
        (RANO_HGG, [(0, 400), (20, 600)], 7 * 7, False),
        (RANO_HGG, [(0, 400), (20, 400)], 7 * 8, False),
        (MRANO, [(0, 400), (10, 600), (14, 760)], -700, True),
        (MRANO, [(0, 400), (10, 600), (15, 760)], -700, False),
    ],
)
def test_intervals_of_whole_weeks_at_a_limit_are_flagged(criteria, scans, end, rounded):
    call = weeks(criteria, *scans, radiotherapy_end_day=end)
    assert (Flag.INTERVAL_ROUNDED in call.flags) is rounded


def test_intervals_known_to_the_day_are_not():
    assert calls(RANO_HGG, (0, 800), (28, 400), (56, 400))[-1].flags == ()
