"""Rivals on LUMIERE's real rating table, against pandas on the published file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ranoscope.cohort.files import read_cases, write_cohort
from ranoscope.cohort.pairing import build_cohort
from ranoscope.config import CohortSettings
from ranoscope.evaluation.rivals import RIVALS, Evidence, predict
from ranoscope.evaluation.scores import score
from ranoscope.evaluation.weighting import whole_sample

TABLES = Path(__file__).parents[3] / "shared" / "data" / "lumiere_tables"
pytestmark = pytest.mark.skipif(not TABLES.is_dir(), reason="LUMIERE's tables are not beside the checkout")


@pytest.fixture(scope="module")
def published():
    """Response-rated visits after the filters, with the rating of the visit before, by pandas alone."""
    table = pd.read_csv(TABLES / "LUMIERE-ExpertRating-v202211.csv", dtype=str, keep_default_na=False)
    table.columns = ["patient", "week", "early", "non_measurable", "rating", "rationale"]
    table["rating"] = table["rating"].str.strip()
    place = table["week"].str.extract(r"^week-(\d+)(?:-(\d+))?$").fillna("0").astype(int)
    table = table.assign(number=place[0], suffix=place[1])
    visit = ["patient", "number", "suffix"]
    twice = table.duplicated(visit, keep=False)
    one_rating = table.groupby(visit)["rating"].transform("nunique") == 1
    remembered = table.assign(rating=table["rating"].where(one_rating, "unrated")).drop_duplicates(visit)
    remembered = remembered.sort_values(visit)
    remembered["prior"] = remembered.groupby("patient")["rating"].shift()
    early = table["rationale"].str.contains(r"\b3 months|RANO")
    kept = table[table["rating"].isin(["CR", "PR", "SD", "PD"]) & ~twice & (table["early"] == "") & ~early]
    kept = kept.merge(remembered[[*visit, "prior"]], on=visit)
    return kept[kept["prior"].notna()]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The rivals' scores on the cohort that ranoscope makes of the same tables."""
    run, settings = tmp_path_factory.mktemp("lumiere"), CohortSettings()
    write_cohort(run, build_cohort(TABLES, settings), settings)
    cases = tuple(read_cases(run))
    evidence = Evidence(cases, (0,), np.zeros((1, len(cases)), np.int64), pd.DataFrame())
    answers = {
        rival.name: predict(rival, evidence)[0] for rival in RIVALS if rival.name in ("always_pd", "persistence")
    }
    scores = {name: score(answer, whole_sample(len(cases))) for name, answer in answers.items()}
    return {name: {metric: float(value[0]) for metric, value in values.items()} for name, values in scores.items()}


def test_counts(published):
    assert published["rating"].value_counts().to_dict() == {"PD": 203, "SD": 58, "CR": 22, "PR": 13}
    assert published["patient"].nunique() == 60


def test_persistence(published, found):
    call = published["prior"].where(published["prior"].isin(["CR", "PR", "SD", "PD"]), "PD")
    call = call.mask(published["prior"] == "Post-Op", "SD")
    right = call == published["rating"]
    recall = right.groupby(published["rating"]).mean()
    for name, value in recall.items():
        assert found["persistence"][f"recall_{name}"] == pytest.approx(value)
    assert found["persistence"]["balanced_accuracy"] == pytest.approx(recall.mean())
    assert found["persistence"]["accuracy"] == pytest.approx(right.mean())
    hits = right.groupby(published["rating"]).sum().to_dict()
    assert hits == {"PD": 117, "SD": 55, "CR": 15, "PR": 3}


def test_always_pd(published, found):
    assert found["always_pd"]["balanced_accuracy"] == 0.25
    assert found["always_pd"]["accuracy"] == pytest.approx((published["rating"] == "PD").mean())
