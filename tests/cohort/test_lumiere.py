"""Bad tables get one clear message that names every fault with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranoscope.cohort.lumiere import RatingRow, read_tables
from ranoscope.domain import Response, Visit, VisitState
from ranoscope.errors import TableError

RATINGS = "LUMIERE-ExpertRating-v202211.csv"
COMPLETENESS = "LUMIERE-datacompleteness.csv"
DEMOGRAPHICS = "LUMIERE-Demographics_Pathology.csv"


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8-sig")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_ratings_are_normalised(tables_only):
    rows = {(row.patient, row.week): row for row in read_tables(tables_only).ratings}
    assert rows["Patient-008", "week-001"].rating is VisitState.POST_OP
    assert rows["Patient-008", "week-030"].rating is VisitState.POST_OP_PD
    assert rows["Patient-008", "week-040"].rating is VisitState.UNRATED
    assert rows["Patient-008", "week-052"].rating is Response.PD
    assert rows["Patient-002", "week-040-2"].visit == Visit(40, 2)
    assert rows["Patient-001", "week-000-1"].line == 2


def test_no_folder_and_no_ratings(tmp_path):
    with pytest.raises(TableError, match=r"a LUMIERE folder, got nothing"):
        read_tables(tmp_path / "absent")
    with pytest.raises(TableError, match=rf"the table {RATINGS}, got none, .*beside or above the Imaging folder"):
        read_tables(tmp_path)


def test_optional_tables_are_missed_aloud(tables_only):
    (tables_only / COMPLETENESS).unlink()
    (tables_only / DEMOGRAPHICS).unlink()
    tables = read_tables(tables_only)
    assert tables.completeness is None
    assert [warning.split(" ")[0] for warning in tables.warnings] == [COMPLETENESS, DEMOGRAPHICS]
    assert list(tables.inputs) == [RATINGS]


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (RATINGS, "LessThan3Months", "Less than 3 months", r"`LessThan3Months`, got .*`Less than 3 months` \(renamed"),
        (RATINGS, "Date,", "Week,", r"column `Date` \(or Timepoint, Time point\)"),
        (RATINGS, '"Rating (acc', '"Rated (acc', r"column `Rating \(according to RANO\)`"),
        (RATINGS, "Rating rationale", "Reasons", r"column `Rating rationale`"),
        (COMPLETENESS, "FLAIR", "FLAIR image", r"`FLAIR`, got the nearest `FLAIR image` .*in LUMIERE-datacompl"),
        (DEMOGRAPHICS, "Sex", "Gender", r"column `Sex`.*in LUMIERE-Demographics"),
    ],
)
def test_a_renamed_column_is_named_with_the_nearest(tables_only, file, old, new, message):
    replace(tables_only / file, old, new)
    with pytest.raises(TableError, match=message):
        read_tables(tables_only)


def test_all_missing_columns_are_in_one_message(tables_only):
    (tables_only / RATINGS).write_text("a,b\n1,2\n")
    with pytest.raises(TableError, match=r"columns `Patient`, `Date`.*`LessThan3Months`.*got only a, b"):
        read_tables(tables_only)
    (tables_only / RATINGS).write_text("")
    with pytest.raises(TableError, match=r"got an empty file"):
        read_tables(tables_only)


def test_unknown_ratings_are_listed_with_line_and_nearest(make_tables):
    rows = [
        ("001", "week-000", "", "Pre-Op", ""),
        ("001", "week-010", "", "PreOp", ""),
        ("001", "week-020", "", "9", ""),
    ]
    with pytest.raises(TableError, match=r"`PreOp` on line 3 \(did the expert mean `Pre-Op`\?\); `9` on line 4,"):
        read_tables(make_tables(rows))


def test_line_numbers_survive_line_breaks_inside_cells(make_tables):
    rows = [("001", "week-000", "", "Pre-Op", "two\nlines"), ("001", "week-010", "", "wrong", "")]
    with pytest.raises(TableError, match="`wrong` on line 4"):
        read_tables(make_tables(rows))


def test_unknown_cross_and_missing_patient(make_tables):
    with pytest.raises(TableError, match=r"cross `x` or an empty cell, got `yes` on line 2"):
        read_tables(make_tables([("001", "week-000", "yes", "PD", "")]))
    root = make_tables([("001", "week-000", "", "PD", "")])
    replace(root / RATINGS, "Patient-001", "")
    with pytest.raises(TableError, match=r"a patient on every line, got an empty cell on line 2"):
        read_tables(root)


def test_an_unquoted_comma_is_found(tables_only):
    replace(tables_only / DEMOGRAPHICS, '"IDH1 neg, Sequencing required"', "IDH1 neg, Sequencing required")
    with pytest.raises(TableError, match=r"8 fields on every line, got 9 on line 4, in .*; quote cells"):
        read_tables(tables_only)


def test_not_utf8_is_said(tables_only):
    (tables_only / RATINGS).write_bytes("Patient,Date,überlebt".encode("latin-1"))
    with pytest.raises(TableError, match="UTF-8"):
        read_tables(tables_only)


def test_the_tables_edited_for_the_papers_code_are_read_too(tables_only):
    expected = read_tables(tables_only).ratings
    path = tables_only / RATINGS
    lines = path.read_text(encoding="utf-8-sig").replace("Post-Op ,", "Post-Op,").splitlines()
    lines[0] = "Patient,Timepoint,LessThan3Months,NonMeasurableLesions,RANO,RatingRationale"
    path.write_text("\n".join(lines) + "\n")
    assert read_tables(tables_only).ratings == expected


def test_a_newer_release_is_recognised_and_two_are_not_guessed(tables_only):
    (tables_only / RATINGS).rename(tables_only / "LUMIERE-ExpertRating-v202312.csv")
    assert len(read_tables(tables_only).ratings) == 65
    (tables_only / "LUMIERE-ExpertRating-edited.csv").write_text("")
    with pytest.raises(TableError, match=r"got LUMIERE-ExpertRating-edited\.csv, LUMIERE-ExpertRating-v202312\.csv"):
        read_tables(tables_only)
    (tables_only / RATINGS).write_text((tables_only / "LUMIERE-ExpertRating-v202312.csv").read_text("utf-8-sig"))
    assert RATINGS in read_tables(tables_only).inputs


def test_tables_above_the_folder_are_found(tables_only):
    inner = tables_only / "images"
    (inner / "Imaging").mkdir(parents=True)
    assert len(read_tables(inner).ratings) == len(read_tables(inner / "Imaging").ratings) == 65


def test_unknown_words_and_numbers_of_demographics_stay_unknown_and_are_said(tables_only):
    replace(tables_only / DEMOGRAPHICS, "Patient-001,89,female", "Patient-001,long,woman")
    tables = read_tables(tables_only)
    assert tables.patients["Patient-001"].sex == "unknown"
    assert tables.patients["Patient-001"].survival_weeks is None
    assert len([warning for warning in tables.warnings if "line 2, Patient-001" in warning]) == 2


@pytest.mark.parametrize(
    ("text", "three_months", "no_timepoint"),
    [
        ("less than 3 months", True, False),
        ("dural recurrence despite within 3 months of treatment", True, False),
        ("within 3months", True, False),
        ("stable for 13 months", False, False),
        ("Not a timepoint for RANO measurement", False, True),
        ("new L. near the uranoschisis", False, False),
    ],
)
def test_what_a_rationale_says(text, three_months, no_timepoint):
    row = RatingRow(2, "Patient-001", "week-001", Visit(1), Response.PD, False, text)
    assert row.rationale_says_under_3_months is three_months
    assert row.rationale_says_no_rano_timepoint is no_timepoint
