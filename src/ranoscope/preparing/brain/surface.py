"""The brain's surface, moved from where the template has it to where the image shows it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.spatial import cKDTree

from ranoscope.preparing.brain.fitting import Fit
from ranoscope.preparing.brain.levels import EDGE_MM, LEVELS, Levels
from ranoscope.preparing.brain.pieces import largest_piece
from ranoscope.preparing.brain.template import carried, head_template, signed_distance

# What brain and what its surroundings look like is learnt this far from the fitted surface, which errs by a few mm: the
# outer 25 mm of brain without the outermost 4, and 1 to 6 mm outside, fluid and skull. Scalp is further away, so that
# its brightness does not argue against a bright tumour at the surface.
_BRAIN_MM, _AROUND_MM = (-25.0, -4.0), (1.0, 6.0)
# How far the surface may move, and the standard deviation of what the fit leaves.
_REACH_MM, _ERROR_MM = 8, 3.0
# No brightness alone proves brain or its opposite: a tumour may be as bright as fat, a cyst as dark as skull.
_SUREST = 2.0
# What is rare in both brain and surroundings says nothing: every step of brightness is given this share of voxels.
_RARE = 0.005
# Surface within this distance moves together: folds are closer, lobes are not.
_TOGETHER_MM = 8.0
# Nerves, vessels and muscle that hang on to the brain are thinner than twice this; folds are narrower than twice that.
_OPENED_MM, _CLOSED_MM = 6.0, 10.0
_FAR_MM = 60.0


def brain_surface(levels: Levels, fit: Fit) -> NDArray[np.float32]:
    """Distance to the brain's surface on the grid of ``levels``, mm, negative inside, without bridges and folds.

    Along a ray through every place of the fitted surface the border lies where it parts best what looks like brain from
    what looks like its surroundings: the sum, inside the border, of the logarithm of how much likelier the brightness
    is in brain, shared with neighbours, less what the way from the fitted surface costs. What both look like is
    learnt from this very image, whatever its sequence. (Rays and a stiff surface: Smith, Hum Brain Mapp 2002; regions
    that compete: Zhu and Yuille, IEEE PAMI 1996.)
    """
    template = head_template()
    there = np.linalg.inv(fit.to_image @ template.affine) @ levels.affine
    depth = carried(template.depth_mm, there, levels.level.shape, _FAR_MM)
    below = carried(template.below, there, levels.level.shape, 0.0) > 0.5
    edge = (depth < 0) & ndimage.binary_dilation(depth >= 0)
    if not edge.any():
        return depth
    moved = np.zeros(depth.shape, dtype=np.float32)
    moved[edge] = _moves(_evidence(levels, depth, below), depth, np.argwhere(edge))
    nearest = ndimage.distance_transform_edt(~edge, return_distances=False, return_indices=True)
    return _opened_and_closed(depth - ndimage.gaussian_filter(moved[tuple(nearest)], 1.0))


def _evidence(levels: Levels, depth: NDArray[np.float32], below: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Per voxel, the logarithm of how much likelier its brightness is in brain than around it.

    Below the skull's base, where surroundings are muscle, bone and orbit and none of them was learnt from, nothing
    argues for brain.
    """
    inside = (depth > _BRAIN_MM[0]) & (depth < _BRAIN_MM[1])
    around = (depth > _AROUND_MM[0]) & (depth < _AROUND_MM[1]) & ~below
    brain, other = (_shares(levels.level[region]) for region in (inside, around))
    likelier = np.clip(np.log(brain / other), -_SUREST, _SUREST).astype(np.float32)[levels.level]
    return np.asarray(np.where(below, np.minimum(likelier, 0), likelier), dtype=np.float32)


def _shares(level: NDArray[np.int64]) -> NDArray[np.float64]:
    counted = np.bincount(level, minlength=LEVELS)
    return np.asarray(counted / max(len(level), 1) + _RARE)


def _moves(evidence: NDArray[np.float32], depth: NDArray[np.float32], places: NDArray[np.int_]) -> NDArray[np.float64]:
    """How far outwards the surface moves at each of its places (voxels), mm."""
    slopes = [ndimage.gaussian_filter(depth, 1.5, order=order)[tuple(places.T)] for order in np.eye(3, dtype=int)]
    outwards = np.stack(slopes, axis=-1)
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True) + 1e-6
    steps = np.arange(-_REACH_MM, _REACH_MM + 1.0)
    rays = places[:, None] + outwards[:, None] * (steps[:, None] / EDGE_MM)
    along = ndimage.map_coordinates(evidence, rays.reshape(-1, 3).T, order=1, cval=0.0).reshape(len(places), -1)
    weights = _neighbours(places * EDGE_MM)
    gain = weights @ np.cumsum(along, axis=1) - (steps / _ERROR_MM) ** 2 / 2
    return np.asarray(weights @ steps[np.argmax(gain, axis=1)])


def _neighbours(places_mm: NDArray[np.floating]) -> sparse.csr_array:
    """Weights of each place's neighbours and itself, rows of sum 1."""
    tree = cKDTree(places_mm)
    weights = sparse.csr_array(tree.sparse_distance_matrix(tree, _TOGETHER_MM, output_type="coo_matrix"))
    weights.data = np.exp(-((weights.data / (_TOGETHER_MM / 2)) ** 2) / 2)
    weights = weights + sparse.eye_array(len(places_mm))
    return sparse.csr_array(sparse.diags_array(1 / weights.sum(axis=1)) @ weights)


def _opened_and_closed(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without bridges to what is not brain, and with the folds: a smooth hull, which a tumour at the surface is in."""
    core = largest_piece(signed_distance(depth < 0, EDGE_MM) < -_OPENED_MM)
    opened = np.maximum(depth, signed_distance(core, EDGE_MM) - _OPENED_MM)
    near = signed_distance(opened < 0, EDGE_MM) < _CLOSED_MM
    return np.asarray(np.minimum(opened, signed_distance(near, EDGE_MM) + _CLOSED_MM), dtype=np.float32)
