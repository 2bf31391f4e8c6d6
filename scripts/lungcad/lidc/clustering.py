# SPDX-License-Identifier: Apache-2.0
"""Clustering of a scan's readings into nodules, since LIDC-IDRI does not say which readings are of the same nodule.

Readings are joined if their outlines come close, as pylidc's ``Scan.cluster_annotations`` does with its defaults, so
that our nodules are those of the many works that use it. Its distances are counted in voxels, along z as along x and y,
yet compared with a tolerance in millimetres; we keep that.
"""

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from lungcad.lidc.readings import LidcScan, Reading

MAX_READINGS = 4
"""Largest number of readings of one nodule: LIDC-IDRI had four readers."""

SHRINK = 0.9
"""Factor on the tolerance, applied again while a group has more readings."""

MIN_TOLERANCE = 0.1
"""Smallest tolerance; nodules that touch stay joined even there."""


def cluster_readings(scan: LidcScan) -> list[list[Reading]]:
    """Group the readings of a scan into nodules, ordered from foot to head.

    Readings are neighbours if the smallest distance of their outlines is at most the slice thickness; nodules are the
    connected groups. While a group has more than :data:`MAX_READINGS`, the tolerance of the whole scan shrinks.
    A group that still has more at :data:`MIN_TOLERANCE` is kept as it is: nodules that touch.
    """
    if not scan.readings:
        return []
    distance = outline_distances([outline_points(scan, reading) for reading in scan.readings])
    tolerance = scan.thickness_mm
    group = _groups(distance, tolerance)
    while np.bincount(group).max() > MAX_READINGS and tolerance * SHRINK >= MIN_TOLERANCE:
        tolerance *= SHRINK
        group = _groups(distance, tolerance)
    nodules = [[scan.readings[n] for n in np.flatnonzero(group == number)] for number in range(group.max() + 1)]
    return sorted(nodules, key=lambda nodule: np.mean([np.mean([c.z_mm for c in read.contours]) for read in nodule]))


def outline_points(scan: LidcScan, reading: Reading) -> np.ndarray:
    """Outline points of a reading, (N, 3) column, row and slice number; exclusions are outlines too."""
    numbered = [
        np.column_stack([contour.points, np.full(len(contour.points), np.abs(scan.slice_z_mm - contour.z_mm).argmin())])
        for contour in reading.contours
    ]
    return np.concatenate(numbered)


def outline_distances(points: list[np.ndarray]) -> np.ndarray:
    """Smallest distances (N, N) between any two of N point sets; symmetric, 0 on the diagonal."""
    trees = [cKDTree(outline) for outline in points]
    table = np.zeros((len(points), len(points)))
    for i, tree in enumerate(trees):
        for j in range(i + 1, len(points)):
            table[i, j] = table[j, i] = tree.query(points[j])[0].min()
    return table


def _groups(distance: np.ndarray, tolerance: float) -> np.ndarray:
    """Number (N,) of the connected group of each reading."""
    return np.asarray(connected_components(distance <= tolerance, directed=False)[1])
