"""What counts at each scan of random courses: properties, and sums a person would write down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranoscope.response.burden import burdens
from ranoscope.response.criteria import CRITERIA, MACDONALD, RANO_HGG
from ranoscope.response.series import make_series
from ranoscope.response.timeline import Compartment, Lesion, Measure, NewLesion, NonMeasurable, Role, Scan, Timeline

E = Compartment.ENHANCING
PRESENT, WORSE = NonMeasurable.PRESENT, NonMeasurable.WORSE
NONE, SMALL, NEW = NewLesion.NONE, NewLesion.NON_MEASURABLE, NewLesion.MEASURABLE


def sizes(found):
    return [one.size for one in found]


# Random courses: lesions A to E, some of which are there, in sizes of half millimetres.
MILLIMETRES = st.integers(1, 120).map(lambda half: half / 2)
SCAN = st.dictionaries(st.sampled_from("ABCDE"), st.tuples(MILLIMETRES, MILLIMETRES), max_size=5)
COURSE = st.lists(st.one_of(SCAN, SCAN, SCAN, st.none()), min_size=1, max_size=5)
CRITERION = st.sampled_from([one for one in CRITERIA if E in one.parts])


def listed(scan, scale=1.0, **more):
    if scan is None:
        return None
    made = [Lesion(id=name, longest_mm=a * scale, perpendicular_mm=b * scale, **more) for name, (a, b) in scan.items()]
    return tuple(made)


def made_series(scans, criteria, day=60, **more):
    line = Timeline(
        patient="P", scans=tuple(Scan(id=str(n), day=day * n, lesions=one) for n, one in enumerate(scans)), **more
    )
    return make_series(line, criteria)[0]


def plain(found):
    """What a burden says, apart from the scan it was made from."""
    return [(one.size, one.size_sd, one.targets, one.new_lesion, one.non_measurable, one.appeared) for one in found]


@settings(max_examples=60, deadline=None)
@given(scans=COURSE, criteria=CRITERION, seed=st.integers(0, 99), end=st.sampled_from([None, 0, 90]))
def test_order_of_lesions_is_irrelevant(scans, criteria, seed, end):
    random = np.random.default_rng(seed)
    forth = [listed(one) for one in scans]
    shuffled = [None if one is None else tuple(one[n] for n in random.permutation(len(one))) for one in forth]
    one, other = (
        burdens(made_series(order, criteria, radiotherapy_end_day=end), E, criteria, Measure.AREA)
        for order in (forth, shuffled)
    )
    assert plain(one) == plain(other)


@settings(max_examples=60, deadline=None)
@given(scans=COURSE, criteria=CRITERION, stop=st.integers(1, 5), end=st.sampled_from([None, 0, 90]))
def test_later_scans_change_nothing(scans, criteria, stop, end):
    series = made_series([listed(one) for one in scans], criteria, radiotherapy_end_day=end)
    place = max(stop, (series.baseline or 0) + 1)
    cut = replace(series, scans=series.scans[:place], stages=series.stages[:place])
    first_list = next(
        (n for n, one in enumerate(series.scans) if n >= (series.baseline or 0) and one.lesions is not None), 99
    )
    if first_list < place:
        assert burdens(series, E, criteria, Measure.AREA)[:place] == burdens(cut, E, criteria, Measure.AREA)


@settings(max_examples=60, deadline=None)
@given(scans=COURSE, k=st.sampled_from([0.25, 0.5, 2.0, 8.0]), criteria=CRITERION)
def test_sums_scale_with_the_square_of_all_lengths(scans, k, criteria):
    """Every length scaled, also those the criteria name; powers of two, so that no rounding intervenes."""
    part = criteria.parts[E]
    lengths = {"minimum_mm": part.minimum_mm and part.minimum_mm * k}
    growth = criteria.non_measurable_growth_mm
    scaled_criteria = criteria.model_copy(
        update={
            "parts": {**criteria.parts, E: part.model_copy(update=lengths)},
            "non_measurable_growth_mm": growth and growth * k,
        }
    )
    one = burdens(made_series([listed(scan) for scan in scans], criteria), E, criteria, Measure.AREA)
    other = burdens(made_series([listed(scan, k) for scan in scans], scaled_criteria), E, scaled_criteria, Measure.AREA)
    assert [size and size * k**2 for size in sizes(one)] == sizes(other)
    assert [row[2:] for row in plain(one)] == [row[2:] for row in plain(other)]


@settings(max_examples=60, deadline=None)
@given(scans=COURSE, extra=st.lists(st.tuples(MILLIMETRES, MILLIMETRES), min_size=5, max_size=5), criteria=CRITERION)
def test_a_non_target_changes_no_sum(scans, extra, criteria):
    more = [
        None if one is None else (*one, *listed({"Z": size}, role=Role.NON_TARGET))
        for one, size in zip((listed(scan) for scan in scans), extra, strict=False)
    ]
    without, with_it = (
        burdens(made_series(one, criteria), E, criteria, Measure.AREA)
        for one in ([listed(scan) for scan in scans], more)
    )
    assert [row[:3] for row in plain(without)] == [row[:3] for row in plain(with_it)]
    seen = [one is not None for one in scans]
    assert all(one.non_measurable in (PRESENT, WORSE) for one, known in zip(with_it, seen, strict=True) if known)


@settings(max_examples=100, deadline=None)
@given(scans=st.lists(SCAN, min_size=1, max_size=5))
def test_sums_equal_those_of_a_person_with_a_list(scans):
    """RANO-HGG, written down again: mark the five largest at first, cross out what goes, add up the rest."""
    found = burdens(made_series([listed(one) for one in scans], RANO_HGG), E, RANO_HGG, Measure.AREA)
    marked = {name for name, (a, b) in scans[0].items() if min(a, b) >= 10}
    if not marked:
        return
    expected = []
    back_and_small: set[str] = set()
    for scan in scans:
        back_and_small = {
            name for name in marked if name not in scan or (name in back_and_small and min(scan[name]) < 10)
        }
        there = {name for name in marked if name in scan}
        expected.append(sum(scan[name][0] * scan[name][1] for name in there) if there - back_and_small else 0)
    assert sizes(found) == pytest.approx(expected)
    for place, (scan, one) in enumerate(zip(scans, found, strict=True)):
        seen = set().union(*scans[:place])
        if place:
            fresh = {name for name in scan if name not in seen}
            measurable = {name for name in fresh if min(scan[name]) >= 10}
            first_time = {
                name
                for name in scan
                if name not in scans[0]
                and min(scan[name]) >= 10
                and not any(min(old.get(name, (0,))) >= 10 for old in scans[:place])
            }
            assert one.new_lesion is (NEW if measurable or first_time else SMALL if fresh else NONE)


@settings(max_examples=60, deadline=None)
@given(scans=st.lists(SCAN, min_size=3, max_size=5), other=SCAN, criteria=CRITERION)
def test_a_scan_s_sum_does_not_depend_on_how_the_targets_fared_in_between(scans, other, criteria):
    if not any(min(size) >= 10 or criteria is MACDONALD for size in scans[0].values()):
        return
    there = dict.fromkeys(scans[0], (5.0, 5.0))
    later = [{name: scan[name] for name in scan if name in there} for scan in scans[2:]]
    one, changed = (
        [scans[0], {name: between.get(name, size) for name, size in there.items()}, *later]
        for between in (scans[1], other)
    )
    capped = criteria.model_copy(update={"non_measurable_growth_mm": None, "non_measurable_growth_percent": None})
    first, second = (
        sizes(burdens(made_series([listed(scan) for scan in line], capped), E, capped, Measure.AREA))
        for line in (one, changed)
    )
    assert first[:1] + first[2:] == second[:1] + second[2:]
