"""A size against its references: exact thresholds, and how a repeated measurement might change the comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ranoscope.response.calls import Category, SizeComparison
from ranoscope.response.criteria import Thresholds
from ranoscope.response.timeline import Compartment, Measure

# Thresholds are inclusive. Products of measured decimals miss them by rounding, never by more than this
# share of the size.
_ROUNDING = 1e-9
# A step off a threshold that is beyond rounding and far below any measurement error.
_BESIDE = 1e-6
# Stands for a standard deviation of 0, far below rounding.
_NO_ERROR = 1e-12
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)


class Size(NamedTuple):
    """A burden in mm² or mm³, the standard deviation of its repeated measurement as a fraction of it, its scan."""

    value: float
    sd: float
    scan: int


class Standing(NamedTuple):
    """How a size stands to its references; the names are those of the decision table's questions."""

    recurred: bool
    grown: bool
    gone: bool
    responded: bool
    minor_response: bool


def has_grown(now: float, nadir: float, percent: int) -> bool:
    """Whether ``now`` is at least ``percent`` above ``nadir``; False at a nadir of 0, where no percentage exists."""
    return nadir > 0 and 100 * now >= (100 + percent) * nadir * (1 - _ROUNDING)


def has_shrunk(now: float, baseline: float, percent: int) -> bool:
    """Whether ``now`` is at least ``percent`` below ``baseline``; False at a baseline of 0."""
    return baseline > 0 and 100 * now <= (100 - percent) * baseline * (1 + _ROUNDING)


@dataclass(frozen=True)
class Comparison:
    """The current size, the reference for progression and the baseline, under one set of thresholds.

    ``nadir_name``: what the reference for progression is, in words.
    """

    now: Size
    nadir: Size
    baseline: Size
    limits: Thresholds
    nadir_name: str = "nadir"

    def standing(self, now: float | None = None) -> Standing:
        """How the current size, or another one at the same scan, stands to the references."""
        value = self.now.value if now is None else now
        minor = self.limits.minor_response
        return Standing(
            recurred=self.nadir.value == 0 and value > 0,
            grown=has_grown(value, self.nadir.value, self.limits.progression),
            gone=value == 0,
            responded=has_shrunk(value, self.baseline.value, self.limits.response),
            minor_response=minor is not None and has_shrunk(value, self.baseline.value, minor),
        )


Rate = Callable[[Standing], Category]
"""The category that a standing leads to, confirmed or not, everything else being as it is."""


def describe(comparison: Comparison, compartment: Compartment, measure: Measure, rate: Rate) -> SizeComparison:
    """The comparison for a reader: the nearest size at which the category changes, how far, how sure."""
    now, nadir, baseline = comparison.now, comparison.nadir, comparison.baseline
    nearest = _nearest(comparison, rate)
    threshold, name, error = nearest if nearest is not None else (None, None, 0.0)
    apart = math.log(now.value / threshold) if threshold and now.value else None
    return SizeComparison(
        compartment=compartment,
        measure=measure,
        now=now.value,
        baseline=baseline.value,
        nadir=nadir.value,
        threshold=threshold,
        threshold_name=name,
        distance_percent=(now.value - threshold) / threshold * 100 if threshold else None,
        distance_sd=apart / error if apart is not None and error > 0 else None,
        probability_other=probability_other(comparison, rate),
    )


def probability_other(comparison: Comparison, rate: Rate) -> float:
    """Probability that measuring the scans of the comparison again would give another category.

    Every scan's size is redrawn on its own from a log-normal distribution around the size measured, with its standard
    deviation; a size of 0 stays 0, and where nadir and baseline are one scan they are one draw. The logarithms of the
    ratios to nadir and baseline are then bivariate normal, correlated through the current size that they share.
    """
    called = rate(comparison.standing())
    same = sum(chance for standing, chance in _chances(comparison) if rate(standing) == called)
    return min(max(1 - same, 0.0), 1.0)


def _chances(comparison: Comparison) -> Iterator[tuple[Standing, float]]:
    """Every standing that another measurement may give, with its probability."""
    now, nadir, baseline, limits = comparison.now, comparison.nadir, comparison.baseline, comparison.limits
    here = comparison.standing()
    if now.value == 0:
        yield here, 1.0
        return
    growth = _cut(now, nadir, limits.progression)
    minor = limits.response if limits.minor_response is None else limits.minor_response
    edges = (-math.inf, _cut(now, baseline, -limits.response), _cut(now, baseline, -minor), math.inf)
    together = _correlation(now, nadir, baseline)
    for level, (low, high) in enumerate(pairwise(edges)):
        standing = here._replace(responded=level == 0, minor_response=level <= 1 and limits.minor_response is not None)
        below = _both_below(high, growth, together) - _both_below(low, growth, together)
        yield standing._replace(grown=False), below
        yield standing._replace(grown=nadir.value > 0), _below(high) - _below(low) - below


def _cut(now: Size, reference: Size, percent: int) -> float:
    """The threshold as a standard normal deviate of the logarithm of the ratio; infinite where there is no ratio.

    Thresholds belong to the category beyond them, which decides where there is no error at all.
    """
    if reference.value == 0:
        return -math.inf if percent < 0 else math.inf
    apart = math.log((100 + percent) / 100 * reference.value / now.value) - math.copysign(_ROUNDING, percent)
    return apart / max(math.hypot(now.sd, reference.sd), _NO_ERROR)


def _correlation(now: Size, nadir: Size, baseline: Size) -> float:
    if nadir.scan == baseline.scan:
        return 1.0
    error = math.hypot(now.sd, nadir.sd) * math.hypot(now.sd, baseline.sd)
    return now.sd**2 / error if error else 0.0


def _below(x: float) -> float:
    """Standard normal distribution function."""
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _both_below(x: float, y: float, correlation: float) -> float:
    """Probability that both of two standard normal variables lie below their limits; correlation from 0 to 1.

    Plackett's integral over the correlation, written in its arcsine, which keeps the integrand bounded.
    """
    if correlation >= 1:
        return _below(min(x, y))
    if math.isinf(x) or math.isinf(y):
        return _below(x) * _below(y)
    half = math.asin(correlation) / 2
    sines = np.sin(half * (_NODES + 1))
    density = np.exp(-(x * x + y * y - 2 * x * y * sines) / (2 * (1 - sines * sines)))
    return _below(x) * _below(y) + half * float(_WEIGHTS @ density) / (2 * math.pi)


def _nearest(comparison: Comparison, rate: Rate) -> tuple[float, str, float] | None:
    """The nearest threshold at which the category changes: size, name, and the error of the ratio it limits.

    The threshold of 0, where tumour is gone or comes back, has no distance: it is named where no other one is.
    """
    now, nadir, baseline, limits = comparison.now, comparison.nadir, comparison.baseline, comparison.limits
    found = []
    if now.value and nadir.value:
        found.append(_threshold(now, nadir, limits.progression, f"PD: {{}} % above {comparison.nadir_name}"))
    if now.value and baseline.value:
        found.append(_threshold(now, baseline, -limits.response, "PR: {} % below baseline"))
        if limits.minor_response is not None:
            found.append(_threshold(now, baseline, -limits.minor_response, "MR: {} % below baseline"))
    changing = [one for one in found if _changes(comparison, one[0], rate)]
    if changing:
        return min(changing, key=lambda one: abs(math.log(now.value / one[0])))
    smallest = _BESIDE * min((size.value for size in (now, nadir, baseline) if size.value), default=1.0)
    if (now.value and nadir.value) or rate(comparison.standing(0.0)) == rate(comparison.standing(smallest)):
        return None
    return 0.0, "CR: no tumour left" if nadir.value else "PD: any tumour after none", 0.0


def _threshold(now: Size, reference: Size, percent: int, name: str) -> tuple[float, str, float]:
    size = (100 + percent) * reference.value / 100
    return size, name.format(abs(percent)), math.hypot(now.sd, reference.sd)


def _changes(comparison: Comparison, threshold: float, rate: Rate) -> bool:
    sides = (comparison.standing(threshold * (1 - _BESIDE)), comparison.standing(threshold * (1 + _BESIDE)))
    return rate(sides[0]) != rate(sides[1])
