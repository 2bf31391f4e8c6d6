# SPDX-License-Identifier: Apache-2.0
"""Random samples that are the same whenever a training is repeated or resumed, and functions to draw them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from lungcad.training.cases import Case, Sphere

CLEARANCE_MM = 6.0
"""Least distance of a negative's centre from the surface of every nodule and every ignored lesion."""


class RandomSamples(Dataset[Any]):
    """Dataset of random samples; each is a function of (seed, epoch, index).

    Args:
        length: number of samples per epoch.
        seed: seed of all random choices.
    """

    def __init__(self, length: int, seed: int):
        self.length, self.seed, self.epoch = length, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Select the samples of an epoch, the same ones whenever it is repeated."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def rng(self, item: int) -> np.random.Generator:
        """Random generator of one sample."""
        return np.random.default_rng((self.seed, self.epoch, item))


def scaled(hu: np.ndarray, window_hu: Sequence[float]) -> np.ndarray:
    """Scale HU in a window to [0, 1], float32: the same as the bundles' ScaleIntensityRange with clipping."""
    low, high = window_hu
    return ((hu.astype(np.float32) - low) / (high - low)).clip(0, 1)


def clear_of_lesions(case: Case, index: np.ndarray) -> np.ndarray:
    """Mask (N,) bool of the places that are negatives, farther than :data:`CLEARANCE_MM` from every lesion.

    Args:
        case: case with its lesions.
        index: (N, 3) places as continuous voxel indices.
    """
    lesions = case.nodules + case.ignored
    radii = np.array([lesion.diameter_mm / 2 for lesion in lesions])
    return np.all(case.distance_mm(index, lesions) > radii + CLEARANCE_MM, axis=1)


def uniform_in_ball(rng: np.random.Generator, radius: float) -> np.ndarray:
    """Random point (3,) in a ball around the origin."""
    direction = rng.standard_normal(3)
    point: np.ndarray = direction / np.linalg.norm(direction) * (radius * rng.random() ** (1 / 3))
    return point


def within_radius(
    sphere: Sphere, spacing_mm: Sequence[float], rng: np.random.Generator, share: float = 1.0
) -> np.ndarray:
    """Random place (3,) at most ``share`` of the radius away from a sphere's centre, uniform over that ball."""
    return sphere.index + uniform_in_ball(rng, share * sphere.diameter_mm / 2) / np.array(spacing_mm)


def cells_within(
    size: tuple[int, int, int], places: np.ndarray, diameters_mm: np.ndarray,
    spacing_mm: Sequence[float], stride: int = 2,
) -> np.ndarray:  # fmt: skip
    """Mask of the output cells in spheres: cells with their centre inside, and the cell at the sphere's centre.

    Args:
        size: size of the block in voxels, x, y, z.
        places: (N, 3) centres of the spheres as continuous voxel indices of the block.
        diameters_mm: (N,) diameters of the spheres.
        spacing_mm: size of the voxels, x, y, z.
        stride: voxels per cell; cell (i, j, k) is centred on stride * i + (stride - 1) / 2 and so on.

    Returns:
        Mask (X / stride, Y / stride, Z / stride) bool.
    """
    cells = np.zeros([side // stride for side in size], bool)
    axes = [np.arange(side) * stride + (stride - 1) / 2 for side in cells.shape]
    for place, diameter in zip(places, diameters_mm, strict=True):
        x, y, z = ((axis - center) * mm for axis, center, mm in zip(axes, place, spacing_mm, strict=True))
        cells |= x[:, None, None] ** 2 + y[:, None] ** 2 + z**2 <= (diameter / 2) ** 2
        middle = np.floor((np.asarray(place) + 0.5) / stride).astype(int)
        if ((middle >= 0) & (middle < cells.shape)).all():
            cells[tuple(middle)] = True
    return cells
