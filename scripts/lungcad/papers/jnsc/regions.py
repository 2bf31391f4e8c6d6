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
"""Neighbourhood of a voxel: all that touch it at a side, an edge or a corner; the paper says "voxel connectivity"."""


@dataclass(frozen=True)
class Region:
    """Connected region of a volume.

    Attributes:
        first: (3,) int, first voxel of the region's bounding box.
        mask: (a, b, c) bool, the region within that box.
        score: mean probability of the region's voxels; the paper does not say how a region is scored.
    """

    first: np.ndarray
    mask: np.ndarray
    score: float

    @property
    def voxels(self) -> int:
        """Number of voxels, P of equation 1."""
        return int(self.mask.sum())

    @property
    def diameter(self) -> float:
        """Diameter of a sphere with the same volume, in voxels."""
        return float(sphere_diameter(self.voxels))

    @property
    def center(self) -> np.ndarray:
        """Centre of mass, (3,) continuous index."""
        return self.first + np.argwhere(self.mask).mean(axis=0)

    @property
    def box(self) -> np.ndarray:
        """Bounding box (6,) int: first voxel, and the voxel behind the last one."""
        return np.concatenate([self.first, self.first + self.mask.shape])

    @property
    def slices(self) -> tuple[slice, ...]:
        """Bounding box as an index into the volume that the region was found in."""
        return tuple(slice(a, a + n) for a, n in zip(self.first.tolist(), self.mask.shape, strict=True))

    def moved(self, shift: Sequence[int] | np.ndarray) -> "Region":
        """Region with its place shifted by (3,) voxels, as seen in a volume that begins earlier by the shift."""
        return replace(self, first=self.first + np.asarray(shift))


def find_regions(
    probability: np.ndarray, threshold: float = 0.4, core_threshold: float = 1.0, least_core_diameter: float = 3.0,
    max_regions: int | None = None,
) -> list[Region]:  # fmt: skip
    """Regions above a threshold; a region with cores is replaced by its cores.

    Cores go beyond the paper: a loss in which nodule voxels weigh more than others leaves a nodule's surroundings above
    the threshold too, and joins the nodule with its neighbours to one region; the cores stay apart.

    Args:
        probability: (X, Y, Z) probability of nodule.
        threshold: probability that a region's voxels exceed; 0.4 in the paper.
        core_threshold: probability that a core's voxels exceed; a core is a connected part of a region. 1 for whole
            regions, as in the paper.
        least_core_diameter: diameter in voxels of a sphere with the volume of the smallest core; smaller parts are no
            cores.
        max_regions: number of regions kept, the largest by summed probability; None for all.

    Returns:
        Regions, the largest by summed probability first.
    """
    regions: list[Region] = []
    for region in _connected(probability, threshold):
        parts = _connected(np.where(region.mask, probability[region.slices], 0), core_threshold)
        cores = [part.moved(region.first) for part in parts if part.diameter >= least_core_diameter]
        regions += cores or [region]
    regions.sort(key=lambda region: -region.score * region.voxels)
    return regions[:max_regions]


def trimmed_region(region: Region, probability: np.ndarray, nodule_weight: float, peak_share: float) -> Region:
    """Region's mask: the part around its most probable voxel with at least a share of that voxel's probability.

    A loss in which a nodule voxel weighs w and any other 1 - w makes odds w / (1 - w) times as high; here they are
    divided by that first. A threshold of one value for all cuts faint nodules to nothing, or takes in the surroundings
    of dense ones; so it is relative to each region's own peak. The score stays.

    Args:
        region: region of a volume.
        probability: (X, Y, Z) probability of nodule, of the whole volume.
        nodule_weight: weight of nodule voxels in the training; 0.5 changes no probability.
        peak_share: least probability, as a share of the greatest one; 0 keeps the region.
    """
    inside = probability[region.slices].astype(np.float64)
    unweighted = inside * (1 - nodule_weight) / (inside * (1 - nodule_weight) + (1 - inside) * nodule_weight)
    unweighted = np.where(region.mask, unweighted, 0)
    labels, _ = ndimage.label(region.mask & (unweighted >= peak_share * unweighted.max()), CONNECTIVITY)
    part = labels == labels[np.unravel_index(unweighted.argmax(), labels.shape)]
    box = ndimage.find_objects(part.astype(np.uint8))[0]
    return replace(region, first=region.first + [side.start for side in box], mask=part[box])


def _connected(probability: np.ndarray, threshold: float) -> list[Region]:
    """Connected regions above a threshold."""
    labels, _ = ndimage.label(probability > threshold, CONNECTIVITY)
    regions = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        mask = labels[box] == number
        regions.append(Region(np.array([side.start for side in box]), mask, float(probability[box][mask].mean())))
    return regions


def stack_regions(regions: Sequence[Region], device: torch.device) -> tuple[Tensor, Tensor]:
    """Boxes (R, 6) long and numbers of voxels (R,) long of regions, as input of the network's ``classify``."""
    boxes = np.array([region.box for region in regions], dtype=np.int64).reshape(-1, 6)
    voxels = np.array([region.voxels for region in regions], dtype=np.int64)
    return torch.from_numpy(boxes).to(device), torch.from_numpy(voxels).to(device)
