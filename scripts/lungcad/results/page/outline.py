# SPDX-License-Identifier: Apache-2.0
"""Outline of a finding's mask in a plane, as a path of SVG in the plane's millimetres."""

from collections.abc import Sequence

import numpy as np

from lungcad.finding import FindingMask
from lungcad.geometry import spacing_of, to_index, to_world
from lungcad.measurement import Point

Direction = Sequence[float] | np.ndarray


def mask_outline(mask: FindingMask, corner_lps_mm: Direction, right: Direction, down: Direction) -> str:
    """Path of the mask's outline in a plane: where its linear interpolation between voxel centres is one half.

    Args:
        mask: mask on any grid.
        corner_lps_mm: point (3,) of the plane that has the coordinates 0, 0.
        right, down: unit vectors (3,) of the plane in LPS.

    Returns:
        Data of an SVG path in mm; empty where the plane misses the mask.
    """
    from contourpy import contour_generator
    from scipy.ndimage import affine_transform

    plane = np.stack([down, right], axis=1).astype(float)  # (3, 2)
    voxels = np.pad(mask.mask, 1).astype(np.float32)
    sides = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]])
    corners = to_world(mask.affine, sides * np.array(mask.mask.shape) - 0.5) - corner_lps_mm
    normal = corners @ np.cross(right, down)
    if normal.min() > 0 or normal.max() < 0:
        return ""
    step_mm = max(0.2, 0.5 * float(spacing_of(mask.affine).min()))
    low = (corners @ plane).min(axis=0) - step_mm
    count = np.ceil(((corners @ plane).max(axis=0) - low) / step_mm).astype(int) + 2
    per_step = np.linalg.inv(mask.affine[:3, :3]) @ plane * step_mm
    first = to_index(mask.affine, np.asarray(corner_lps_mm) + plane @ low) + 1  # + 1 voxel of padding
    inside = affine_transform(voxels, per_step, first, tuple(count.tolist()), order=1)
    lines = contour_generator(z=inside).lines(0.5)  # (n, 2): column, row
    return "".join(_path(np.asarray(line)[:, ::-1] * step_mm + low) for line in lines)


def axis_line(
    ends_lps_mm: tuple[Point, Point] | None, corner_lps_mm: Direction, right: Direction, down: Direction
) -> str:
    """Path of an axis between two points, seen along the normal of a plane; empty for None."""
    if ends_lps_mm is None:
        return ""
    points = (np.array(ends_lps_mm) - corner_lps_mm) @ np.stack([down, right], axis=1)
    return _path(points, closed=False)


def _path(points: np.ndarray, closed: bool = True) -> str:
    """Path through points (n, 2) of (down, right) in mm."""
    places = [f"{right:.2f} {down:.2f}" for down, right in points[: -1 if closed else None].tolist()]
    return f"M{'L'.join(places)}{'Z' if closed else ''}"
