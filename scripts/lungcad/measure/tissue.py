# SPDX-License-Identifier: Apache-2.0
"""Kind and calcification of a nodule, by simple rules on the HU in its mask."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lungcad.measure.axes import transverse_axes
from lungcad.measure.core import LEAST_MM, SolidPart, solid_part
from lungcad.measurement import Kind, slices_too_thick

SOLID_HU = -400.0
"""HU above which a voxel of a nodule is solid: half way between lung and soft tissue."""
SOLID_SHARE, PART_SOLID_SHARE = 0.38, 0.18
"""Shares of solid voxels from which a nodule is solid, or part-solid. These and :data:`SOLID_HU` agree best with the
readers' texture in the outlines of 635 nodules, folds 0 to 3 of LIDC-IDRI (kappa 0.65)."""
SMALL_SOLID_SHARE = 0.10
"""Share from which a nodule below :data:`LEAST_MM` is solid: most of its voxels lie at its border, where the HU of a
solid nodule fall off too. In the network's masks of those 635 nodules kappa rises from 0.57 to 0.68 by it, and none
that the readers call non-solid becomes solid."""
CORE_SHORT_MM = 3.0
"""Short axis from which a solid core, without strands, makes a nodule part-solid, however small its share: a core of
4 mm has it, a vessel of 2.5 mm across has not (simulated). No kind of those 635 nodules changes by it."""
PERHAPS_MM = 3.0
"""Mean of the axes from which a solid core that may be a vessel is named."""
SURELY_SOLID_SHARE = 0.5
"""Share of solid voxels below which a solid nodule may be part-solid."""
CALCIUM_HU = 200.0
"""HU above which a voxel holds calcium (Truong et al., RadioGraphics 34 (2014), doi 10.1148/rg.346130092)."""
CALCIUM_SHARE, DIFFUSE_SHARE = 0.15, 0.5
"""Shares of voxels with calcium from which a nodule is calcified, and diffusely. The first finds 91 % of 78 nodules
that most readers call calcified, and 2 % of the others, in the same folds."""


@dataclass(frozen=True)
class Tissue:
    """Tissue of a nodule.

    Attributes:
        kind: solid, part-solid or non-solid.
        solid_mm: mean of the axes of the solid part of a part-solid nodule; None for other kinds.
        calcification: ``none``, ``diffuse``, ``central`` or ``eccentric``; None for thick slices.
        doubts: reasons for not trusting kind or solid part, in words; empty if there is none.
    """

    kind: Kind
    solid_mm: float | None
    calcification: str | None
    doubts: tuple[str, ...] = ()


def tissue_of(
    mask: np.ndarray, hu: np.ndarray, spacing_mm: np.ndarray, slice_mm: float, mean_mm: float | None = None
) -> Tissue:
    """Tissue of a nodule.

    Args:
        mask: (X, Y, Z) bool.
        hu: (X, Y, Z) HU.
        spacing_mm: (3,) size of the voxels.
        slice_mm: distance of the scan's slices.
        mean_mm: mean of the nodule's axes; None measures it.
    """
    mean_mm = transverse_axes(mask, spacing_mm).mean_mm if mean_mm is None else mean_mm
    share = float((hu[mask] > SOLID_HU).mean())
    part = solid_part(mask, hu, spacing_mm) if share < SURELY_SOLID_SHARE else None
    kind = kind_of(share, 0.0 if part is None else part.short_mm, mean_mm)
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    return Tissue(
        kind, part.mean_mm if part is not None and kind == "part-solid" else None,
        None if slices_too_thick(slice_mm) else calcification_of(mask, hu, depth),
        () if part is None else _doubts(kind, part, mean_mm),
    )  # fmt: skip


def kind_of(solid_share: float, core_short_mm: float, mean_mm: float) -> Kind:
    """Kind of a nodule.

    Args:
        solid_share: share of its voxels that are solid.
        core_short_mm: short axis of its solid core without strands; 0 where it has none.
        mean_mm: mean of its axes.
    """
    if solid_share >= (SMALL_SOLID_SHARE if mean_mm < LEAST_MM else SOLID_SHARE):
        return "solid"
    return "part-solid" if solid_share >= PART_SOLID_SHARE or core_short_mm >= CORE_SHORT_MM else "non-solid"


def _doubts(kind: Kind, part: SolidPart, mean_mm: float) -> tuple[str, ...]:
    """Reasons for not trusting the kind, or the size of the solid part, where Lung-RADS depends on it."""
    if mean_mm < LEAST_MM:
        return ()
    if kind == "non-solid" and part.mean_mm >= PERHAPS_MM:
        return (f"a denser core of {part.mean_mm:.1f} mm lies in it, perhaps a vessel: it may be part-solid",)
    if kind == "solid" and part.decides_above(mean_mm):
        return (f"less than half of it is solid: it may be part-solid, with a solid part of {part.mean_mm:.1f} mm",)
    if kind == "part-solid" and part.in_doubt:
        return (f"its solid part is {part.mean_mm:.1f} mm, or {part.without_strands_mm:.1f} mm without thin strands",)
    return ()


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
