"""The run folder's cohort files, written and read back."""

from __future__ import annotations

import io
import json
import shutil

import pandas as pd
import pytest
from rich.console import Console

from ranoscope.cohort.files import (
    open_run_images,
    read_cases,
    read_flow,
    read_patients,
    read_studies,
    render_flow,
    write_cohort,
)  # fmt: skip
from ranoscope.cohort.pairing import build_cohort
from ranoscope.config import CohortSettings
from ranoscope.domain import Case, Response, StudyKey, Visit, VisitState
from ranoscope.errors import RunError, TableError


@pytest.fixture
def run(lumiere_copy, tmp_path):
    settings = CohortSettings()
    write_cohort(tmp_path / "runs/one", build_cohort(lumiere_copy, settings), settings, {"extra": "0"})
    return tmp_path / "runs/one"


def test_cases_come_back(run):
    cases = read_cases(run)
    assert len(cases) == 24
    assert Case("Patient-002", Visit(40, 1), Visit(40, 2), Response.PD, 0, Response.CR, True) in cases
    assert Case("Patient-004", Visit(41), Visit(60), Response.SD, 19, VisitState.POST_OP, False) in cases


def test_tables_come_back_with_numbers(run):
    studies = read_studies(run).set_index(["patient", "visit"])
    assert studies.loc[("Patient-003", "week-026"), "enhancing_mm3"] == 3000.0
    assert studies["enhancing_mm3"].isna().sum() == 6
    patients = read_patients(run).set_index("patient")
    assert patients.loc["Patient-001", "survival_weeks"] == 89
    assert pd.isna(patients.loc["Patient-002", "survival_weeks"])


def test_flow_comes_back_and_is_drawn(run):
    flow = read_flow(run)
    drawn = io.StringIO()
    Console(file=drawn, width=120).print(render_flow(flow))
    text = drawn.getvalue()
    assert "65 rating rows of 16 patients" in text
    assert "24 cases of 14 patients (PD 13, SD 6, PR 2, CR 3)" in text
    assert "−29  surgery-state" in text
    assert "crosses-surgery" not in text


def test_settings_and_provenance_are_beside(run):
    provenance = json.loads((run / "provenance.json").read_text())["cohort"]
    assert set(provenance["inputs"]) == {
        "LUMIERE-ExpertRating-v202211.csv", "LUMIERE-datacompleteness.csv", "LUMIERE-Demographics_Pathology.csv",
        "extra",
    }  # fmt: skip
    assert "pair_rule: previous_scan" in (run / "settings.yaml").read_text()


def test_images_are_found_again_even_when_both_have_moved(run, tmp_path):
    assert len(open_run_images(run).studies()) == 66
    assert json.loads((run / "source.json").read_text()) == {"images": "../../LUMIERE/Imaging", "synthetic": False}
    (tmp_path / "elsewhere").mkdir()
    for name in ("runs", "LUMIERE"):
        shutil.move(tmp_path / name, tmp_path / "elsewhere" / name)
    assert len(open_run_images(tmp_path / "elsewhere/runs/one").studies()) == 66


def test_moved_images_are_asked_for(run, tmp_path):
    shutil.move(tmp_path / "LUMIERE", tmp_path / "moved")
    with pytest.raises(RunError, match=r"LUMIERE's images, got none, .*give --images"):
        open_run_images(run)
    archive = open_run_images(run, tmp_path / "moved")
    assert archive.read(StudyKey("Patient-001", Visit(13)), "T1.nii.gz") == b"T1.nii.gz"


def test_a_cohort_of_tables_has_no_images(tables_only, tmp_path):
    settings = CohortSettings()
    write_cohort(tmp_path / "run", build_cohort(tables_only, settings), settings, {})
    assert len(read_cases(tmp_path / "run")) > 0
    with pytest.raises(RunError, match="made from tables alone"):
        open_run_images(tmp_path / "run")


@pytest.mark.parametrize("read", [read_cases, read_studies, read_patients, read_flow, open_run_images])
def test_without_a_cohort_the_command_is_named(read, tmp_path):
    with pytest.raises(RunError, match="run `ranoscope cohort` first"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("prior", "week-099"),
        ("prior", "long ago"),
        ("response", "XX"),
        ("weeks_between", "few"),
        ("first_progression", ""),
    ],
)
def test_a_spoilt_case_is_named(run, column, value):
    table = pd.read_csv(run / "cohort.csv", dtype=str, keep_default_na=False)
    place = table.index[(table["current"] == "week-013") & (table["patient"] == "Patient-001")]
    table.loc[place, column] = value
    table.to_csv(run / "cohort.csv", index=False)
    with pytest.raises(TableError, match=r"cohort\.csv, Patient-001/week-013"):
        read_cases(run)
