"""How much a measurement of one lesion varies when it is made again, by the lesion's size."""

from __future__ import annotations

import math

import numpy as np

# Spread (10th to 90th percentile) of relative volume of repeated automatic segmentation, in percent of the volume, by
# size band (LUMIERE, third-party measurement): below 1 ml, 1–5, 5–20, 20–60, above 60 ml. Each band stands at the
# geometric middle of its limits; the outer ones at 0.3 ml and 100 ml, engine's choice.
_BAND_MIDDLE_MM3 = (300.0, math.sqrt(1_000 * 5_000), math.sqrt(5_000 * 20_000), math.sqrt(20_000 * 60_000), 100_000.0)
_SPREAD_PERCENT = (36.6, 14.8, 5.3, 2.8, 1.5)
# The 10th and 90th percentile of a normal distribution lie 2.563 standard deviations apart.
_PERCENTILES_APART = 2.563
# A diameter on a grid ends within half a voxel; at 1 mm voxels that is a standard deviation of 1/sqrt(12) mm an end.
_DIAMETER_SD_MM = math.sqrt(2 / 12)
_TWO_SIDED_95 = 1.96


def volume_sd(volume_mm3: float) -> float:
    """Standard deviation of a repeated volume measurement as a fraction of the volume; 0 for no volume.

    Linear between the bands on logarithmic axes, constant beyond the outer ones.
    """
    if volume_mm3 <= 0:
        return 0.0
    spread = np.interp(math.log(volume_mm3), np.log(_BAND_MIDDLE_MM3), np.log(_SPREAD_PERCENT))
    return float(np.exp(spread)) / 100 / _PERCENTILES_APART


def product_sd(product_mm2: float) -> float:
    """Standard deviation of a repeated bidimensional product as a fraction of the product; 0 for no product.

    A ball of the same product has a volume whose error, to the power 2/3, is the segmentation's share; the ends of both
    diameters add half a voxel's (an engine choice: no study reports products by size band).
    """
    if product_mm2 <= 0:
        return 0.0
    diameter = math.sqrt(product_mm2)
    segmentation = 2 / 3 * volume_sd(math.pi / 6 * diameter**3)
    ends = math.sqrt(2) * _DIAMETER_SD_MM / diameter
    return math.hypot(segmentation, ends)


def band_95(value: float, sd: float) -> tuple[float, float]:
    """Where 95 % of repeated measurements of one value lie, on the logarithmic scale: value · exp(± 1.96 sd).

    Args:
        value: the measurement, in any unit.
        sd: standard deviation as a fraction of it.
    """
    factor = math.exp(_TWO_SIDED_95 * sd)
    return value / factor, value * factor
