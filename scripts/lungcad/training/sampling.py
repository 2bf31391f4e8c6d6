# SPDX-License-Identifier: Apache-2.0
"""Samples drawn at random that are the same whenever a training is repeated or resumed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from lungcad.training.cases import Case, Sphere


class RandomSamples(Dataset[Any]):
    """As many samples as asked for; each is a function of (seed, epoch, index).

    Args:
        length: samples per epoch.
        seed: of everything random.
    """

    def __init__(self, length: int, seed: int):
        self.length, self.seed, self.epoch = length, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Other samples for the next epoch, the same ones whenever it is repeated."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def rng(self, item: int) -> np.random.Generator:
        """Source of chance of one sample."""
        return np.random.default_rng((self.seed, self.epoch, item))

CLEARANCE_MM = 6.0
"""A negative's centre is farther than this from the surface of every nodule and every ignored lesion."""


def scaled(hu: np.ndarray, window_hu: Sequence[float]) -> np.ndarray:
    """HU to [0, 1] over the window, float32: the same as the bundles' ScaleIntensityRange with clipping."""
    low, high = window_hu
    return ((hu.astype(np.float32) - low) / (high - low)).clip(0, 1)


def clear_of_lesions(case: Case, index: np.ndarray) -> np.ndarray:
    """Which places (N, 3) are negatives: boolean (N,)."""
    lesions = case.nodules + case.ignored
    radii = np.array([lesion.diameter_mm / 2 for lesion in lesions])
    return np.all(case.distance_mm(index, lesions) > radii + CLEARANCE_MM, axis=1)


def within_radius(
    sphere: Sphere, spacing_mm: Sequence[float], rng: np.random.Generator, share: float = 1.0
) -> np.ndarray:
    """A random place (3,) at most ``share`` of the radius away from the centre, uniform over that ball."""
    direction = rng.standard_normal(3)
    reach = share * sphere.diameter_mm / 2 * rng.random() ** (1 / 3)
    return sphere.index + direction / np.linalg.norm(direction) * reach / np.array(spacing_mm)


def cells_within(
    size: tuple[int, int, int], places: np.ndarray, diameters_mm: np.ndarray,
    spacing_mm: Sequence[float], stride: int = 2,
) -> np.ndarray:  # fmt: skip
    """Which output cells belong to spheres: those with their centre inside, and the one that holds the sphere's centre.

    Args:
        size: of the block in voxels.
        places: (N, 3) centres as continuous voxel indices of the block.
        diameters_mm: (N,) of the spheres.
        spacing_mm: of the voxels.
        stride: voxels per cell; cell (i, j, k) is centred on stride * i + (stride - 1) / 2 and so on.

    Returns:
        (X / stride, Y / stride, Z / stride) bool.
    """
    cells = np.zeros([side // stride for side in size], bool)
    axes = [np.arange(side) * stride + (stride - 1) / 2 for side in cells.shape]
    for place, diameter in zip(places, diameters_mm, strict=True):
        x, y, z = ((axis - at) * mm for axis, at, mm in zip(axes, place, spacing_mm, strict=True))
        cells |= x[:, None, None] ** 2 + y[:, None] ** 2 + z**2 <= (diameter / 2) ** 2
        own = np.floor((np.asarray(place) + 0.5) / stride).astype(int)
        if ((own >= 0) & (own < cells.shape)).all():
            cells[tuple(own)] = True
    return cells
