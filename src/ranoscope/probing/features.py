"""Penultimate features: what the classifying layer reads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ranoscope.learning.module import answer
from ranoscope.learning.networks import PairNetwork


def classifying_layer(network: PairNetwork) -> nn.Linear:
    """The last linear layer of the network's ``head``, whose output is the logits."""
    return [layer for layer in network.get_submodule("head").modules() if isinstance(layer, nn.Linear)][-1]


@torch.inference_mode()
def answers_and_features(network: PairNetwork, pairs: Tensor, facts: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (batch, class) and penultimate features (batch, feature) of pairs and facts, as ``module.answer`` takes.

    The features are the input of ``classifying_layer``: behind every activation, and with the facts' part where facts
    are given.
    """
    read: list[Tensor] = []
    layer = classifying_layer(network)
    handle = layer.register_forward_pre_hook(lambda _layer, inputs: read.append(inputs[0]))
    try:
        logits = answer(network, pairs, facts)
    finally:
        handle.remove()
    return logits, read[-1]
