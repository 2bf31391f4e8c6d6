# SPDX-License-Identifier: Apache-2.0
"""Which readings of a scan are of the same nodule.

LIDC-IDRI does not say it. Readings are joined when their outlines come close, as pylidc's
``Scan.cluster_annotations`` does with its defaults, so that nodules here are those of the many works that use it. Its
distances are counted in voxels, along z as along x and y, yet compared with a tolerance in millimetres; that is kept.
"""

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from lungcad.lidc.readings import LidcScan, Reading

MOST_READINGS = 4
"""Of one nodule: LIDC-IDRI had four readers."""

SHRINK = 0.9
"""Factor on the tolerance while a group has more readings."""

SMALLEST_TOLERANCE = 0.1
"""Below this, nodules that touch stay joined."""


def cluster(scan: LidcScan) -> list[list[Reading]]:
    """Group the readings of a scan into nodules, ordered from foot to head.

    Readings are neighbours when the smallest distance of their outlines is at most the slice thickness; nodules are
    the connected groups. While one has more than :data:`MOST_READINGS`, the tolerance of the whole scan shrinks.
    A group that still has more at :data:`SMALLEST_TOLERANCE` is kept as it is: nodules that touch.
    """
    if not scan.readings:
        return []
    distance = distances([outline_points(scan, reading) for reading in scan.readings])
    tolerance = scan.thickness_mm
    group = _groups(distance, tolerance)
    while np.bincount(group).max() > MOST_READINGS and tolerance * SHRINK >= SMALLEST_TOLERANCE:
        tolerance *= SHRINK
        group = _groups(distance, tolerance)
    nodules = [[scan.readings[n] for n in np.flatnonzero(group == number)] for number in range(group.max() + 1)]
    return sorted(nodules, key=lambda nodule: np.mean([np.mean([c.z_mm for c in one.contours]) for one in nodule]))


def outline_points(scan: LidcScan, reading: Reading) -> np.ndarray:
    """All outline points as (N, 3) column, row, slice number; exclusions are outlines too."""
    numbered = [
        np.column_stack([contour.points, np.full(len(contour.points), np.abs(scan.slice_z_mm - contour.z_mm).argmin())])
        for contour in reading.contours
    ]
    return np.concatenate(numbered)


def distances(points: list[np.ndarray]) -> np.ndarray:
    """Smallest distance between any two of N point sets: (N, N), symmetric, 0 on the diagonal."""
    trees = [cKDTree(one) for one in points]
    table = np.zeros((len(points), len(points)))
    for i, tree in enumerate(trees):
        for j in range(i + 1, len(points)):
            table[i, j] = table[j, i] = tree.query(points[j])[0].min()
    return table


def _groups(distance: np.ndarray, tolerance: float) -> np.ndarray:
    return np.asarray(connected_components(distance <= tolerance, directed=False)[1])
