"""The page of a benchmark: what its marks mean."""

from __future__ import annotations

import copy
import re

import pytest

from ranoscope.benchmarking.page import points, render_page


@pytest.mark.parametrize(
    ("low", "high", "apart"),
    [(0.017, 0.136, True), (-0.2, -0.05, True), (-0.023, 0.058, False), (0.0, 0.058, False), (None, None, False)],
)
def test_green_is_an_interval_that_leaves_out_zero_and_nothing_else(finished, low, high, apart):
    _, content, _ = finished
    content = copy.deepcopy(content)
    change = {"estimate": 0.05, "low": low, "high": high, "reason": None}
    for arm in content["arms"]:
        if arm["minus_reference"] is not None and "reason" not in arm["minus_reference"]:
            arm["minus_reference"] = dict.fromkeys(arm["minus_reference"], change)
    page = render_page(content, {})
    beside = re.findall(r'<td class="number( apart)?">\+5\.0<br><span class="interval">([^<]*)</span>', page)
    assert beside
    assert {bool(mark) for mark, _ in beside} == {apart}
    expected = "" if low is None else f"{100 * low:+.1f} to {100 * high:+.1f}".replace("-", "−")
    assert {interval for _, interval in beside} == {expected}
    assert page.count(" apart") == (len(beside) if apart else 0)


def test_a_difference_has_a_real_minus_sign():
    assert points({"estimate": -0.05, "low": -0.1, "high": 0.02}) == "−5.0 (−10.0 to +2.0)"
    assert points({"estimate": 0.05, "low": None}) == "+5.0"
    assert points({"estimate": None, "low": None}) == "–"
