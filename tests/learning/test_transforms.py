"""Augmentation against plain formulas, voxel by voxel; and its statistics against MONAI's."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, stats

from ranoscope.config import AugmentationSettings
from ranoscope.domain import Sequence, StudyKey, Visit
from ranoscope.errors import ImageError
from ranoscope.imaging.store import AlignedStudy
from ranoscope.learning.transforms import Change, apply, decide

SEQUENCES = (Sequence.CT1, Sequence.FLAIR)
SHAPE = (12, 14, 10)


def study(seed: int, shape=SHAPE) -> AlignedStudy:
    generator = np.random.default_rng(seed)
    brain = np.zeros(shape, bool)
    brain[2:-4, 3:-2, 1:-3] = generator.random((shape[0] - 6, shape[1] - 5, shape[2] - 4)) < 0.9
    volumes = np.where(brain, generator.normal(size=(2, *shape)), 0).astype(np.float16)
    box = ndimage.find_objects(brain.astype(np.uint8))[0]
    key = StudyKey("Patient-001", Visit(seed))
    return AlignedStudy(key, SEQUENCES, volumes, brain, np.zeros(shape, np.uint8), np.eye(4), box)


STUDIES = (study(1), study(2))


def change(**replaced) -> Change:
    ones = np.ones((2, 2), np.float32)
    plain = {"flips": (False,) * 3, "shift_voxels": (0, 0, 0), "scale": ones, "offset": 0 * ones, "gamma": ones}
    return Change(**{**plain, "noise": 0.0, "noise_seed": 5, "kept": ones.astype(bool), **replaced})


def original() -> np.ndarray:
    return np.stack([one.volumes for one in STUDIES]).astype(np.float32)


def test_no_change_is_the_volumes_themselves():
    assert torch.equal(apply(STUDIES, SEQUENCES, change()), torch.from_numpy(original()))


def test_channels_follow_the_asked_order_and_a_missing_one_is_named():
    swapped = apply(STUDIES, SEQUENCES[::-1], change())
    assert torch.equal(swapped, torch.from_numpy(original()[:, ::-1].copy()))
    with pytest.raises(ImageError, match=r"T2, got CT1, FLAIR, in Patient-001/week-001"):
        apply(STUDIES, (Sequence.T2, Sequence.CT1), change())


@pytest.mark.parametrize("flips", list(itertools.product((False, True), repeat=3)))
def test_each_axis_is_mirrored_on_its_own(flips):
    axes = [2 + axis for axis, flip in enumerate(flips) if flip]
    expected = np.flip(original(), axes).copy()
    assert torch.equal(apply(STUDIES, SEQUENCES, change(flips=flips)), torch.from_numpy(expected))


offsets = st.integers(-16, 16)


@given(st.tuples(offsets, offsets, offsets), st.tuples(*[st.booleans()] * 3))
def test_a_shift_moves_the_content_and_what_leaves_is_lost(voxels, flips):
    padded = np.pad(original(), [(0, 0), (0, 0), *[(20, 20)] * 3])
    start = [20 - step for step in voxels]
    cut = tuple(slice(low, low + size) for low, size in zip(start, SHAPE, strict=True))
    expected = padded[(slice(None), slice(None), *cut)]
    expected = np.flip(expected, [2 + axis for axis, flip in enumerate(flips) if flip])
    changed = apply(STUDIES, SEQUENCES, change(shift_voxels=voxels, flips=flips)).numpy()
    assert np.array_equal(changed, expected)


def test_gamma_scale_and_offset_follow_their_formulas_per_study_and_sequence():
    generator = np.random.default_rng(3)
    gamma, scale, offset = (generator.uniform(low, 1.5, (2, 2)).astype(np.float32) for low in (0.6, 0.5, -1))
    changed = apply(STUDIES, SEQUENCES, change(gamma=gamma, scale=scale, offset=offset)).numpy()
    for which, one in enumerate(STUDIES):
        for channel in range(2):
            values = one.volumes[channel].astype(float)
            low, span = values.min(), values.max() - values.min()
            expected = ((values - low) / span) ** gamma[which, channel] * span + low
            expected = np.where(one.brain, expected * scale[which, channel] + offset[which, channel], 0)
            assert np.allclose(changed[which, channel], expected, atol=1e-5)


def test_noise_is_normal_independent_and_inside_the_brain():
    big = (study(1, (70, 60, 64)), study(2, (70, 60, 64)))
    changed = apply(big, SEQUENCES, change(noise=0.3)).numpy()
    noise = (changed - np.stack([one.volumes for one in big]).astype(np.float32)) / 0.3
    assert (noise[:, :, ~(big[0].brain | big[1].brain)] == 0).all()
    fields = [noise[which, channel][one.brain] for which, one in enumerate(big) for channel in range(2)]
    size = len(fields[0])
    for field in fields:
        assert abs(field.mean()) < 5 / np.sqrt(size)
        assert abs(field.std() - 1) < 5 / np.sqrt(2 * size)
        assert abs(np.corrcoef(field[:-1], field[1:])[0, 1]) < 5 / np.sqrt(size)
        assert stats.kstest(field, "norm").pvalue > 1e-4
    for first, second in [(0, 1), (1, 2), (2, 3), (0, 3)]:
        shorter = min(len(fields[first]), len(fields[second]))
        assert abs(np.corrcoef(fields[first][:shorter], fields[second][:shorter])[0, 1]) < 5 / np.sqrt(size)
    other = apply(big, SEQUENCES, change(noise=0.3, noise_seed=6)).numpy()
    assert not np.array_equal(other, changed)


SETTINGS = AugmentationSettings(
    flip_left_right=0.5, flip_anterior_posterior=0.25, shift_mm=9, gamma=(0.8, 1.2), noise=0.2
)
ALL = np.ones((2, 2), bool)


def test_augmentation_is_decided_by_the_generator_alone_and_leaves_the_input():
    before = original()
    first, second = (apply(STUDIES, SEQUENCES, decide(SETTINGS, ALL, 3.0, np.random.default_rng(7))) for _ in range(2))
    assert torch.equal(first, second)
    assert np.array_equal(original(), before)
    assert not torch.equal(first, apply(STUDIES, SEQUENCES, decide(SETTINGS, ALL, 3.0, np.random.default_rng(8))))


def test_drawn_changes_stay_in_their_ranges_and_use_them():
    drawn = [decide(SETTINGS, ALL, 3.0, np.random.default_rng(seed)) for seed in range(400)]
    left_right, anterior_posterior, superior_inferior = np.sum([one.flips for one in drawn], axis=0)
    assert 150 < left_right < 250
    assert 65 < anterior_posterior < 135
    assert superior_inferior == 0
    assert {one.shift_voxels[0] for one in drawn} == set(range(-3, 4))
    for name, low, high in [("scale", 0.9, 1.1), ("offset", -0.1, 0.1), ("gamma", 0.8, 1.2)]:
        values = np.stack([getattr(one, name) for one in drawn])
        assert values.shape == (400, 2, 2)
        assert values.min() == pytest.approx(low, abs=0.01)
        assert values.max() == pytest.approx(high, abs=0.01)
        assert abs(np.corrcoef(values[:, 0, 0], values[:, 1, 1])[0, 1]) < 0.25
    noise = [one.noise for one in drawn]
    assert 0 <= min(noise) < 0.01
    assert 0.19 < max(noise) <= 0.2


def test_what_is_not_kept_is_zero_and_the_rest_as_before():
    kept = np.array([[True, False], [False, True]])
    changed = apply(STUDIES, SEQUENCES, change(kept=kept))
    expected = torch.from_numpy(original() * kept[:, :, None, None, None])
    assert torch.equal(changed, expected)


masks = st.lists(st.booleans(), min_size=8, max_size=8).map(lambda values: np.array(values).reshape(2, 4))


@given(masks, st.floats(0, 0.99), st.integers(0, 2**32))
def test_dropping_takes_only_what_was_acquired_and_leaves_every_study_something(acquired, chance, seed):
    kept = decide(AugmentationSettings(sequence_dropout=chance), acquired, 3.0, np.random.default_rng(seed)).kept
    assert not (kept & ~acquired).any()
    assert np.array_equal(kept.any(axis=1), acquired.any(axis=1))
    if chance == 0:
        assert np.array_equal(kept, acquired)


def test_sequences_are_dropped_with_the_chance_asked_for_and_the_last_one_at_random():
    settings = AugmentationSettings(sequence_dropout=0.6)
    acquired = np.array([[True, True, False], [True, True, True]])
    drawn = np.stack([decide(settings, acquired, 3.0, np.random.default_rng(s)).kept for s in range(4000)])
    # Of n sequences one survives a clean sweep: kept with 0.4 + 0.6^n / n.
    assert drawn[:, 0, 0].mean() == pytest.approx(0.4 + 0.6**2 / 2, abs=0.03)
    assert drawn[:, 1].mean(axis=0) == pytest.approx([0.4 + 0.6**3 / 3] * 3, abs=0.03)


def test_settings_that_drop_and_mirror_nothing_leave_all_other_draws_as_they_were():
    plain = decide(AugmentationSettings(noise=0.2, shift_mm=9), ALL, 3.0, np.random.default_rng(5))
    more = AugmentationSettings(noise=0.2, shift_mm=9, flip_superior_inferior=1, sequence_dropout=0.9)
    other = decide(more, ALL, 3.0, np.random.default_rng(5))
    assert (plain.noise_seed, plain.shift_voxels, plain.flips[0]) == (
        other.noise_seed, other.shift_voxels, other.flips[0],
    )  # fmt: skip
    assert np.array_equal(plain.gamma, other.gamma)


@pytest.fixture(scope="module")
def benchmark():
    path = Path(__file__).parents[2] / "benchmarks/input_pipeline.py"
    specification = importlib.util.spec_from_file_location("input_pipeline", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_statistics_inside_the_brain_are_those_of_monais_augmentation(benchmark):
    rows = benchmark.compare_augmentations((24, 24, 16), benchmark.DRAWS)
    assert [row[0] for row in rows if not benchmark.is_equivalent(row)] == []
    spreads = [row[4] for row in rows]
    assert min(spreads) > 0.03


def test_the_comparison_would_notice_another_augmentation(benchmark, monkeypatch):
    wider = benchmark.AUGMENTATION.model_copy(update={"gamma": (0.7, 1.1)})
    monkeypatch.setattr(benchmark, "decide", lambda settings, *rest: decide(wider, *rest))
    rows = benchmark.compare_augmentations((24, 24, 16), benchmark.DRAWS)
    assert not all(map(benchmark.is_equivalent, rows))
