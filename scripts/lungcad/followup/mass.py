# SPDX-License-Identifier: Apache-2.0
"""Change of what lies in one region of two scans, whatever their outlines: a check of a change of volume.

Outlines can differ where the nodule does not: one includes a vessel or stops short of a faint rim. The region is both
outlines together, laid on each other by the images, and 2 mm around, without the wall or vessel beside them; the mass
above that of lung in it hardly depends on where either outline runs. A nodule that grew has more of it.
"""

import numpy as np
from scipy import ndimage

from lungcad.finding import Finding, FindingMask
from lungcad.followup.search import find_again
from lungcad.geometry import spacing_of, to_index, to_world
from lungcad.scan.scan import Scan
from lungcad.volume import LOWEST_HU

BLUR_MM = 2
"""Width in mm around the outlines into which a scanner blurs a nodule."""
AROUND_MM = 5
"""Width in mm around the outlines that is looked at: beyond the blur, for the density of lung."""
HIGHEST_HU = 200.0
"""HU at which density is cut off: calcium would outweigh growth."""
DENSE_HU = -500.0
"""HU above which a voxel outside of both outlines is wall or vessel, if it is in both scans."""
LUNG_HU = -600.0
"""HU below which a voxel is lung."""


def mass_change_percent(prior: Scan, before: Finding, current: Scan, now: Finding) -> float | None:
    """Change in percent of the mass above lung in both outlines together.

    Args:
        prior, current: scans.
        before, now: the nodule in them.

    Returns:
        Change in percent of the prior mass; None without two masks, lung around them, or a mass above 0.
    """
    if before.mask is None or now.mask is None:
        return None
    both = before.mask, now.mask
    extents = [float(np.linalg.norm((np.array(mask.mask.shape) - 1) / 2 * _spacing(mask))) for mask in both]
    first = np.array(before.mask.center_lps_mm)
    place = find_again(prior, first, 2 * max(extents), current, np.array(now.mask.center_lps_mm))
    radius = int(np.ceil(max(extents))) + AROUND_MM
    hu, masks = zip(*(
        _around(scan, center, mask, radius)
        for scan, center, mask in ((prior, first, before.mask), (current, np.array(place.center_lps_mm), now.mask))
    ), strict=True)  # fmt: skip
    outlined = masks[0] | masks[1]
    wall = (hu[0] > DENSE_HU) & (hu[1] > DENSE_HU) & ~outlined
    region = ndimage.binary_dilation(outlined, iterations=BLUR_MM) & ~wall
    mass, mass_now = (_mass(values, region) for values in hu)
    if mass is None or mass_now is None or mass <= 0 or mass_now <= 0:
        return None
    return 100 * (mass_now / mass - 1)


def _mass(hu: np.ndarray, region: np.ndarray) -> float | None:
    """Mass in mg of a region (X, Y, Z) above that of the lung around it; None without lung around."""
    lung = hu[~ndimage.binary_dilation(region) & (hu < LUNG_HU) & (hu > LOWEST_HU)]  # -1024: not scanned
    if not lung.size:
        return None
    return float((hu[region].clip(max=HIGHEST_HU) - np.median(lung)).sum()) / 1000


def _around(scan: Scan, center: np.ndarray, mask: FindingMask, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """HU and mask (X, Y, Z) on voxels of 1 mm around a place, each an odd number of them."""
    size, step = (2 * radius + 1,) * 3, (1.0, 1.0, 1.0)
    affine = scan.crop_affine(center.tolist(), size, step)
    index = to_index(mask.affine, to_world(affine, np.indices(size).reshape(3, -1).T)).T
    inside = ndimage.map_coordinates(mask.mask.astype(np.float32), index, order=1, cval=0.0) > 0.5
    return scan.crop(center.tolist(), size, step).numpy(), inside.reshape(size)


def _spacing(mask: FindingMask) -> np.ndarray:
    """Size (3,) of a mask's voxels in mm."""
    return spacing_of(mask.affine)
