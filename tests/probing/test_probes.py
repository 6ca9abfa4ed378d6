"""What each probe shows, voxel by voxel, and what it must never touch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ranoscope.probing.features import answers_and_features
from ranoscope.probing.probes import AS_IS, MARGIN_MM, Shown, probes_of, show, told, with_margin

FACTS = ("age", "age unknown", "sex female", "sex unknown", "interval", "week", "prior CT1 acquired")


def make_shown(seed: int = 0) -> Shown:
    generator = torch.Generator().manual_seed(seed)
    brains = torch.rand((2, 5, 6, 4), generator=generator) > 0.3
    pair = (2 + torch.randn((2, 2, 5, 6, 4), generator=generator)) * brains[:, None]
    tumour = torch.rand((5, 6, 4), generator=generator) > 0.8
    facts = torch.tensor([0.5, 0, 1, 0, -1.5, 2.5, 1])
    return Shown(pair, brains, tumour, facts, FACTS, np.array([[True, True], [True, False]]))


@pytest.fixture(scope="module")
def probes(recipe_with):
    facts = {"clinical": {"interval": True, "week": True}}
    return {probe.name: probe for probe in probes_of(recipe_with(missing_sequences="zero-fill", **facts))}


def means(shown: Shown) -> np.ndarray:
    """Of every volume inside its brain, by loops."""
    pair, brains = shown.pair.numpy(), shown.brains.numpy()
    return np.array([[volume[brain].mean() for volume in study] for study, brain in zip(pair, brains, strict=True)])


def test_the_tumour_and_all_else_are_covered_with_each_volumes_mean(probes):
    shown = make_shown()
    pair, brains, near = shown.pair.numpy(), shown.brains.numpy(), shown.tumour.numpy()
    level = means(shown)
    for name, covered in (("no-tumour", near), ("only-tumour", ~near)):
        found = probes[name].change(shown).pair.numpy()
        for study, sequence in np.ndindex(2, 2):
            expected = np.where(covered, level[study, sequence] * brains[study], pair[study, sequence])
            np.testing.assert_allclose(found[study, sequence], expected, rtol=1e-5)


def test_the_outline_holds_nothing_but_brains(probes):
    shown = make_shown()
    found = probes["only-outline"].change(shown).pair
    assert torch.equal(found[0, 0], shown.brains[0].float())
    assert torch.equal(found[0, 0], found[0, 1])
    assert torch.equal(found[1, 0], shown.brains[1].float())
    assert not found[1, 1].any()  # not acquired
    brighter = replace(shown, pair=3 * shown.pair + 1)
    assert torch.equal(probes["only-outline"].change(brighter).pair, found)


@given(seed=st.integers(0, 1000))
def test_exchanging_and_mirroring_twice_is_nothing(seed, probes):
    shown = make_shown(seed)
    for name in ("exchanged", "mirrored"):
        change = probes[name].change
        assert torch.equal(change(change(shown)).pair, shown.pair)
        assert np.array_equal(change(change(shown)).present, shown.present)


@given(seed=st.integers(0, 1000))
def test_a_mirror_commutes_with_covering(seed, probes):
    shown = make_shown(seed)
    flipped = replace(
        shown, pair=shown.pair.flip(2), brains=shown.brains.flip(1), tumour=shown.tumour.flip(0)
    )  # fmt: skip
    for name in ("no-tumour", "only-tumour", "only-outline", "exchanged", "prior-twice", "no-CT1"):
        change = probes[name].change
        torch.testing.assert_close(change(flipped).pair, change(shown).pair.flip(2))


def test_the_mirror_turns_right_and_left(probes):
    shown = make_shown()
    assert torch.equal(probes["mirrored"].change(shown).pair[:, :, 0], shown.pair[:, :, -1])


def test_a_study_twice_and_studies_exchanged_take_their_flags_along(probes):
    shown = make_shown()
    twice = probes["current-twice"].change(shown)
    assert torch.equal(twice.pair[0], shown.pair[1])
    assert twice.present.tolist() == [[True, False], [True, False]]
    exchanged = probes["exchanged"].change(shown)
    assert torch.equal(exchanged.pair[0], shown.pair[1])
    assert exchanged.present.tolist() == [[True, False], [True, True]]
    assert torch.equal(probes["prior-twice"].change(shown).pair[1], shown.pair[0])


def test_only_one_fact_is_left(probes):
    shown = make_shown()
    interval, week = (probes[f"only-{name}"].change(shown) for name in ("interval", "week"))
    assert interval.facts.tolist() == [0, 1, 0, 1, -1.5, 0, 1]
    assert week.facts.tolist() == [0, 1, 0, 1, 0, 2.5, 1]
    assert shown.facts.tolist() == [0.5, 0, 1, 0, -1.5, 2.5, 1]
    assert interval.present.all()
    inside = interval.pair[0, 0][shown.brains[0]]
    torch.testing.assert_close(inside, torch.full_like(inside, float(means(shown)[0, 0])))


def test_sequences_are_dropped_one_by_one(probes):
    shown = make_shown()
    dropped = probes["no-T1"].change(shown)
    assert torch.equal(dropped.pair[:, 0], shown.pair[:, 0])
    assert dropped.pair[0, 1].unique().numel() == 2
    absent = probes["absent-CT1"].change(shown)
    assert not absent.pair[:, 0].any()
    assert absent.present.tolist() == [[False, True], [False, False]]
    assert shown.pair[:, 0].any()


def test_a_recipe_is_asked_what_it_can_answer(recipe_with):
    plain = [probe.name for probe in probes_of(recipe_with())]
    assert plain == [
        "prior-twice", "current-twice", "exchanged", "no-tumour", "only-tumour", "only-outline", "mirrored",
        "no-CT1", "no-T1",
    ]  # fmt: skip
    one = [probe.name for probe in probes_of(recipe_with(sequences=["CT1"]))]
    assert not any(name.startswith("no-CT1") for name in one)


def test_the_margin_is_a_distance():
    mask = np.zeros((9, 9, 9), bool)
    mask[4, 4, 4] = True
    distance = 2.0 * np.sqrt(((np.indices(mask.shape) - 4) ** 2).sum(axis=0))
    assert np.array_equal(with_margin(mask, 2.0), distance <= MARGIN_MM)
    assert with_margin(mask, 6.0).sum() == 7  # a voxel to every side
    assert not with_margin(np.zeros((3, 3, 3), bool), 1.0).any()


def test_a_case_is_shown_as_it_was_called(fake, store, cases, recipe_with):
    recipe = recipe_with()
    trained, case = fake("honest", recipe), cases[0]
    shown = AS_IS.change(show(trained, store, case))
    assert torch.equal(shown.pair, trained.pair(store, case))
    either = (store[case.prior_study].tumour > 0) | (store[case.current_study].tumour > 0)
    assert np.array_equal(shown.tumour.numpy(), with_margin(either, 6.0))
    assert told(shown, recipe).shape == (0,)


def test_flags_follow_what_is_present(recipe_with):
    recipe = recipe_with(missing_sequences="zero-fill")
    shown = replace(make_shown(), facts=torch.ones(4), names=())
    assert told(shown, recipe).tolist() == [1, 1, 1, 0]
    logits, features = answers_and_features(_Reader(), shown.pair[None], told(shown, recipe)[None])
    assert features.tolist() == [[1, 1, 1, 0]]
    assert logits.shape == (1, 4)


class _Reader(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(4, 4)

    def forward(self, pair, facts):
        return self.head(facts)
