"""Volumes as facts: what masks measured; exchanged with the studies; a recipe of its own; refused by probes."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ranoscope.cohort.files import read_cases, read_patients
from ranoscope.config import MissingSequences, Recipe
from ranoscope.domain import StudyKey, Visit
from ranoscope.errors import RecipeError
from ranoscope.imaging.store import AlignedStudy
from ranoscope.learning.checkpoints import FOLD, fold_folder, training_fingerprint
from ranoscope.learning.crossval import cross_validate
from ranoscope.learning.facts import FactLayout, FactScale, fact_names, fact_tensor, with_measured
from ranoscope.learning.studies import prepare_store
from ranoscope.probing.audit import audit_shortcuts

NAMES = (
    "enhancing growth", "whole tumour growth", "prior enhancing volume", "prior whole tumour volume",
    "current enhancing volume", "current whole tumour volume",
)  # fmt: skip
# A cube of the home cohort: its edge of 3 to 6 voxels of 6 mm.
VOXEL_MM3 = 216.0


def silent(*_):
    pass


@pytest.fixture
def told(tiny) -> Recipe:
    return tiny(epochs=1).model_copy(update={"measured_volumes": True})


@pytest.fixture
def store(home, told):
    return prepare_store(told, home / "run", read_cases(home / "run"), silent)


def test_volumes_are_those_of_the_mask_as_it_was_drawn(home, told, store):
    """The segmenter's own table says the same, whatever the grid of the recipe."""
    run = home / "run"
    for case in read_cases(run):
        row = dict(
            zip(fact_names(told), fact_tensor(case, read_patients(run), store, told, FactScale({})), strict=True)
        )
        said = []
        for key in (case.prior_study, case.current_study):
            (path,) = home.rglob(f"{key.patient}/{key.visit}/**/measured_volumes_in_mm3.json")
            said.append(math.log((json.loads(path.read_text())["Enhancing_Core"] + 500) / 500))
        assert tuple(row) == NAMES
        assert row["prior enhancing volume"] == pytest.approx(said[0], abs=1e-5)
        assert row["current enhancing volume"] == pytest.approx(said[1], abs=1e-5)
        assert row["enhancing growth"] == pytest.approx(said[1] - said[0], abs=1e-5)


def test_they_come_before_the_flags_and_behind_the_clinical_facts(told):
    clinical = told.clinical.model_copy(update={"interval": True})
    recipe = told.model_copy(update={"clinical": clinical, "missing_sequences": MissingSequences.ZERO_FILL})
    names = fact_names(recipe)
    assert names[:7] == ("interval", *NAMES)
    assert names[FactLayout.of(recipe).measured(len(names))] == NAMES
    assert all(name.endswith("acquired") for name in names[7:])


@given(st.lists(st.floats(0, 80_000), min_size=4, max_size=4), st.booleans())
def test_exchanged_facts_are_those_of_exchanged_studies(volumes, filled):
    missing = "zero-fill" if filled else "error"
    recipe = Recipe(name="n", description="t", measured_volumes=True, missing_sequences=missing)
    studies = [measured(*volumes[:2]), measured(*volumes[2:])]
    empty, layout = torch.zeros(len(fact_names(recipe))), FactLayout.of(recipe)
    facts = with_measured(empty, *studies, recipe)[None]
    for earlier, later in ((0, 0), (0, 1), (1, 0), (1, 1)):
        expected = with_measured(empty, studies[earlier], studies[later], recipe)
        torch.testing.assert_close(layout.shown_as(facts, earlier, later)[0], expected, rtol=0, atol=1e-5)


def measured(*tumour_mm3: float) -> AlignedStudy:
    nothing = np.zeros((1, 1, 1), np.uint8)
    key, box = StudyKey("Patient-001", Visit(3)), (slice(0, 1),) * 3
    return AlignedStudy(
        key, (), nothing[:0].astype(np.float16), nothing > 0, nothing, np.eye(4), box, tumour_mm3=tumour_mm3
    )


def test_a_network_learns_with_them_and_other_volumes_are_another_recipe(home, told, tmp_path):
    calls = cross_validate(told, home / "run", tmp_path / "out", silent)
    about = json.loads((fold_folder(tmp_path / "out", 0, 0) / FOLD).read_text())
    assert about["facts"] == list(NAMES)
    assert len(calls) == len(read_cases(home / "run"))
    assert training_fingerprint(told) != training_fingerprint(told.model_copy(update={"measured_volumes": False}))


def test_probes_of_images_alone_are_refused(home, told, tmp_path):
    cross_validate(told, home / "run", tmp_path / "out", silent)
    with pytest.raises(RecipeError, match="measured_volumes: false"):
        audit_shortcuts(tmp_path / "out", told.evaluation, silent)
