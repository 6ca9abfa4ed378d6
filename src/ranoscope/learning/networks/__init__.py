"""The networks, in one list: each takes a pair of studies, and facts where a recipe gives any, and returns logits."""

from ranoscope.learning.networks.base import Images, PairNetwork, Trunk
from ranoscope.learning.networks.registry import (
    NETWORKS,
    Architecture,
    build_network,
    build_trunk,
    require_fitting_grid,
)
from ranoscope.learning.networks.stacked import arrange

__all__ = [
    "NETWORKS", "Architecture", "Images", "PairNetwork", "Trunk", "arrange", "build_network", "build_trunk",
    "require_fitting_grid",
]  # fmt: skip
