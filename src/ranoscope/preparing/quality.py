"""What is known of how well a study was prepared: a row per study, and what a person should look at."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ranoscope.domain import SEQUENCES
from ranoscope.imaging.nifti import Volume
from ranoscope.preparing.between import Placed
from ranoscope.preparing.output import OnAtlas
from ranoscope.preparing.within import Within

# A head is rarely carried further from scan to scan, nor turned so far, in a coil; a registration that says so is for a
# person to look at, not refused.
_MOVED_MM, _TURNED_DEGREES = 60.0, 35.0
# Of the brain outside the atlas grid; half of it is what rounding at the surface of thick slices comes to.
_LOST = 0.02


@dataclass(frozen=True)
class Quality:
    """One row of quality.csv. ``status``: ok, check (``problems`` says what to look at) or failed (why).

    ``within_mm``: the largest disagreement of both directions of a registration to the reference, mm; ``between_mm``:
    of the registration to the first study; ``moved_mm``, ``turned_degrees``: how the head lay against that, the first
    against the atlas. ``brain_ml``: volume of the brain on the atlas grid. None where it was not got so far.
    """

    patient: str
    study: str
    status: str
    sequences: str = ""
    missing: str = ""
    reference: str = ""
    within_mm: float | None = None
    between_mm: float | None = None
    moved_mm: float | None = None
    turned_degrees: float | None = None
    brain_ml: float | None = None
    seconds: float | None = None
    problems: str = ""

    def row(self) -> dict[str, object]:
        """By column; empty where unknown."""
        return {name: "" if value is None else value for name, value in asdict(self).items()}


COLUMNS = tuple(field.name for field in fields(Quality))


def judge(within: Within, placed: Placed, atlas: OnAtlas) -> tuple[dict[str, Any], list[str]]:
    """Figures of a study's row, and what a person should look at, as sentences without a full stop.

    Args:
        within: its images in one space.
        placed: where it lies.
        atlas: the study on the atlas grid.
    """
    problems = [f"{sequence}: {one.problem}" for sequence, one in within.registrations.items() if one.problem]
    problems += [f"in the atlas, or by the first study: {placed.problem}"] if placed.problem else []
    problems += [f"brain: {within.found.problem}"] if within.found.problem else []
    brain = within.brain
    moved, turned = _motion(placed.moved, _centre(brain))
    # A first study lies by the atlas as the scanner's table and coil would have it.
    if placed.disagreement_mm is not None and (moved > _MOVED_MM or turned > _TURNED_DEGREES):
        problems.append(f"the head lies {moved:.0f} mm and {turned:.0f} degrees away")
    millilitres = float(np.count_nonzero(atlas.brain)) / 1000
    lost = 1 - millilitres / max(float(np.count_nonzero(brain.data)) * brain.voxel_volume_mm3 / 1000, 1e-6)
    if lost > _LOST:
        problems.append(f"{100 * lost:.0f} % of the brain lies outside the atlas grid")
    found = [sequence for sequence in SEQUENCES if sequence in within.images]
    within_mm = max((one.disagreement_mm for one in within.registrations.values()), default=None)
    return {
        "sequences": " ".join(found),
        "missing": " ".join(sequence for sequence in SEQUENCES if sequence not in found),
        "reference": str(within.reference),
        "within_mm": _rounded(within_mm),
        "between_mm": _rounded(placed.disagreement_mm),
        "moved_mm": round(moved, 1),
        "turned_degrees": round(turned, 1),
        "brain_ml": round(millilitres, 1),
    }, problems


def _motion(rigid: NDArray[np.float64], centre: NDArray[np.float64]) -> tuple[float, float]:
    """How far the centre of the brain is carried, mm, and by how many degrees the head is turned."""
    cosine = (np.trace(rigid[:3, :3]) - 1) / 2
    carried = rigid[:3, :3] @ centre + rigid[:3, 3] - centre
    return float(np.linalg.norm(carried)), float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _centre(brain: Volume) -> NDArray[np.float64]:
    """The brain's centre in the RAS world, mm."""
    places = np.argwhere(brain.data > 0)
    middle = places.mean(axis=0) if len(places) else (np.array(brain.data.shape) - 1) / 2
    return np.asarray((brain.affine @ np.append(middle, 1.0))[:3])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
