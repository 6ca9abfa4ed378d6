"""The paper's folds over LUMIERE's real ratings: leaks counted by pandas on the published file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ranoscope.auditing.audit import audit_folds
from ranoscope.cohort.files import write_cohort
from ranoscope.cohort.folds import make_folds
from ranoscope.cohort.pairing import build_cohort
from ranoscope.config import CohortSettings, FoldProtocol, FoldSettings

TABLES = Path(__file__).parents[3] / "shared" / "data" / "lumiere_tables"
pytestmark = pytest.mark.skipif(not TABLES.is_dir(), reason="LUMIERE's tables are not beside the checkout")
VISIT = ["patient", "number", "suffix"]


def published_cases():
    """Rated visits after the filters with the visit before each, by pandas alone; in order of patient and week."""
    table = pd.read_csv(TABLES / "LUMIERE-ExpertRating-v202211.csv", dtype=str, keep_default_na=False)
    table.columns = ["patient", "week", "early", "non_measurable", "rating", "rationale"]
    table["rating"] = table["rating"].str.strip()
    place = table["week"].str.extract(r"^week-(\d+)(?:-(\d+))?$").fillna("0").astype(int)
    table = table.assign(number=place[0], suffix=place[1])
    twice = table.duplicated(VISIT, keep=False)
    once = table.drop_duplicates(VISIT).sort_values(VISIT)
    once["prior"] = once.groupby("patient")["week"].shift()
    early = table["rationale"].str.contains(r"\b3 months|RANO")
    kept = table[table["rating"].isin(["CR", "PR", "SD", "PD"]) & ~twice & (table["early"] == "") & ~early]
    kept = kept.merge(once[[*VISIT, "prior"]], on=VISIT)
    return kept[kept["prior"].notna()].sort_values(VISIT).reset_index(drop=True)


def deal_by_visit(cases, seed):
    """Shuffled inside each class with the seed, then dealt to five folds in turn."""
    fold = np.zeros(len(cases), int)
    for _, members in cases.groupby("rating"):
        order = list(members.index)
        np.random.RandomState(seed).shuffle(order)
        fold[order] = np.arange(len(order)) % 5
    return cases.assign(fold=fold)


def share_leaking(dealt):
    """Pairs of cases of one patient in different folds, joined by pandas."""
    dealt = dealt.assign(case=dealt.index)
    pairs = dealt.merge(dealt, on="patient", suffixes=("", "_other"))
    pairs = pairs[pairs["fold"] != pairs["fold_other"]]
    known = pairs["prior"] == pairs["week_other"]
    scan = known | (pairs["prior"] == pairs["prior_other"]) | (pairs["week"] == pairs["prior_other"])
    return [pairs["case"][which].nunique() / len(dealt) for which in (pairs["fold"] >= 0, scan, known)]


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    run = tmp_path_factory.mktemp("lumiere")
    write_cohort(run, build_cohort(TABLES, CohortSettings()), CohortSettings())
    path = make_folds(run, FoldSettings(seeds=(0, 1, 2), protocol=FoldProtocol.AS_PUBLISHED), run / "published.csv")
    return audit_folds(path, run)


def test_the_papers_folds_leak_as_counted_by_pandas(audit):
    cases = published_cases()
    assert len(cases) == audit["cases"] == 296
    for seed in audit["seeds"]:
        expected = share_leaking(deal_by_visit(cases, seed["seed"]))
        assert [leak["share"] for leak in seed["leaks"].values()] == pytest.approx(expected)
        assert expected[0] > 0.9
    assert audit["patients_leak"]


def test_name_and_week_alone_beat_the_published_score(audit):
    """The paper reports a median of folds of 50.96 % with images (arXiv 2504.18268)."""
    assert all(seed["patient_and_week"]["median_of_folds"] > 0.5096 for seed in audit["seeds"])


def test_classes_are_dealt_evenly(audit):
    counts = pd.DataFrame(audit["seeds"][0]["folds"]).drop(columns="fold")
    assert counts.sum().to_dict() == {"CR": 22, "PR": 13, "SD": 58, "PD": 203}
    assert (counts.max() - counts.min() <= 1).all()
