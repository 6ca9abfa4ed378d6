"""One head brought to another by a rigid motion, found both ways, with the reasons why it should not be believed.

The way: heads are found, and a rough motion on voxels of about 4 mm from every start that is worth trying, the likeness
of both images saying which is best; from there greedy runs at full detail from each image to the other, and the result
is the motion midway between both. Where that is not to be trusted, further starts are tried, the head turned about each
axis, and the better of both results is kept with what is wrong with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.spatial.transform import Rotation

from ranoscope.config import Settings
from ranoscope.imaging.nifti import Volume
from ranoscope.preparing.registration.greedy import refine
from ranoscope.preparing.registration.heads import Head, find_head
from ranoscope.preparing.registration.rigid import Matrix, about, inverse, mean_distance, midway, turned_deg
from ranoscope.preparing.registration.similarity import LEAST_OVERLAP, Likeness, compare

# Both ways at most so far apart: pairs of real scans of one head differ by less than 0.3 mm, as
# benchmarks/registration.py shows.
_APART_MM = 1.0
# Two images of one head are more alike than this: real pairs have 1.12 to 1.32 (benchmarks/registration.py), a head and
# noise 1.01.
_LEAST_NMI = 1.05
# In a head coil a head lies on its back; scans of two days differ by its tilt, rarely by more than 30 degrees.
_TURNED_DEG = 45.0
# At the same place, likeness changes by some thousandths with where the voxels of both images fall.
_NO_WORSE = 0.01
# Greedy finds the way over a finger's width by itself, so that a second start this near would be the same one.
_SAME_START_MM = 5.0
# Where the voxels of both images fall into step, mutual information has a peak of its own that has nothing to do with
# the head (interpolation artefact, Pluim et al., Computer Vision and Image Understanding 2000, 77:211-232; here it led
# 2 mm astray). The grids of both heads never do: one of them is askew to the world by angles without common measure.
_ASKEW = Rotation.from_euler("xyz", (7.0, 11.0, 13.0), degrees=True)
_TURNS_DEG = (-25.0, 25.0)


class RegistrationSettings(Settings):
    """``rough_mm``, ``fine_mm``: edges of the cubes that heads are compared on.

    ``rough_levels``, ``fine_levels``: steps at most on each level of a pyramid whose edges double, coarse to fine.
    ``turned_deg``: a head that turned further is a failure; scans of one session hold less than those of two days.
    """

    rough_mm: Annotated[float, Field(gt=0)] = 4.0
    fine_mm: Annotated[float, Field(gt=0)] = 2.0
    rough_levels: tuple[Annotated[int, Field(ge=1)], ...] = (60, 30)
    fine_levels: tuple[Annotated[int, Field(ge=1)], ...] = (40, 20)
    turned_deg: Annotated[float, Field(gt=0, le=180)] = _TURNED_DEG


@dataclass(frozen=True)
class Registration:
    """``to_fixed``: 4 x 4, rigid, points of the moving image's RAS world to the fixed one's, mm.

    ``disagreement_mm``: how far apart the motion and the one found the other way round bring the head, on average.
    ``similarity``, ``similarity_before``: normalised mutual information over both heads, 1 to 2, as ``to_fixed`` says
    and as the scans' headers have it. ``overlap``: share of the smaller head that lies in the other image's field.
    ``problem``: why the result is not to be trusted, None where nothing speaks against it.
    """

    to_fixed: Matrix
    disagreement_mm: float
    similarity: float
    similarity_before: float
    overlap: float
    problem: str | None

    def inverted(self) -> Registration:
        """The same with both images exchanged."""
        return replace(self, to_fixed=inverse(self.to_fixed))


@dataclass(frozen=True)
class _Pair:
    """Both heads on coarse and on fine voxels, the fixed one first."""

    rough: tuple[Head, Head]
    fine: tuple[Head, Head]
    settings: RegistrationSettings


def register(fixed: Volume, moving: Volume, settings: RegistrationSettings) -> Registration:
    """Bring ``moving`` to ``fixed``; the other order gives exactly the inverse.

    Both may have any contrast and grid, skull or none, and may share a part of the head only.

    Raises:
        ImageError: one of them holds no head, or values that are not finite.
    """
    # Both ways are searched in any case; which comes first decides about the last digits alone, so contents choose.
    if _content(fixed) > _content(moving):
        return _register(moving, fixed, settings).inverted()
    return _register(fixed, moving, settings)


def _content(volume: Volume) -> bytes:
    return hashlib.sha256(volume.affine.tobytes() + volume.data.tobytes()).digest()


def _register(fixed: Volume, moving: Volume, settings: RegistrationSettings) -> Registration:
    rough, fine = (
        (find_head(fixed, edge_mm, _ASKEW), find_head(moving, edge_mm, Rotation.identity()))
        for edge_mm in (settings.rough_mm, settings.fine_mm)
    )
    pair = _Pair(rough, fine, settings)
    found = _from_starts(pair, _plain_starts(*rough))
    if found.problem is None:
        return found
    again = _from_starts(pair, _turned_starts(*rough))
    best = max((found, again), key=lambda one: (one.problem is None, one.similarity))
    return _as_it_lies(best, pair) if best.problem and best.similarity < best.similarity_before else best


def _as_it_lies(failed: Registration, pair: _Pair) -> Registration:
    """Where everything that was found is worse than what the headers say, the headers are the better guess."""
    unmoved = compare(*pair.rough, np.eye(4))
    return replace(failed, to_fixed=np.eye(4), similarity=unmoved.nmi, overlap=unmoved.overlap)


def _plain_starts(fixed: Head, moving: Head) -> list[Matrix]:
    """As both headers say, and with the middles of both heads in one place, unless that is nearly the same."""
    as_they_lie, centred = np.eye(4), about(Rotation.identity(), moving.centre, fixed.centre)
    apart = mean_distance(as_they_lie, centred, moving.points)
    return [as_they_lie, centred] if apart > _SAME_START_MM else [as_they_lie]


def _turned_starts(fixed: Head, moving: Head) -> list[Matrix]:
    """The middles of both heads in one place, and the moving one turned either way about each axis."""
    return [
        about(Rotation.from_euler(axis, angle, degrees=True), moving.centre, fixed.centre)
        for axis in "xyz"
        for angle in _TURNS_DEG
    ]


def _from_starts(pair: _Pair, starts: Sequence[Matrix]) -> Registration:
    """The best of all starts on coarse voxels, then in full both ways."""
    candidates = list(starts)
    for start in starts:
        candidates += _both_ways(pair.rough, start, pair.settings.rough_levels, inner=False)
    best = max(candidates, key=lambda motion: compare(*pair.rough, motion).score)
    there, back = _both_ways(pair.fine, best, pair.settings.fine_levels, inner=True)
    to_fixed = midway(there, back)
    apart = mean_distance(there, back, pair.rough[1].points)
    before, after = (compare(*pair.rough, motion) for motion in (np.eye(4), to_fixed))
    reasons = "; ".join(_reasons(to_fixed, apart, before, after, pair.settings))
    return Registration(to_fixed, apart, after.nmi, before.nmi, after.overlap, reasons or None)


def _both_ways(heads: tuple[Head, Head], start: Matrix, levels: tuple[int, ...], inner: bool) -> tuple[Matrix, Matrix]:
    """From one start, moving to fixed: as found with the fixed head's voxels compared, and with the moving one's."""
    fixed, moving = heads
    there = refine(fixed, moving, start, levels, inner)
    return there, inverse(refine(moving, fixed, inverse(start), levels, inner))


def _reasons(
    to_fixed: Matrix, apart_mm: float, before: Likeness, after: Likeness, settings: RegistrationSettings
) -> Iterator[str]:
    """Everything that speaks against a result."""
    if after.overlap < LEAST_OVERLAP:
        yield f"the images share {100 * after.overlap:.0f} % of the head (at least {100 * LEAST_OVERLAP:.0f} %)"
    if after.nmi < _LEAST_NMI:
        yield f"the images show nothing in common (similarity {after.nmi:.3f}, at least {_LEAST_NMI:g})"
    if after.nmi < before.score - _NO_WORSE:
        yield f"it made the images less alike (similarity {before.nmi:.3f} before, {after.nmi:.3f} after)"
    if apart_mm > _APART_MM:
        yield f"there and back differ by {apart_mm:.1f} mm (at most {_APART_MM:g} mm)"
    if (turned := turned_deg(to_fixed)) > settings.turned_deg:
        yield f"the head turned by {turned:.0f} degrees (at most {settings.turned_deg:g})"
