"""Endless pairs: repeatable, balanced, labelled by their volumes, and of no other study than those given."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch

from ranoscope.config import Target
from ranoscope.domain import RESPONSES, Response, StudyKey, Tissue, Visit
from ranoscope.imaging.store import StudyStore
from ranoscope.learning.facts import fact_names
from ranoscope.learning.pretraining.change.labels import respond
from ranoscope.learning.pretraining.change.pairs import ChangePairs, unknown_facts


@pytest.fixture(scope="module")
def pairs(store, keys, recipe_of):
    return ChangePairs(store, keys, recipe_of(), 200, seed=5)


def test_every_pair_is_labelled_by_its_own_volumes_and_nearly_all_as_meant(pairs):
    meant = Counter()
    for place in range(120):
        _, pair = pairs.painted(place, pairs.generator(place))
        volumes = [float(one.enhancing.sum(dtype=np.float64)) * 216 for one in (pair.prior, pair.current)]
        assert pair.volumes_mm3 == pytest.approx(volumes, abs=1e-2)
        assert pair.response is respond(*pair.volumes_mm3, pair.new_lesion)
        if abs(volumes[0] - volumes[1]) > 500:
            assert np.abs(pair.current.volumes - pair.prior.volumes).max() > 0.3
        meant[pair.response is pairs.wanted[place]] += 1
    assert meant[True] > 0.97 * 120
    assert Counter(pairs.wanted) == dict.fromkeys(RESPONSES, 50)


def test_all_kinds_of_scene_occur(pairs):
    seen = Counter()
    for place in range(200):
        _, pair = pairs.painted(place, pairs.generator(place))
        prior, current = pair.volumes_mm3
        seen["nothing twice"] += prior == current == 0
        seen["the same twice"] += np.array_equal(pair.prior.volumes, pair.current.volumes)
        seen["from nothing"] += prior == 0 < current
        seen["new beside old"] += pair.new_lesion and prior > 0
        seen["grown"] += not pair.new_lesion and pair.response is Response.PD
    assert min(seen.values()) >= 2, seen
    assert len(seen) == 5


def same(one, other):
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(one, other, strict=True))


def test_the_same_seed_epoch_and_place_give_the_same_pair_and_no_other_does(store, keys, recipe_of):
    def made(seed=5, epoch=0, place=3, held_out=False):
        dataset = ChangePairs(store, keys, recipe_of(), 8, seed, held_out)
        dataset.epoch.fill_(epoch)
        return dataset[place]

    first = made()
    pair, facts, target = first
    assert pair.shape == (2, 2, *recipe_of().grid.shape)
    assert pair.dtype == torch.float32
    assert facts.shape == (0,)
    assert target == RESPONSES.index(Response.CR)
    assert same(first, made())
    for other in (made(seed=6), made(epoch=1), made(place=7), made(held_out=True)):
        assert not same(first, other)
    assert same(made(held_out=True), made(held_out=True, epoch=1))


def test_pairs_look_like_the_stores_studies(store, keys, recipe_of):
    pair, *_ = ChangePairs(store, keys, recipe_of(), 8, 5, held_out=True)[1]
    assert torch.isfinite(pair).all()
    brains = [store[key].brain for key in keys]
    assert not pair[:, :, ~np.any(brains, axis=0)].any()
    inside = pair[pair != 0]
    assert abs(float(inside.mean())) < 0.4
    assert 0.6 < float(inside.std()) < 1.6


def test_what_the_label_says_is_seen_in_the_images(store, keys, recipe_of):
    """Voxels far brighter on CT1 than the brain become more where there is progression, and fewer with a response."""
    dataset = ChangePairs(store, keys, recipe_of(), 80, 2, held_out=True)
    steps = {response: [] for response in RESPONSES}
    for place in range(80):
        pair, _, target = dataset[place]
        bright = (pair[:, 0] > 2).sum(dim=(1, 2, 3)).float() + 1
        steps[RESPONSES[target]].append(float(torch.log(bright[1] / bright[0])))
    means = {response: np.mean(step) for response, step in steps.items()}
    assert means[Response.PD] > 0.3 > means[Response.SD] > -0.3 > means[Response.PR] > means[Response.CR], means


def test_no_study_but_those_given_is_read(store, keys, recipe_of, monkeypatch):
    mine = [key for key in keys if key.patient == keys[0].patient]
    read: set[StudyKey] = set()
    honest = StudyStore.__getitem__

    def watched(self, key):
        read.add(key)
        return honest(self, key)

    monkeypatch.setattr(StudyStore, "__getitem__", watched)
    dataset = ChangePairs(store, mine, recipe_of(), 40, 0)
    for place in range(40):
        dataset[place]
    assert read == set(mine)


def test_pd_against_the_rest_is_shown_as_often_as_the_rest(store, keys, recipe_of):
    dataset = ChangePairs(store, keys, recipe_of(target="pd-versus-rest"), 12, 0)
    assert Counter(dataset.classes) == {0: 6, 1: 6}
    assert Counter(dataset.wanted) == {Response.PD: 6, Response.SD: 2, Response.PR: 2, Response.CR: 2}
    assert [dataset[place][2] for place in range(4)] == dataset.classes[:4]
    assert dataset.recipe.target is Target.PD_VERSUS_REST


def test_facts_are_those_of_nobody_and_missing_sequences_stay_missing(store, keys, recipe_of):
    facts = {"clinical": {"age": True, "sex": True, "interval": True}, "missing_sequences": "zero-fill"}
    recipe = recipe_of(**facts, augmentation={"sequence_dropout": 0.6})
    said = dict(zip(fact_names(recipe), unknown_facts(recipe).tolist(), strict=True))
    assert {name for name, value in said.items() if value} == {
        "age unknown", "sex unknown", *(name for name in said if name.endswith("acquired"))
    }  # fmt: skip
    dataset = ChangePairs(store, keys, recipe, 12, 0)
    dropped = 0
    for place in range(12):
        pair, row, _ = dataset[place]
        there = pair.flatten(2).any(dim=2)
        assert torch.equal(row[-4:].bool(), there.flatten())
        dropped += int((~there).sum())
    assert dropped > 5
    fixed = ChangePairs(store, keys, recipe, 12, 0, held_out=True)
    assert all(fixed[place][0].flatten(2).any(dim=2).all() for place in range(4)), "what chooses the epoch is whole"


def test_measured_volumes_are_those_of_the_painted_tumours(store, keys, recipe_of):
    recipe = recipe_of(measured_volumes=True)
    dataset, names = ChangePairs(store, keys, recipe, 12, 0), fact_names(recipe)
    for place in range(12):
        said = dict(zip(names, dataset[place][1].tolist(), strict=True))
        _, pair = dataset.painted(place, dataset.generator(place))
        enhancing = [float((one.tumour == Tissue.ENHANCING).sum()) * 6.0**3 for one in (pair.prior, pair.current)]
        logs = [math.log1p(volume / 500) for volume in enhancing]
        assert [said["prior enhancing volume"], said["current enhancing volume"]] == pytest.approx(logs, abs=1e-5)
        assert said["enhancing growth"] == pytest.approx(logs[1] - logs[0], abs=1e-5)


def test_a_study_without_tumour_serves_as_well(store, keys, recipe_of, monkeypatch):
    study = store[keys[0]]
    bare = type(study)(
        **{**vars(study), "tumour": np.zeros_like(study.tumour), "key": StudyKey("Patient-900", Visit(0))}
    )
    dataset = ChangePairs({bare.key: bare}, [bare.key], recipe_of(), 16, 0)
    shown = [dataset.painted(place, dataset.generator(place))[1] for place in range(16)]
    assert Counter(pair.response for pair in shown) == dict.fromkeys(RESPONSES, 4)
