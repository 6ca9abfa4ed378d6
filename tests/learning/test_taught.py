"""Masks and consistency in a training from end to end: labels lie where images lie, restarts change nothing."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import default_collate

from ranoscope import runs
from ranoscope.cohort.files import read_cases, read_patients
from ranoscope.config import MissingSequences, Recipe
from ranoscope.domain import SEQUENCES, StudyKey, Visit
from ranoscope.imaging.store import AlignedStudy
from ranoscope.learning import fitting
from ranoscope.learning.checkpoints import WEIGHTS, fold_folder, load_fold
from ranoscope.learning.crossval import cross_validate
from ranoscope.learning.data import PADDING, CaseDataset, EqualShares, Material
from ranoscope.learning.facts import FactLayout, FactScale
from ranoscope.learning.measures import measure_change
from ranoscope.learning.module import ResponseModule
from ranoscope.learning.studies import prepare_store
from ranoscope.learning.transforms import Change, apply, apply_to_labels

TAUGHT = {
    "auxiliary": {"segmentation": 1.0, "measures": 0.5},
    "consistency": {"swap": 0.3, "same": 0.5},
    "ordinal": 0.5,
}
NETWORK = {
    "name": "change-aware", "widths": [4, 8], "findings": 4, "tissues": True, "tolerance_mm": 6,
    "comparison": ["amount", "growth", "spot", "moved", "matched"],
}  # fmt: skip


def silent(*_):
    pass


@pytest.fixture
def recipe(tiny) -> Recipe:
    content = tiny(epochs=2, weight_averaging=0.0, **TAUGHT).model_dump(mode="json")
    return Recipe.model_validate({**content, "network": NETWORK})


@pytest.fixture
def tiny(tiny):
    """The recipe's network has no tissues: it is laid over before it is checked."""

    def make(**training):
        plain = tiny()
        return plain.model_copy(update={"training": plain.training.model_validate({
            **plain.training.model_dump(mode="json"), **training})})  # fmt: skip

    return make


@pytest.fixture
def material(home, recipe) -> Material:
    return Material(prepare_store(recipe, home / "run", read_cases(home / "run"), silent), read_patients(home / "run"))


def test_training_samples_bring_labels_and_measures_and_others_do_not(home, recipe, material):
    cases = read_cases(home / "run")[:3]
    scale = FactScale.fit(cases, material.patients, recipe)
    pair, facts, response, tumours, measures = CaseDataset(material, cases, recipe, scale, seed=1)[2]
    assert tumours.shape == (2, *pair.shape[2:])
    assert tumours.dtype == torch.uint8
    store = material.store
    expected = measure_change(store[cases[2].prior_study], store[cases[2].current_study])
    assert measures.tolist() == expected.tolist()
    assert len(CaseDataset(material, cases, recipe, scale)[2]) == 3
    assert (facts.shape, response) == ((0,), cases[2].response.class_index)


def test_padding_keeps_what_a_sample_brings(home, recipe, material):
    cases = read_cases(home / "run")[:3]
    shares = EqualShares(CaseDataset(material, cases, recipe, FactScale({}), seed=1), 2)
    assert len(shares) == 4
    assert shares[3][2] == PADDING
    assert len(shares[3]) == len(shares[0]) == 5


SHAPE = (9, 10, 8)


@pytest.mark.parametrize("flips", list(itertools.product((False, True), repeat=3)))
def test_labels_go_where_the_images_go(flips):
    """The labels as a sequence, and as labels."""
    generator = np.random.default_rng(0)
    studies = []
    for week in (1, 2):
        tumour = generator.integers(0, 4, SHAPE).astype(np.uint8)
        whole = tuple(slice(0, size) for size in SHAPE)
        volumes = np.stack([tumour] * len(SEQUENCES)).astype(np.float16)
        key = StudyKey("Patient-001", Visit(week))
        studies.append(AlignedStudy(key, SEQUENCES, volumes, np.ones(SHAPE, bool), tumour, np.eye(4), whole))
    ones = np.ones((2, 1), np.float32)
    change = Change(flips, (2, -1, 3), ones, 0 * ones, ones, 0.0, 0, ones.astype(bool))
    pair = tuple(studies)
    images, labels = apply(pair, SEQUENCES[:1], change), apply_to_labels(pair, change)
    assert labels.max() > 0
    assert torch.equal(images[:, 0].to(torch.uint8), labels)


def test_a_whole_training_and_its_restart_end_alike(home, recipe, monkeypatch, train_with_a_break):
    twin = home.parent / "twin"
    shutil.copytree(home, twin)
    cross_validate(recipe, home / "run", home / "run", silent)
    calls = pd.read_csv(home / "run" / runs.CALLS)
    assert len(calls) == len(read_cases(home / "run"))
    train_with_a_break(recipe, twin / "run")
    for fold in (0, 1):
        one, other = (fold_folder(place / "run", 0, fold) / WEIGHTS for place in (home, twin))
        assert one.read_bytes() == other.read_bytes()
    pairs = torch.randn(1, 2, 2, *recipe.grid.shape)
    assert load_fold(home / "run", 0, 0)(pairs).shape == (1, 4)


def test_every_part_has_a_say_in_the_loss(home, recipe, material, monkeypatch):
    """Each taught alone moves weights otherwise than the responses alone do."""
    cases = read_cases(home / "run")[:4]
    dataset = CaseDataset(material, cases, recipe, FactScale({}), seed=1)
    batch = default_collate([dataset[place] for place in range(4)])
    losses = {}
    for name in ("none", "segmentation", "measures", "swap", "same", "ordinal"):
        settings = recipe.training.model_copy(update={
            "auxiliary": recipe.training.auxiliary.model_copy(
                update={"segmentation": 1e-9 + (name == "segmentation"), "measures": float(name == "measures")}),
            "consistency": recipe.training.consistency.model_copy(
                update={"swap": float(name == "swap"), "same": float(name == "same")}),
            "ordinal": float(name == "ordinal"),
        })  # fmt: skip
        torch.manual_seed(0)
        module = ResponseModule(fitting.build_network(recipe).eval(), settings, torch.ones(4))
        monkeypatch.setattr(module, "log", lambda *_told, **_more: None)
        losses[name] = module.training_step(batch, 0).item()
    assert all(losses[name] > losses["none"] + 1e-3 for name in losses if name != "none"), losses
    assert len(set(losses.values())) == len(losses)


def test_which_facts_follow_the_studies_is_told_to_the_module(home, recipe, material, monkeypatch):
    found = []
    module = fitting.ResponseModule

    def spy(network, settings, weights, layout):
        found.append(layout)
        return module(network, settings, weights, layout)

    monkeypatch.setattr(fitting, "ResponseModule", spy)
    cases = read_cases(home / "run")
    filled = recipe.model_copy(update={"missing_sequences": MissingSequences.ZERO_FILL})
    measured = recipe.model_copy(update={"measured_volumes": True})
    for number, chosen in enumerate((recipe, filled, measured)):
        fitting.fit_fold(
            replace_epochs(chosen), material, fitting.Sides(cases[:6], cases[6:]), home / str(number), 0, silent
        )
    assert found == [FactLayout(), FactLayout(flags=4), FactLayout(growths=2, volumes=4)]


def replace_epochs(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"epochs": 1})})
