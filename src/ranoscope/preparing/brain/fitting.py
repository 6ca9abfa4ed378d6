"""The template laid over an image's head: turned, moved, scaled and sheared, to find the brain, never to measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import polar
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from ranoscope.preparing.brain.levels import EDGE_MM, Levels
from ranoscope.preparing.brain.template import HeadTemplate, head_template

Affine = NDArray[np.float64]

# The template's centre, MNI mm: the middle of a head's upper 15 cm.
_CENTRE_MM = np.array((0.0, -18.0, 8.0))
# The MNI152 brain is larger than most (Lancaster et al., Hum Brain Mapp 2007): heads are looked for from 7 % smaller.
_SMALLER = -0.07
# Heads lie nodded by up to 20 degrees either way; each start finds its way over as much again.
_NODS = (-0.3, 0.0, 0.3)
# Distances between the places that are compared: far apart for the way, near for the end.
_COARSE_MM, _FINE_MM = 8, 5
# Nothing further below the head's centre says where the brain is.
_BELOW_MM = 90.0
# A first step of the search: shifts in mm, turns in radians, logarithms of scales, shears.
_STEPS = np.repeat((10.0, 0.15, 0.08, 0.06), 3)
_POSE, _SCALED, _ALL = (0, 1, 2, 3), tuple(range(9)), tuple(range(12))
# What a scale of 8 % off the expected one costs, in shares of information: enough to hold one that nothing shows.
_SCALE_COST = 2e-4


@dataclass(frozen=True)
class Fit:
    """``to_image``: 4 x 4, the template's world to the image's, mm. ``similarity``: the share of the image's
    information that the template explains, 0 to 1.
    """

    to_image: Affine
    similarity: float

    @property
    def to_atlas(self) -> Affine:
        """4 x 4, rigid: points of the image's RAS world to the MNI152 atlas, mm.

        The turn that is nearest to the fit, about the middle of the brain; its scales and shears are left out.
        """
        turn, _ = polar(self.to_image[:3, :3])
        middle = self.to_image[:3, :3] @ _CENTRE_MM + self.to_image[:3, 3]
        rigid = np.eye(4)
        rigid[:3, :3] = turn.T
        rigid[:3, 3] = _CENTRE_MM - turn.T @ middle
        return rigid


@dataclass(frozen=True)
class _Places:
    """Places of an image's world, mm, (places, 3), and the level of brightness at each."""

    points: NDArray[np.float32]
    level: NDArray[np.int64]
    entropy: float


def fit_head(levels: Levels) -> Fit:
    """Find the head: where the template's tissues and shells tell most about the image's brightness.

    Mutual information (Wells et al., Med Image Anal 1996), divided by the entropy of the image. The places that are
    compared are the image's and stay the same, air among them, so that no move of the template can lose them.
    """
    template = head_template()
    coarse, fine = _places(levels, _COARSE_MM), _places(levels, _FINE_MM)
    starts = [np.zeros(12) for _ in _NODS]
    for start, nod in zip(starts, _NODS, strict=True):
        start[:3], start[3], start[6:9] = levels.centre_mm - _CENTRE_MM, nod, _SMALLER
    found = [_search(template, coarse, start, _POSE, 1e-3) for start in starts]
    best = max(found, key=lambda one: _similarity(template, coarse, _matrix(one)))
    best = _search(template, coarse, best, _SCALED, 5e-4)
    best = _search(template, fine, best, _ALL, 3e-4)
    return Fit(_matrix(best), _similarity(template, fine, _matrix(best)))


def _places(levels: Levels, apart_mm: int) -> _Places:
    step = int(apart_mm / EDGE_MM)
    thin = levels.level[::step, ::step, ::step]
    voxels = np.indices(thin.shape).reshape(3, -1).T * step
    points = voxels @ levels.affine[:3, :3].T + levels.affine[:3, 3]
    kept = points[:, 2] > levels.centre_mm[2] - _BELOW_MM
    level = thin.ravel()[kept]
    share = np.bincount(level) / len(level)
    share = share[share > 0]
    return _Places(points[kept].astype(np.float32), level, float(-(share * np.log(share)).sum()))


def _search(
    template: HeadTemplate, places: _Places, start: NDArray[np.float64], free: Sequence[int], tolerance: float
) -> NDArray[np.float64]:
    """Powell's search over some of the twelve parameters: it needs no slope, which a nearest voxel does not have."""
    chosen = np.array(free)

    def moved(steps: NDArray[np.float64]) -> NDArray[np.float64]:
        parameters = start.copy()
        parameters[chosen] += steps * _STEPS[chosen]
        return parameters

    def cost(steps: NDArray[np.float64]) -> float:
        parameters = moved(steps)
        off = (parameters[6:9] - _SMALLER) / _STEPS[6]
        return _SCALE_COST * float((off**2).sum()) - _similarity(template, places, _matrix(parameters))

    # Far more evaluations than a head has ever needed: noise would be searched for minutes.
    limits = {"xtol": 0.02, "ftol": tolerance, "maxfev": 1500}
    return moved(np.asarray(minimize(cost, np.zeros(len(chosen)), method="Powell", options=limits).x))


def _matrix(parameters: NDArray[np.float64]) -> Affine:
    """Scaled, sheared, turned and moved about the template's centre."""
    shear = np.eye(3)
    shear[0, 1], shear[0, 2], shear[1, 2] = parameters[9:]
    linear = Rotation.from_euler("xyz", parameters[3:6]).as_matrix() @ shear @ np.diag(np.exp(parameters[6:9]))
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = _CENTRE_MM + parameters[:3] - linear @ _CENTRE_MM
    return matrix


def _similarity(template: HeadTemplate, places: _Places, to_image: Affine) -> float:
    if not places.entropy > 0:
        return 0.0
    there = (np.linalg.inv(to_image @ template.affine)).astype(np.float32)
    voxels = (places.points @ there[:3, :3].T + there[:3, 3] + np.float32(0.5)).astype(np.int32)
    shape = template.place.shape
    np.clip(voxels, 0, np.array(shape, dtype=np.int32) - 1, out=voxels)
    place = template.place.ravel()[(voxels[:, 0] * shape[1] + voxels[:, 1]) * shape[2] + voxels[:, 2]]
    kinds = int(places.level.max()) + 1
    joint = np.bincount(place * kinds + places.level, minlength=kinds * (int(template.place.max()) + 1))
    shared = joint.reshape(-1, kinds) / len(place)
    apart = shared.sum(axis=1, keepdims=True) * shared.sum(axis=0, keepdims=True)
    filled = shared > 0
    return float((shared[filled] * np.log(shared[filled] / apart[filled])).sum()) / places.entropy
