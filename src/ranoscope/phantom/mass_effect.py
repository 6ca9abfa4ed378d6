"""What a growing tumour does to the brain around it: tissue is pushed aside, and comes back when it shrinks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ranoscope.phantom.anatomy import Anatomy
from ranoscope.phantom.courses import Lesion
from ranoscope.phantom.tumour import Site

# Water that oozes between fibres swells less than its volume; a cavity mostly takes the room of what was cut out.
_OEDEMA_PUSHES, _CAVITY_PUSHES = 0.25, 0.3
# The skull does not give way: displacement fades over this depth below the brain's border.
_GIVES_MM = 15.0


def push_aside(anatomy: Anatomy, sites: list[Site], lesions: tuple[Lesion, ...], share: float) -> Anatomy:
    """The brain with tissue displaced by these lesions; its outline stays.

    Around each lesion's centre tissue that cannot be compressed makes room for a ball of the volume that pushes: what
    was at distance r is at the cube root of r^3 + R^3, R the ball's radius. Displacements of lesions add up.

    Args:
        anatomy: the brain without a tumour.
        sites: of the lesions, in their order.
        lesions: at this visit.
        share: of a tumour's volume that pushes; 0 leaves the brain as it is.
    """
    if share == 0:
        return anatomy
    places = np.argwhere(anatomy.brain)
    world = places @ anatomy.affine[:3, :3].T + anatomy.affine[:3, 3]
    depth = ndimage.distance_transform_edt(anatomy.brain, anatomy.voxel_mm)[anatomy.brain]
    from_world = world.copy()
    for site, lesion in zip(sites, lesions, strict=False):
        from_world -= _displacement(world - site.centre_mm, share * _pushing(lesion))
    gives = np.clip(depth / _GIVES_MM, 0, 1)[:, None]
    shown = (world + gives * (from_world - world) - anatomy.affine[:3, 3]) / np.diag(anatomy.affine)[:3]
    grey, white, vessels = (
        _moved(part, anatomy.brain, shown) for part in (anatomy.grey, anatomy.white, anatomy.vessels)
    )
    fluid = np.where(anatomy.brain, np.clip(1 - grey - white, 0, 1), 0).astype(np.float32)
    return replace(anatomy, grey=grey, white=white, fluid=fluid, vessels=vessels)


def _pushing(lesion: Lesion) -> float:
    return lesion.enhancing + lesion.necrosis + _OEDEMA_PUSHES * lesion.edema + _CAVITY_PUSHES * lesion.cavity


def _displacement(away: NDArray[np.float64], volume_mm3: float) -> NDArray[np.float64]:
    """Where tissue now at ``away`` (n, 3), mm from the centre, has come from: its way, outwards, mm."""
    distance = np.maximum(np.linalg.norm(away, axis=1), 1e-6)
    before = np.cbrt(np.maximum(distance**3 - 3 * volume_mm3 / (4 * np.pi), 0))
    return np.asarray(away * ((distance - before) / distance)[:, None])


def _moved(part: NDArray[np.float32], brain: NDArray[np.bool_], shown: NDArray[np.float64]) -> NDArray[np.float32]:
    moved = np.zeros_like(part)
    moved[brain] = ndimage.map_coordinates(part, shown.T, order=1, mode="nearest")
    return moved
