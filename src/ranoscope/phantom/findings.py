"""What else is seen beside the tumour: blood after an operation, what treatment does to white matter, and old age.

None of it has a say in the rating; all of it changes, or not, from visit to visit as the tumour may.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ranoscope.domain import Tissue, VisitState
from ranoscope.phantom.anatomy import Anatomy, smooth_noise
from ranoscope.phantom.courses import PlannedVisit
from ranoscope.phantom.difficulty import TumourTraits
from ranoscope.phantom.tumour import AGED, BLOOD, CAVITY, TREATED, Field, Site, lay

# Blood is bright on T1 for some months: weeks in which it falls to a third.
_BLOOD_WEEKS = 14.0
# Radiotherapy ends about ten weeks after the operation; white matter then changes over a year.
_RADIOTHERAPY_WEEKS, _TREATED_WEEKS = 10.0, 25.0
# Steroids and the like move what is seen of it between two visits, up or down (spread of the logarithm).
_TREATED_SD = 0.15
_WEEKS_PER_YEAR = 52.0
_WHITE = 0.6


@dataclass(frozen=True)
class Findings:
    """At one visit: ``blood``, share 0..1 of the resection cavity; ``treated_mm3``, white matter changed by treatment;
    ``aged``, share 0..1 of the white matter with lesions of old age.
    """

    blood: float = 0.0
    treated_mm3: float = 0.0
    aged: float = 0.0


def draw_findings(generator: np.random.Generator, visits: list[PlannedVisit], traits: TumourTraits) -> list[Findings]:
    """Decide what is seen at each of one patient's visits, in their order."""
    most = generator.uniform(0, traits.treated_mm3)
    least_aged, most_aged = traits.aged
    aged = least_aged * (most_aged / least_aged) ** generator.random() if least_aged > 0 else 0.0
    growth = generator.uniform(0, traits.aged_growth)
    found, operated, first, blood = [], None, None, 0.0
    for planned in visits:
        week = planned.visit.week
        if planned.truth is VisitState.POST_OP:
            operated, blood = week, generator.uniform(*traits.blood)
            first = week if first is None else first
        irradiated = 0.0 if first is None else max(week - first - _RADIOTHERAPY_WEEKS, 0.0)
        treated = most * (1 - np.exp(-irradiated / _TREATED_WEEKS)) * np.exp(generator.normal(0, _TREATED_SD))
        fading = 0.0 if operated is None else blood * np.exp(-(week - operated) / _BLOOD_WEEKS)
        found.append(Findings(float(fading), float(treated), aged * (1 + growth * week / _WEEKS_PER_YEAR)))
    return found


def draw_frailty(generator: np.random.Generator, anatomy: Anatomy) -> Field:
    """Where white matter gives way first with age (lowest): around the ventricles, then in patches in the depth."""
    depth = ndimage.distance_transform_edt(anatomy.brain, anatomy.voxel_mm)
    ventricles = (anatomy.fluid > _WHITE) & (depth > 20)
    # Without a voxel that is surely ventricle (coarse grids), depth alone says where they are.
    ventricles = ventricles if ventricles.any() else depth > depth.max() - 2 * anatomy.voxel_mm
    away = ndimage.distance_transform_edt(~ventricles, anatomy.voxel_mm)
    patches = 1.2 * smooth_noise(generator, anatomy.brain.shape, 26)
    return np.asarray(away / 10 + patches + 4 * (1 - anatomy.white), dtype=np.float32)


def lay_findings(
    tissue: NDArray[np.uint8], anatomy: Anatomy, sites: list[Site], frailty: Field, findings: Findings
) -> None:
    """Write the findings into a visit's tissue map, around and never over the tumour.

    Args:
        tissue: map of the tumour as ``draw_tissue`` gives it; changed in place.
        anatomy: the brain at this visit.
        sites: of the patient's lesions; treatment is centred on the first.
        frailty: what ``draw_frailty`` gave for the patient.
        findings: decided for this visit.
    """
    cavity = tissue == CAVITY
    main = sites[0]
    # At the cavities' borders, and there in patches.
    from_nearest = np.minimum.reduce([site.cavity for site in sites])
    lay(tissue, -from_nearest * main.rim, cavity, findings.blood * float(cavity.sum()), BLOOD)
    white = anatomy.brain & (anatomy.white > _WHITE)
    free = white & (tissue == Tissue.BACKGROUND)
    lay(tissue, main.edema, free, findings.treated_mm3 / anatomy.voxel_mm**3, TREATED)
    free = white & (tissue == Tissue.BACKGROUND)
    lay(tissue, frailty, free, findings.aged * float(white.sum()), AGED)
