# SPDX-License-Identifier: Apache-2.0
"""Kind and calcification of a nodule, by simple rules on the HU in its mask."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lungcad.measure.axes import transverse_axes
from lungcad.measurement import Kind

SOLID_HU = -400.0
"""HU above which a voxel of a nodule is solid: half way between lung and soft tissue."""
SOLID_SHARE, PART_SOLID_SHARE = 0.38, 0.18
"""Shares of solid voxels from which a nodule is solid, or part-solid. These and :data:`SOLID_HU` agree best with the
readers' texture in the outlines of 635 nodules, folds 0 to 3 of LIDC-IDRI (kappa 0.65)."""
CORE_HU = -300.0
"""HU above which a voxel belongs to the core of a part-solid nodule: half way between ground glass and soft tissue."""
CALCIUM_HU = 200.0
"""HU above which a voxel holds calcium (Truong et al., RadioGraphics 34 (2014), doi 10.1148/rg.346130092)."""
CALCIUM_SHARE, DIFFUSE_SHARE = 0.15, 0.5
"""Shares of voxels with calcium from which a nodule is calcified, and diffusely. The first finds 91 % of 78 nodules
that most readers call calcified, and 2 % of the others, in the same folds."""
THICK_MM = 2.5
"""Slice distance above which calcium is not told from the average of a slice."""


@dataclass(frozen=True)
class Tissue:
    """Tissue of a nodule.

    Attributes:
        kind: solid, part-solid or non-solid.
        solid_mm: mean of the axes of the solid core of a part-solid nodule; None for other kinds.
        calcification: ``none``, ``diffuse``, ``central`` or ``eccentric``; None for thick slices.
    """

    kind: Kind
    solid_mm: float | None
    calcification: str | None


def tissue_of(mask: np.ndarray, hu: np.ndarray, spacing_mm: np.ndarray, slice_mm: float) -> Tissue:
    """Tissue of a nodule.

    Args:
        mask: (X, Y, Z) bool.
        hu: (X, Y, Z) HU.
        spacing_mm: (3,) size of the voxels.
        slice_mm: distance of the scan's slices.
    """
    kind = kind_of(float((hu[mask] > SOLID_HU).mean()))
    core = _solid_core(mask, hu) if kind == "part-solid" else None
    axes = None if core is None else transverse_axes(core, spacing_mm)
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    thin = slice_mm <= THICK_MM
    return Tissue(
        kind, None if axes is None else (axes.long_mm + axes.short_mm) / 2,
        calcification_of(mask, hu, depth) if thin else None,
    )  # fmt: skip


def kind_of(solid_share: float) -> Kind:
    """Kind of a nodule by the share of its voxels that are solid."""
    if solid_share >= SOLID_SHARE:
        return "solid"
    return "part-solid" if solid_share >= PART_SOLID_SHARE else "non-solid"


def calcification_of(mask: np.ndarray, hu: np.ndarray, depth_mm: np.ndarray) -> str:
    """Pattern of calcification: ``none``, ``diffuse``, ``central`` or ``eccentric``.

    Central calcium lies, by its mean depth, in the inner half of the nodule's depth; rings and popcorn are not told
    apart.

    Args:
        mask: (X, Y, Z) bool.
        hu: (X, Y, Z) HU.
        depth_mm: (X, Y, Z) depth of the voxels under the nodule's surface.
    """
    calcium = mask & (hu > CALCIUM_HU)
    share = calcium.sum() / mask.sum()
    if share < CALCIUM_SHARE:
        return "none"
    if share >= DIFFUSE_SHARE:
        return "diffuse"
    return "central" if depth_mm[calcium].mean() >= depth_mm.max() / 2 else "eccentric"


def _solid_core(mask: np.ndarray, hu: np.ndarray) -> np.ndarray | None:
    """Largest connected part (X, Y, Z) of the core's voxels; None if there is none."""
    labels, count = ndimage.label(mask & (hu > CORE_HU))
    if not count:
        return None
    core: np.ndarray = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    return core
