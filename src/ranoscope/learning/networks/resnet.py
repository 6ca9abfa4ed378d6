"""ResNet-18 in MedicalNet's form, under the names that MedicalNet's weight file has."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ranoscope.config import ResNetSettings
from ranoscope.learning.networks.base import Images, Trunk, averaged, guarded

# Width, stride and dilation of the four stages (Chen et al. 2019): the last two keep the resolution.
_STAGES = ((64, 1, 1), (128, 2, 1), (256, 1, 2), (512, 1, 4))


class _Block(nn.Module):
    """Two dilated convolutions beside a shortcut without weights (type A of He et al. 2016).

    The shortcut takes every ``stride``-th voxel and fills the channels it lacks with zeros. Gradients pass through it;
    in MedicalNet's code, and MONAI's, they do not where it changes shape.
    """

    def __init__(self, before: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = _convolution(before, width, stride, dilation)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = _convolution(width, width, 1, dilation)
        self.bn2 = nn.BatchNorm3d(width)
        self.stride = stride
        self.added = width - before

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, width, i', j', k')."""
        step = self.stride
        shortcut = F.pad(maps[:, :, ::step, ::step, ::step], (0, 0, 0, 0, 0, 0, 0, self.added))
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(maps))))) + shortcut)


class ResNetTrunk(Trunk):
    """ResNet-18, shortcuts of type A, 7x7x7 first convolution, last two stages dilated: cells of 8 voxels.

    Its 102 tensors (running statistics included) have the names and shapes of MedicalNet's ``resnet_18_23dataset.pth``
    behind ``module.``, the first convolution's one input channel apart.
    """

    def __init__(self, settings: ResNetSettings, images: Images) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(images.channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        self.maxpool = nn.MaxPool3d(kernel_size=3, stride=2, padding=1)
        before = 64
        for number, (width, stride, dilation) in enumerate(_STAGES, start=1):
            blocks = (_Block(before, width, stride, dilation), _Block(width, width, 1, dilation))
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            before = width
        self.dropout = nn.Dropout(settings.dropout)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.width = before
        self.first_layer = "conv1"
        self.saliency_layers = {"coarse": "layer4", "finer": "layer1"}

    def forward(self, images: Tensor) -> Tensor:
        """Embedding (batch, width): the last maps averaged."""
        maps = self.maxpool(F.relu(self.bn1(guarded(self.conv1, images))))
        for number in range(1, len(_STAGES) + 1):
            maps = guarded(self.get_submodule(f"layer{number}"), maps)
        embedding: Tensor = self.dropout(averaged(maps))
        return embedding


def _convolution(before: int, width: int, stride: int, dilation: int) -> nn.Conv3d:
    return nn.Conv3d(before, width, kernel_size=3, stride=stride, padding=dilation, dilation=dilation, bias=False)
