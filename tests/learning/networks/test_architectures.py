"""What is particular to each network, against MONAI's own with the same weights, or by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from monai.networks.nets.densenet import DenseNet121
from monai.networks.nets.mednext import MedNeXtS
from monai.networks.nets.resnet import resnet18
from monai.networks.nets.swin_unetr import SwinTransformer
from monai.networks.nets.vit import ViT
from torch import nn

from ranoscope.config import (
    AlexNetSettings,
    DenseNetSettings,
    MedNeXtSettings,
    ResNetSettings,
    SwinSettings,
    ViTSettings,
)
from ranoscope.errors import RecipeError
from ranoscope.learning.networks import build_trunk, swin
from ranoscope.learning.networks.resnet import _Block

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.fixture
def seeded():
    torch.manual_seed(0)


def shape_behind(trunk, layer, images):
    shapes = []
    handle = trunk.get_submodule(layer).register_forward_hook(lambda _m, _i, output: shapes.append(output.shape[2:]))
    trunk(images)
    handle.remove()
    return tuple(shapes[-1])


def meta_trunk(settings, shape, voxel_mm=1.0):
    with torch.device("meta"):
        return build_trunk(settings, 2, shape, voxel_mm), torch.empty(2, 2, *shape)


@torch.no_grad()
def test_densenet_is_monais():
    monai = DenseNet121(spatial_dims=3, in_channels=2, out_channels=3).eval()
    trunk = build_trunk(DenseNetSettings(depth=121), 2, (32, 32, 32), 5.0).eval()
    trunk.load_state_dict({name: t for name, t in monai.state_dict().items() if not name.startswith("class_layers")})
    images = torch.randn(2, 2, 32, 32, 32)
    torch.testing.assert_close(monai.class_layers.out(trunk(images)), monai(images))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((240, 240, 155), (14, 14, 8)), ((80, 96, 80), (4, 5, 4)), ((40, 48, 40), (1, 2, 1)), ((27, 32, 27), (1, 1, 1))],
)
def test_alexnets_last_convolution_sees_these_cells(shape, expected):
    """(240 + 4 - 11) // 4 + 1 = 59; (59 - 3) // 2 + 1 = 29, then 14: as published along the axes it pads."""
    trunk, images = meta_trunk(AlexNetSettings(hidden=8), shape)
    assert shape_behind(trunk, "features.10", images) == expected
    assert trunk(images).shape == (2, 8)


@torch.no_grad()
def test_alexnet_says_something_of_its_images_from_the_start():
    trunk = build_trunk(AlexNetSettings(cells=1, hidden=64), 2, (40, 48, 40), 4.0).eval()
    embedding = trunk(torch.randn(4, 2, 40, 48, 40))
    assert embedding.mean() > 0.01
    assert embedding.std(dim=0).mean() > 0.02 * embedding.mean()


def test_vit_is_monais_where_patches_fit():
    settings = ViTSettings(patch_mm=(10, 20, 5), hidden=24, layers=2, heads=2)
    monai = ViT(
        2, (6, 8, 3), (2, 4, 1), 24, 96, 2, 2, classification=True, num_classes=3, post_activation="none"
    ).eval()
    trunk = build_trunk(settings, 2, (6, 8, 3), 5.0).eval()
    renamed = {
        "patch_embedding.patch_embeddings": "patches", "patch_embedding.position_embeddings": "positions",
        "cls_token": "class_token",
    }  # fmt: skip
    weights = {}
    for name, tensor in monai.state_dict().items():
        for theirs, ours in renamed.items():
            name = name.replace(theirs, ours)
        if "norm_cross_attn" not in name and "classification_head" not in name:
            weights[name] = tensor
    trunk.load_state_dict(weights)
    images = torch.randn(2, 2, 6, 8, 3, requires_grad=True)
    answers = monai.classification_head(trunk(images)), monai(images)[0]
    torch.testing.assert_close(*answers)
    torch.testing.assert_close(*(torch.autograd.grad(answer[:, 0].sum(), images) for answer in answers))


@torch.no_grad()
def test_vit_pads_what_is_no_whole_patch_with_zeros_at_the_far_end():
    settings = ViTSettings(patch_mm=(4, 3, 2), hidden=24, layers=2, heads=2)
    trunk = build_trunk(settings, 1, (5, 6, 3), 1.0).eval()
    whole = build_trunk(settings, 1, (8, 6, 4), 1.0).eval()
    whole.load_state_dict(trunk.state_dict())
    images = torch.randn(2, 1, 5, 6, 3)
    padded = torch.zeros(2, 1, 8, 6, 4)
    padded[:, :, :5, :, :3] = images
    torch.testing.assert_close(trunk(images), whole(padded))
    assert not torch.allclose(trunk(images), trunk(F.pad(images[..., :2], (0, 1))), atol=1e-3), "the last slice matters"


@pytest.mark.parametrize(
    ("voxel_mm", "patch"), [(1, (20, 20, 10)), (2, (10, 10, 5)), (3, (7, 7, 3)), (4, (5, 5, 2)), (10, (2, 2, 1))]
)
def test_vit_patches_are_whole_voxels(voxel_mm, patch):
    trunk, images = meta_trunk(ViTSettings(layers=1), (40, 48, 40), voxel_mm)
    assert trunk.patches.kernel_size == trunk.patches.stride == patch
    cells = tuple(-(-size // edge) for size, edge in zip((40, 48, 40), patch, strict=True))
    assert shape_behind(trunk, "token_map", images) == cells


def test_a_patch_is_at_least_one_voxel():
    trunk, _ = meta_trunk(ViTSettings(layers=1, patch_mm=(1, 3, 8)), (8, 8, 8), 8.0)
    assert trunk.patches.kernel_size == (1, 1, 1)


def test_vit_features_are_shared_out_among_the_heads(make_recipe):
    with pytest.raises(RecipeError, match="hidden must be a multiple of heads, got 24 and 5"):
        make_recipe("vit", network={"heads": 5})


def medicalnet_names():
    """The names in MedicalNet's file behind `module.`: a first convolution, and eight blocks of two each."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = ["conv1.weight", *(f"bn1.{part}" for part in norm)]
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            for place in (1, 2):
                names += [f"layer{stage}.{block}.conv{place}.weight"]
                names += [f"layer{stage}.{block}.bn{place}.{part}" for part in norm]
    return names


def test_resnet_has_the_102_tensors_of_medicalnet_in_their_shapes():
    with torch.device("meta"):
        monai = resnet18(spatial_dims=3, n_input_channels=2, feed_forward=False, shortcut_type="A")
    own = meta_trunk(ResNetSettings(), (16, 16, 16))[0].state_dict()
    assert len(own) == 102
    assert list(own) == medicalnet_names()
    assert {name: t.shape for name, t in own.items()} == {name: t.shape for name, t in monai.state_dict().items()}
    assert own["conv1.weight"].shape == (64, 2, 7, 7, 7)


def test_resnets_last_two_stages_are_dilated_and_keep_the_resolution():
    trunk, images = meta_trunk(ResNetSettings(), (80, 96, 80))
    places = {f"layer{stage}": shape_behind(trunk, f"layer{stage}", images) for stage in (1, 2, 3, 4)}
    eighth = (10, 12, 10)
    assert places == {"layer1": (20, 24, 20), "layer2": eighth, "layer3": eighth, "layer4": eighth}
    for stage, dilation in ((1, 1), (2, 1), (3, 2), (4, 4)):
        for block in trunk.get_submodule(f"layer{stage}"):
            assert block.conv1.dilation == block.conv2.dilation == (dilation,) * 3
    assert trunk.conv1.stride == (2, 2, 2)


@torch.no_grad()
def test_resnet_is_monais_up_to_the_dilated_stages():
    monai = resnet18(spatial_dims=3, n_input_channels=2, feed_forward=False, shortcut_type="A", conv1_t_stride=2).eval()
    trunk = build_trunk(ResNetSettings(), 2, (16, 18, 20), 1.0).eval()
    trunk.load_state_dict(monai.state_dict())
    images = torch.randn(2, 2, 16, 18, 20)
    heads = [
        net.layer2(net.layer1(net.maxpool(F.relu(net.bn1(net.conv1(images)))))) for net in (monai, trunk)
    ]  # fmt: skip
    torch.testing.assert_close(*heads)


def test_gradients_pass_through_a_shortcut_that_changes_shape():
    block = _Block(2, 5, stride=2, dilation=1).eval()
    nn.init.zeros_(block.conv2.weight)
    maps = torch.rand(1, 2, 4, 4, 4, requires_grad=True)
    out = block(maps)
    assert torch.equal(out[:, :2], maps[:, :, ::2, ::2, ::2])
    assert not out[:, 2:].any()
    out.sum().backward()
    assert torch.equal(maps.grad[:, :, ::2, ::2, ::2], torch.ones(1, 2, 2, 2, 2))


@torch.no_grad()
def test_swin_is_the_encoder_of_monais_swin_unetr(monkeypatch):
    """With windows of 2x2x2 cells, which fit every stage of a small volume."""
    monkeypatch.setattr(swin, "_WINDOW", 2)
    monai = SwinTransformer(
        2, 12, (2, 2, 2), (2, 2, 2), (2, 2, 2, 2), (3, 6, 12, 24), downsample="mergingv2"
    ).eval()  # fmt: skip
    trunk = build_trunk(SwinSettings(features=12), 2, (32, 33, 35), 1.0).eval()
    weights = {name.replace("patch_embed.proj", "patches"): t for name, t in monai.state_dict().items()}
    for stage in range(4):
        weights = {name.replace(f"layers{stage + 1}.0", f"stages.{stage}"): t for name, t in weights.items()}
    trunk.load_state_dict(weights)
    images = torch.randn(2, 2, 32, 33, 35)
    torch.testing.assert_close(trunk(images), monai(images)[-1].mean(dim=(2, 3, 4)))


def test_swin_windows_are_as_large_as_there_are_cells():
    trunk, images = meta_trunk(SwinSettings(features=12), (40, 48, 40))
    assert [stage.window_size for stage in trunk.stages] == [(7, 7, 7), (7, 7, 7), (5, 6, 5), (3, 3, 3)]
    assert [shape_behind(trunk, f"stages.{n}", images) for n in range(4)] == [
        (10, 12, 10), (5, 6, 5), (3, 3, 3), (2, 2, 2),
    ]  # fmt: skip


@torch.no_grad()
def test_mednext_is_the_encoder_of_monais():
    monai = MedNeXtS(in_channels=2).eval()
    trunk = build_trunk(MedNeXtSettings(), 2, (18, 17, 20), 1.0).eval()
    outcome = trunk.load_state_dict(monai.state_dict(), strict=False)
    assert outcome.missing_keys == []
    maps = []
    monai.bottleneck.register_forward_hook(lambda _m, _i, output: maps.append(output))
    trunk.bottleneck.register_forward_hook(lambda _m, _i, output: maps.append(output))
    images = torch.randn(2, 2, 18, 17, 20)
    embedding = trunk(images)
    maps_of_stages = images
    for stage, down in zip(monai.enc_stages, monai.down_blocks, strict=True):
        maps_of_stages = down(stage(monai.stem(images) if maps_of_stages is images else maps_of_stages))
    monai.bottleneck(maps_of_stages)
    torch.testing.assert_close(maps[0], maps[1])
    mean = maps[1].mean(dim=(2, 3, 4))
    expected = (mean - mean.mean(dim=1, keepdim=True)) / mean.std(dim=1, keepdim=True, correction=0)
    torch.testing.assert_close(embedding, expected, rtol=1e-3, atol=1e-3)
