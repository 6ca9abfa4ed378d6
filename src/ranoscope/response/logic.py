"""Three-valued logic by cases: a yes-or-no rule is tried with every answer that an unknown fact may have.

This knows at least as much as Kleene's tables: "worse or not worse" is true of an unknown, too, and a rule whose cases
all end alike is decided. What is found is exact, as long as the unknown facts do not depend on one another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Generic, TypeVar

T = TypeVar("T")
Truth = bool | None
"""Yes, no, or None: unknown."""

Ask = Callable[[int], bool]
"""Answers the question of that number."""


@dataclass(frozen=True)
class Weighed(Generic[T]):
    """What a rule says of facts that are partly unknown.

    ``presumed``: its outcome if every unknown is as presumed. ``possible``: all outcomes it may have, that one first.
    ``decisive``: the unknown facts, any one of which can change the kind of outcome by itself.
    """

    presumed: T
    possible: tuple[T, ...]
    decisive: frozenset[int]


@dataclass
class _Case:
    """One run of a rule: bit masks of the unknowns that were asked for, and of those among them answered by yes.

    At an unknown that no earlier case settled, the presumed answer is taken and the other one left in ``waiting``.
    """

    facts: Sequence[Truth]
    presumed: Sequence[bool]
    asked: int
    yes: int
    waiting: list[tuple[int, int]]

    def __call__(self, question: int) -> bool:
        known = self.facts[question]
        if known is not None:
            return known
        bit = 1 << question
        if not self.asked & bit:
            self.asked |= bit
            self.yes |= bit if self.presumed[question] else 0
            self.waiting.append((self.asked, self.yes ^ bit))
        return bool(self.yes & bit)


def weigh(
    rule: Callable[[Ask], T], facts: Sequence[Truth], presumed: Sequence[bool], kind: Callable[[T], object]
) -> Weighed[T]:
    """Try the rule with every combination of answers it asks for.

    Args:
        rule: asks for facts by number, and answers; the same answers give the same outcome.
        facts: what is known, by number.
        presumed: what an unknown is taken for unless something else is said of it, by number.
        kind: what about an outcome matters.
    """
    cases: list[tuple[_Case, T]] = []
    waiting = [(0, 0)]
    while waiting:
        case = _Case(facts, presumed, *waiting.pop(), waiting)
        cases.append((case, rule(case)))
    decisive = 0
    for (one, here), (other, there) in combinations(cases, 2):
        conflict = one.asked & other.asked & (one.yes ^ other.yes)
        # Two cases that disagree on one fact alone can be completed alike in everything else.
        if conflict & (conflict - 1) == 0 and kind(here) != kind(there):
            decisive |= conflict
    numbers = frozenset(number for number in range(len(facts)) if decisive >> number & 1)
    return Weighed(cases[0][1], tuple(dict.fromkeys(outcome for _, outcome in cases)), numbers)
