# SPDX-License-Identifier: Apache-2.0
"""Nodule-specific regions: connected parts of a thresholded probability map (Liu and Chan 2020, sections IV.C, V.A)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from lungcad.geometry import sphere_diameter

CONNECTIVITY = np.ones((3, 3, 3))
"""Voxels that touch at a side, an edge or a corner belong together; the paper says "voxel connectivity"."""


@dataclass(frozen=True)
class Region:
    """One connected region.

    Attributes:
        first: (3,) int, first voxel of its bounding box.
        mask: (a, b, c) bool, the region within that box.
        score: mean probability of its voxels; the paper does not say how a region is scored.
    """

    first: np.ndarray
    mask: np.ndarray
    score: float

    @property
    def voxels(self) -> int:
        """How many there are; P of equation 1."""
        return int(self.mask.sum())

    @property
    def diameter(self) -> float:
        """Of the sphere as large as it is, in voxels."""
        return float(sphere_diameter(self.voxels))

    @property
    def center(self) -> np.ndarray:
        """Centre of mass, (3,) continuous index."""
        return self.first + np.argwhere(self.mask).mean(axis=0)

    @property
    def box(self) -> np.ndarray:
        """(6,) int, first voxel and the one behind the last."""
        return np.concatenate([self.first, self.first + self.mask.shape])

    @property
    def here(self) -> tuple[slice, ...]:
        """Its box as an index into the volume that it was found in."""
        return tuple(slice(a, a + n) for a, n in zip(self.first.tolist(), self.mask.shape, strict=True))

    def moved(self, shift: Sequence[int] | np.ndarray) -> "Region":
        """The same region in a volume that begins so many voxels earlier."""
        return replace(self, first=self.first + np.asarray(shift))


def find_regions(
    probability: np.ndarray, threshold: float = 0.4, core: float = 1.0, least_core: float = 3.0, most: int | None = None
) -> list[Region]:
    """All regions above a threshold, those that hold cores as their cores.

    A loss in which nodule voxels weigh 99 times as much leaves a nodule's surroundings above 0.4 too, and what lies
    near it in the same region; the cores are apart.

    Args:
        probability: (X, Y, Z) of nodule.
        threshold: 0.4 in the paper.
        core: a region's connected parts above it are its cores; 1 for whole regions, as in the paper.
        least_core: diameter in voxels of a sphere as large as the smallest core; smaller parts are none.
        most: the largest so many by summed probability; None for all.

    Returns:
        Largest first.
    """
    regions: list[Region] = []
    for region in _connected(probability, threshold):
        parts = _connected(np.where(region.mask, probability[region.here], 0), core)
        cores = [part.moved(region.first) for part in parts if part.diameter >= least_core]
        regions += cores or [region]
    regions.sort(key=lambda region: -region.score * region.voxels)
    return regions[:most]


def _connected(probability: np.ndarray, threshold: float) -> list[Region]:
    labels, _ = ndimage.label(probability > threshold, CONNECTIVITY)
    regions = []
    for number, here in enumerate(ndimage.find_objects(labels), start=1):
        mask = labels[here] == number
        regions.append(Region(np.array([side.start for side in here]), mask, float(probability[here][mask].mean())))
    return regions


def stacked(regions: Sequence[Region], device: torch.device) -> tuple[Tensor, Tensor]:
    """Boxes (R, 6) long and numbers of voxels (R,) long of regions, as the network's ``classify`` wants them."""
    boxes = np.array([region.box for region in regions], dtype=np.int64).reshape(-1, 6)
    voxels = np.array([region.voxels for region in regions], dtype=np.int64)
    return torch.from_numpy(boxes).to(device), torch.from_numpy(voxels).to(device)
