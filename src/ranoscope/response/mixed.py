"""Calls of the two compartments of a mixed tumour → one call, by the table of the criteria."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from ranoscope.response.calls import Call, Category
from ranoscope.response.criteria import Criteria

Judged = tuple[Call, frozenset[Category]]
"""A call, and every category that it may be once the unknown facts are known."""


def combine(criteria: Criteria, judged: tuple[Judged, Judged], scans: Sequence[str]) -> Judged:
    """The call of the tumour, and every category that it may be.

    Args:
        criteria: for the table.
        judged: enhancing, then non-enhancing disease at one scan.
        scans: ids of the series' scans in order of time; progression is dated to the earlier compartment's.
    """
    (enhancing, _), (other, _) = judged
    calls = (enhancing, other)
    category = overall(criteria, (enhancing.category, other.category))
    rating = overall(criteria, tuple(call.preliminary or call.category for call in calls))
    preliminary = None if rating is category or category is Category.NE else rating
    shows = frozenset(overall(criteria, pair) for pair in product(*(shown for _, shown in judged)))
    decides = [call for call in calls if call.category is category]
    dated = [call.progression_scan for call in decides if call.progression_scan is not None]
    words = f"Enhancing disease {enhancing.category}, non-enhancing disease {other.category}: {category}."
    call = enhancing.model_copy(
        update={
            "category": category,
            "rule": f"{criteria.name}/mixed",
            "rule_sentence": words,
            "preliminary": preliminary,
            "confirmed": False if preliminary else next((one.confirmed for one in decides if one.confirmed), None),
            "provisional": len(shows) > 1,
            "unknown": _unknown(criteria, judged),
            "reasons": tuple(dict.fromkeys(reason for one in calls for reason in one.reasons)),
            "flags": tuple(dict.fromkeys(flag for one in calls for flag in one.flags)),
            "nadir": enhancing.nadir if enhancing.nadir == other.nadir else None,
            "progression_scan": min(dated, key=scans.index, default=None),
            "size": None,
            "parts": calls,
        }
    )
    return call, shows


def overall(criteria: Criteria, categories: tuple[Category | None, ...]) -> Category:
    """The category of the tumour; PD in either compartment is PD, and without it both must be evaluable."""
    one, other = categories
    if Category.PD in categories:
        return Category.PD
    if one is None or other is None or Category.NE in categories:
        return Category.NE
    return criteria.mixed[one][other]


def _unknown(criteria: Criteria, judged: tuple[Judged, Judged]) -> tuple[str, ...]:
    """Unknown facts of a compartment, where its category can change the tumour's."""
    (enhancing, one), (other, two) = judged
    matters = any(len({overall(criteria, (here, there)) for here in one}) > 1 for there in two)
    found = list(enhancing.unknown) if matters else []
    if any(len({overall(criteria, (here, there)) for there in two}) > 1 for here in one):
        found += other.unknown
    return tuple(dict.fromkeys(found))
