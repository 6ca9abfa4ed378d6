"""Where engine and expert part: every explanation in its order, and counts against counting by hand."""

from __future__ import annotations

import pytest

from ranoscope.cohort.lumiere import RatingRow
from ranoscope.domain import Response, Visit
from ranoscope.response.calls import Call, Category, Flag, SizeComparison, Stage
from ranoscope.response.timeline import Compartment, Measure
from ranoscope.scoreboard.disagreements import Explanation, list_disagreements, summarise

from .conftest import make_case

CR, PR, SD, PD = Response.CR, Response.PR, Response.SD, Response.PD


def make_call(category, week=20, probability=0.0, flags=(), stage=Stage.ASSESSED, volumes=(900, 2000, 800)):
    size = SizeComparison(
        compartment=Compartment.ENHANCING, measure=Measure.VOLUME, threshold=1120,
        **dict(zip(("now", "baseline", "nadir"), volumes, strict=True)),
        threshold_name="PD: 40 % above nadir", distance_percent=-19.6, distance_sd=-2.5, probability_other=probability,
    )  # fmt: skip
    return Call(
        scan=f"week-{week:03d}", day=7 * week, stage=stage, category=category and Category(category), rule="R15",
        rule_sentence="otherwise", baseline="week-001", nadir="week-010", size=size, flags=flags,
    )  # fmt: skip


def explain(expert, call, text=""):
    """The one row of a case at week 20 with this rationale; None where the two agree."""
    row = RatingRow(5, "P1", "week-020", Visit(20), expert, False, text)
    table = list_disagreements((make_case(10, 20, expert),), [call], [row])
    return None if table.empty else table.iloc[0]


@pytest.mark.parametrize(
    ("expert", "call", "text", "explanation", "named"),
    [
        (PD, make_call("SD"), "T2-Progr., new L.", "NOT_VISIBLE", "new lesion; T2 progression"),
        (PD, make_call("SD"), "Non-target L.: 1", "NON_TARGET", "non-target lesion"),
        (PD, make_call("SD"), "New non-target L.: 1", "NOT_VISIBLE", "new lesion; non-target lesion"),
        (SD, make_call("PD"), "Non-target L.: 1", "UNEXPLAINED", ""),
        (PD, make_call("SD"), "Non-measurable L.", "NOT_VISIBLE", "non-measurable lesion"),
        (PR, make_call("CR"), "residual non-measurable L.", "NOT_VISIBLE", "non-measurable lesion"),
        # What makes a response worse explains no better one, and the other way round.
        (SD, make_call("PD"), "T2-Progr., new L.", "UNEXPLAINED", ""),
        (SD, make_call("PD"), "New L. in the high dose field", "NOT_VISIBLE", "in the radiation field"),
        (SD, make_call("PD"), "with Avastin", "NOT_VISIBLE", "bevacizumab"),
        (PD, make_call("SD"), "with Avastin", "UNEXPLAINED", ""),
        (PD, make_call("SD"), "Target L.: 20mm x 20mm", "UNEXPLAINED", ""),
        (PD, make_call("SD", probability=0.1), "", "MEASUREMENT_ERROR", ""),
        (PD, make_call("SD", probability=0.0999), "", "UNEXPLAINED", ""),
        # A ball of 10 mm has 523.6 mm³.
        (SD, make_call("CR", volumes=(0, 523, 523)), "", "MEASUREMENT_ERROR", ""),
        (SD, make_call("CR", volumes=(0, 524, 523)), "", "UNEXPLAINED", ""),
        (CR, make_call("SD", volumes=(0, 0, 0)), "", "UNEXPLAINED", ""),
        (PD, make_call("SD", probability=0.4), "T2-Progr.", "NOT_VISIBLE", "T2 progression"),
        (PD, make_call("SD", flags=(Flag.PSEUDOPROGRESSION_POSSIBLE,), probability=0.4), "", "EARLY_WINDOW", ""),
        (SD, make_call("NE"), "T2-Progr.", "NOT_EVALUABLE", ""),
        (SD, make_call(None, stage=Stage.BASELINE), "", "NOT_EVALUABLE", ""),
    ],
)  # fmt: skip
def test_explanations(expert, call, text, explanation, named):
    row = explain(expert, call, text)
    assert row["explanation"] == Explanation[explanation]
    assert row["named"] == named


@pytest.mark.parametrize(("expert", "call"), [(SD, make_call("MR")), (PD, make_call("NE")), (CR, make_call("CR"))])
def test_agreement_is_not_listed(expert, call):
    assert explain(expert, call) is None


def test_a_row_carries_its_numbers():
    row = explain(PD, make_call("SD", probability=0.25), "T2-Progr.")
    assert row[["patient", "visit", "expert", "called", "category"]].tolist() == ["P1", "week-020", "PD", "SD", "SD"]
    assert row[["now_mm3", "baseline_mm3", "nadir_mm3", "threshold_mm3"]].tolist() == [900, 2000, 800, 1120]
    assert row[["rule", "threshold", "nadir", "within_error"]].tolist() == [
        "R15", "PD: 40 % above nadir", "week-010", "true",
    ]  # fmt: skip
    assert row["rationale"] == "T2-Progr."
    bare = explain(SD, make_call("PD").model_copy(update={"size": None, "rule": None}))
    assert bare["now_mm3"] is None
    assert bare["rule"] == ""


def test_summary_counts():
    experts = [PD, PD, PD, PD, SD, SD, CR]
    calls = [make_call(name) for name in ("SD", "SD", "PD", "PD", "PD", "NE", "CR")]
    texts = ["T2-Progr.", "", "new L.", "", "", "", ""]
    cases = tuple(make_case(10, 20 + place, expert, f"P{place}") for place, expert in enumerate(experts))
    rows = [
        RatingRow(place, case.patient, str(case.current), case.current, case.response, False, text)
        for place, (case, text) in enumerate(zip(cases, texts, strict=True))
    ]
    table = list_disagreements(cases, calls, rows)
    found = summarise(table, cases, calls, rows)
    assert (found["cases"], found["disagreements"]) == (7, 4)
    assert found["by_explanation"] == {
        "not evaluable": 1, "not visible in volumes": 1, "judged by a non-target lesion": 0,
        "early window on an assumed date": 0, "within measurement error": 0, "unexplained": 2,
    }  # fmt: skip
    assert found["within_measurement_error"] == 0
    assert found["by_pair"] == {"PD called SD": 2, "SD called PD": 2}
    assert found["by_named_reason"] == {"T2 progression": 1}
    assert found["progressions"] == {
        "also called PD": {"visits": 2, "named": 1, "new lesion or T2 progression": 1},
        "not called PD": {"visits": 2, "named": 1, "new lesion or T2 progression": 1},
    }
