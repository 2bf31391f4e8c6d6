# SPDX-License-Identifier: Apache-2.0
"""Long and short axis of a mask on one transverse plane.

Lung-RADS v2022 takes both axes on one image of any plane that shows the true size, the Fleischner Society 2017 of the
plane with the greatest dimension; only the transverse plane is measured here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

ROUNDING = 1e-6
"""Tolerance for floating-point error."""
LARGE_SHARE = 0.8
"""Area, as a share of the largest slice's, from which a slice may hold the axes: a mask's first and last slices, and
thin tails, are no place to measure."""
EDGE = 0.25
"""Share of a pixel by which an outline lies beyond the centres of its pixels. Half a pixel would be right along one
direction, but the longest of many diameters ends at pixels whose centres lie near the outline: with half, discs and
ellipses of 5 to 24 mm came out 0.1 to 0.2 mm too long on pixels of 0.3 mm, with a quarter 0 to 0.07 mm."""


@dataclass(frozen=True)
class Axes:
    """Axes of a mask in one slice.

    Attributes:
        long_mm: largest diameter.
        short_mm: largest diameter at right angles to the long axis.
        long_ends, short_ends: (2, 3) ends as continuous indices of the mask.
    """

    long_mm: float
    short_mm: float
    long_ends: np.ndarray
    short_ends: np.ndarray

    @property
    def mean_mm(self) -> float:
        """Mean of both axes."""
        return (self.long_mm + self.short_mm) / 2


def transverse_axes(mask: np.ndarray, spacing_mm: Sequence[float] | np.ndarray) -> Axes:
    """Axes in the slice with the longest long axis, the largest of several such slices.

    Both are chords of the convex outline, which lies :data:`EDGE` of a pixel beyond the centres of the outer pixels.

    Args:
        mask: (X, Y, Z) bool, not empty.
        spacing_mm: size of the pixels along X and Y, and anything behind.
    """
    area = mask.sum(axis=(0, 1))
    found = [
        (_plane_axes(mask[:, :, level], np.asarray(spacing_mm[:2])), level)
        for level in np.flatnonzero(area >= LARGE_SHARE * area.max()).tolist()
    ]
    lengths_mm = [round(float(np.linalg.norm(long[1] - long[0])), 3) for (long, _), _ in found]
    (long, short), level = found[max(range(len(found)), key=lambda n: (lengths_mm[n], area[found[n][1]]))]
    long_mm, short_mm = (float(np.linalg.norm(ends[1] - ends[0])) for ends in (long, short))
    long, short = (np.column_stack([ends / spacing_mm[:2], [level, level]]) for ends in (long, short))
    return Axes(long_mm, short_mm, long, short)


def _plane_axes(pixels: np.ndarray, spacing_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends (2, 2) in mm of the long and of the short axis of a slice (X, Y)."""
    sides_of_pixel = EDGE * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    points = (np.argwhere(pixels)[:, None] + sides_of_pixel).reshape(-1, 2) * spacing_mm
    outline = points[ConvexHull(points).vertices]
    distances = squareform(pdist(outline))
    begin, end = np.unravel_index(distances.argmax(), distances.shape)
    x, y = (outline[end] - outline[begin]) / distances[begin, end]
    along, across = ((outline - outline[begin]) @ np.array([[x, -y], [y, x]])).T
    sides = []
    for side in (across >= -ROUNDING, across <= ROUNDING):  # both chains run from one end of the long axis to the other
        order = np.argsort(along[side])
        sides.append(np.interp(along, along[side][order], across[side][order]))
    widest = int((sides[0] - sides[1]).argmax())  # of a convex outline the largest chord meets a corner
    short = [outline[begin] + along[widest] * np.array([x, y]) + side[widest] * np.array([-y, x]) for side in sides]
    return outline[[begin, end]], np.array(short)
