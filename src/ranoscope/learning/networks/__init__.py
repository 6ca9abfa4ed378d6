"""The networks, in one list: each takes a pair of studies, and facts where a recipe gives any, and returns logits.

Million parameters with T1, T2 and FLAIR of both studies at 240 x 240 x 155 voxels of 1 mm, four classes and no facts:
DenseNet121 11.4, DenseNet169 18.7, DenseNet264 40.4 (as published), AlexNet 251.8, ViT 105.2, ResNet-18 33.1,
Swin UNETR's encoder 2.2 (features 24) or 8.1 (48), MedNeXt's encoder 3.6 (S), 6.9 (B), 12.5 (M) or 46.7 (L), and the
change-aware network of a pair 0.2 or of a timeline 0.2.
"""

from ranoscope.learning.networks.base import Images, PairNetwork, Trunk
from ranoscope.learning.networks.registry import (
    NETWORKS,
    Architecture,
    build_network,
    build_trunk,
    require_fitting_grid,
)
from ranoscope.learning.networks.stacked import arrange
from ranoscope.learning.networks.timeline import History

__all__ = [
    "NETWORKS", "Architecture", "History", "Images", "PairNetwork", "Trunk", "arrange", "build_network", "build_trunk",
    "require_fitting_grid",
]  # fmt: skip
