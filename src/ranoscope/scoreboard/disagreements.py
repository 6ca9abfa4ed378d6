"""Where the response engine and the expert part, why the engine called as it did, and what may explain the expert.

One criteria set is chosen before looking: RANO-HGG 2010 by volume without confirmation, whose ideas (T2 progression,
new and non-measurable lesions, the three-month window) the ratings' own words follow.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

import pandas as pd

from ranoscope import runs
from ranoscope.cohort.lumiere import RatingRow
from ranoscope.cohort.rationale import Rationale, read_rationale
from ranoscope.domain import Case, Response, StudyKey
from ranoscope.response.calls import Call, Flag, SizeComparison
from ranoscope.scoreboard.criteria import RULE_SETS, as_response

DISAGREEMENTS = "disagreements.csv"
CHOSEN = next(rules for rules in RULE_SETS if rules.name == "rano_hgg_single")
# A call that one re-measurement in ten would change is near a threshold; a choice, made before the list was seen.
NEAR_THRESHOLD = 0.1
# The least measurable lesion is 10 mm wide in two directions (RANO-HGG 2010): a ball of less volume is none.
LEAST_MEASURABLE_MM3 = math.pi / 6 * 10**3


class Explanation(StrEnum):
    """What may explain a disagreement, in the order in which the reasons are tried: the first that applies counts."""

    NOT_EVALUABLE = "not evaluable"
    NOT_VISIBLE = "not visible in volumes"
    NON_TARGET = "judged by a non-target lesion"
    EARLY_WINDOW = "early window on an assumed date"
    MEASUREMENT_ERROR = "within measurement error"
    UNEXPLAINED = "unexplained"

    @property
    def sentence(self) -> str:
        """What the word means, for the page."""
        return _SENTENCES[self]


_SENTENCES = {
    Explanation.NOT_EVALUABLE: "no current volume, or no earlier one since the operation",
    Explanation.NOT_VISIBLE: "the expert names a reason, in the direction of the disagreement, that no volume shows",
    Explanation.NON_TARGET: "the expert names a lesion that is followed by eye, not by its size",
    Explanation.EARLY_WINDOW: (
        "growth that the criteria do not believe within 12 weeks of radiotherapy, whose end is assumed"
    ),
    Explanation.MEASUREMENT_ERROR: (
        f"measuring again would change the call with probability {NEAR_THRESHOLD:g} or more, or all volumes compared "
        f"are below the {LEAST_MEASURABLE_MM3:.0f} mm³ of a ball of 10 mm, the least measurable lesion"
    ),
    Explanation.UNEXPLAINED: "none of these",
}
# What makes a response worse than its volumes, and what makes it better, in the expert's words.
_WORSE = {"new_lesion": "new lesion", "t2_progression": "T2 progression", "non_measurable": "non-measurable lesion"}
_BETTER = {"in_radiation_field": "in the radiation field", "bevacizumab": "bevacizumab"}
_NON_TARGET = "non-target lesion"


def list_disagreements(cases: tuple[Case, ...], calls: Iterable[Call], rows: Iterable[RatingRow]) -> pd.DataFrame:
    """One row per case in which the engine's response is not the expert's, with rule, numbers and explanation.

    Args:
        cases: n cases.
        calls: the engine's call for each.
        rows: the rating table, for the rationale.
    """
    said = {StudyKey(row.patient, row.visit): row.rationale for row in rows if row.visit is not None}
    records = []
    for case, call in zip(cases, calls, strict=True):
        response, _ = as_response(call)
        if response is not case.response:
            records.append(_describe(case, call, response, said.get(case.current_study, "")))
    return pd.DataFrame(records, columns=list(_describe_nothing()))


def summarise(
    table: pd.DataFrame, cases: tuple[Case, ...], calls: Iterable[Call], rows: Iterable[RatingRow]
) -> dict[str, Any]:
    """Counts for scoreboard.json: by explanation, by pair of categories, by named reason.

    ``within_measurement_error``: of all disagreements, whatever explains them first. ``progressions``: of the visits
    the expert rated PD, how many name a reason beside size, where the engine also called PD and where it did not: only
    the difference between the two speaks for the explanation.
    """
    said = {StudyKey(row.patient, row.visit): read_rationale(row.rationale) for row in rows if row.visit is not None}
    progressions: dict[str, dict[str, int]] = {}
    for case, call in zip(cases, calls, strict=True):
        if case.response is Response.PD and as_response(call)[1] is None:
            kind = "also called PD" if as_response(call)[0] is Response.PD else "not called PD"
            counts = progressions.setdefault(kind, {"visits": 0, "named": 0, "new lesion or T2 progression": 0})
            text = said.get(case.current_study, read_rationale(""))
            counts["visits"] += 1
            counts["named"] += bool(_named(text, worse=True))
            counts["new lesion or T2 progression"] += text.new_lesion or text.t2_progression
    return {
        "criteria": CHOSEN.name,
        "title": CHOSEN.title,
        "cases": len(cases),
        "disagreements": len(table),
        "within_measurement_error": int((table["within_error"] == "true").sum()),
        "by_explanation": {str(one): int((table["explanation"] == one).sum()) for one in Explanation},
        "sentences": {str(one): one.sentence for one in Explanation},
        "by_pair": dict(sorted(Counter(table["expert"] + " called " + table["called"]).items())),
        "by_named_reason": dict(Counter(name for names in table["named"] for name in names.split("; ") if name)),
        "progressions": progressions,
    }


def _describe(case: Case, call: Call, response: Response, rationale: str) -> dict[str, Any]:
    text = read_rationale(rationale)
    worse = case.response.class_index < response.class_index
    named = _named(text, worse)
    size, uncertain = call.size, _within_error(call.size)
    return _describe_nothing() | {
        "patient": case.patient,
        "visit": str(case.current),
        "expert": str(case.response),
        "called": str(response),
        "category": str(call.category or call.stage),
        "explanation": str(_explain(call, named, uncertain)),
        "named": "; ".join(named),
        "within_error": runs.truth(uncertain),
        "rule": call.rule or "",
        "rule_sentence": call.rule_sentence or "",
        "baseline": call.baseline or "",
        "nadir": call.nadir or "",
        **({} if size is None else _numbers(size.model_dump())),
        "flags": "; ".join(call.flags),
        "unknown": "; ".join(call.unknown),
        "rationale": rationale,
    }


def _describe_nothing() -> dict[str, Any]:
    """Every column, empty."""
    columns = (
        "patient", "visit", "expert", "called", "category", "explanation", "named", "within_error", "rule",
        "rule_sentence", "baseline", "nadir", "now_mm3", "baseline_mm3", "nadir_mm3", "threshold", "threshold_mm3",
        "distance_percent", "distance_sd", "probability_other", "flags", "unknown", "rationale",
    )  # fmt: skip
    return dict.fromkeys(columns)


def _numbers(size: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "now_mm3": size["now"],
        "baseline_mm3": size["baseline"],
        "nadir_mm3": size["nadir"],
        "threshold": size["threshold_name"],
        "threshold_mm3": size["threshold"],
        **{name: size[name] for name in ("distance_percent", "distance_sd", "probability_other")},
    }


def _named(text: Rationale, worse: bool) -> list[str]:
    found = [word for fact, word in (_WORSE if worse else _BETTER).items() if getattr(text, fact)]
    return [*found, _NON_TARGET] if worse and text.non_target else found


def _within_error(size: SizeComparison | None) -> bool:
    if size is None:
        return False
    near = (size.probability_other or 0.0) >= NEAR_THRESHOLD
    return near or 0 < max(size.now, size.baseline, size.nadir) < LEAST_MEASURABLE_MM3


def _explain(call: Call, named: list[str], uncertain: bool) -> Explanation:
    if as_response(call)[1] is not None:
        return Explanation.NOT_EVALUABLE
    if named:
        return Explanation.NON_TARGET if named == [_NON_TARGET] else Explanation.NOT_VISIBLE
    if Flag.PSEUDOPROGRESSION_POSSIBLE in call.flags:
        return Explanation.EARLY_WINDOW
    return Explanation.MEASUREMENT_ERROR if uncertain else Explanation.UNEXPLAINED
