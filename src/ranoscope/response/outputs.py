"""Evaluations as files: everything as JSON, a row per scan and criteria, and the criteria side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import pandas as pd

from ranoscope.domain import RESEARCH_USE_ONLY
from ranoscope.response.calls import Call, Category, Evaluation, Stage
from ranoscope.response.criteria import Criteria
from ranoscope.response.endpoints import Endpoints, SeriesEndpoints
from ranoscope.response.timeline import Compartment

CALL_COLUMNS = (
    "patient", "scan", "day", "criteria", "measure", "stage", "category", "preliminary", "confirmed", "provisional",
    "unknown", "rule", "rule_sentence", "reasons", "baseline", "nadir", "compartment", "size_now", "size_baseline",
    "size_nadir", "threshold", "threshold_name", "distance_percent", "distance_sd", "probability_other", "flags",
    "progression_scan",
)  # fmt: skip
ENDPOINT_COLUMNS = (
    "patient", "criteria", "measure", "series", "first_scan", "baseline", "best_response", "best_confirmed_response",
    "progression_scan", "progression_called_at", "pending_progression", "days_to_progression", "progressed",
    "days_to_response", "days_of_response", "provisional", "ends_at_surgery",
)  # fmt: skip
_DISTANCES = ("distance_percent", "distance_sd", "probability_other")
_BETWEEN = "; "


def evaluation_content(
    evaluations: Sequence[Evaluation], endpoints: Sequence[Endpoints], criteria: Sequence[Criteria]
) -> dict[str, Any]:
    """Content of evaluation.json: the notice, the settings of every criteria set, and per patient calls and endpoints.

    Args:
        evaluations: in the order to be written.
        endpoints: one per evaluation, in the same order.
        criteria: what was evaluated.
    """
    patients: dict[str, list[dict[str, Any]]] = {}
    for evaluation, derived in zip(evaluations, endpoints, strict=True):
        content = evaluation.model_dump(mode="json", exclude={"patient"})
        series = derived.model_dump(mode="json")["series"]
        patients.setdefault(evaluation.patient, []).append({**content, "series": series})
    return {
        "note": RESEARCH_USE_ONLY,
        "criteria": {one.name: one.model_dump(mode="json") for one in criteria},
        "endpoints": endpoints[0].settings.model_dump(mode="json") if endpoints else None,
        "patients": [{"patient": name, "evaluations": found} for name, found in patients.items()],
    }


def calls_table(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """Content of calls.csv: one row per scan and criteria; an empty cell where there is nothing to say.

    Lists are joined by semicolons. Of a tumour followed in two compartments the sizes stand in a row per compartment
    after the scan's own row, with the compartment's own category.
    """
    rows = [
        {"patient": one.patient, "criteria": one.criteria, "measure": str(one.measure), **cells}
        for one in evaluations
        for call in one.calls
        for cells in (_cells(call), *(_cells(call.part(name), name) for name in Compartment if call.parts))
    ]
    return pd.DataFrame(rows, columns=list(CALL_COLUMNS), dtype=object).fillna("")


def endpoints_table(endpoints: Sequence[Endpoints]) -> pd.DataFrame:
    """Content of endpoints.csv: one row per patient, criteria and series; the first series is what a trial reports."""
    rows = [
        {
            "patient": one.patient, "criteria": one.criteria, "measure": str(one.measure), "series": str(number),
            **_endpoint_cells(series),
        }
        for one in endpoints
        for number, series in enumerate(one.series, start=1)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(ENDPOINT_COLUMNS), dtype=object)


def comparison_table(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """Content of comparison.csv: one row per scan, a column per criteria, whether they differ, and why.

    They differ where category, what waits for confirmation, or the scan's stage is not the same under all of them. NE
    says nothing and differs from nothing.
    """
    names = list(dict.fromkeys(one.criteria for one in evaluations))
    rows = []
    for patient, found in groupby(evaluations, key=lambda one: one.patient):
        under = list(found)
        for calls in zip(*(one.calls for one in under), strict=True):
            named = {one.criteria: call for one, call in zip(under, calls, strict=True)}
            told = {name: rating(call) for name, call in named.items()}
            why = why_they_differ(named)
            row = {"patient": patient, "scan": calls[0].scan, "day": str(calls[0].day), **told}
            rows.append({**row, "differs": _truth(bool(why)), "why": why})
    return pd.DataFrame(rows, columns=["patient", "scan", "day", *names, "differs", "why"], dtype=object)


def rating(call: Call) -> str:
    """A call in short: ``SD``, ``SD (PR?)`` while a PR waits for confirmation, or the stage of a scan without one."""
    if call.category is None:
        return str(call.stage) if call.stage is not Stage.ASSESSED else "not rated"
    return str(call.category) + (f" ({call.preliminary}?)" if call.preliminary is not None else "")


def why_they_differ(calls: Mapping[str, Call]) -> str:
    """Which criteria say what at one scan, and by which rule; nothing where they do not differ."""
    told: dict[tuple[str, str], list[str]] = {}
    for name, call in calls.items():
        if call.category is not Category.NE:
            told.setdefault((rating(call), call.rule_sentence or ""), []).append(name)
    if len({answer for answer, _ in told}) < 2:
        return ""
    return " ".join(
        f"{', '.join(names)}: {answer}{' – ' if sentence else '.'}{sentence}"
        for (answer, sentence), names in told.items()
    )


def _cells(call: Call, compartment: Compartment | None = None) -> dict[str, str]:
    size = call.size
    cells: dict[str, Any] = {
        "compartment": compartment,
        "scan": call.scan, "day": call.day, "stage": call.stage, "category": call.category,
        "preliminary": call.preliminary, "confirmed": _truth(call.confirmed), "provisional": _truth(call.provisional),
        "unknown": _BETWEEN.join(call.unknown), "rule": call.rule, "rule_sentence": call.rule_sentence,
        "reasons": _BETWEEN.join(reason.sentence for reason in call.reasons), "baseline": call.baseline,
        "nadir": call.nadir, "flags": _BETWEEN.join(call.flags), "progression_scan": call.progression_scan,
    }  # fmt: skip
    if size is not None:
        cells |= {
            "compartment": size.compartment, "size_now": size.now, "size_baseline": size.baseline,
            "size_nadir": size.nadir, "threshold": size.threshold, "threshold_name": size.threshold_name,
            **{name: _short(getattr(size, name)) for name in _DISTANCES},
        }  # fmt: skip
    return {name: _cell(value) for name, value in cells.items()}


def _endpoint_cells(series: SeriesEndpoints) -> dict[str, str]:
    progression, response, duration = (
        series.time_to_progression, series.time_to_response, series.duration_of_response
    )  # fmt: skip
    cells = {
        **series.model_dump(include=set(ENDPOINT_COLUMNS)),
        "days_to_progression": progression.days,
        "progressed": progression.event,
        "days_to_response": None if response is None else response.days,
        "days_of_response": None if duration is None else duration.days,
    }
    return {name: _truth(value) if isinstance(value, bool) else _cell(value) for name, value in cells.items()}


def _cell(value: object) -> str:
    if value is None:
        return ""
    # Ten digits write a product of measured decimals as a person would.
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _short(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"


def _truth(value: bool | None) -> str:
    return "" if value is None else str(value).lower()
