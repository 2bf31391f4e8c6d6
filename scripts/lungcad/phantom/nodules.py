# SPDX-License-Identifier: Apache-2.0
"""Nodules of the synthetic chest: their positions and their appearance."""

from typing import NamedTuple

import numpy as np

from lungcad.phantom.vessels import box_points, slice_mean, tube_cover

KINDS = ("solid", "spiculated", "part-solid", "juxtapleural", "vessel-attached")
SOLID_HU, GROUND_GLASS_HU = 38.0, -600.0
EDGE_MM = 1.0
"""Width in mm of a nodule's edge."""
MIN_DISTANCE_MM = 30.0
"""Least distance in mm between two nodules, so that each can be found alone."""

PLAN = (
    ("spiculated", 18.0, "right", "upper"),
    ("part-solid", 12.0, "left", "upper"),
    ("solid", 10.0, "left", "lower"),
    ("juxtapleural", 9.0, "right", "lower"),
    ("vessel-attached", 7.0, "left", "lower"),
    ("solid", 5.0, "right", "lower"),
)
"""Plan of the nodules: kind, diameter in mm, side and half of each."""


class Nodule(NamedTuple):
    """Nodule of the phantom.

    Attributes:
        center_lps_mm: centre (x, y, z) in LPS mm.
        diameter_mm: diameter.
        kind: one of :data:`KINDS`.
        volume_mm3: volume that was painted inside the lung; what lies in the chest wall does not count. 0 before that.
    """

    center_lps_mm: tuple[float, float, float]
    diameter_mm: float
    kind: str
    volume_mm3: float = 0.0


def place_nodules(
    points_mm: np.ndarray, depth_mm: np.ndarray, middle_mm: np.ndarray, tree: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> list[Nodule]:  # fmt: skip
    """Choose a position for each nodule of the plan.

    Args:
        points_mm: (N, 3) random points in the lungs, LPS mm.
        depth_mm: (N,) distance of each point from the lung's surface in mm.
        middle_mm: (3,) point in LPS mm between left and right, upper and lower.
        tree: (M, 3) vessel nodes in LPS mm and their radii (M,) in mm.
        rng: generator that chooses among suitable points.

    Raises:
        ValueError: a nodule of the plan has no room in these lungs.
    """
    placed: list[Nodule] = []
    for kind, diameter, side, half in PLAN:
        sign, level = (1 if side == "left" else -1), (1 if half == "upper" else -1)
        radius = diameter / 2
        fits = (sign * (points_mm[:, 0] - middle_mm[0]) > 0) & (level * (points_mm[:, 2] - middle_mm[2]) > -5)
        if kind == "juxtapleural":
            outward = np.abs(points_mm[:, 0] - middle_mm[0])  # the chest wall, not the mediastinum
            fits &= (np.abs(depth_mm - 0.5 * radius) < 0.7) & (outward > np.quantile(outward, 0.85))
        else:
            fits &= depth_mm > radius + 4
        for other in placed:
            fits &= np.linalg.norm(points_mm - other.center_lps_mm, axis=1) > MIN_DISTANCE_MM
        if not fits.any():
            raise ValueError(f"no room for a {diameter} mm {kind} nodule in these lungs. Ask for a larger volume.")
        center = points_mm[rng.choice(np.flatnonzero(fits))]
        if kind == "vessel-attached":
            center = _beside_vessel(center, radius, *tree)
        x, y, z = (float(c) for c in center)
        placed.append(Nodule((x, y, z), diameter, kind))
    return placed


def _beside_vessel(center: np.ndarray, radius: float, nodes: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Position (3,) at which a nodule touches the side of the nearest vessel of middle size."""
    middling = (radii > np.quantile(radii, 0.80)) & (radii < np.quantile(radii, 0.97))
    node = np.flatnonzero(middling)[np.argmin(np.linalg.norm(nodes[middling] - center, axis=1))]
    away = center - nodes[node]
    return nodes[node] + away / max(float(np.linalg.norm(away)), 1e-6) * (0.9 * radius + radii[node])


def paint_nodule(
    hu: np.ndarray, lung: np.ndarray, axes: tuple[np.ndarray, ...], nodule: Nodule, background_hu: float,
    rng: np.random.Generator,
) -> float:  # fmt: skip
    """Paint one nodule into a volume in place; denser voxels keep their value.

    Args:
        hu: (X, Y, Z) Hounsfield units.
        lung: (X, Y, Z) bool, the lung with its vessels.
        axes: coordinates of the voxel centres along X, Y, Z in LPS mm.
        nodule: nodule to paint.
        background_hu: HU of the lung around it.
        rng: generator of the surface's shape.

    Returns:
        Volume in voxels that it fills of the lung.
    """
    center, radius = np.array(nodule.center_lps_mm), nodule.diameter_mm / 2
    box_and_points = box_points(hu.shape, axes, center - 2 * radius - 2, center + 2 * radius + 2)
    if box_and_points is None:
        return 0.0
    box, points = box_and_points
    x, y, z = (p - np.float32(c) for p, c in zip(points, center, strict=True))
    distance = np.sqrt(x**2 + y**2 + z**2)
    rim = radius * _surface(x, y, z, distance, 0.14 if nodule.kind == "spiculated" else 0.10, rng)
    cover = slice_mean(np.clip(0.5 - (distance - rim) / EDGE_MM, 0, 1))
    value = GROUND_GLASS_HU if nodule.kind == "part-solid" else SOLID_HU
    _densify(hu[box], cover, background_hu, value)
    filled = np.broadcast_to(cover, hu[box].shape)
    if nodule.kind == "part-solid":
        off_centre = np.sqrt((x - 0.2 * radius) ** 2 + (y + 0.1 * radius) ** 2 + z**2)
        solid_part = slice_mean(np.clip(0.5 - (off_centre - 0.45 * rim) / EDGE_MM, 0, 1))
        _densify(hu[box], solid_part, background_hu, SOLID_HU - 30)
    if nodule.kind == "spiculated":
        for _ in range(22):
            ray = rng.normal(size=3)
            ray *= radius / np.linalg.norm(ray)
            tip = center + ray * rng.uniform(1.3, 1.9)
            spike = tube_cover(center + 0.8 * ray, tip, (1.3, 0.3), points, EDGE_MM)
            _densify(hu[box], spike, background_hu, SOLID_HU - 60)
            filled = np.maximum(filled, spike)
    return float(filled[lung[box]].sum())


def _surface(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, distance: np.ndarray, roughness: float, rng: np.random.Generator
) -> np.ndarray:
    """Radius in the direction of each point, as a share of the mean radius: a few smooth waves over the sphere."""
    waves = np.zeros_like(distance)
    unit = [c / np.maximum(distance, 0.1) for c in (x, y, z)]
    for _ in range(5):
        axis = rng.normal(size=3).astype(np.float32)
        axis *= rng.uniform(2.0, 5.0) / np.linalg.norm(axis)
        waves += np.sin(sum(u * a for u, a in zip(unit, axis, strict=True)) + np.float32(rng.uniform(0, 6.28)))
    return 1 + roughness * waves / np.sqrt(2.5)  # five sines have that standard deviation


def _densify(hu: np.ndarray, cover: np.ndarray, background_hu: float, value: float) -> None:
    """Raise voxels to a tissue's HU, in place, by the share of each that the tissue covers."""
    np.maximum(hu, background_hu + cover * (value - background_hu), out=hu)
