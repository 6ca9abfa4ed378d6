"""The reference paper's folds: MONAI's own rule, only on request, marked, and refused by what trains or scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data.utils import partition_dataset_classes

from ranoscope.cohort.folds import (
    assign_folds,
    assign_folds_as_published,
    make_folds,
    read_folds,
    write_folds,
)
from ranoscope.config import FoldProtocol, FoldSettings
from ranoscope.domain import RESPONSES, Case, Response, Visit
from ranoscope.errors import RanoscopeError, RunError

# The cohort's size per class, PD to CR, as far as it matters: at least as many as folds, or none.
sizes = st.tuples(*(st.integers(5, 12) for _ in RESPONSES[:3]), st.sampled_from([0, 5, 9]))


def make_cases(counts, patients=6, order=0):
    labels = np.random.default_rng(order).permutation(np.repeat(np.array(RESPONSES), counts))
    return [
        Case(f"P{place % patients:03d}", Visit(place), Visit(place + 1), Response(label), 1, Response.SD, True)
        for place, label in enumerate(labels)
    ]


@settings(max_examples=40, deadline=None)
@given(counts=sizes, count=st.integers(2, 5), seed=st.integers(0, 999), shuffle=st.randoms(use_true_random=False))
def test_the_rule_is_monais(counts, count, seed, shuffle):
    cases = make_cases(counts, order=seed)
    ordered = sorted(cases, key=lambda case: (case.patient, case.current))
    classes = [case.response.class_index for case in ordered]
    parts = partition_dataset_classes(ordered, classes, num_partitions=count, shuffle=True, seed=seed)
    expected = {(c.patient, str(c.current)): fold for fold, part in enumerate(parts) for c in part}
    shuffle.shuffle(cases)
    table = assign_folds_as_published(cases, FoldSettings(count=count, seeds=(seed,)))
    assert len(table) == len(cases)
    assert {(row.patient, row.current): row.fold for row in table.itertuples()} == expected


def test_every_row_is_marked_and_ours_never_is():
    cases = make_cases((10, 6, 5, 5))
    assert set(assign_folds_as_published(cases, FoldSettings(seeds=(0, 1)))["protocol"]) == {"as-published"}
    assert "protocol" not in assign_folds(cases, FoldSettings())


def test_a_class_with_fewer_cases_than_folds_is_refused():
    with pytest.raises(RanoscopeError, match="at least 5 cases of PR, got 4"):
        assign_folds_as_published(make_cases((10, 6, 4, 5)), FoldSettings(count=5))


def test_marked_folds_are_refused_by_every_stage_that_reads_folds(tmp_path):
    write_folds(tmp_path, assign_folds_as_published(make_cases((10, 6, 5, 5)), FoldSettings()))
    with pytest.raises(RunError, match="patient-level folds, got folds of the protocol as-published"):
        read_folds(tmp_path)


@pytest.fixture
def cohort_run(tmp_path, monkeypatch):
    """A cohort whose cases are known; only its hash is taken from the file."""
    monkeypatch.setattr("ranoscope.cohort.folds.read_cases", lambda run: make_cases((10, 6, 5, 5), patients=9))
    (tmp_path / "cohort.csv").write_text("stands for a cohort")
    return tmp_path


@pytest.mark.parametrize("protocol", list(FoldProtocol))
def test_a_file_or_a_run_is_written_and_other_folds_are_never_overwritten(cohort_run, tmp_path, protocol):
    three = FoldSettings(count=3, protocol=protocol)
    file = make_folds(cohort_run, three, tmp_path / "made.csv")
    in_run = make_folds(cohort_run, three, tmp_path / "run")
    assert (file.name, in_run) == ("made.csv", tmp_path / "run" / "folds.csv")
    assert file.read_bytes() == in_run.read_bytes()
    assert f"protocol: {protocol}" in (tmp_path / "run" / "settings.yaml").read_text()
    before = in_run.read_bytes()
    make_folds(cohort_run, three, tmp_path / "run")
    with pytest.raises(RunError, match="no other folds"):
        make_folds(cohort_run, FoldSettings(count=4, protocol=protocol), tmp_path / "run")
    assert in_run.read_bytes() == before
    assert pd.read_csv(file)["fold"].nunique() == 3
