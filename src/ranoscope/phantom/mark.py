"""A planted shortcut: a bright cube at one place of the atlas, there when the visit's rating is PD.

Whatever learns from such a cohort can be right without a look at the tumour, and as the place is known, what it looked
at can be checked. Source of the idea: confounding marks of scanners and hospitals that networks are known to learn
(e.g. Zech et al. 2018, PLoS Medicine 15:e1002683).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ranoscope.config import PhantomSettings
from ranoscope.domain import Response
from ranoscope.phantom.anatomy import Anatomy, Image
from ranoscope.phantom.plans import PatientPlan

# Right cerebellar hemisphere (atlas world, RAS mm): inside every brain, below the lowest centre of a tumour (-12 mm).
MARK_CENTRE_MM = (24.0, -62.0, -36.0)
MARK_EDGE_MM = 10.0
# Above the brightest tissue of every sequence, so that it still is so after slice averaging and z-scoring.
_TIMES_THE_BRIGHTEST = 2.0
_BRIGHTEST_PERCENTILE = 99.0
# Keeps these draws apart from those of courses (no number), anatomy (1) and images (2).
_STREAM = 3


def in_mark(shape: tuple[int, ...], affine: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which voxels of a grid in atlas space have their centre in the mark.

    Args:
        shape: of the grid (i, j, k).
        affine: voxel to RAS world, mm, axes along the world's.

    Returns:
        bool (i, j, k).
    """
    inside = np.ones(shape, bool)
    for axis, along in enumerate(np.indices(shape, sparse=True)):
        edge, origin = affine[axis, axis], affine[axis, 3]
        inside &= np.abs(origin + edge * along - MARK_CENTRE_MM[axis]) <= MARK_EDGE_MM / 2
    return inside


def add_mark(image: Image, anatomy: Anatomy) -> Image:
    """One sequence of one visit (atlas grid, before noise) with the mark: twice the brain's 99th percentile."""
    level = _TIMES_THE_BRIGHTEST * np.percentile(image[anatomy.brain], _BRIGHTEST_PERCENTILE)
    return np.where(in_mark(image.shape, anatomy.affine) & anatomy.brain, np.float32(level), image)


def plant_marks(plans: list[PatientPlan], settings: PhantomSettings) -> list[PatientPlan]:
    """Decide which visits carry the mark; nothing else of the plans changes.

    With ``settings.planted_mark`` = s above 0, a visit that a row of the rating table calls PD carries it with chance s
    and every other visit, surgical and unrated ones among them, with chance 1 - s, each independently and by
    ``settings.seed``. s = 1: the mark says PD and nothing else; s = 0.5: it says nothing; s = 0: there is no mark.
    """
    share = settings.planted_mark
    if share == 0:
        return plans
    marked = []
    for plan in plans:
        generator = np.random.default_rng([settings.seed, plan.number, _STREAM])
        progressive = {row.visit for row in plan.rows if row.rating == Response.PD}
        chances = [share if str(visit.planned.visit) in progressive else 1 - share for visit in plan.visits]
        visits = [
            replace(visit, marked=bool(generator.random() < chance))
            for visit, chance in zip(plan.visits, chances, strict=True)
        ]
        marked.append(replace(plan, visits=tuple(visits)))
    return marked
