"""How much faster lesions are measured than by brute force, and that both give the same diameters.

Brute force is the definition of ``ranoscope.measuring.diameters`` written as plainly as it can be: every slice, every
pair of outline points, every edge, no shortcuts. Run alone: ``python benchmarks/diameters.py``.
"""

from __future__ import annotations

import itertools
import math
import os
import time

import numpy as np
from scipy import ndimage

from ranoscope.measuring.diameters import BESIDE, END, SLACK, measure_piece
from ranoscope.measuring.lesions import DiameterSettings, label_lesions, measure_lesions
from ranoscope.measuring.outline import outline

_BLOBS = 3000
_LESIONS = 12
_OUTSIDE = DiameterSettings().outside


def brute_diameters(filled, spacing_mm, outside):
    """Longest and perpendicular diameter in mm of one shape without holes."""
    vertices = outline(filled).tolist()
    pairs = []
    for one in range(len(vertices)):
        for other in range(one + 1, len(vertices)):
            length = math.dist(_scaled(vertices[one], spacing_mm), _scaled(vertices[other], spacing_mm))
            if _runs_inside(filled, vertices[one], vertices[other], outside):
                pairs.append((length, one, other))
    longest = max(length for length, _, _ in pairs)
    # Of equally long diameters (a square has two) the best perpendicular is as good as any.
    ties = [(one, other) for length, one, other in pairs if length >= longest - 1e-9]
    return longest, [
        _perpendicular(filled, spacing_mm, (vertices[one], vertices[other]), outside) for one, other in ties
    ]


def _scaled(point, spacing_mm):
    return (point[0] * spacing_mm[0], point[1] * spacing_mm[1])


def _runs_inside(filled, start, end, outside):
    run = [end[axis] - start[axis] for axis in (0, 1)]
    share = END / max(abs(run[0]), abs(run[1]), 2 * END)
    first = [start[axis] + share * run[axis] for axis in (0, 1)]
    last = [end[axis] - share * run[axis] for axis in (0, 1)]
    return _share_outside(filled, first, last) <= outside + SLACK


def _share_outside(filled, start, end):
    cuts = {0.0, 1.0}
    for axis in (0, 1):
        run = end[axis] - start[axis]
        if abs(run) > 1e-12:
            for border in range(filled.shape[axis] + 1):
                place = (border - 0.5 - start[axis]) / run
                if 0 < place < 1:
                    cuts.add(place)
    ordered = sorted(cuts)
    share = 0.0
    for low, high in itertools.pairwise(ordered):
        middle = (low + high) / 2
        u, v = (start[axis] + middle * (end[axis] - start[axis]) for axis in (0, 1))
        if not any(_has(filled, u + du, v + dv) for du in (-1e-9, 1e-9) for dv in (-1e-9, 1e-9)):
            share += high - low
    return share


def _has(filled, u, v):
    row, column = math.floor(u + 0.5), math.floor(v + 0.5)
    return 0 <= row < filled.shape[0] and 0 <= column < filled.shape[1] and bool(filled[row, column])


def _perpendicular(filled, spacing_mm, longest, outside):
    start, end = (_scaled(point, spacing_mm) for point in longest)
    length = math.dist(start, end)
    along = ((end[0] - start[0]) / length, (end[1] - start[1]) / length)
    frame = [
        (
            (x - start[0]) * along[0] + (y - start[1]) * along[1],
            -(x - start[0]) * along[1] + (y - start[1]) * along[0],
        )
        for x, y in (_scaled(vertex, spacing_mm) for vertex in outline(filled).tolist())
    ]

    def voxel(line, height):
        x = start[0] + line * along[0] - height * along[1]
        y = start[1] + line * along[1] + height * along[0]
        return (x / spacing_mm[0], y / spacing_mm[1])

    best = 0.0
    for corner, _ in frame:
        for line in (corner - BESIDE * length, corner + BESIDE * length):
            if 0 < line < length:
                low, high = _stretch(frame, line)
                fits = best < high - low <= length + SLACK
                if fits and _runs_inside(filled, voxel(line, low), voxel(line, high), outside):
                    best = high - low
    return best


def _stretch(frame, line):
    """The stretch of the line inside the outline that holds the long diameter."""
    crossings = []
    for (t1, h1), (t2, h2) in zip(frame, [*frame[1:], frame[0]], strict=True):
        if (t1 < line) != (t2 < line):
            crossings.append(h1 + (line - t1) * (h2 - h1) / (t2 - t1))
    crossings.sort()
    stretches = list(zip(crossings[::2], crossings[1::2], strict=True))
    held = [pair for pair in stretches for level in (-BESIDE, BESIDE) if pair[0] <= level < pair[1]]
    return max(held, key=lambda pair: pair[1] - pair[0], default=(0.0, 0.0))


def random_blob(generator: np.random.Generator, size: int):
    """An irregular 8-connected shape without holes, with bays and thin parts."""
    noise = ndimage.gaussian_filter(generator.normal(size=(size, size)), generator.uniform(0.5, 0.5 + size / 8))
    labels, _ = ndimage.label(noise > np.quantile(noise, generator.uniform(0.5, 0.9)), np.ones((3, 3)))
    largest = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    filled = ndimage.binary_fill_holes(largest)
    rows, columns = np.nonzero(filled)
    return filled[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def random_lesion(generator: np.random.Generator, size: int):
    """An irregular 3-D lesion that spans about ``size`` voxels, without holes."""
    noise = ndimage.gaussian_filter(generator.normal(size=(size,) * 3), size / 8)
    centre = np.linalg.norm(np.indices((size,) * 3) - (size - 1) / 2, axis=0) / (size / 2)
    labels, _ = ndimage.label(noise / noise.std() - 3 * centre > -2)
    largest = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    return np.pad(ndimage.binary_fill_holes(largest), 1)


def brute_lesion(mask, spacing_mm):
    """Longest diameter in mm over all slices along the last axis, and its perpendiculars."""
    found = []
    for place in range(mask.shape[2]):
        pieces, count = ndimage.label(mask[:, :, place], np.ones((3, 3)))
        for number in range(1, count + 1):
            filled = ndimage.binary_fill_holes(pieces == number)
            found.append(brute_diameters(filled, spacing_mm, _OUTSIDE))
    return max(found, key=lambda one: one[0])


def agree(found, brute) -> bool:
    longest, perpendiculars = brute
    same = abs(found[0] - longest) < 1e-9
    return same and min(abs(found[1] - one) for one in perpendiculars) < 1e-6


def check_blobs(generator: np.random.Generator) -> None:
    differing, spent = 0, np.zeros(2)
    for _ in range(_BLOBS):
        filled = random_blob(generator, int(generator.integers(4, 26)))
        spacing = (1.0, float(generator.choice([1.0, 0.45, 3.0])))
        began = time.perf_counter()
        brute = brute_diameters(filled, spacing, _OUTSIDE)
        middle = time.perf_counter()
        fast = measure_piece(filled, spacing, _OUTSIDE)
        spent += (middle - began, time.perf_counter() - middle)
        differing += not agree((fast.longest_mm, fast.perpendicular_mm), brute)
    print(f"{_BLOBS:,} random blobs of 4 to 25 voxels: {differing} differ from brute force; {spent[0] / spent[1]:.0f}x")
    assert not differing


def compare_lesions(generator: np.random.Generator) -> None:
    affine, spent, differing = np.eye(4), np.zeros(2), 0
    for _ in range(_LESIONS):
        mask = random_lesion(generator, int(generator.integers(25, 50)))
        began = time.perf_counter()
        brute = brute_lesion(mask, (1.0, 1.0))
        middle = time.perf_counter()
        (lesion,) = measure_lesions(mask.astype(np.int32), affine, 2, 1.0, DiameterSettings())
        spent += (middle - began, time.perf_counter() - middle)
        differing += not agree((lesion.longest.length_mm, lesion.perpendicular.length_mm), brute)
    print(f"{_LESIONS} lesions of 25 to 50 mm: {differing} differ; {spent[0] / spent[1]:.0f}x faster than brute force")
    assert not differing


def time_whole_mask(generator: np.random.Generator) -> None:
    mask = np.zeros((240, 240, 155), dtype=bool)
    for corner in ((60, 60, 40), (130, 80, 60), (90, 150, 90), (150, 150, 30)):
        lesion = random_lesion(generator, 50)
        mask[tuple(slice(low, low + size) for low, size in zip(corner, lesion.shape, strict=True))] |= lesion
    for _ in range(40):
        i, j, k = (int(value) for value in generator.integers(20, 130, 3))
        mask[i : i + 4, j : j + 3, k : k + 3] = True
    began, busy = time.perf_counter(), time.process_time()
    labelled = label_lesions(mask, np.ones(3))
    lesions = measure_lesions(labelled.labels, np.eye(4), 2, 1.0, DiameterSettings())
    wall, busy = time.perf_counter() - began, time.process_time() - busy
    print(
        f"240 x 240 x 155 voxels, {len(lesions)} lesions, {mask.sum():,} mm³: {busy:.2f} s of processor time, "
        f"{wall:.2f} s by the clock on a machine of load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    check_blobs(np.random.default_rng(0))
    compare_lesions(np.random.default_rng(1))
    time_whole_mask(np.random.default_rng(2))
