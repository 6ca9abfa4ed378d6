"""A verdict follows from intervals alone: the same value with a wide interval is uncertain."""

from __future__ import annotations

import pytest

from ranoscope.evaluation.intervals import Estimate
from ranoscope.probing.verdicts import (
    Verdict,
    judge_changed,
    judge_decoded,
    judge_identity,
    judge_kept_direction,
    judge_needed,
    judge_still,
    judge_sufficient,
    judge_useless,
)

FINE, NOTED, CUT, OPEN = Verdict.AS_IT_SHOULD, Verdict.NOTEWORTHY, Verdict.SHORTCUT, Verdict.UNCERTAIN
NONE = Estimate(float("nan"), float("nan"), float("nan"), 9, 10, "why")


def span(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, 0, 10)


@pytest.mark.parametrize(
    ("stable", "progression", "verdict"),
    [
        (span(0.85, 0.95), span(0, 0.1), FINE),
        (span(0.7, 1), span(0, 0.1), OPEN),
        (span(0.5, 0.7), span(0.1, 0.3), NOTED),
        (span(0.3, 0.7), span(0.25, 0.6), CUT),
        (NONE, NONE, OPEN),
    ],
)
def test_still(stable, progression, verdict):
    assert judge_still(stable, progression) is verdict


@pytest.mark.parametrize(
    ("held", "verdict"),
    [
        (span(0.6, 0.9), CUT), (span(0.4, 0.9), NOTED), (span(0.1, 0.9), OPEN), (span(0, 0.2), FINE), (NONE, OPEN),
    ],
)  # fmt: skip
def test_direction(held, verdict):
    assert judge_kept_direction(held) is verdict


GOOD, POOR = span(0.3, 0.5), span(-0.1, 0.1)


@pytest.mark.parametrize(
    ("before", "after", "beyond_half", "verdict"),
    [
        (GOOD, span(0.25, 0.4), span(0.05, 0.2), CUT),
        (GOOD, span(0.02, 0.2), span(-0.2, 0.02), NOTED),
        (GOOD, span(-0.05, 0.05), span(-0.3, -0.1), FINE),
        (GOOD, span(-0.05, 0.4), span(-0.3, 0.2), OPEN),
        (POOR, span(-0.05, 0.05), span(-0.05, -0.01), OPEN),
        (NONE, NONE, NONE, OPEN),
    ],
)
def test_useless(before, after, beyond_half, verdict):
    assert judge_useless(before, after, beyond_half) is verdict


@pytest.mark.parametrize(
    ("before", "beyond_half", "verdict"),
    [
        (GOOD, span(0.01, 0.2), FINE), (GOOD, span(-0.2, -0.01), NOTED), (GOOD, span(-0.1, 0.1), OPEN),
        (POOR, span(0.01, 0.2), OPEN), (NONE, NONE, OPEN),
    ],
)  # fmt: skip
def test_sufficient(before, beyond_half, verdict):
    assert judge_sufficient(before, beyond_half) is verdict


@pytest.mark.parametrize(
    ("before", "beyond_half", "change", "verdict"),
    [
        (GOOD, span(0.01, 0.2), span(-0.1, -0.01), NOTED),
        (GOOD, span(-0.1, 0.1), span(-0.3, -0.01), FINE),
        (GOOD, span(-0.1, 0.1), span(-0.3, 0.01), OPEN),
        (POOR, span(-0.1, 0.1), span(-0.3, -0.01), OPEN),
        (NONE, NONE, NONE, OPEN),
    ],
)
def test_needed(before, beyond_half, change, verdict):
    assert judge_needed(before, beyond_half, change) is verdict


@pytest.mark.parametrize(
    ("found", "changed", "decoded"),
    [
        (span(0.3, 0.5), NOTED, NOTED), (span(0.1, 0.5), OPEN, NOTED), (span(0, 0.2), FINE, FINE),
        (span(-0.1, 0.3), OPEN, OPEN), (NONE, OPEN, OPEN),
    ],
)  # fmt: skip
def test_changed_and_decoded(found, changed, decoded):
    assert judge_changed(found) is changed
    assert judge_decoded(found) is decoded


def test_a_patient_is_recognised_only_where_permutations_say_so():
    assert judge_identity(span(0.1, 0.3), 0.01, 0.05) is NOTED
    assert judge_identity(span(0.1, 0.3), 0.2, 0.05) is OPEN
    assert judge_identity(span(-0.1, 0.1), 0.5, 0.05) is FINE
    assert judge_identity(NONE, float("nan"), 0.05) is OPEN
