"""Rigid motions as 4 x 4 matrices that take points of one RAS world to another's, in millimetres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Matrix = NDArray[np.float64]
Points = NDArray[np.float64]


def rigid(rotation: Rotation, shift: NDArray[np.float64]) -> Matrix:
    """``rotation`` about the world's origin, then ``shift`` (3,) in mm."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation.as_matrix(), shift
    return matrix


def about(turned: Rotation, centre: NDArray[np.float64], to: NDArray[np.float64]) -> Matrix:
    """The motion that turns about ``centre`` and brings it to ``to``, both (3,) in mm."""
    return rigid(turned, to - turned.apply(centre))


def nearest_rigid(matrix: Matrix) -> Matrix:
    """The motion without the rounding of a matrix whose axes are nearly at right angles."""
    return rigid(Rotation.from_matrix(matrix[:3, :3]), matrix[:3, 3])


def inverse(motion: Matrix) -> Matrix:
    """Back again; rigid to the last digit, as ``numpy.linalg.inv`` is not."""
    back = np.eye(4)
    back[:3, :3] = motion[:3, :3].T
    back[:3, 3] = -motion[:3, :3].T @ motion[:3, 3]
    return back


def midway(one: Matrix, other: Matrix) -> Matrix:
    """The motion half of the way from ``one`` to ``other``: one (one^-1 other)^(1/2), whichever of them comes first."""
    step = inverse(one) @ other
    half = Rotation.from_rotvec(Rotation.from_matrix(step[:3, :3]).as_rotvec() / 2)
    # Twice the half is the whole: half t + t = the step's own shift.
    shift = np.linalg.solve(half.as_matrix() + np.eye(3), step[:3, 3])
    return nearest_rigid(one @ rigid(half, shift))


def moved(points: Points, motion: Matrix) -> Points:
    """``points`` (n, 3) or (3,), moved by a motion or any affine matrix."""
    return np.asarray(points @ motion[:3, :3].T + motion[:3, 3])


def mean_distance(one: Matrix, other: Matrix, points: Points) -> float:
    """How far apart two motions bring the same points, in mm on average."""
    return float(np.linalg.norm(moved(points, one) - moved(points, other), axis=1).mean())


def turned_deg(motion: Matrix) -> float:
    """By how many degrees a motion turns, about whichever axis."""
    return float(np.degrees(Rotation.from_matrix(motion[:3, :3]).magnitude()))
