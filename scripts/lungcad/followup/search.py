# SPDX-License-Identifier: Apache-2.0
"""Search for a nodule of one scan in the other, around the place where the registration puts it.

The nodule and its surroundings are the pattern; the place with the highest weighted normalised cross-correlation is
taken. Where there is no such nodule, a vessel or nothing is found, with a low likeness.
"""

from dataclasses import dataclass

import numpy as np

from lungcad.scan.scan import Scan

SEARCH_MM = 6
"""Distance in mm from the mapped place that is searched along each axis: 95 % of points are mapped better."""
LIKENESS_PER_MM = 0.02
"""Likeness that a place must have more for each mm that it is farther from the mapped place."""
CORE_SHARE = 0.3
"""Radius of a nodule's core as a share of its diameter."""
AROUND_MM = 5.0
"""Width in mm of the surroundings that belong to the pattern."""
MAX_RADIUS_MM = 36.0
"""Largest radius of a pattern in mm."""
STEP_MM = (1.0, 1.0, 1.0)
"""Voxels of the pattern in mm."""


@dataclass(frozen=True)
class Place:
    """Place in the other scan that looks most like the nodule.

    Attributes:
        center_lps_mm: (x, y, z) of the place.
        likeness: weighted normalised cross-correlation there, -1 to 1.
        density: contrast of the place's core with the lung, as a share of that of the nodule's core.
    """

    center_lps_mm: tuple[float, float, float]
    likeness: float
    density: float


def find_again(scan: Scan, center: np.ndarray, diameter_mm: float, other: Scan, place: np.ndarray) -> Place:
    """Search the other scan for the nodule of this one.

    Args:
        scan: scan with the nodule.
        center: (3,) its centre in LPS mm.
        diameter_mm: its diameter.
        other: scan to search.
        place: (3,) mapped place there, LPS mm.
    """
    radius = int(np.ceil(min(diameter_mm / 2 + AROUND_MM, MAX_RADIUS_MM)))
    pattern = _scaled(scan.crop(center.tolist(), [2 * radius + 1] * 3, STEP_MM).numpy())
    area = _scaled(other.crop(place.tolist(), [2 * (radius + SEARCH_MM) + 1] * 3, STEP_MM).numpy())
    distance = _distances(radius)
    likeness = correlation(area, pattern, np.clip(2 - 2 * distance / radius, 0, 1))
    best = np.unravel_index(int((likeness - LIKENESS_PER_MM * _distances(SEARCH_MM)).argmax()), likeness.shape)
    x, y, z = (place + np.array(best) - SEARCH_MM).tolist()
    found = area[tuple(slice(first, first + 2 * radius + 1) for first in best)]
    core, lung = distance <= max(1.5, CORE_SHARE * diameter_mm), np.percentile(pattern, 20)
    contrast = max(float(pattern[core].mean() - lung), 0.05)
    return Place((x, y, z), float(likeness[best]), float(found[core].mean() - lung) / contrast)


def _distances(radius: int) -> np.ndarray:
    """Distance in voxels from the middle of a cube of (2 radius + 1) voxels an edge."""
    line = np.arange(-radius, radius + 1)
    return np.sqrt(line[:, None, None] ** 2 + line[:, None] ** 2 + line**2)


def correlation(area: np.ndarray, pattern: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted normalised cross-correlation of a pattern with all its places inside an area.

    Args:
        area: (A, A, A).
        pattern: (B, B, B), B <= A.
        weight: (B, B, B), at least 0.

    Returns:
        (A - B + 1, ...) values from -1 to 1; 0 where the area is flat.
    """
    from scipy.signal import fftconvolve

    weight = weight / weight.sum()
    centred = pattern - (weight * pattern).sum()

    def slide(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        return np.asarray(fftconvolve(values, kernel[::-1, ::-1, ::-1], "valid"))

    mean, square = slide(area, weight), slide(area**2, weight)
    spread = (weight * centred**2).sum() * np.maximum(square - mean**2, 0)
    product = slide(area, weight * centred)
    return np.where(spread > 1e-6, product / np.sqrt(np.maximum(spread, 1e-6)), 0.0).clip(-1, 1)


def _scaled(hu: np.ndarray) -> np.ndarray:
    """Air to soft tissue as 0 to 1."""
    return np.asarray(np.clip(hu.astype(np.float64), -1000, 100) + 1000) / 1100
