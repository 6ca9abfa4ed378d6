"""The verdicts: a small closed set, decided by intervals over patients and never by a point value alone.

The rules are the project's own; no source gives any. They rest on three numbers: chance; half of what a network scores
above chance, which it should not keep without the tumour, nor lose for want of anything but the tumour; and a tolerated
share of calls, since a network's call of a case near a boundary may move with anything.
"""

from __future__ import annotations

from enum import StrEnum

from ranoscope.evaluation.intervals import Estimate

TOLERATED = 0.2
HALF = 0.5


class Verdict(StrEnum):
    """What a probe says of a network."""

    AS_IT_SHOULD = "as it should be"
    NOTEWORTHY = "noteworthy"
    SHORTCUT = "shortcut"
    UNCERTAIN = "uncertain"


def judge_still(stable: Estimate, progression: Estimate) -> Verdict:
    """Of a study shown twice: most calls are SD, and few are PD, for nothing has changed.

    Args:
        stable: share called SD (not PD, where only PD is told apart).
        progression: share called PD.
    """
    if progression.low > TOLERATED:
        return Verdict.SHORTCUT
    if stable.low >= 1 - TOLERATED:
        return Verdict.AS_IT_SHOULD
    return Verdict.NOTEWORTHY if stable.high < 1 - TOLERATED else Verdict.UNCERTAIN


def judge_kept_direction(held: Estimate) -> Verdict:
    """Of studies exchanged: calls of a change do not stay what they were.

    Args:
        held: share of PD calls that stay PD, and of PR and CR calls that stay a response.
    """
    if held.low > HALF:
        return Verdict.SHORTCUT
    if held.low > TOLERATED:
        return Verdict.NOTEWORTHY
    return Verdict.AS_IT_SHOULD if held.high <= TOLERATED else Verdict.UNCERTAIN


def judge_useless(before: Estimate, after: Estimate, beyond_half: Estimate) -> Verdict:
    """Of what should not suffice: without the tumour's images the score falls to chance.

    Args:
        before: score minus chance with everything there.
        after: score minus chance of what is left.
        beyond_half: ``after`` minus half of ``before``, paired.
    """
    if after.low > 0:
        return Verdict.SHORTCUT if beyond_half.low > 0 else Verdict.NOTEWORTHY
    falls = before.low > 0 and beyond_half.high < 0
    return Verdict.AS_IT_SHOULD if falls else Verdict.UNCERTAIN


def judge_sufficient(before: Estimate, beyond_half: Estimate) -> Verdict:
    """Of what should nearly suffice: more than half of the score above chance stays. Arguments: ``judge_useless``."""
    if not before.low > 0:
        return Verdict.UNCERTAIN
    if beyond_half.low > 0:
        return Verdict.AS_IT_SHOULD
    return Verdict.NOTEWORTHY if beyond_half.high < 0 else Verdict.UNCERTAIN


def judge_needed(before: Estimate, beyond_half: Estimate, change: Estimate) -> Verdict:
    """Of what should be missed: without it the score falls, and not by little.

    Args:
        before: score minus chance with everything there.
        beyond_half: what is left of it, minus half of it, paired.
        change: score after minus before, paired.
    """
    if not before.low > 0:
        return Verdict.UNCERTAIN
    if beyond_half.low > 0:
        return Verdict.NOTEWORTHY
    return Verdict.AS_IT_SHOULD if change.high < 0 else Verdict.UNCERTAIN


def judge_changed(changed: Estimate) -> Verdict:
    """Of something that should change no call: few do. A side or a place learnt by heart is no proof of a shortcut."""
    if changed.low > TOLERATED:
        return Verdict.NOTEWORTHY
    return Verdict.AS_IT_SHOULD if changed.high <= TOLERATED else Verdict.UNCERTAIN


def judge_decoded(gain: Estimate) -> Verdict:
    """Of weeks, in features or alone: noteworthy at most, for tumours change with time too.

    Args:
        gain: beyond chance, or beyond the mean: 0 gives nothing away.
    """
    if gain.low > 0:
        return Verdict.NOTEWORTHY
    return Verdict.AS_IT_SHOULD if gain.high <= TOLERATED else Verdict.UNCERTAIN


def judge_identity(gain: Estimate, p: float, level: float) -> Verdict:
    """Of patients recognised from features: noteworthy at most, for tumours differ too.

    Args:
        gain: share recognised, minus that by chance.
        p: of the permutation test.
        level: of significance.
    """
    if gain.low > 0 and not p < level:
        return Verdict.UNCERTAIN
    return judge_decoded(gain)
