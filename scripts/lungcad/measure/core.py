# SPDX-License-Identifier: Apache-2.0
"""Solid part of a nodule: its largest connected part of soft tissue, with and without vessels and thin strands."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lungcad.measure.axes import transverse_axes

CORE_HU = -300.0
"""HU above which a voxel belongs to the solid part: half way between ground glass and soft tissue."""
STRAND_MM = 1.8
"""Width below which a strand is no core: an opening by a ball of that diameter removes vessels up to 2 mm, whose blur
leaves less than their width above :data:`CORE_HU`, and keeps a core of 3 mm."""
LEAST_MM, PART_LIMITS_MM = 6.0, (6.0, 8.0)
"""Size of a part-solid nodule from which its solid part decides, and sizes of that at which Lung-RADS v2022 and
Fleischner 2017 change class."""
SOLID_LIMITS_MM = (8.0, 15.0)
"""Sizes of a solid nodule at which Lung-RADS reaches the class of a solid part of :data:`PART_LIMITS_MM`."""


@dataclass(frozen=True)
class SolidPart:
    """Solid part of a nodule.

    Attributes:
        mean_mm: mean of its axes, with strands that are connected to it.
        without_strands_mm, short_mm: mean of the axes, and short axis, of what is left without strands; 0 if nothing.
    """

    mean_mm: float
    without_strands_mm: float = 0.0
    short_mm: float = 0.0

    @property
    def in_doubt(self) -> bool:
        """Whether a limit of a guideline lies between both sizes, with and without strands."""
        return any(0 < self.without_strands_mm < limit <= self.mean_mm for limit in PART_LIMITS_MM)

    def decides_above(self, mean_mm: float) -> bool:
        """Whether a part-solid nodule with this solid part has a higher class than a solid one of that mean diameter.

        Both have :data:`LEAST_MM` or more.
        """
        limits = zip(PART_LIMITS_MM, SOLID_LIMITS_MM, strict=True)
        return any(self.mean_mm >= part and mean_mm < solid for part, solid in limits)


def solid_part(mask: np.ndarray, hu: np.ndarray, spacing_mm: np.ndarray) -> SolidPart | None:
    """Solid part of a nodule; None if nothing of it is solid.

    Args:
        mask: (X, Y, Z) bool.
        hu: (X, Y, Z) HU.
        spacing_mm: (3,) size of the voxels.
    """
    solid = mask & (hu > CORE_HU)
    if not solid.any():
        return None
    box = ndimage.find_objects(solid.astype(np.uint8))[0]
    solid = solid[box]
    opened = _opened(solid, STRAND_MM / 2, spacing_mm)
    if not opened.any():
        return SolidPart(transverse_axes(_largest(solid), spacing_mm).mean_mm)
    core = _largest(opened)
    labels, _ = ndimage.label(solid)
    whole, inner = (transverse_axes(part, spacing_mm) for part in (labels == labels[core][0], core))
    return SolidPart(whole.mean_mm, inner.mean_mm, inner.short_mm)


def _opened(mask: np.ndarray, radius_mm: float, spacing_mm: np.ndarray) -> np.ndarray:
    """Opening of a mask (X, Y, Z) by a ball."""
    padded = np.pad(mask, 1)
    inner = ndimage.distance_transform_edt(padded, sampling=spacing_mm) > radius_mm
    if not inner.any():
        return np.zeros_like(mask)
    near = ndimage.distance_transform_edt(~inner, sampling=spacing_mm) <= radius_mm
    opened: np.ndarray = near[1:-1, 1:-1, 1:-1] & mask
    return opened


def _largest(mask: np.ndarray) -> np.ndarray:
    """Largest connected part of a mask (X, Y, Z) that is not empty."""
    labels, _ = ndimage.label(mask)
    largest: np.ndarray = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    return largest
