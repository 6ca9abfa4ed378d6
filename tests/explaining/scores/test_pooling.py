"""Pooled scores against sums by hand, and which cases are shown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ranoscope.config import EvaluationSettings
from ranoscope.domain import Response
from ranoscope.explaining.scores.pooling import COLUMNS, extremes, pool

SETTINGS = EvaluationSettings(bootstrap=400)
NAN = float("nan")


def case(patient: str, response: str, value: float, chance: float = 0.5, reason: str = "", **names: str) -> dict:
    names = {"current": "week-010", "method": "saliency", "explained": "called", "view": "both",
             "mask": "whole tumour", "score": "auc", **names}  # fmt: skip
    return {
        "patient": patient,
        "response": response,
        "value": value,
        "chance": chance,
        "ceiling": 1.0,
        "reason": reason,
        **names,
    }


def table(*rows: dict) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COLUMNS))


ROWS = table(
    case("a", "PD", 0.9, 0.4), case("a", "PD", 0.7, 0.2, current="week-020"), case("b", "PD", 0.5),
    case("c", "SD", 0.3), case("d", "SD", NAN, NAN, "no such tissue in the mask"),
)  # fmt: skip


def by_expert(pooled) -> dict:
    return {entry.expert: entry for entry in pooled}


def test_means_chance_and_what_was_left_out():
    found = by_expert(pool(ROWS, SETTINGS))
    assert set(found) == {"all", "PD", "SD"}
    everyone = found["all"]
    assert everyone.mean.estimate == pytest.approx((0.9 + 0.7 + 0.5 + 0.3) / 4)
    assert everyone.excess.estimate == pytest.approx((0.5 + 0.5 + 0 - 0.2) / 4)
    assert everyone.chance == pytest.approx((0.4 + 0.2 + 0.5 + 0.5) / 4)
    assert (everyone.cases, everyone.patients, everyone.ceiling) == (4, 3, 1)
    assert everyone.undefined == {"no such tissue in the mask": 1}
    assert found["PD"].undefined == {}
    assert found["SD"].undefined == {"no such tissue in the mask": 1}
    assert found["SD"].mean.estimate == pytest.approx(0.3)


def test_all_of_a_patient_comes_and_goes_together():
    """Two patients of two equal cases each: every resample is one of three means, never one in between."""
    rows = [
        case(name, "PD", value, current=f"week-0{week}")
        for name, value in (("a", 0.2), ("b", 0.8))
        for week in (10, 20)
    ]
    (found, _) = pool(table(*rows), SETTINGS)
    assert (found.mean.low, found.mean.high) == pytest.approx((0.2, 0.8))
    alone = [case(str(number), "PD", 0.2 + 0.6 * (number % 2)) for number in range(40)]
    many = pool(table(*alone), SETTINGS)[0].mean
    assert 0.3 < many.low < 0.5 < many.high < 0.7


def test_a_score_that_no_case_has_is_undefined_with_its_reasons():
    (found, *_) = pool(table(case("a", "CR", NAN, NAN, "why"), case("b", "CR", NAN, NAN, "why")), SETTINGS)
    assert np.isnan(found.mean.estimate)
    assert found.mean.reason
    assert (found.cases, found.undefined) == (0, {"why": 2})
    assert found.as_dict()["mean"]["estimate"] is None


def test_scores_of_different_names_are_kept_apart():
    rows = table(case("a", "PD", 0.9), case("a", "PD", 0.1, method="gradcam"), case("b", "PD", 0.5))
    found = {entry.method: entry for entry in pool(rows, SETTINGS) if entry.expert == "all"}
    assert found["saliency"].mean.estimate == pytest.approx(0.7)
    assert (found["gradcam"].mean.estimate, found["gradcam"].cases, found["gradcam"].undefined) == (0.1, 1, {})


def test_best_median_and_worst_by_the_mean_over_methods():
    rows = [case(name, "PD", value) for name, value in (("a", 0.2), ("b", 0.9), ("c", 0.5), ("d", 0.6), ("e", NAN))]
    rows += [case("b", "PD", 0.1, method="gradcam"), case("a", "PD", 0.0, method="gradcam")]
    rows += [case("x", "PR", 0.4), case("y", "PR", 0.6), case("z", "CR", NAN)]
    rows += [
        case("c", "PD", 1.0, explained="true"),
        case("c", "PD", 1.0, mask="enhancing"),
        case("c", "PD", 1.0, score="mass"),
    ]
    shown = extremes(table(*rows))
    assert shown[Response.PD] == [
        ("best", ("d", "week-010")),
        ("median", ("b", "week-010")),
        ("worst", ("a", "week-010")),
    ]
    assert shown[Response.PR] == [("best", ("y", "week-010")), ("worst", ("x", "week-010"))]
    assert shown[Response.CR] == [("best", ("z", "week-010"))]
    assert shown[Response.SD] == []
