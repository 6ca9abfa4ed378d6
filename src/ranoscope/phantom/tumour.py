"""Do: decided volumes to irregular tissue maps, exact to the voxel in volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ranoscope.domain import Tissue
from ranoscope.phantom.anatomy import Anatomy, smooth_noise
from ranoscope.phantom.courses import Lesion
from ranoscope.phantom.difficulty import STANDARD, TumourTraits

Field = NDArray[np.float32]
# Beside Tissue's values, inside this room only: what is no tumour but is seen.
CAVITY, BLOOD, TREATED, AGED = 9, 10, 11, 12
# Spread of repeated segmentations by lesion size in mm^3: p10-p90 of relative volume published for LUMIERE's tools,
# divided by 2.56 to give a standard deviation.
_REPEATABILITY = ((1_000, 0.143), (5_000, 0.058), (20_000, 0.021), (60_000, 0.011), (np.inf, 0.006))


@dataclass(frozen=True)
class Site:
    """Where one lesion lives: fields whose lowest values are taken first when tissue of a kind is laid down.

    ``cavity``: mm from the centre, warped; ``tumour``: the same about a place beside it, so that a rest after surgery
    is a nodule at one side of the cavity rather than a ring; ``edema``: the same, cheap along white matter and dear
    in grey matter and fluid; ``rim``: factor by which the enhancing rim is thinner here. ``centre_mm``: atlas world,
    RAS.
    """

    cavity: Field
    tumour: Field
    edema: Field
    rim: Field
    centre_mm: NDArray[np.float64]


def make_sites(
    generator: np.random.Generator, anatomy: Anatomy, count: int, traits: TumourTraits = STANDARD.tumour
) -> list[Site]:
    """Draw ``count`` sites in deep white matter, apart from each other by 25 mm or more where the brain allows."""
    white = np.asarray(ndimage.gaussian_filter(anatomy.white, 3.0 / anatomy.voxel_mm), dtype=np.float32)
    depth = np.asarray(ndimage.distance_transform_edt(anatomy.brain, anatomy.voxel_mm), dtype=np.float32)
    across, _, heights = (world(anatomy, axis) for axis in range(3))
    # Supratentorial and to one side: glioblastoma of the cerebellum and brain stem is rare in adults.
    allowed = (white > 0.45) & (depth > 14) & (heights > -12) & (np.abs(across) > 12)
    candidates = np.argwhere(allowed)
    centres: list[NDArray[np.int_]] = []
    for _ in range(count):
        tried = candidates[generator.integers(len(candidates), size=40)]
        apart = [
            min((float(np.linalg.norm(place - c)) for c in centres), default=1e9) * anatomy.voxel_mm for place in tried
        ]
        far = [place for place, distance in zip(tried, apart, strict=True) if distance > 25]
        centres.append(far[0] if far else tried[int(np.argmax(apart))])
    return [_make_site(generator, anatomy, centre, traits) for centre in centres]


def draw_tissue(anatomy: Anatomy, sites: list[Site], lesions: tuple[Lesion, ...]) -> NDArray[np.uint8]:
    """The true map of ``Tissue`` and ``CAVITY`` (uint8, axes of the anatomy) for one visit."""
    tissue = np.zeros(anatomy.brain.shape, dtype=np.uint8)
    voxel_mm3 = anatomy.voxel_mm**3
    solid = anatomy.brain & (anatomy.fluid < 0.6)
    for site, lesion in zip(sites, lesions, strict=False):
        lay(tissue, site.cavity, anatomy.brain & (tissue != CAVITY), lesion.cavity / voxel_mm3, CAVITY)
    for site, lesion in zip(sites, lesions, strict=False):
        _lay_tumour(tissue, site, solid, lesion, voxel_mm3)
    for site, lesion in zip(sites, lesions, strict=False):
        free = solid & (tissue == Tissue.BACKGROUND)
        lay(tissue, site.edema, free, lesion.edema / voxel_mm3, Tissue.EDEMA)
    return tissue


def segment(generator: np.random.Generator, tissue: NDArray[np.uint8], voxel_mm: float) -> NDArray[np.uint8]:
    """What an automatic tool makes of the true map: its labels as ``Tissue``, with errors at the borders.

    Volumes of enhancing tumour vary from visit to visit as LUMIERE's do for lesions of that size; nothing enhancing
    stays nothing. A part of the cavity is called necrosis, as DeepBraTumIA does. White matter that treatment changed is
    called oedema, from which no tool tells it apart.
    """
    labels = np.where(tissue > max(Tissue), Tissue.BACKGROUND, tissue).astype(np.uint8)
    labels[tissue == TREATED] = Tissue.EDEMA
    rim = ndimage.binary_dilation(tissue == Tissue.ENHANCING, iterations=2) & (tissue == CAVITY)
    if generator.random() < 0.5:
        labels[rim] = Tissue.NECROSIS_NONENHANCING
    _resize(generator, labels, Tissue.ENHANCING, Tissue.EDEMA, voxel_mm)
    return labels


def world(anatomy: Anatomy, axis: int) -> Field:
    """World coordinate (RAS mm) of the voxels along one axis, shaped to broadcast over the grid."""
    shape = [1, 1, 1]
    shape[axis] = anatomy.brain.shape[axis]
    steps = anatomy.affine[axis, axis] * np.arange(shape[axis]) + anatomy.affine[axis, 3]
    return np.asarray(steps.reshape(shape), dtype=np.float32)


def _make_site(
    generator: np.random.Generator, anatomy: Anatomy, centre: NDArray[np.int_], traits: TumourTraits
) -> Site:
    """Places are displaced smoothly before distances are taken, so that what is laid down hangs together."""
    shape = anatomy.brain.shape
    centre_mm = anatomy.affine[:3, :3] @ centre + anatomy.affine[:3, 3]
    axes = np.exp(generator.normal(0, traits.axes_sd, 3))
    aside = generator.normal(0, 1, 3)
    aside *= generator.uniform(5, 9) / np.linalg.norm(aside)
    nodules, later_mm = _draw_nodules(generator.spawn(1)[0], aside, traits.nodules)
    offsets = (np.zeros(3), aside, *nodules)
    squares = [np.zeros(shape, np.float32) for _ in offsets]
    for axis in range(3):
        place = world(anatomy, axis) - np.float32(centre_mm[axis])
        for size_mm, points in traits.warps:
            place = place + size_mm * smooth_noise(generator, shape, points)
        for square, offset in zip(squares, offsets, strict=True):
            square += (np.float32(axes[axis]) * (place - np.float32(offset[axis]))) ** 2
    from_centre, nearest, *further = (np.sqrt(square) for square in squares)
    for distance, later in zip(further, later_mm, strict=True):
        nearest = np.minimum(nearest, distance + np.float32(later))
    spread = ndimage.gaussian_filter(anatomy.white, 1.5 / anatomy.voxel_mm)
    # Across the midline there is a way through white matter (corpus callosum), hardly one through the fissure.
    beyond = 1 + 1.5 * (world(anatomy, 0) * centre_mm[0] < 0) * (1 - spread)
    cavity, tumour = from_centre * beyond, nearest * beyond * (1.15 - 0.3 * spread)
    edema = cavity * np.exp(0.1 * smooth_noise(generator, shape, 12)) / (0.25 + spread)
    rim = np.exp(traits.rim_sd * smooth_noise(generator, shape, 20))
    cavity, tumour, edema, rim = (np.asarray(part, dtype=np.float32) for part in (cavity, tumour, edema, rim))
    return Site(cavity, tumour, edema, rim, centre_mm)


def _draw_nodules(
    generator: np.random.Generator, aside: NDArray[np.float64], most: int
) -> tuple[list[NDArray[np.float64]], list[float]]:
    """Centres of up to ``most`` further nodules, mm from the site's, and how many mm each comes later than the first.

    Near enough to the first that a growing tumour takes them in, so that they are not taken for new lesions.
    """
    centres, later = [], []
    for _ in range(int(generator.integers(most + 1))):
        step = generator.normal(0, 1, 3)
        centres.append(aside + step * generator.uniform(7, 13) / np.linalg.norm(step))
        later.append(float(generator.uniform(0, 4)))
    return centres, later


def lay(tissue: NDArray[np.uint8], cost: Field, free: NDArray[np.bool_], voxels: float, value: int) -> None:
    """Give ``value`` to the cheapest free voxels, as many as asked for."""
    count = min(round(voxels), int(free.sum()))
    if count <= 0:
        return
    places = np.flatnonzero(free)
    cheapest = places[np.argpartition(cost.ravel()[places], count - 1)[:count]]
    tissue.ravel()[cheapest] = value


def _lay_tumour(
    tissue: NDArray[np.uint8], site: Site, solid: NDArray[np.bool_], lesion: Lesion, voxel_mm3: float
) -> None:
    """Enhancing tumour with its necrosis in the depth; a volume above 0 is at least one voxel."""
    if lesion.enhancing <= 0:
        return
    before = tissue.copy()
    free = solid & (tissue == Tissue.BACKGROUND)
    whole = max(round((lesion.enhancing + lesion.necrosis) / voxel_mm3), 1)
    lay(tissue, site.tumour, free, whole, Tissue.ENHANCING)
    mine = (tissue == Tissue.ENHANCING) & (before != Tissue.ENHANCING)
    core = min(round(lesion.necrosis / voxel_mm3), int(mine.sum()) - 1)
    if core > 0:
        depth = np.zeros(tissue.shape, dtype=np.float32)
        box = tuple(
            slice(max(edge.start - 1, 0), edge.stop + 1) for edge in ndimage.find_objects(mine.view(np.uint8))[0]
        )
        depth[box] = ndimage.distance_transform_edt(mine[box])
        lay(tissue, -depth * site.rim, mine, core, Tissue.NECROSIS_NONENHANCING)


def _resize(
    generator: np.random.Generator, labels: NDArray[np.uint8], kind: Tissue, other: Tissue, voxel_mm: float
) -> None:
    """Move the border between ``kind`` and its surroundings by the segmentation error for its size."""
    inside = labels == kind
    count = int(inside.sum())
    if count == 0:
        return
    volume = count * voxel_mm**3
    sigma = next(spread for limit, spread in _REPEATABILITY if volume < limit)
    step = round(count * float(generator.normal(0, sigma)))
    ragged = generator.random(labels.shape, dtype=np.float32)
    if step > 0:
        edge = ndimage.binary_dilation(inside) & ((labels == Tissue.EDEMA) | (labels == Tissue.BACKGROUND))
        lay(labels, ragged, edge, min(step, int(edge.sum())), kind)
    elif step < 0:
        edge = inside & ~ndimage.binary_erosion(inside)
        lay(labels, ragged, edge, min(-step, count - 1), other)
