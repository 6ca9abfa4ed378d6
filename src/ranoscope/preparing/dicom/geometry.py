"""Where the slices of a series lie: a grid of equal steps at right angles, or a refusal that says what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ranoscope.errors import ImageError, problem
from ranoscope.preparing.dicom.frames import Frame

FEWEST_SLICES = 3
# No voxel of the grid may lie farther than this from where its own slice's header puts it: less than a third of the
# voxel edge of 1 mm on which sequences and visits are brought together. Directions rounded to three decimals move the
# far corner of a slice of 250 mm by 0.12 mm, positions rounded to one decimal move it by 0.09 mm; a gantry tilt of 1
# degree moves the last of 25 slices of 5 mm by 2.1 mm.
GRID_TOLERANCE_MM = 0.3
# Of thin slices the step itself is the measure: a tenth of it is noise, more is another spacing.
_STEP_TOLERANCE = 0.1
# The far corner of 240 mm moves by 0.24 mm: two slices whose directions differ more were acquired apart.
_SAME_DIRECTION = 1e-3
# Moves the far end of a row of 256 by 0.26 mm.
SAME_PIXEL_MM = 1e-3
_SAME_PLACE_MM = 0.01
_GAP = 1.5
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Stack:
    """``frames`` from first to last slice; ``affine``: voxel (column, row, slice) to RAS mm, orthogonal."""

    frames: tuple[Frame, ...]
    affine: NDArray[np.float64]


def turned(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether two pairs of directions are more than rounding apart."""
    return bool(np.abs(one - other).max() > _SAME_DIRECTION)


def step_mm(frames: Sequence[Frame]) -> float | None:
    """The usual distance between neighbouring slices; None where there are no two."""
    gaps = np.diff(np.sort(_positions(frames) @ _axes(frames)[2]))
    apart = gaps[gaps > _SAME_PLACE_MM]
    return float(np.median(apart)) if len(apart) else None


def arrange(frames: Sequence[Frame], where: str) -> Stack:
    """Order slices along their normal (PS3.3 C.7.6.2.1.1) and find the grid that they lie on.

    Raises:
        ImageError: fewer than three slices; mixed matrices, pixel spacings or orientations; two slices at one place; a
            gantry tilt or another shear; missing slices; irregular spacing. It names the slices.
    """
    if len(frames) < FEWEST_SLICES:
        raise ImageError(
            problem(f"{FEWEST_SLICES} slices or more", str(len(frames)), where, "export all slices, or leave it out")
        )
    _require_one_kind(frames, where)
    columns, rows, normal = _axes(frames)
    depths = _positions(frames) @ normal
    order = np.argsort(depths, kind="stable")
    ordered, depths = [frames[one] for one in order], depths[order]
    _require_own_places(ordered, depths, where)
    _require_upright(ordered, normal, where)
    _require_even(ordered, depths, where)
    return Stack(tuple(ordered), _fit(ordered, np.stack([columns, rows, normal]), where))


def _positions(frames: Sequence[Frame]) -> NDArray[np.float64]:
    return np.stack([frame.position for frame in frames])


def _axes(frames: Sequence[Frame]) -> NDArray[np.float64]:
    """Unit vectors along columns, rows and slices, (3, 3): the mean of all headers, made exactly perpendicular."""
    columns, rows = np.mean([frame.directions for frame in frames], axis=0)
    columns = columns / np.linalg.norm(columns)
    normal = np.cross(columns, rows)
    normal = normal / np.linalg.norm(normal)
    return np.stack([columns, np.cross(normal, columns), normal])


def _require_one_kind(frames: Sequence[Frame], where: str) -> None:
    first = frames[0]
    for frame in frames[1:]:
        if (frame.rows, frame.columns) != (first.rows, first.columns):
            different = "matrices"
        elif np.abs(np.subtract(frame.pixel_mm, first.pixel_mm)).max() > SAME_PIXEL_MM:
            different = "pixel spacings"
        elif turned(frame.directions, first.directions):
            different = "orientations"
        else:
            continue
        raise ImageError(
            problem(
                "slices of one kind", f"mixed {different}, e.g. {first.name} and {frame.name}", where,
                "give each as a series of its own, or leave it out",
            )
        )  # fmt: skip


def _require_own_places(ordered: Sequence[Frame], depths: NDArray[np.float64], where: str) -> None:
    same = np.flatnonzero(np.diff(depths) <= _SAME_PLACE_MM)
    if len(same):
        one, other = ordered[same[0]], ordered[same[0] + 1]
        raise ImageError(
            problem(
                "one slice at each place", f"{one.name} and {other.name} at one place", where,
                "export each volume as a series of its own",
            )
        )  # fmt: skip


def _require_upright(ordered: Sequence[Frame], normal: NDArray[np.float64], where: str) -> None:
    positions = _positions(ordered)
    aside = positions - np.outer(positions @ normal, normal)
    off = np.linalg.norm(aside - (aside.max(axis=0) + aside.min(axis=0)) / 2, axis=1).max()
    if off <= GRID_TOLERANCE_MM:
        return
    way = positions[-1] - positions[0]
    angle = float(np.degrees(np.arccos(np.clip(way @ normal / np.linalg.norm(way), -1, 1))))
    raise ImageError(
        problem(
            "slices stacked at right angles",
            f"slices shifted sideways by up to {2 * off:.1f} mm (a gantry tilt or shear of {angle:.1f} degrees)",
            where,
            "reformat the series on the scanner to slices at right angles, or leave it out",
        )
    )


def _require_even(ordered: Sequence[Frame], depths: NDArray[np.float64], where: str) -> None:
    gaps = np.diff(depths)
    usual = float(np.median(gaps))
    widest = int(np.argmax(gaps))
    if gaps[widest] > _GAP * usual:
        missing = max(1, round(float(gaps[widest]) / usual) - 1)
        raise ImageError(
            problem(
                f"a slice every {usual:.2f} mm",
                f"a gap of {gaps[widest]:.2f} mm ({missing} missing) between {ordered[widest].name} and "
                f"{ordered[widest + 1].name}",
                where,
                "export the missing slices",
            )
        )
    even = np.linspace(depths[0], depths[-1], len(depths))
    if np.abs(depths - even).max() > min(GRID_TOLERANCE_MM, _STEP_TOLERANCE * usual):
        raise ImageError(
            problem(
                "slices of equal distance", f"distances from {gaps.min():.2f} to {gaps.max():.2f} mm", where,
                "export the series as it was acquired",
            )
        )  # fmt: skip
    _require_every(ordered, usual, where)


def _require_every(ordered: Sequence[Frame], usual: float, where: str) -> None:
    """Every second slice missing leaves even steps, but twice as wide as SpacingBetweenSlices says.

    Some scanners write the gap between slices there, which is less than their thickness: such a number says nothing.
    """
    said = ordered[0].attributes.number("SpacingBetweenSlices")
    thickness = ordered[0].attributes.number("SliceThickness")
    if said is None or thickness is None or said <= 0 or said < thickness * (1 - _STEP_TOLERANCE):
        return
    steps = usual / said
    if steps > _GAP and abs(steps - round(steps)) < _STEP_TOLERANCE:
        raise ImageError(
            problem(
                f"a slice every {said:.2f} mm as SpacingBetweenSlices says", f"one every {usual:.2f} mm", where,
                "export the missing slices",
            )
        )  # fmt: skip


def _fit(ordered: Sequence[Frame], axes: NDArray[np.float64], where: str) -> NDArray[np.float64]:
    """The affine that lies closest to all slices, checked at the corners of each against its own header."""
    positions, count = _positions(ordered), len(ordered)
    between_rows, between_columns = np.mean([frame.pixel_mm for frame in ordered], axis=0)
    depths = positions @ axes[2]
    step = (depths[-1] - depths[0]) / (count - 1)
    first = positions.mean(axis=0) - axes[2] * step * (count - 1) / 2
    affine = np.eye(4)
    affine[:3, :3] = axes.T * [between_columns, between_rows, step]
    affine[:3, 3] = first
    off = max(_farthest(frame, affine, index) for index, frame in enumerate(ordered))
    if off > GRID_TOLERANCE_MM:
        raise ImageError(
            problem(
                f"every slice within {GRID_TOLERANCE_MM} mm of one grid", f"one that is {off:.1f} mm off it", where,
                "export the series as it was acquired",
            )
        )  # fmt: skip
    return np.asarray(_LPS_TO_RAS @ affine)


def _farthest(frame: Frame, affine: NDArray[np.float64], index: int) -> float:
    """How far a corner of this slice lies on the grid from where its own header puts it, mm."""
    corners = np.array([[0, 0], [frame.columns - 1, 0], [0, frame.rows - 1], [frame.columns - 1, frame.rows - 1]])
    own = frame.position + (corners * frame.pixel_mm[::-1]) @ frame.directions
    here = np.column_stack([corners, np.full(4, index), np.ones(4)]) @ affine[:3].T
    return float(np.linalg.norm(own - here, axis=1).max())
