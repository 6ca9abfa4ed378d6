"""Facts: unknown stays unknown, the scale comes from training cases alone, presence flags follow the images."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ranoscope import runs
from ranoscope.cohort.files import PATIENTS, read_cases, read_patients
from ranoscope.config import ClinicalSettings, MissingSequences, Recipe
from ranoscope.domain import Case, Response, Visit
from ranoscope.imaging.store import StudyStore
from ranoscope.learning import fitting
from ranoscope.learning.checkpoints import load_fact_scale, load_fold
from ranoscope.learning.crossval import cross_validate
from ranoscope.learning.data import CaseDataset, Material
from ranoscope.learning.facts import FactScale, fact_names, fact_tensor
from ranoscope.learning.fitting import probabilities
from ranoscope.learning.networks import build_network

SWITCHES = ("age", "sex", "idh", "mgmt", "interval", "week")
ALL = ClinicalSettings(**dict.fromkeys(SWITCHES, True))


def make_recipe(clinical=ALL, missing=MissingSequences.ERROR) -> Recipe:
    return Recipe(
        name="facts", description="t", sequences=("CT1", "FLAIR"), clinical=clinical, missing_sequences=missing
    )


def make_case(patient: str, prior: int, current: int) -> Case:
    return Case(patient, Visit(prior), Visit(current), Response.SD, current - prior, Response.SD, False)


def table(*rows) -> pd.DataFrame:
    """patients.csv as it is read: name, sex, age, IDH, MGMT."""
    columns = ["patient", "sex", "age_years", "idh", "mgmt"]
    return pd.DataFrame(rows, columns=columns).assign(survival_weeks=np.nan)


PEOPLE = table(
    ("A", "female", 40.0, "wild type", "methylated"),
    ("B", "male", 60.0, "mutant", "not methylated"),
    ("C", "unknown", math.nan, "unknown", "unknown"),
)


def facts_of(case, scale, recipe) -> dict[str, float]:
    return dict(zip(fact_names(recipe), fact_tensor(case, PEOPLE, None, recipe, scale).tolist(), strict=True))


@pytest.mark.parametrize("switches", list(itertools.product((False, True), repeat=6)))
def test_every_switch_adds_its_own_columns_and_no_others(switches):
    asked = [name for name, on in zip(SWITCHES, switches, strict=True) if on]
    recipe = make_recipe(ClinicalSettings(**dict.fromkeys(asked, True)))
    names = fact_names(recipe)
    width = {"age": 2, "sex": 3, "idh": 3, "mgmt": 3, "interval": 1, "week": 1}
    assert len(names) == len(set(names)) == sum(width[name] for name in asked)
    assert list(dict.fromkeys(name.split()[0] for name in names)) == asked
    row = fact_tensor(make_case("A", 3, 10), PEOPLE, None, recipe, scale_of(recipe))
    assert row.shape == (len(names),)
    assert row.dtype == torch.float32


def scale_of(recipe) -> FactScale:
    return FactScale.fit([make_case("A", 3, 10), make_case("B", 10, 40)], PEOPLE, recipe)


def test_a_row_by_hand():
    """Ages 40 and 60: centre 50, spread 10. Intervals 7 and 30: 18.5, 11.5. Weeks 10 and 40: 25, 15."""
    recipe = make_recipe()
    known = facts_of(make_case("B", 10, 55), scale_of(recipe), recipe)
    assert known == pytest.approx(
        {
            "age": 1.0, "age unknown": 0, "sex female": 0, "sex male": 1, "sex unknown": 0,
            "idh wild type": 0, "idh mutant": 1, "idh unknown": 0,
            "mgmt methylated": 0, "mgmt not methylated": 1, "mgmt unknown": 0,
            "interval": (45 - 18.5) / 11.5, "week": 2.0,
        }
    )  # fmt: skip


@pytest.mark.parametrize("patient", ["C", "nobody in the table"])
def test_what_is_unknown_is_no_class_and_no_number(patient):
    recipe = make_recipe()
    row = facts_of(make_case(patient, 3, 10), scale_of(recipe), recipe)
    assert {name for name, value in row.items() if value == 1} == {
        "age unknown", "sex unknown", "idh unknown", "mgmt unknown",
    }  # fmt: skip
    assert all(row[name] == 0 for name in row if name.split()[0] in ("age", "sex", "idh", "mgmt") and "unk" not in name)
    assert all(math.isfinite(value) for value in row.values())


words = {
    "sex": ("female", "male", "unknown"),
    "idh": ("wild type", "mutant", "unknown"),
    "mgmt": ("methylated", "not methylated", "unknown"),
}
ages = st.none() | st.floats(1, 99)
people = st.lists(st.tuples(*map(st.sampled_from, words.values()), ages), min_size=1, max_size=6)


@given(people, st.data())
def test_in_every_group_of_words_exactly_one_column_is_on(rows, data):
    patients = table(*[(f"P{n}", sex, math.nan if age is None else age, idh, mgmt)
                       for n, (sex, idh, mgmt, age) in enumerate(rows)])  # fmt: skip
    cases = [make_case(f"P{n}", n, n + data.draw(st.integers(1, 60))) for n in range(len(rows))]
    recipe = make_recipe()
    scale = FactScale.fit(cases, patients, recipe)
    matrix = torch.stack([fact_tensor(case, patients, None, recipe, scale) for case in cases]).double().numpy()
    names = fact_names(recipe)
    for fact in words:
        mine = matrix[:, [place for place, name in enumerate(names) if name.startswith(fact)]]
        assert (mine.sum(axis=1) == 1).all()
        assert set(np.unique(mine)) <= {0, 1}
    known = matrix[matrix[:, names.index("age unknown")] == 0, names.index("age")]
    for values in (known, matrix[:, names.index("interval")], matrix[:, names.index("week")]):
        if len(values):
            assert values.mean() == pytest.approx(0, abs=1e-4)
            assert values.std() == pytest.approx(1, abs=1e-3) or np.allclose(values, 0, atol=1e-3)
    assert np.isfinite(matrix).all()


def test_a_number_that_no_training_case_has_is_unknown_to_all():
    recipe = make_recipe()
    scale = FactScale.fit([make_case("C", 3, 10)], PEOPLE, recipe)
    row = facts_of(make_case("A", 3, 10), scale, recipe)
    assert (row["age"], row["age unknown"]) == (0, 1)


def test_a_scale_survives_its_record():
    scale = scale_of(make_recipe())
    assert FactScale.from_dict(json.loads(json.dumps(scale.as_dict()))) == FactScale(
        {name: tuple(part) for name, part in scale.parts.items()}
    )


@pytest.fixture(scope="module")
def clinical(tiny) -> Recipe:
    content = tiny(epochs=1).model_dump(mode="json")
    return Recipe.model_validate({**content, "clinical": {"age": True, "sex": True, "interval": True}})


@pytest.fixture
def told(home):
    """The cohort with demographics: ages rise with the patient's number, the last one's is unknown."""
    patients = pd.read_csv(home / "run" / PATIENTS, dtype=str, keep_default_na=False)
    patients["age_years"] = [str(40 + 3 * place) for place in range(7)] + [""]
    patients["sex"] = ["female", "male"] * 4
    patients.to_csv(home / "run" / PATIENTS, index=False)
    return home


def test_the_scale_is_of_the_folds_training_cases_alone_and_used_again(told, clinical, monkeypatch):
    sides = {}
    honest = fitting.fit_fold

    def watched(recipe, material, both, folder, seed, say):
        sides[seed] = both
        return honest(recipe, material, both, folder, seed, say)

    monkeypatch.setattr("ranoscope.learning.crossval.fit_fold", watched)
    run = told / "run"
    calls = cross_validate(clinical, run, run, lambda *_: None)
    age = read_patients(run).set_index("patient")["age_years"]
    material = Material(StudyStore(run / "store", clinical.grid), read_patients(run))
    for fold in (0, 1):
        about = json.loads((run / runs.CHECKPOINTS / f"seed-0_fold-{fold}" / "fold.json").read_text())
        assert about["facts"] == list(fact_names(clinical))
        ages = age[[case.patient for case in sides[fold].training]].dropna()
        assert about["fact_scale"]["age"] == pytest.approx([ages.mean(), ages.std(ddof=0)])
        assert set(about["fact_scale"]) == {"age", "interval"}
        mine = [c for c in read_cases(run) if ((calls["patient"] == c.patient) & (calls["fold"] == str(fold))).any()]
        dataset = CaseDataset(material, mine, clinical, load_fact_scale(run, 0, fold))
        again = probabilities(load_fold(run, 0, fold), dataset, clinical)[:, 0]
        rows = calls.set_index(["patient", "current"]).loc[[(c.patient, str(c.current)) for c in mine]]
        assert rows["p_PD"].astype(float).tolist() == pytest.approx(again.tolist(), abs=2e-6)


def test_other_demographics_are_another_cohort(told, clinical):
    run = told / "run"
    cross_validate(clinical, run, run, lambda *_: None)
    patients = pd.read_csv(run / PATIENTS, dtype=str, keep_default_na=False)
    patients.loc[0, "age_years"] = "77"
    patients.to_csv(run / PATIENTS, index=False)
    with pytest.raises(runs.RunError, match="one of other cases or images"):
        cross_validate(clinical, run, run, lambda *_: None)


def test_the_network_hears_the_facts(clinical):
    torch.manual_seed(0)
    network = build_network(clinical).eval()
    pair = torch.randn(1, 2, 2, *clinical.grid.shape)
    one, other = (network(pair, torch.full((1, len(fact_names(clinical))), value)) for value in (0.0, 1.0))
    assert not torch.equal(one, other)
