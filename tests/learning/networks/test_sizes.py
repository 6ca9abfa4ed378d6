"""Parameter counts at the published settings: six volumes at 240 x 240 x 155 voxels of 1 mm, four classes, no facts."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets.densenet import DenseNet121, DenseNet169
from monai.networks.nets.mednext import MedNeXtB, MedNeXtS
from monai.networks.nets.resnet import resnet18
from monai.networks.nets.swin_unetr import SwinTransformer
from monai.networks.nets.vit import ViT

from ranoscope.config import parse_recipe
from ranoscope.learning.networks import build_network


def paper_network(network, **settings):
    grid = {"voxel_mm": 1, "box_mm": [240, 240, 155]}
    content = {"name": "p", "description": "x", "sequences": ["T1", "T2", "FLAIR"], "network": network, "grid": grid}
    with torch.device("meta"):
        return build_network(parse_recipe({**content, **settings}, "test"))


def parameters(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def test_densenet264_with_six_volumes_has_the_published_40_4_million():
    assert parameters(paper_network({"name": "densenet", "depth": 264})) == 40_366_404


@pytest.mark.parametrize(("depth", "whole"), [(121, DenseNet121), (169, DenseNet169)])
def test_smaller_densenets_have_the_size_of_monais(depth, whole):
    with torch.device("meta"):
        expected = parameters(whole(spatial_dims=3, in_channels=6, out_channels=4))
    assert parameters(paper_network({"name": "densenet", "depth": depth})) == expected


def test_alexnet_by_hand():
    convolutions = [(6, 64, 11), (64, 192, 5), (192, 384, 3), (384, 256, 3), (256, 256, 3)]
    dense = [(256 * 6**3, 4096), (4096, 4096), (4096, 4)]
    expected = sum(a * b * edge**3 + b for a, b, edge in convolutions) + sum(a * b + b for a, b in dense)
    assert parameters(paper_network({"name": "alexnet"})) == expected == 251_756_804


def test_vit_has_the_size_of_monais_on_the_padded_volume():
    """Less the norms before a cross-attention that MONAI's blocks do not have here."""
    with torch.device("meta"):
        monai = ViT(6, (240, 240, 160), (20, 20, 10), classification=True, num_classes=4)
    assert parameters(paper_network({"name": "vit"})) == parameters(monai) - 12 * 2 * 768 == 105_234_436


def test_resnet18_has_the_size_of_monais():
    with torch.device("meta"):
        monai = resnet18(spatial_dims=3, n_input_channels=6, num_classes=4, shortcut_type="A")
    assert parameters(paper_network({"name": "resnet"})) == parameters(monai) == 33_097_988


@pytest.mark.parametrize("features", [24, 48])
def test_swin_has_the_size_of_monais_encoder(features):
    with torch.device("meta"):
        # MONAI reads a number off a tensor while building.
        with torch.device("cpu"):
            monai = SwinTransformer(6, features, (7, 7, 7), (2, 2, 2), (2, 2, 2, 2), (3, 6, 12, 24))
        expected = parameters(monai) + 16 * features * 4 + 4
    assert parameters(paper_network({"name": "swin", "features": features})) == expected


@pytest.mark.parametrize(("size", "whole"), [("S", MedNeXtS), ("B", MedNeXtB)])
def test_mednext_has_the_size_of_monais_encoder(size, whole):
    with torch.device("meta"):
        monai = whole(in_channels=6)
    encoder = parameters(monai.stem, monai.enc_stages, monai.down_blocks, monai.bottleneck)
    assert parameters(paper_network({"name": "mednext", "size": size})) == encoder + 512 * 4 + 4


def test_facts_add_one_layer_of_256_and_its_part_of_the_last():
    """Age, whether it is unknown, and the interval: as the reference paper's code reads its clinical vector."""
    images = parameters(paper_network({"name": "densenet", "depth": 121}))
    clinical = {"age": True, "interval": True}
    assert (
        parameters(paper_network({"name": "densenet", "depth": 121}, clinical=clinical)) == images + 4 * 256 + 4 * 256
    )


@pytest.mark.parametrize(
    ("network", "millions"),
    [
        ({"name": "densenet", "depth": 121}, 11.4), ({"name": "densenet", "depth": 169}, 18.7),
        ({"name": "densenet"}, 40.4), ({"name": "alexnet"}, 251.8), ({"name": "vit"}, 105.2),
        ({"name": "resnet"}, 33.1), ({"name": "swin"}, 2.2), ({"name": "swin", "features": 48}, 8.1),
        ({"name": "mednext"}, 3.6), ({"name": "mednext", "size": "B"}, 6.9), ({"name": "mednext", "size": "M"}, 12.5),
        ({"name": "mednext", "size": "L"}, 46.7), ({"name": "change-aware"}, 0.2),
        ({"name": "change-aware-timeline"}, 0.2),
    ],
)  # fmt: skip
def test_the_sizes_that_the_package_says(network, millions):
    assert round(parameters(paper_network(network)) / 1e6, 1) == millions
