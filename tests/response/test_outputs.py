"""The tables' cells, word by word, from calls written by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from ranoscope import runs
from ranoscope.domain import RESEARCH_USE_ONLY
from ranoscope.response.calls import Call, Category, Evaluation, Flag, Reason, SizeComparison, Stage
from ranoscope.response.criteria import RANO_HGG
from ranoscope.response.endpoints import derive
from ranoscope.response.outputs import (
    CALL_COLUMNS,
    ENDPOINT_COLUMNS,
    calls_table,
    comparison_table,
    endpoints_table,
    evaluation_content,
    rating,
    why_they_differ,
)
from ranoscope.response.timeline import Compartment, Measure

BASE = Call(scan="a", day=0, stage=Stage.BASELINE, category=None)


def size(now: float, compartment: Compartment = Compartment.ENHANCING) -> SizeComparison:
    return SizeComparison(
        compartment=compartment, measure=Measure.AREA, now=now, baseline=600.0, nadir=1 / 3, threshold=22.4 * 22.4,
        threshold_name="PR: 50 % below baseline", distance_percent=-12.34567, distance_sd=None,
        probability_other=0.000123456,
    )  # fmt: skip


def call(category: Category | None, scan: str = "b", day: int = 60, **more) -> Call:
    return Call(scan=scan, day=day, stage=Stage.ASSESSED, category=category, **more)


def evaluation(*calls: Call, criteria: str = "rano-hgg", patient: str = "P") -> Evaluation:
    return Evaluation(patient=patient, criteria=criteria, measure=Measure.AREA, calls=calls)


FULL = call(
    Category.SD, preliminary=Category.PR, confirmed=False, provisional=True, unknown=("steroids", "clinical state"),
    rule="rano-hgg/13", rule_sentence="Small enough.", flags=(Flag.AFTER_PROGRESSION, Flag.PSEUDORESPONSE),
    reasons=(Reason(name="x", sentence="One."), Reason(name="y", sentence="Two, with a comma.")), baseline="a",
    nadir="a", size=size(501.76), progression_scan="a",
)  # fmt: skip


def test_cells_of_a_call(tmp_path):
    table = calls_table([evaluation(BASE, FULL)])
    assert tuple(table.columns) == CALL_COLUMNS
    runs.write_csv(tmp_path / "calls.csv", table)
    base, full = pd.read_csv(tmp_path / "calls.csv", dtype=str, keep_default_na=False).to_dict("records")
    assert {key: value for key, value in base.items() if value} == {
        "patient": "P", "scan": "a", "day": "0", "criteria": "rano-hgg", "measure": "area", "stage": "baseline",
        "provisional": "false",
    }  # fmt: skip
    assert full == {
        "patient": "P", "scan": "b", "day": "60", "criteria": "rano-hgg", "measure": "area", "stage": "assessed",
        "category": "SD", "preliminary": "PR", "confirmed": "false", "provisional": "true",
        "unknown": "steroids; clinical state", "rule": "rano-hgg/13", "rule_sentence": "Small enough.",
        "reasons": "One.; Two, with a comma.", "baseline": "a", "nadir": "a", "compartment": "enhancing",
        # 22.4 × 22.4 is 501.76 as a person writes it, not 501.75999999999993.
        "size_now": "501.76", "size_baseline": "600", "size_nadir": "0.3333333333", "threshold": "501.76",
        "threshold_name": "PR: 50 % below baseline", "distance_percent": "-12.35", "distance_sd": "",
        "probability_other": "0.0001235",
        "flags": "rated after progression; response was not confirmed: pseudoresponse", "progression_scan": "a",
    }  # fmt: skip


def test_a_mixed_tumour_has_a_row_per_compartment_too():
    parts = (call(Category.CR, size=size(0)), call(Category.PD))
    table = calls_table([evaluation(BASE, call(Category.PD, parts=parts))])
    told = table[["scan", "compartment", "category", "size_now"]].to_numpy().tolist()
    # The second part has no size, and is the non-enhancing one all the same.
    assert told == [
        ["a", "", "", ""], ["b", "", "PD", ""], ["b", "enhancing", "CR", "0"], ["b", "nonenhancing", "PD", ""],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (call(Category.SD), "SD"),
        (call(Category.SD, preliminary=Category.PR), "SD (PR?)"),
        (BASE, "baseline"),
        (Call(scan="a", day=0, stage=Stage.PRE_OP, category=Category.PD), "PD"),
        (call(None), "not rated"),
    ],
)
def test_ratings_in_short(made, expected):
    assert rating(made) == expected


def test_criteria_side_by_side():
    grown, waits = "Growth is progression.", "A repeat scan is needed."
    under = [
        evaluation(BASE, call(Category.PD, rule_sentence=grown), criteria="macdonald"),
        evaluation(BASE, call(Category.PD, rule_sentence=grown), criteria="rano-hgg"),
        evaluation(BASE, call(Category.SD, preliminary=Category.PD, rule_sentence=waits), criteria="mrano"),
        evaluation(BASE, call(Category.NE, rule_sentence="Unknown."), criteria="rano-lgg"),
    ]
    other = [one.model_copy(update={"patient": "Q", "calls": (BASE,)}) for one in under]
    table = comparison_table([*under, *other])
    assert table.to_dict("records") == [
        {"patient": "P", "scan": "a", "day": "0", "macdonald": "baseline", "rano-hgg": "baseline", "mrano": "baseline",
         "rano-lgg": "baseline", "differs": "false", "why": ""},
        {"patient": "P", "scan": "b", "day": "60", "macdonald": "PD", "rano-hgg": "PD", "mrano": "SD (PD?)",
         "rano-lgg": "NE", "differs": "true",
         "why": "macdonald, rano-hgg: PD – Growth is progression. mrano: SD (PD?) – A repeat scan is needed."},
        {"patient": "Q", "scan": "a", "day": "0", "macdonald": "baseline", "rano-hgg": "baseline", "mrano": "baseline",
         "rano-lgg": "baseline", "differs": "false", "why": ""},
    ]  # fmt: skip


def test_what_differs():
    stable, ne = call(Category.SD, rule_sentence="Neither."), call(Category.NE)
    # Other rules with one answer do not differ; not evaluable differs from nothing; a baseline differs from a category.
    assert why_they_differ({"a": stable, "b": call(Category.SD, rule_sentence="Nothing to measure.")}) == ""
    assert why_they_differ({"a": stable, "b": ne}) == ""
    assert why_they_differ({"a": ne, "b": ne}) == ""
    assert why_they_differ({"a": stable, "b": BASE}) == "a: SD – Neither. b: baseline."


def test_endpoints_as_rows():
    calls = (
        BASE,
        call(Category.SD, preliminary=Category.PR, provisional=True),
        call(Category.PR, scan="c", day=100),
        Call(scan="d", day=110, stage=Stage.PRE_OP, category=Category.PD, progression_scan="d"),
        Call(scan="e", day=112, stage=Stage.POST_OP, category=None),
        call(Category.SD, scan="f", day=150, baseline="e"),
    )
    table = endpoints_table([derive(evaluation(*calls))])
    assert tuple(table.columns) == ENDPOINT_COLUMNS
    first, second = table.to_dict("records")
    assert first == {
        "patient": "P", "criteria": "rano-hgg", "measure": "area", "series": "1", "first_scan": "a", "baseline": "a",
        "best_response": "PR", "best_confirmed_response": "PR", "progression_scan": "d", "progression_called_at": "d",
        "pending_progression": "", "days_to_progression": "110", "progressed": "true", "days_to_response": "60",
        "days_of_response": "50", "provisional": "true", "ends_at_surgery": "true",
    }  # fmt: skip
    assert {key: second[key] for key in ("series", "baseline", "best_response", "days_to_progression")} == {
        "series": "2", "baseline": "e", "best_response": "NE", "days_to_progression": "38",
    }  # fmt: skip
    assert (second["progressed"], second["days_to_response"], second["ends_at_surgery"]) == ("false", "", "false")


def test_content_of_the_json():
    one = evaluation(BASE, FULL)
    content = evaluation_content([one], [derive(one)], [RANO_HGG])
    assert content["note"] == RESEARCH_USE_ONLY
    assert content["criteria"]["rano-hgg"]["confirmation_days"] == 28
    (patient,) = content["patients"]
    assert patient["patient"] == "P"
    assert patient["evaluations"][0]["calls"][1]["reasons"][1] == {"name": "y", "sentence": "Two, with a comma."}
    assert patient["evaluations"][0]["series"][0]["best_response"] == "PR"
    assert evaluation_content([], [], [RANO_HGG])["patients"] == []


def test_no_evaluation_gives_tables_with_headers():
    assert tuple(calls_table([]).columns) == CALL_COLUMNS
    assert tuple(endpoints_table([]).columns) == ENDPOINT_COLUMNS
    assert list(comparison_table([]).columns) == ["patient", "scan", "day", "differs", "why"]
