"""Permuted labels: what the network is taught, what stays the expert's, and the mark on everything."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranoscope import runs
from ranoscope.cohort.files import read_cases
from ranoscope.cohort.folds import watermark
from ranoscope.config import EvaluationSettings, FoldProtocol, Labels, load_recipe
from ranoscope.domain import RESPONSES, Case, Response, Visit
from ranoscope.evaluation.scorecard import evaluate_run
from ranoscope.learning import crossval
from ranoscope.learning.cells import Cell
from ranoscope.learning.checkpoints import load_run_recipe, training_fingerprint
from ranoscope.learning.crossval import cross_validate
from ranoscope.learning.targets import as_taught

WORDS = "permuted labels: learnt from responses dealt at random"


def silent(*_):
    pass


def some_cases(labels):
    return [
        Case(f"P{n // 2}", Visit(0), Visit(n + 1), label, n + 1, Response.SD, False) for n, label in enumerate(labels)
    ]


def permuted(recipe):
    return recipe.model_copy(update={"labels": Labels.PERMUTED})


@given(st.lists(st.sampled_from(RESPONSES), max_size=40), st.integers(0, 5000))
def test_classes_are_counted_as_before_and_only_responses_change(labels, seed):
    cases = some_cases(labels)
    taught = as_taught(cases, Labels.PERMUTED, seed)
    assert Counter(case.response for case in taught) == Counter(labels)
    assert [(c.patient, c.prior, c.current) for c in taught] == [(c.patient, c.prior, c.current) for c in cases]
    assert taught == as_taught(cases, Labels.PERMUTED, seed)
    assert as_taught(cases, Labels.EXPERT, seed) == cases


def test_a_permutation_says_nothing_of_the_labels():
    """As many cases keep their response as by chance, and every seed deals anew."""
    cases = some_cases([RESPONSES[n % 4] for n in range(80)])
    dealt = [as_taught(cases, Labels.PERMUTED, seed) for seed in range(100)]
    kept = [sum(one == other for one, other in zip(cases, taught, strict=True)) for taught in dealt]
    assert sum(kept) / len(kept) == pytest.approx(20, abs=2)
    assert len({tuple(case.response for case in taught) for taught in dealt}) == 100


@pytest.mark.parametrize("protocol", list(FoldProtocol))
def test_who_learns_what(tmp_path, protocol):
    """The training side and, by patient, the inner side are permuted together; test cases never are."""
    cases = some_cases([RESPONSES[n % 4] for n in range(60)])
    cell = Cell(0, 1, tmp_path, cases[:12], cases[12:], "key")
    recipe = load_recipe("demo", [f"folds.protocol={protocol}"])
    plain, sides = cell.sides(recipe), cell.sides(permuted(recipe))
    learnt = [*sides.training, *(sides.inner if protocol is FoldProtocol.PATIENT else [])]
    assert {case.patient for case in learnt} == {case.patient for case in cases[12:]}
    assert Counter(case.response for case in learnt) == Counter(case.response for case in cases[12:])
    assert {str(case) for case in learnt} == {str(case) for case in cases[12:]}
    assert set(learnt) != set(cases[12:])
    assert sides == cell.sides(permuted(recipe))
    assert cell.test == cases[:12]
    if protocol is FoldProtocol.AS_PUBLISHED:
        assert sides.inner == plain.inner == cell.test
    assert not {case.patient for case in sides.training} & {case.patient for case in sides.inner}


def test_it_is_another_recipe():
    assert training_fingerprint(load_recipe("demo")) != training_fingerprint(load_recipe("demo", ["labels=permuted"]))


@pytest.fixture(scope="module")
def run(original, tiny, tmp_path_factory):
    home = shutil.copytree(original, tmp_path_factory.mktemp("permuted") / "home")
    taught = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("joblib.cpu_count", lambda: 1)
        fit = crossval.fit_fold

        def watched(recipe, material, sides, *rest):
            taught.append(sides)
            return fit(recipe, material, sides, *rest)

        patch.setattr(crossval, "fit_fold", watched)
        cross_validate(permuted(tiny(epochs=1)), home / "run", home / "run", silent)
    evaluate_run(home / "run", EvaluationSettings(bootstrap=100))
    return home / "run", taught


def test_a_training_learns_them_and_is_scored_against_the_experts(run):
    folder, taught = run
    expert = {str(case): case.response for case in read_cases(folder)}
    learnt = [case for sides in taught for case in (*sides.training, *sides.inner)]
    assert any(case.response is not expert[str(case)] for case in learnt)
    calls = pd.read_csv(folder / runs.CALLS)
    named = {(case.patient, str(case.current)): case.response for case in read_cases(folder)}
    assert all(named[row.patient, row.current] == row.response for row in calls.itertuples())


def test_it_is_marked_wherever_it_appears(run):
    folder, _ = run
    assert load_run_recipe(folder).labels is Labels.PERMUTED
    assert set(pd.read_csv(folder / runs.CALLS)["labels"]) == {"permuted"}
    for record in folder.glob("checkpoints/*/fold.json"):
        assert json.loads(record.read_text())["labels"] == "permuted"
    assert WORDS in json.loads((folder / runs.SCORECARD).read_text())["watermark"]
    assert pd.read_csv(folder / "scoreboard.csv")["watermark"].str.contains(WORDS).all()
    drawings = list((folder / runs.FIGURES).glob("*.svg"))
    assert drawings
    assert all("PERMUTED LABELS" in path.read_text() for path in drawings)


def test_both_marks_stand_beside_each_other():
    both = watermark(FoldProtocol.AS_PUBLISHED, Labels.PERMUTED)
    assert WORDS in both
    assert "as published: folds by visit" in both
    assert watermark(FoldProtocol.PATIENT) is None
    assert WORDS in watermark(FoldProtocol.PATIENT, Labels.PERMUTED)
