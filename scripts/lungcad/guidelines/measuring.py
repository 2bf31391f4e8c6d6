# SPDX-License-Identifier: Apache-2.0
"""Rounding of sizes by the rules of the guidelines, and volumes and diameters of spheres.

One measurement has two roundings: 5.9 mm is below 6 mm by Lung-RADS (one decimal) and 6 mm by Fleischner (whole mm).
The raw numbers are therefore kept, and each guideline here rounds for itself.
"""

import math
from decimal import ROUND_HALF_UP, Decimal

from lungcad.guidelines.inputs import positive, size_mm

NOISE_DECIMALS = 6
"""Number of decimals kept before rounding, against binary noise: (6.1 + 5.8) / 2 gives 5.949999999999999."""


def rounded(value: float, decimals: int) -> float:
    """Round half up: 5.95 to one decimal is 6.0, 8.5 to none is 9.

    Python's ``round`` rounds half to even and would make 8 of 8.5.
    """
    exact = Decimal(str(round(value, NOISE_DECIMALS)))
    return float(exact.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP))


def mean_diameter_mm(long_mm: float, short_mm: float) -> float:
    """Mean diameter in mm by Lung-RADS v2022: both axes and their mean rounded to one decimal.

    Both axes lie on one image. Fleischner's mean is ``(long_mm + short_mm) / 2``, which ``fleischner`` rounds itself.

    Raises:
        ValueError: an axis that is no positive size, or a short axis longer than the long one.
    """
    long_mm, short_mm = size_mm("long_mm", long_mm), size_mm("short_mm", short_mm)
    if short_mm > long_mm:
        raise ValueError(f"short_mm ({short_mm:g}) must not be longer than long_mm ({long_mm:g})")
    return rounded((rounded(long_mm, 1) + rounded(short_mm, 1)) / 2, 1)


def sphere_volume_mm3(diameter_mm: float) -> float:
    """Volume of a sphere in mm3; Lung-RADS's limits in mm3 are the volumes of spheres with its limits in mm.

    Raises:
        ValueError: the diameter is not above 0.
    """
    return math.pi / 6 * size_mm("diameter_mm", diameter_mm) ** 3


def sphere_diameter_mm(volume_mm3: float) -> float:
    """Diameter in mm of a sphere with a given volume.

    Fleischner's 100 and 250 mm3 give 5.76 and 7.82 mm, BTS's 80 and 300 mm3 5.35 and 8.31 mm: there, a class by volume
    and one by diameter can differ.

    Raises:
        ValueError: the volume is not above 0.
    """
    return float(math.cbrt(6 / math.pi * positive("volume_mm3", volume_mm3)))
