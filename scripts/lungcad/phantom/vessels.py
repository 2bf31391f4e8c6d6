# SPDX-License-Identifier: Apache-2.0
"""Vessel trees through the lungs, and the painting of tubes into a volume.

Trees grow by the balanced spanning rule of Cuntz et al. 2010 (doi 10.1371/journal.pcbi.1000877): a new point is joined
to the node for which wire length plus a share of the path to the root is least. Radii follow Murray's law.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

PATH_SHARE = 0.3
"""Weight of the path to the root in the spanning rule."""
LEAF_RADIUS_MM, MURRAY_POWER, MAX_RADIUS_MM = 0.5, 2.6, 6.5
"""Radius of a vessel's end in mm, exponent of Murray's law, and largest radius in mm."""
STEP_MM = 7.0
"""Longest straight piece of a vessel in mm."""
Z_SAMPLES = 3
"""Number of points across a slice that are averaged, as a scanner averages over the slice's thickness."""


@dataclass
class Tree:
    """Tree of tubes with a root.

    Attributes:
        nodes: (N, 3) positions in mm.
        parent: (N,) index of the next node towards the root; the root is its own parent.
        radius_mm: (N,) radius at each node in mm.
    """

    nodes: np.ndarray
    parent: np.ndarray
    radius_mm: np.ndarray

    def tubes(self) -> Iterator[tuple[np.ndarray, np.ndarray, float, float]]:
        """Pieces of the tree: start (3,), end (3,), radius at the start and at the end, in mm."""
        for node in range(1, len(self.nodes)):
            above = self.parent[node]
            # A side branch keeps its own width at its origin instead of the trunk's.
            start = min(self.radius_mm[above], 1.3 * self.radius_mm[node])
            yield self.nodes[above], self.nodes[node], float(start), float(self.radius_mm[node])


def grow_tree(root: np.ndarray, targets: np.ndarray, rng: np.random.Generator) -> Tree:
    """Tree from the root (3,) to the targets (N, 3), in mm; the nearest target is connected first."""
    capacity = 1 + sum(int(np.ceil(np.linalg.norm(t - root) / STEP_MM)) + 1 for t in targets)
    nodes, path, parent = np.empty((capacity, 3)), np.zeros(capacity), np.zeros(capacity, dtype=int)
    nodes[0], count = root, 1
    for target in targets[np.argsort(np.linalg.norm(targets - root, axis=1))]:
        distance = np.linalg.norm(nodes[:count] - target, axis=1)
        start = int(np.argmin(distance + PATH_SHARE * path[:count]))
        pieces = max(1, int(np.ceil(distance[start] / STEP_MM)))
        bend = rng.normal(0, 0.05 * distance[start], 3)
        origin, above = nodes[start].copy(), start
        for piece in range(1, pieces + 1):
            t = piece / pieces
            nodes[count] = origin + t * (target - origin) + np.sin(np.pi * t) * bend
            path[count] = path[above] + np.linalg.norm(nodes[count] - nodes[above])
            parent[count], above = above, count
            count += 1
    nodes, parent = nodes[:count], parent[:count]
    leaves = np.ones(count)
    leaves[parent[1:]] = 0
    for node in range(count - 1, 0, -1):  # children stand after their parents
        leaves[parent[node]] += leaves[node]
    return Tree(nodes, parent, np.minimum(LEAF_RADIUS_MM * leaves ** (1 / MURRAY_POWER), MAX_RADIUS_MM))


def box_points(
    shape: tuple[int, ...], axes: tuple[np.ndarray, ...], low: np.ndarray, high: np.ndarray
) -> tuple[tuple[slice, ...], tuple[np.ndarray, ...]] | None:
    """Voxels of a box, as slices of the volume and as coordinates with Z_SAMPLES points per slice.

    Args:
        shape: shape of the volume.
        axes: coordinates of the voxel centres along X, Y, Z in mm, ascending.
        low, high: corners (3,) of the box in mm.

    Returns:
        Slices of the volume, and coordinates (x, 1, 1), (1, y, 1), (1, 1, z * Z_SAMPLES) float32; None outside the
        volume.
    """
    box, points = [], []
    for axis, centres in enumerate(axes):
        step = centres[1] - centres[0]
        first = max(0, int(np.floor((low[axis] - centres[0]) / step)))
        last = min(shape[axis], int(np.ceil((high[axis] - centres[0]) / step)) + 1)
        if first >= last:
            return None
        box.append(slice(first, last))
        line = centres[first:last]
        if axis == 2:
            offsets = (np.arange(Z_SAMPLES) + 0.5) / Z_SAMPLES - 0.5
            line = (line[:, None] + step * offsets).ravel()
        points.append(line.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)]))
    return tuple(box), tuple(points)


def slice_mean(samples: np.ndarray) -> np.ndarray:
    """Mean over the Z_SAMPLES points of each slice: (x, y, z * Z_SAMPLES) to (x, y, z)."""
    return samples.reshape(*samples.shape[:2], -1, Z_SAMPLES).mean(axis=3)


def tube_cover(
    start: np.ndarray, end: np.ndarray, radii: tuple[float, float], points: tuple[np.ndarray, ...], edge_mm: float
) -> np.ndarray:
    """Share (x, y, z) of each voxel inside a tapering tube with round ends, in [0, 1].

    Args:
        start, end: (3,) ends of the tube in mm.
        radii: radius at the start and at the end in mm.
        points: coordinates from :func:`box_points`.
        edge_mm: width of the tube's soft edge in mm.
    """
    along = (end - start).astype(np.float32)
    offset = [p - c for p, c in zip(points, start.astype(np.float32), strict=True)]
    t = np.clip(sum(o * a for o, a in zip(offset, along, strict=True)) / max(float(along @ along), 1e-6), 0, 1)
    squared = sum((o - t * a) ** 2 for o, a in zip(offset, along, strict=True))
    distance = np.sqrt(squared) - (radii[0] + t * (radii[1] - radii[0]))
    return slice_mean(np.clip(0.5 - distance / edge_mm, 0, 1))
