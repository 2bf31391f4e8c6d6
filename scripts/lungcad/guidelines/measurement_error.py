# SPDX-License-Identifier: Apache-2.0
"""Repeatability of nodule volumes in published studies, to print beside a growth.

The studies used other programs on other scanners: they show the error of semi-automatic volumetry in general, not of
this program. ``volume_change_interval`` takes coefficients of variation, such as this program's own on simulated balls,
``own_volume_cv``.
"""

import math
from dataclasses import dataclass

from lungcad.guidelines.growth import volume_change_percent
from lungcad.guidelines.inputs import KINDS, choice, number, positive, size_mm


@dataclass(frozen=True)
class Repeatability:
    """Change in volume that two scans of a nodule without growth show in 95 % of cases.

    Attributes:
        lowest: lower limit of the change, in percent of the earlier volume.
        highest: upper limit in percent; a change above it is unlikely to be an error of measurement alone.
        source: study, with its number of nodules.
    """

    lowest: float
    highest: float
    source: str


SOLID_FROM_8_MM = Repeatability(-17.1, 17.1, "de Hoop 2009, doi 10.1007/s00330-008-1229-x: 214 nodules, six programs")
"""Repeatability of solid nodules of 8 mm or more: upper limit of the least repeatable program (12.9 to 17.1 %)."""

SOLID_BELOW_8_MM = Repeatability(-25.6, 25.6, "de Hoop 2009, doi 10.1007/s00330-008-1229-x: 214 nodules, six programs")
"""Repeatability of solid nodules below 8 mm: upper limit of the least repeatable program (18.5 to 25.6 %)."""

SUBSOLID = Repeatability(-35.4, 28.6, "Scholten 2015, doi 10.1007/s00330-014-3478-1: 44 stable subsolid nodules")
"""Repeatability of part-solid and non-solid nodules of any size."""


def volume_repeatability(kind: str, diameter_mm: float) -> Repeatability:
    """Repeatability of a nodule's volume as published for its kind and size.

    Args:
        kind: ``solid``, ``part-solid`` or ``non-solid``.
        diameter_mm: diameter in mm of the nodule at the earlier exam.

    Raises:
        ValueError: unknown kind, or no positive size.
    """
    diameter_mm = size_mm("diameter_mm", diameter_mm)
    if choice("kind", kind, KINDS) != "solid":
        return SUBSOLID
    return SOLID_BELOW_8_MM if diameter_mm < 8 else SOLID_FROM_8_MM


OWN_VOLUME_CV = {4.0: 0.033, 5.0: 0.028, 6.0: 0.026, 8.0: 0.026, 10.0: 0.013}
"""Coefficient of variation of this program's volumes by diameter in mm, simulated balls in even lung, slices of 1 mm,
kernels and noise changing between scans (docs/measurement.md; at 6 mm that of 8 mm, as larger balls cannot vary more):
the least error, not that of patients scanned twice."""


def own_volume_cv(diameter_mm: float) -> float:
    """Coefficient of variation of this program's own volume, interpolated between :data:`OWN_VOLUME_CV`.

    Beyond the ends it is that of the nearest size. It holds for slices of about 1 mm only, and without breathing,
    vessels and pleura; :func:`volume_repeatability` is what patients show.

    Args:
        diameter_mm: diameter in mm.

    Raises:
        ValueError: no positive size.
    """
    diameter_mm = size_mm("diameter_mm", diameter_mm)
    sizes = sorted(OWN_VOLUME_CV)
    if diameter_mm >= sizes[-1]:
        return OWN_VOLUME_CV[sizes[-1]]
    upper = next(size for size in sizes if diameter_mm < size)
    lower = max((size for size in sizes if size <= diameter_mm), default=upper)
    share = 0.0 if lower == upper else (diameter_mm - lower) / (upper - lower)
    return OWN_VOLUME_CV[lower] + share * (OWN_VOLUME_CV[upper] - OWN_VOLUME_CV[lower])


def beyond_error(volume_1: float, volume_2: float, repeatability: Repeatability) -> bool:
    """Whether a change of volume (mm3) lies outside the range that a repeated scan would show.

    Raises:
        ValueError: a volume not above 0.
    """
    return not repeatability.lowest <= volume_change_percent(volume_1, volume_2) <= repeatability.highest


def volume_change_interval(volume_1: float, volume_2: float, cv_1: float, cv_2: float) -> tuple[float, float]:
    """Confidence interval (95 %) of a change of volume in mm3: ``(V2 - V1) +- 1.96 sqrt((V1 cv1)^2 + (V2 cv2)^2)``.

    Args:
        volume_1: earlier volume in mm3.
        volume_2: later volume in mm3.
        cv_1: coefficient of variation of a volume of the earlier size (0.1 is 10 %), from repeated scans.
        cv_2: coefficient of variation of a volume of the later size.

    Returns:
        Lower and upper limit in mm3; both are above 0 where the nodule grew beyond the error of measurement.

    Raises:
        ValueError: a volume not above 0, or a coefficient below 0 or above 1.
    """
    volume_1, volume_2 = positive("volume_1", volume_1), positive("volume_2", volume_2)
    cv_1, cv_2 = number("cv_1", cv_1, lowest=0, highest=1), number("cv_2", cv_2, lowest=0, highest=1)
    half = 1.96 * math.hypot(volume_1 * cv_1, volume_2 * cv_2)
    return volume_2 - volume_1 - half, volume_2 - volume_1 + half
