"""Losses against formulas written out, torch, MONAI and finite differences; class weights' counterpart, the sampler."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.fabric.utilities.distributed import DistributedSamplerWrapper
from monai.losses.focal_loss import FocalLoss

from ranoscope.config import TrainingSettings
from ranoscope.learning.losses import batch_loss, case_losses, class_weights, ordinal_loss
from ranoscope.learning.samplers import EpochSampler, sampling_shares

logits = st.lists(st.lists(st.floats(-30, 30), min_size=4, max_size=4), min_size=1, max_size=6)
weightings = st.none() | st.lists(st.floats(0.1, 5), min_size=4, max_size=4)


def focal_by_hand(rows, targets, gamma, weights, smoothing):
    """The definition, case by case and class by class, in double precision."""
    total = 0.0
    weights = [1.0] * len(rows[0]) if weights is None else weights
    for row, target in zip(np.asarray(rows, float), targets, strict=True):
        shifted = np.exp(row - row.max())
        others = np.array([np.delete(shifted, place).sum() for place in range(len(row))]) / shifted.sum()
        log_p = row - row.max() - np.log(shifted.sum())
        for place, weight in enumerate(weights):
            share = (1 - smoothing) * (place == target) + smoothing / len(row)
            total -= weight * share * others[place] ** gamma * log_p[place]
    return total / sum(weights[target] for target in targets)


def training(**settings) -> TrainingSettings:
    return TrainingSettings(loss="focal", **settings)


@settings(deadline=None)
@given(logits, st.data(), st.floats(0.3, 5), weightings, st.sampled_from([0.0, 0.1]))
def test_focal_loss_is_its_definition(rows, data, gamma, weights, smoothing):
    targets = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    given_weights = None if weights is None else torch.tensor(weights).double()
    setting = training(focal_gamma=gamma, label_smoothing=smoothing)
    found = batch_loss(torch.tensor(rows).double(), torch.tensor(targets), setting, given_weights)
    assert float(found) == pytest.approx(focal_by_hand(rows, targets, gamma, weights, smoothing), rel=1e-6, abs=1e-6)


@settings(deadline=None)
@given(logits, st.data(), weightings, st.sampled_from([0.0, 0.3]))
def test_focal_loss_without_focus_is_cross_entropy(rows, data, weights, smoothing):
    targets = torch.tensor(data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows))))
    values, weights = torch.tensor(rows).double(), None if weights is None else torch.tensor(weights).double()
    found = batch_loss(values, targets, training(focal_gamma=0, label_smoothing=smoothing), weights)
    torch.testing.assert_close(found, F.cross_entropy(values, targets, weights, label_smoothing=smoothing))
    each = case_losses(values, targets, training(focal_gamma=0))
    torch.testing.assert_close(each, F.cross_entropy(values, targets, reduction="none"))


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_equals_monais(gamma):
    generator = torch.Generator().manual_seed(2)
    values, targets = torch.randn(7, 4, generator=generator), torch.tensor([0, 1, 2, 3, 0, 0, 1])
    theirs = FocalLoss(gamma=gamma, to_onehot_y=True, use_softmax=True, reduction="none")(values, targets[:, None])
    torch.testing.assert_close(case_losses(values, targets, training(focal_gamma=gamma)), theirs.sum(dim=1))
    found = batch_loss(values, targets, training(focal_gamma=gamma), None)
    torch.testing.assert_close(found, theirs.sum(dim=1).mean())


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_a_sure_network_has_finite_gradients(gamma):
    values = torch.tensor([[90.0, -90, 0, 0], [90, -90, 0, 0]], requires_grad=True)
    batch_loss(values, torch.tensor([0, 1]), training(focal_gamma=gamma), None).backward()
    assert torch.isfinite(values.grad).all()


def test_focal_gradients_are_those_of_finite_differences():
    values = torch.randn(3, 4, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(0))
    targets, weights = torch.tensor([0, 3, 1]), torch.tensor([0.5, 2, 3, 1]).double()
    setting = training(focal_gamma=1.5, label_smoothing=0.1)
    assert torch.autograd.gradcheck(lambda x: batch_loss(x, targets, setting, weights), values)


def test_weights_have_as_many_classes_as_the_target():
    assert class_weights([0, 0, 0, 1], 2).tolist() == pytest.approx([4 / 6, 2])
    assert class_weights([0, 0], 2).tolist() == [1, 1]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_a_balancing_sampler_shows_every_class_equally_often(classes):
    shares = sampling_shares(classes, "sampler")
    per_class = np.bincount(classes, shares)
    assert per_class[per_class > 0] == pytest.approx(1 / len(set(classes)))
    assert sampling_shares(classes, "none") is sampling_shares(classes, "loss") is None


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_with_both_a_case_is_drawn_in_proportion_to_what_its_class_lacks(classes):
    shares, counts = sampling_shares(classes, "both"), Counter(classes)
    assert shares.sum() == pytest.approx(1)
    if len(counts) == 1:
        assert shares == pytest.approx(1 / len(classes))
        return
    lacking = np.array([1 - counts[one] / len(classes) for one in classes])
    assert shares / shares[0] == pytest.approx(lacking / lacking[0])


CLASSES = [0] * 30 + [1] * 6 + [2] * 3 + [3]


def order(imbalance, seed, epoch) -> list[int]:
    return list(EpochSampler(CLASSES, imbalance, seed, torch.tensor([epoch])))


@pytest.mark.parametrize("imbalance", ["loss", "sampler", "both"])
def test_an_order_depends_on_seed_and_epoch_alone(imbalance):
    assert order(imbalance, 3, 5) == order(imbalance, 3, 5)
    assert order(imbalance, 3, 5) != order(imbalance, 3, 6)
    assert order(imbalance, 3, 5) != order(imbalance, 4, 5)
    assert len(order(imbalance, 3, 5)) == len(CLASSES)
    if imbalance == "loss":
        assert sorted(order(imbalance, 3, 5)) == list(range(len(CLASSES)))


def test_draws_follow_their_shares():
    drawn = Counter(CLASSES[place] for epoch in range(400) for place in order("sampler", 0, epoch))
    assert [drawn[one] / (400 * len(CLASSES)) for one in range(4)] == pytest.approx([0.25] * 4, abs=0.02)
    drawn = Counter(CLASSES[place] for epoch in range(400) for place in order("both", 0, epoch))
    products = np.array([30 * 10, 6 * 34, 3 * 37, 1 * 39])
    found = [drawn[one] / (400 * len(CLASSES)) for one in range(4)]
    assert found == pytest.approx(products / products.sum(), abs=0.02)


@pytest.mark.parametrize("imbalance", ["loss", "both"])
def test_the_processes_of_a_multi_gpu_training_share_one_order(imbalance):
    """What Lightning makes of a sampler of ours, in every process: together they show the drawn order, each a part."""
    for epoch in (0, 1):
        parts = []
        for rank in (0, 1):
            sampler = EpochSampler(CLASSES, imbalance, 7, torch.tensor([epoch]))
            dealt = DistributedSamplerWrapper(sampler, num_replicas=2, rank=rank, shuffle=True)
            dealt.set_epoch(epoch)
            parts.append(list(dealt))
        assert len(parts[0]) == len(parts[1]) == len(CLASSES) // 2
        assert Counter(parts[0] + parts[1]) == Counter(order(imbalance, 7, epoch))


@settings(deadline=None)
@given(logits, st.data(), weightings)
def test_ordinal_loss_is_the_ranked_probability_score(rows, data, weights):
    targets = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    shares = [1.0 if weights is None else weights[target] for target in targets]
    expected = 0.0
    for row, target, share in zip(np.asarray(rows, float), targets, shares, strict=True):
        chances = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        expected += share * sum((chances[: step + 1].sum() - (target <= step)) ** 2 for step in range(3))
    given_weights = None if weights is None else torch.tensor(weights).double()
    found = ordinal_loss(torch.tensor(rows, dtype=torch.float64), torch.tensor(targets), given_weights)
    assert float(found) == pytest.approx(expected / sum(shares), rel=1e-6, abs=1e-9)


def test_ordinal_loss_grows_with_the_distance_of_the_classes():
    sure = torch.eye(4) * 60
    costs = [float(ordinal_loss(sure[[said]], torch.tensor([0]), None)) for said in range(4)]
    assert costs == pytest.approx([0, 1, 2, 3], abs=1e-5)
