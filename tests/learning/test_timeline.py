"""The timeline from end to end: which studies are shown, what recipes may ask, and a run with all that follows it."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ranoscope import runs
from ranoscope.cohort.earlier import EARLIER, EarlierStudy, read_earlier
from ranoscope.cohort.files import read_cases, read_patients
from ranoscope.config import ExplanationSettings, Recipe, load_recipe, parse_recipe
from ranoscope.domain import InformationLevel, StudyKey, Visit
from ranoscope.errors import RecipeError
from ranoscope.evaluation.scorecard import evaluate_run
from ranoscope.explaining.explain import explain_run
from ranoscope.learning.cells import make_cells
from ranoscope.learning.checkpoints import WEIGHTS, fold_folder
from ranoscope.learning.consistency import CURRENT, PRIOR, ShownPairs
from ranoscope.learning.crossval import cross_validate, prepare_experiment
from ranoscope.learning.data import CaseDataset, Material, loader
from ranoscope.learning.facts import FactLayout, FactScale
from ranoscope.learning.history import draw_studies
from ranoscope.learning.networks import History, build_network
from ranoscope.learning.studies import find_earlier, prepare_store
from ranoscope.probing.audit import audit_shortcuts
from ranoscope.reporting.report import write_report

NETWORK = {"name": "change-aware-timeline", "widths": [4, 8], "findings": 4, "tissues": True, "earlier": 2}
TAUGHT = {"auxiliary": {"segmentation": 1.0, "measures": 0.5}, "consistency": {"same": 0.5}}
NOTHING = {"flip_left_right": 0, "scale_intensity": 0, "shift_intensity": 0}


def silent(*_):
    pass


@pytest.fixture(scope="module")
def recipe(tiny) -> Recipe:
    content = tiny(epochs=2, weight_averaging=0.0).model_dump(mode="json", exclude={"level"})
    training = {**content["training"], **TAUGHT}
    return parse_recipe({**content, "network": NETWORK, "training": training}, "tests")


@pytest.fixture
def longer(home, write_visit, make_cohort):
    """The first patient has two more studies, unrated, before all others, and another after them."""
    generator = np.random.default_rng(1)
    for week in ("week-002", "week-010", "week-060"):
        write_visit(home / "LUMIERE/Imaging/Patient-001" / week, generator, 3)
    shutil.rmtree(home / "run")
    make_cohort(home / "LUMIERE", home / "run")
    return home


def material_of(home, recipe) -> Material:
    cases = read_cases(home / "run")
    earlier = find_earlier(recipe, home / "run", cases)
    return Material(
        prepare_store(recipe, home / "run", cases, silent, earlier=earlier), read_patients(home / "run"), earlier
    )


def test_recipes_are_of_the_timelines_level():
    recipe = load_recipe("change-timeline")
    assert recipe.level is InformationLevel.TIMELINE
    assert load_recipe("change-aware").level is InformationLevel.PAIR
    assert load_recipe("change/2-information/timeline").level is InformationLevel.TIMELINE
    with pytest.raises(RecipeError, match=r"sees all earlier studies.*level: timeline, got pair"):
        load_recipe("change-timeline", ["level=pair"])
    with pytest.raises(RecipeError, match=r"training\.consistency\.swap.*a timeline cannot be exchanged"):
        load_recipe("change-timeline", ["training.consistency.swap=0.3"])
    assert load_recipe("change-timeline", ["training.consistency.same=0.3"]).training.consistency.is_asked


def studies_of(count: int, baseline: int) -> tuple[EarlierStudy, ...]:
    keys = [StudyKey("Patient-001", Visit(place)) for place in range(count)]
    return tuple(
        EarlierStudy(key, 50 - place, place == count - 1, place == baseline, place < baseline)
        for place, key in enumerate(keys)
    )


@given(st.integers(1, 9), st.integers(0, 8), st.integers(2, 6), st.integers(0, 99))
def test_the_prior_and_the_baseline_are_always_drawn(count, baseline, most, seed):
    earlier = studies_of(count, min(baseline, count - 1))
    drawn = draw_studies(earlier, most, np.random.default_rng(seed))
    assert len(drawn) == min(count, most)
    assert sum(one.is_prior for one in drawn) == sum(one.is_baseline for one in drawn) == 1
    assert list(drawn) == sorted(drawn, key=lambda one: one.key)
    assert draw_studies(earlier, most, np.random.default_rng(seed)) == drawn


def test_every_other_study_is_drawn_as_often():
    earlier, counts = studies_of(6, 1), Counter()
    for seed in range(400):
        counts.update(one.key.visit.week for one in draw_studies(earlier, 3, np.random.default_rng(seed)))
    assert counts[5] == counts[1] == 400
    assert all(70 <= counts[place] <= 130 for place in (0, 2, 3, 4))


def test_a_case_is_shown_its_earlier_studies_and_never_a_later_one(longer, recipe):
    material, cases = material_of(longer, recipe), read_cases(longer / "run")
    place = next(n for n, case in enumerate(cases) if str(case.current_study) == "Patient-001/week-044")
    earlier = material.earlier[cases[place].current_study]
    assert [one.key.visit.week for one in earlier] == [2, 10, 20, 32]
    *_, history = CaseDataset(material, cases, recipe, FactScale({}))[place]
    assert isinstance(history, History)
    assert history.dates.tolist() == [[12, 1, 0, 0], [42, 0, 1, 0], [34, 0, 0, 0], [24, 0, 0, 0]]
    for image, one in zip(history.images, earlier[:3], strict=True):
        expected = material.store[one.key].channels(recipe.sequences)
        assert torch.equal(image, torch.from_numpy(expected.astype(np.float32)))
    shown = {one.key for several in material.earlier.values() for one in several}
    assert StudyKey("Patient-001", Visit(60)) not in shown
    assert all(one.key < current for current, several in material.earlier.items() for one in several)


def test_in_training_the_studies_are_drawn_anew_and_changed_alike(longer, recipe):
    network = recipe.network.model_copy(update={"earlier": 3})
    plain = parse_recipe(
        {**recipe.model_dump(mode="json"), "network": network.model_dump(mode="json"), "augmentation": NOTHING}, "tests"
    )
    material, cases = material_of(longer, plain), read_cases(longer / "run")
    place = next(n for n, case in enumerate(cases) if str(case.current_study) == "Patient-001/week-044")
    whole = CaseDataset(material, cases, plain, FactScale({}))[place]
    dataset, drawn = CaseDataset(material, cases, plain, FactScale({}), seed=3), set()
    for epoch in range(8):
        dataset.epoch.fill_(epoch)
        pair, _, _, tumours, measures, history = dataset[place]
        torch.testing.assert_close(pair, whole[0], atol=2e-3, rtol=0)
        assert (tumours.shape[0], measures.shape, len(history.images)) == (2, (3,), 2)
        weeks = history.dates[:, 0].tolist()
        assert weeks[:2] == [12, 42]
        drawn.add(weeks[2])
        torch.testing.assert_close(history.images[1], whole[-1].images[{34: 1, 24: 2}[weeks[2]]], atol=2e-3, rtol=0)
    assert drawn == {34, 24}


def test_batches_pad_what_is_shorter(longer, recipe):
    material, cases = material_of(longer, recipe), read_cases(longer / "run")
    dataset = CaseDataset(material, cases, recipe, FactScale({}))
    pairs, _, _, history = next(iter(loader(dataset, recipe)))
    counts = [len(material.earlier[case.current_study]) for case in cases[: len(pairs)]]
    assert history.shown.sum(dim=1).tolist() == counts
    assert history.images.shape[:2] == (len(pairs), max(counts) - 1)
    assert not history.images[~history.shown[:, 1:]].any()


def test_a_study_twice_is_that_study_throughout(longer, recipe):
    """However long the history is: a call of it is that of the study itself at all the dates."""
    torch.manual_seed(0)
    network = build_network(recipe).eval()
    dataset = CaseDataset(material_of(longer, recipe), read_cases(longer / "run"), recipe, FactScale({}))
    pairs, facts, _, history = next(iter(loader(dataset, recipe)))
    with torch.no_grad():
        shown = ShownPairs(network, pairs, facts, FactLayout(), history)
        torch.testing.assert_close(shown.logits(), network(pairs, None, history))
        for study in (PRIOR, CURRENT):
            images = pairs[:, study, None].expand_as(history.images)
            same = network(pairs[:, [study, study]], None, history._replace(images=images))
            torch.testing.assert_close(shown.logits(study, study), same)


def test_a_key_follows_the_earlier_studies(longer, recipe):
    cases = read_cases(longer / "run")
    material = material_of(longer, recipe)
    folds = prepare_experiment(recipe, longer / "run", longer / "run", silent).cells
    again = pd.read_csv(longer / "run" / runs.FOLDS)
    fewer = dict(material.earlier)
    current = next(key for key, several in fewer.items() if len(several) > 3)
    fewer[current] = fewer[current][1:]
    other = make_cells(recipe, Material(material.store, material.patients, fewer), cases, again, longer / "run")
    assert all(one.key != another.key for one, another in zip(folds, other, strict=True))


def test_a_run_from_end_to_end_and_its_restart(longer, recipe, train_with_a_break):
    twin, run = longer.parent / "twin", longer / "run"
    shutil.copytree(longer, twin)
    cross_validate(recipe, run, run, silent)
    calls = pd.read_csv(run / runs.CALLS)
    assert len(calls) == len(read_cases(run)) == len(read_earlier(run))
    train_with_a_break(recipe, twin / "run")
    for fold in (0, 1):
        one, other = (fold_folder(place, 0, fold) / WEIGHTS for place in (run, twin / "run"))
        assert one.read_bytes() == other.read_bytes()
    assert (run / EARLIER).read_bytes() == (twin / "run" / EARLIER).read_bytes()

    evaluate_run(run, recipe.evaluation.model_copy(update={"bootstrap": 100}), silent)
    (model,) = [one for one in json.loads((run / runs.SCORECARD).read_text())["contenders"] if one["kind"] == "model"]
    assert model["level"] == "timeline"
    few = {"methods": ["saliency", "gradcam", "occlusion"], "method": {"stride_mm": 60, "window_mm": 60}}
    settings = ExplanationSettings(**few, perturbation={"steps": 2, "orders": 1}, randomisation=1, native=())
    assert explain_run(run, settings, silent, names=("Patient-001/week-044",))
    assert InformationLevel.TIMELINE.sentence in write_report(run, silent).read_text()
    with pytest.raises(RecipeError, match=r"a network that sees pairs, got change-aware-timeline"):
        audit_shortcuts(run, recipe.evaluation, silent)
