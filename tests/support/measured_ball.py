# SPDX-License-Identifier: Apache-2.0
"""Balls as a network's probability, as HU, and as outlined crops."""

from collections.abc import Sequence

import numpy as np

from lungcad.papers.unet.crops import INSIDE, NODULE, OUTLINED, OutlinedCrop

STEP_MM = 0.7
SIZE = 40


def ball(
    radius_mm: float, center_mm: Sequence[float] = (0, 0, 0), size: int = SIZE, step: float = STEP_MM
) -> np.ndarray:
    """Share of each voxel (size, size, size) within a ball, its centre relative to the cube's middle."""
    axis = (np.arange(size) - (size - 1) / 2) * step
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    distance = np.sqrt((x - center_mm[0]) ** 2 + (y - center_mm[1]) ** 2 + (z - center_mm[2]) ** 2)
    return np.clip(0.5 - (distance - radius_mm) / step, 0, 1).astype(np.float32)


def affine() -> np.ndarray:
    """Affine of the cube, its middle at LPS (10, 20, 30) mm."""
    to_mm = np.diag([STEP_MM] * 3 + [1.0])
    to_mm[:3, 3] = np.array([10, 20, 30]) - (SIZE - 1) / 2 * STEP_MM
    return to_mm


def ball_crop(radius_mm: float = 4.0, name: str = "LIDC-IDRI-0001_R_1", readings: int = 3) -> OutlinedCrop:
    """Outlined ball of soft tissue in lung, voxels of 1 mm, in two versions of lung around it."""
    share = ball(radius_mm, size=49, step=1.0)
    hu = np.stack([-850 + 880 * share, -800 + 830 * share]).astype(np.int16)
    label = OUTLINED * (ball(radius_mm + 1, size=49, step=1.0) > 0.5) + (INSIDE + NODULE) * (share > 0.5)
    middle = np.full(3, 24.0)
    return OutlinedCrop(
        name, name.split("_")[0], hu, label.astype(np.uint8), np.array([[14] * 3, [35] * 3]), np.ones(3), middle,
        2 * radius_mm, np.array([5.0, 4.0, 5.0])[:readings], np.full(readings, 6.0),
    )  # fmt: skip
