"""Loss, weights, schedule and logged scores, against scikit-learn."""

from __future__ import annotations

import lightning as L
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ranoscope.config import TrainingSettings
from ranoscope.learning.losses import class_weights
from ranoscope.learning.module import ResponseModule
from ranoscope.learning.training import quiet

EQUAL = torch.ones(4)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_class_weights_are_scikit_learns_balanced_ones(indices):
    weights = class_weights(indices, 4).numpy()
    present = np.unique(indices)
    expected = compute_class_weight("balanced", classes=present, y=indices)
    assert np.allclose(weights[present], expected, rtol=1e-6)
    assert np.all(np.delete(weights, present) == 1)
    assert weights[indices].mean() == pytest.approx(1, rel=1e-5)


class Linear(nn.Module):
    """Stands for a network: logits are linear in the flattened pair."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 4)

    def forward(self, pair, facts=None):
        return self.layer(pair.flatten(1))


def batches(pairs: torch.Tensor, targets: torch.Tensor, size: int = 1) -> DataLoader:
    """As the loaders give them: pairs, no facts, class indices."""
    return DataLoader(TensorDataset(pairs, torch.zeros(len(pairs), 0), targets), batch_size=size)


def trainer(folder, **settings) -> L.Trainer:
    return L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False,
                     enable_model_summary=False, default_root_dir=folder, **settings)  # fmt: skip


@pytest.mark.parametrize("imbalance", ["none", "loss", "sampler", "both"])
def test_logged_inner_scores_are_those_of_the_whole_inner_set(imbalance, tmp_path):
    """Seven cases in batches of three: the mean over batches would be another number."""
    generator = torch.Generator().manual_seed(1)
    pairs = torch.randn(7, 2, 1, 2, 2, 2, generator=generator)
    targets = torch.tensor([0, 0, 0, 1, 1, 2, 3])
    weights = torch.tensor([0.5, 2.0, 3.0, 1.0])
    module = ResponseModule(Linear(), TrainingSettings(precision="32-true", imbalance=imbalance), weights)
    with quiet():
        scores = trainer(tmp_path).validate(module, batches(pairs, targets, 3), verbose=False)[0]
    probabilities = module.network(pairs).softmax(1).detach().double().numpy()
    sample_weight = None if imbalance == "none" else weights[targets].numpy()
    expected = log_loss(targets, probabilities / probabilities.sum(1, keepdims=True), sample_weight=sample_weight,
                        labels=[0, 1, 2, 3])  # fmt: skip
    assert scores["inner_loss"] == pytest.approx(expected, rel=1e-5)
    balanced = balanced_accuracy_score(targets, probabilities.argmax(1))
    assert scores["inner_balanced_accuracy"] == pytest.approx(balanced, rel=1e-5)


@pytest.mark.parametrize("imbalance", ["none", "loss"])
def test_a_nan_among_the_inner_losses_is_seen(tmp_path, imbalance):
    pairs = torch.full((2, 2, 1, 2, 2, 2), torch.nan)
    module = ResponseModule(Linear(), TrainingSettings(precision="32-true", imbalance=imbalance), EQUAL)
    with quiet():
        loader = batches(pairs, torch.tensor([0, 1]))
        assert not np.isfinite(trainer(tmp_path).validate(module, loader, verbose=False)[0]["inner_loss"])


@pytest.mark.parametrize("imbalance", ["none", "loss", "sampler", "both"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_training_loss_is_cross_entropy_weighted_where_asked(smoothing, imbalance, monkeypatch):
    """A sampler alone leaves the loss unweighted: it would correct twice."""
    weights = torch.tensor([0.5, 2.0, 3.0, 1.0])
    module = ResponseModule(Linear(), TrainingSettings(label_smoothing=smoothing, imbalance=imbalance), weights)
    weights = weights if imbalance in ("loss", "both") else torch.ones(4)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    pairs, targets = torch.randn(5, 2, 1, 2, 2, 2), torch.tensor([0, 3, 1, 1, 2])
    loss = module.training_step((pairs, torch.zeros(5, 0), targets), 0).item()
    surprise = -module.network(pairs).detach().log_softmax(1).double().numpy()
    w, t = weights.double().numpy(), targets.numpy()
    hard = sum(w[label] * row[label] for label, row in zip(t, surprise, strict=True))
    soft = (w * surprise).sum() / 4
    assert loss == pytest.approx(((1 - smoothing) * hard + smoothing * soft) / w[t].sum(), rel=1e-5)


def test_the_judged_network_is_the_running_average_of_the_steps(tmp_path):
    """Weights after the first step, then keep * before + (1 - keep) * now; the trained network is another one."""
    module = ResponseModule(Linear(), TrainingSettings(learning_rate=0.1, epochs=3, weight_averaging=0.8), EQUAL)
    steps = []

    class Watch(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            steps.append(pl_module.network.layer.weight.detach().double().numpy().copy())

    loader = batches(torch.randn(8, 2, 1, 2, 2, 2), torch.tensor([0, 1, 2, 3] * 2), 4)
    with quiet():
        trainer(tmp_path, max_epochs=3, callbacks=[Watch()]).fit(module, loader)
    expected = steps[0]
    for step in steps[1:]:
        expected = 0.8 * expected + 0.2 * step
    np.testing.assert_allclose(module.judged.layer.weight.numpy(), expected, rtol=1e-4, atol=1e-6)
    assert np.abs(module.network.layer.weight.detach().numpy() - expected).max() > 1e-3
    assert ResponseModule(Linear(), TrainingSettings(), EQUAL).average is None


def test_one_cycle_peaks_at_the_learning_rate_and_ends_near_nothing(tmp_path):
    module = ResponseModule(Linear(), TrainingSettings(learning_rate=0.1, epochs=10), EQUAL)
    rates = []

    class Watch(L.Callback):
        def on_train_batch_start(self, trainer, *_):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    loader = batches(torch.randn(8, 2, 1, 2, 2, 2), torch.tensor([0, 1, 2, 3] * 2), 2)
    with quiet():
        trainer(tmp_path, max_epochs=10, callbacks=[Watch()]).fit(module, loader)
    assert len(rates) == 40
    assert max(rates) == pytest.approx(0.1, rel=1e-2)
    assert 0.2 < np.argmax(rates) / len(rates) < 0.4
    assert rates[0] < 0.01
    assert rates[-1] < 0.001
