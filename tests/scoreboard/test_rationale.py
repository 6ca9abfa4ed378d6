"""The table of the expert's sizes, and its joints with volumes and measured lesions, on data with a known answer."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ranoscope.cohort.lumiere import RatingRow, read_tables
from ranoscope.config import EvaluationSettings
from ranoscope.domain import Response, StudyKey, Visit, VisitState
from ranoscope.errors import TableError
from ranoscope.scoreboard.rationale import (
    SIZE_COLUMNS,
    compare_with_lesions,
    compare_with_volumes,
    join_lesions,
    rationale_table,
    stated_burdens,
)

from .conftest import make_course

LUMIERE = Path(__file__).parents[3] / "shared" / "data" / "lumiere_tables"
SETTINGS = EvaluationSettings(bootstrap=100)


def make_row(line, patient, week, text, rating=Response.PD):
    return RatingRow(line, patient, f"week-{week:03d}", Visit(week), rating, False, text)


def test_one_row_per_size_and_one_for_a_rating_without():
    rows = [
        make_row(2, "P1", 1, "CRET", VisitState.POST_OP),
        make_row(3, "P1", 12, "T2-Progr., new target L.: 12mm x 20m, 10mm x 10mm, non-target L."),
        make_row(4, "P1", 24, "several mm"),
    ]
    table = rationale_table(rows)
    assert list(table) == list(SIZE_COLUMNS)
    assert table["line"].tolist() == [2, 3, 3, 4]
    assert table["size"].isna().tolist() == [True, False, False, True]
    assert table["product_mm2"].tolist()[1:3] == [240, 100]
    assert table.loc[1, ["longest_mm", "perpendicular_mm", "role", "trend", "notes", "text"]].tolist() == [
        20, 12, "target", "new", "m read as mm", "12mm x 20m",
    ]  # fmt: skip
    assert table["t2_progression"].tolist() == ["false", "true", "true", "false"]
    assert table["resection"].tolist()[0] == "CRET"
    assert table["unread"].tolist() == ["", "", "", "several mm"]


def test_balls_of_the_stated_products():
    rows = [
        make_row(2, "P1", 12, "Target L.: 20mm x 20mm"),
        make_row(3, "P1", 24, "Target L.: 20mm x 20mm, 10mm x 40mm, non-target L."),
        make_row(4, "P1", 36, "Target L.: 11mm"),
        make_row(5, "P1", 36, "SD"),
    ]
    stated = stated_burdens(rows)
    ball = math.pi / 6 * 20**3
    assert stated[StudyKey("P1", Visit(12))].balls_mm3 == pytest.approx(ball)
    assert stated[StudyKey("P1", Visit(24))].balls_mm3 == pytest.approx(2 * ball)
    assert [one.complete for one in stated.values()] == [True, False]
    assert set(stated) == {StudyKey("P1", Visit(12)), StudyKey("P1", Visit(24))}


def test_volumes_that_are_the_balls_agree_perfectly():
    rows, courses = [], {}
    for number in range(6):
        edge = 10 + 4 * number
        rows.append(make_row(number, f"P{number}", 12, f"Target L.: {edge}mm x {edge}mm"))
        volume = math.pi / 6 * edge**3
        volumes = {"a_enhancing_mm3": volume, "b_enhancing_mm3": 2 * volume, "a_edema_mm3": 1.0}
        courses[f"P{number}"] = make_course([(12, Response.PD, volumes)])
    found = compare_with_volumes(stated_burdens(rows), courses, SETTINGS)
    assert (found["visits"], found["patients"], found["lesions"]) == (6, 6, 6)
    assert set(found["sources"]) == {"a_enhancing_mm3", "b_enhancing_mm3"}
    a, b = (found["sources"][name]["all"] for name in ("a_enhancing_mm3", "b_enhancing_mm3"))
    assert a["icc"]["estimate"] == pytest.approx(1)
    assert b["ratio"]["estimate"] == pytest.approx(2)
    assert b["spearman"]["estimate"] == pytest.approx(1)
    assert found["points"][0]["b_enhancing_mm3"] == pytest.approx(2 * math.pi / 6 * 1000)


def test_the_largest_measured_lesions_stand_against_the_stated():
    sizes = rationale_table([
        make_row(2, "P1", 12, "Target L.: 20mm x 10mm, 15mm x 10mm"),
        make_row(3, "P1", 24, "Target L.: 30mm x 10mm"),
        make_row(9, "P2", 12, "Target L.: 99mm x 99mm"),
        make_row(10, "P2", 12, "Target L.: 12mm x 10mm"),
        make_row(11, "P3", 12, "Target L.: 12mm x 10mm"),
    ])  # fmt: skip
    t2 = "nonenhancing"
    lesions = pd.DataFrame(
        [("P1", "week-012", "", 8.0, 5.0), ("P1", "week-012", "", 21.0, 10.0),
         ("P1", "week-012", "enhancing", 14.0, 10.0),
         ("P1", "week-012", t2, 90.0, 90.0), ("P1", "week-024", "", 33.0, 10.0), ("P2", "week-012", t2, 90.0, 90.0),
         ("P4", "week-012", "", 1.0, 1.0)],
        columns=["patient", "scan", "compartment", "longest_mm", "perpendicular_mm"],
    )  # fmt: skip
    expected = [
        ["P1", "week-012", 2, 2, 350.0, 350.0],
        ["P1", "week-024", 1, 1, 300.0, 330.0],
        # Of two rows the last; measured, and nothing enhancing found.
        ["P2", "week-012", 1, 0, 120.0, 0.0],
    ]
    assert join_lesions(lesions, sizes).to_numpy().tolist() == expected
    # Written and read back as text: line 10 still comes after line 9.
    again = pd.read_csv(io.StringIO(sizes.to_csv(index=False)), dtype=str, keep_default_na=False)
    assert join_lesions(lesions.astype(str), again).to_numpy().tolist() == expected


def test_changes_are_of_consecutive_visits_of_one_patient():
    joined = pd.DataFrame(
        [("P1", f"week-{week:03d}", 1, 1, stated, measured) for week, stated, measured in
         [(0, 100, 200), (10, 200, 400), (20, 0, 5), (30, 400, 800)]]
        + [("P2", "week-000", 1, 1, 50, 100), ("P2", "week-010", 1, 1, 100, 200)]
        + [("P3", "week-000", 1, 1, 50, 70)],
        columns=["patient", "visit", "stated_lesions", "measured_lesions", "stated_mm2", "measured_mm2"],
    )  # fmt: skip
    found = compare_with_lesions(joined, SETTINGS)
    # Every change is a doubling in both: three pairs, no variance, so no ICC but a reason.
    assert found["change"]["pairs"] == 3
    assert found["change"]["icc"]["estimate"] is None
    assert found["spd"]["zeros"] == 1
    assert found["spd"]["pairs"] == 6


def test_change_against_a_known_reliability():
    """True log sizes walk with variance 1; errors of variance 0.1 per measurement make 0.2 per change: ICC 1 / 1.2."""
    generator = np.random.default_rng(5)
    rows = []
    for patient in range(150):
        true = np.cumsum(generator.normal(0, 1, 4)) + 6
        stated, measured = np.exp(true + generator.normal(0, np.sqrt(0.1), (2, 4)))
        rows += [(f"P{patient:03d}", f"week-{12 * i:03d}", 1, 1, stated[i], measured[i]) for i in range(4)]
    columns = ["patient", "visit", "stated_lesions", "measured_lesions", "stated_mm2", "measured_mm2"]
    found = compare_with_lesions(pd.DataFrame(rows, columns=columns), SETTINGS)["change"]
    assert (found["pairs"], found["patients"]) == (450, 150)
    assert found["icc"]["low"] < 1 / 1.2 < found["icc"]["high"]


def test_a_table_of_lesions_without_diameters_is_refused():
    with pytest.raises(TableError, match="longest_mm"):
        join_lesions(pd.DataFrame(columns=["patient", "scan"]), rationale_table([]))


def test_real_table():
    if not LUMIERE.is_dir():
        pytest.skip("LUMIERE's tables are not beside the checkout")
    rows = read_tables(LUMIERE).ratings
    table = rationale_table(rows)
    assert set(table["line"]) == {row.line for row in rows}
    assert len(rows) == 482
    assert table["size"].notna().sum() == 157
    assert (table["unread"] == "").all()
    assert len(stated_burdens(rows)) == 116
