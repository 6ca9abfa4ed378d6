"""AlexNet with 3D convolutions, as the reference paper uses it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ranoscope.config import AlexNetSettings
from ranoscope.learning.networks.base import Images, Trunk, guarded

_WIDTHS = (64, 192, 384, 256, 256)


class _Pool(nn.MaxPool3d):
    """Maxima of 3x3x3 cells with stride 2; along an axis with fewer than 3 cells, of all there are."""

    def __init__(self) -> None:
        super().__init__(kernel_size=3, stride=2)

    def forward(self, maps: Tensor) -> Tensor:
        """Half the cells along every axis, at least one."""
        kernel = [min(3, cells) for cells in maps.shape[2:]]
        return F.max_pool3d(maps, kernel, stride=2)


class AlexNetTrunk(Trunk):
    """Five convolutions and two dense layers, each behind dropout (Krizhevsky 2014, widths 64 to 256; no local norm).

    The reference paper's code leaves the first axis unpadded in every convolution (its last map is 5 x 14 x 8 cells at
    240 x 240 x 155 voxels); here all axes are padded alike (14 x 14 x 8), which changes no weight's shape. On coarse
    grids pooling windows shrink with the map (``_Pool``).
    """

    def __init__(self, settings: AlexNetSettings, images: Images) -> None:
        super().__init__()
        first, second, third, fourth, fifth = _WIDTHS
        self.features = nn.Sequential(
            nn.Conv3d(images.channels, first, kernel_size=11, stride=4, padding=2), nn.ReLU(), _Pool(),
            nn.Conv3d(first, second, kernel_size=5, padding=2), nn.ReLU(), _Pool(),
            nn.Conv3d(second, third, kernel_size=3, padding=1), nn.ReLU(),
            nn.Conv3d(third, fourth, kernel_size=3, padding=1), nn.ReLU(),
            nn.Conv3d(fourth, fifth, kernel_size=3, padding=1), nn.ReLU(), _Pool(),
        )  # fmt: skip
        self.pool = nn.AdaptiveAvgPool3d(settings.cells)
        self.classifier = nn.Sequential(
            nn.Dropout(settings.dropout), nn.Linear(fifth * settings.cells**3, settings.hidden), nn.ReLU(),
            nn.Dropout(settings.dropout), nn.Linear(settings.hidden, settings.hidden), nn.ReLU(),
        )  # fmt: skip
        # Under torch's own initial weights seven layers without any norm leave a millionth of what the images say.
        for module in self.modules():
            if isinstance(module, (nn.Conv3d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.get_parameter("bias"))
        self.width = settings.hidden
        self.first_layer = "features.0"
        self.saliency_layers = {"coarse": "features.10", "finer": "features.3"}

    def forward(self, images: Tensor) -> Tensor:
        """Embedding (batch, width)."""
        maps = images
        for layer in self.features:
            maps = guarded(layer, maps)
        embedding: Tensor = self.classifier(self.pool(maps).flatten(1))
        return embedding
