# SPDX-License-Identifier: Apache-2.0
"""Mask of the nodule in the middle of a cube, from the probability of each voxel."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from lungcad.finding import FindingMask
from lungcad.geometry import scaled_affine, spacing_of

REACH_MM = 4.0
"""Distance from the middle within which a part must come to be the nodule: a detector's centre is not exact."""
FINER = 2
"""Mask voxels for each of the cube's along each axis: sizes of small nodules would go in steps otherwise."""

NEAR_MM, FAR_MM = (1.5, 3.0), (5.0, 8.0)
"""Distances from the mask within which surroundings are near, and far. Closer voxels are blurred with the nodule's."""
AERATED_HU = -400.0
"""HU below which surroundings are lung or ground glass, not vessel or wall."""


@dataclass(frozen=True)
class NoduleMask:
    """Mask of a nodule, with the HU of its voxels.

    Attributes:
        mask: mask with its affine.
        hu: HU on the mask's grid.
        cut: whether the nodule reaches a face of the cube.
        rim_hu: HU by which the near surroundings are denser than the far ones, median against median, without vessels
            and wall; 0 where it is not known.
    """

    mask: FindingMask
    hu: np.ndarray
    cut: bool
    rim_hu: float = 0.0

    @property
    def spacing_mm(self) -> np.ndarray:
        """Size (3,) of the mask's voxels."""
        return spacing_of(self.mask.affine)


def central_mask(probability: np.ndarray, hu: np.ndarray, affine: np.ndarray, threshold: float) -> NoduleMask | None:
    """Mask of the connected part above a threshold that comes nearest to the middle, without holes.

    Args:
        probability: (X, Y, Z) float32, probability of nodule.
        hu: (X, Y, Z) float32 HU.
        affine: (4, 4), index of the cube to LPS mm.
        threshold: probability that the nodule's voxels exceed.

    Returns:
        The mask, on voxels half as large as the cube's; None if no part comes within 4 mm of the middle, or the part is
        so faint and small that nothing of it is left between the voxels.
    """
    labels, _ = ndimage.label(probability > threshold)
    places = np.argwhere(labels > 0)
    if not len(places):
        return None
    step = spacing_of(affine)
    distance = np.linalg.norm((places - (np.array(probability.shape) - 1) / 2) * step, axis=1)
    if distance.min() > REACH_MM:
        return None
    number = labels[tuple(places[distance.argmin()])]
    part = labels == number
    box = ndimage.find_objects(part.astype(np.uint8))[0]
    cut = any(side.start == 0 or side.stop == n for side, n in zip(box, part.shape, strict=True))
    wide = tuple(slice(max(side.start - 2, 0), side.stop + 2) for side in box)
    nodule_only = np.where(part[wide] | (labels[wide] == 0), probability[wide], 0)
    fine = ndimage.binary_fill_holes(_finer(nodule_only) > threshold)
    parts, count = ndimage.label(fine)
    if not count:
        return None
    if count > 1:
        fine = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    inner = ndimage.find_objects(fine.astype(np.uint8))[0]
    first = [side.start + (inside.start + 0.5) / FINER - 0.5 for side, inside in zip(wide, inner, strict=True)]
    on_grid = scaled_affine(affine, first, (1 / FINER,) * 3)
    return NoduleMask(FindingMask(fine[inner], on_grid), _finer(hu[wide])[inner], cut, _rim_hu(part, hu, step))


def _rim_hu(part: np.ndarray, hu: np.ndarray, step_mm: np.ndarray) -> float:
    """HU by which the surroundings of a part (X, Y, Z) of a cube are denser near it than far from it."""
    away = ndimage.distance_transform_edt(~part, sampling=step_mm)
    rings = (hu[(away > low) & (away <= high) & (hu < AERATED_HU)] for low, high in (NEAR_MM, FAR_MM))
    near, far = (float(np.median(ring)) if len(ring) else None for ring in rings)
    return 0.0 if near is None or far is None else near - far


def _finer(volume: np.ndarray) -> np.ndarray:
    """Volume (X, Y, Z) interpolated linearly at :data:`FINER` voxels for each of its own along each axis."""
    tensor = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))[None, None]
    finer: np.ndarray = F.interpolate(tensor, scale_factor=FINER, mode="trilinear")[0, 0].numpy()
    return finer
