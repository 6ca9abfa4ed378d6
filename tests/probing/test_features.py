"""Every network of the registry: its penultimate features are what its logits are made of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ranoscope.config import parse_recipe
from ranoscope.learning.networks import NETWORKS, build_network
from ranoscope.probing.features import answers_and_features, classifying_layer

SMALL = {
    "densenet": {"depth": 121}, "alexnet": {}, "vit": {"hidden": 24, "layers": 2, "heads": 2}, "resnet": {},
    "swin": {"features": 12}, "mednext": {}, "change-aware": {"widths": [4, 8], "findings": 4},
    "change-aware-timeline": {"widths": [4, 8], "findings": 4},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "target"), [*((name, "four-classes") for name in sorted(NETWORKS)), ("change-aware", "pd-versus-rest")]
)
def test_the_classifying_layer_makes_the_logits_from_the_features(name, target):
    content = {
        "name": "n", "description": "t", "sequences": ["CT1"], "network": {"name": name, **SMALL[name]},
        "grid": {"voxel_mm": 5, "box_mm": [160, 160, 160]}, "clinical": {"age": True}, "target": target,
    }  # fmt: skip
    torch.manual_seed(0)
    network = build_network(parse_recipe(content, "test")).eval()
    pairs, facts = torch.randn(2, 2, 1, 32, 32, 32), torch.tensor([[0.3, 0.0], [-1.0, 1.0]])
    logits, features = answers_and_features(network, pairs, facts)
    layer = classifying_layer(network)
    assert layer.out_features == logits.shape[1] == (4 if target == "four-classes" else 2)
    assert features.shape == (2, layer.in_features)
    with torch.inference_mode():
        torch.testing.assert_close(nn.functional.linear(features, layer.weight, layer.bias), logits)
        torch.testing.assert_close(network(pairs, facts), logits)
    assert not layer._forward_pre_hooks
    assert not torch.equal(features[0], features[1])
