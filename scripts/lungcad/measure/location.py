# SPDX-License-Identifier: Apache-2.0
"""Location of a nodule in the lungs: side, third of the lung's height, distance to the pleura."""

import numpy as np
from scipy import ndimage

from lungcad.finding import FindingMask
from lungcad.geometry import spacing_of, to_index, to_world
from lungcad.measurement import Location
from lungcad.scan.location import side_of_body
from lungcad.scan.lungs import LungMask
from lungcad.scan.scan import Scan

ZONES = ("lower", "middle", "upper")
"""Thirds of a lung's height from foot to head."""
LOOK_MM = 40.0
"""Width of the surroundings of a nodule in which the pleura is looked for; beyond it the distance is not known."""
TOUCH_MM = 1.0
"""Distance up to which a nodule touches the pleura: half a voxel of the lung mask."""
MIN_AREA_SHARE = 0.1
"""Area of a slice of a lung, as a share of its largest, from which the slice counts for the lung's height."""


def locate(scan: Scan, mask: FindingMask) -> Location:
    """Location of a nodule.

    The mediastinal surface and the lung's side of the diaphragm count as pleura; fissures are not located. The lung
    mask has voxels of about 2 mm, and so has the distance.

    Args:
        scan: volume and lungs.
        mask: mask of the nodule.

    Raises:
        InputError: E-NO-LUNG.
    """
    places = to_world(mask.affine, np.argwhere(mask.mask))
    center = places.mean(axis=0)
    side = side_of_body(scan.volume, center.tolist())
    distance = _pleura_mm(scan.lungs, places)
    return Location(side, _zone(scan.lungs, center, side), distance, None if distance is None else distance <= TOUCH_MM)


def _zone(lungs: LungMask, center_lps_mm: np.ndarray, side: str | None) -> str:
    """Third of the height of the lung on a side, or of both lungs where the side is not known."""
    x = to_world(lungs.affine, np.argwhere(np.ones((len(lungs.mask), 1, 1))))[:, 0]
    inside = lungs.mask.any(axis=(1, 2))
    middle = (x[inside].min() + x[inside].max()) / 2
    on_side = np.ones(len(x), bool) if side is None else (x > middle) == (side == "left")
    area = lungs.mask[on_side].sum(axis=(0, 1))
    used = np.flatnonzero(area >= MIN_AREA_SHARE * area.max()) if area.any() else np.arange(len(area))
    share = (to_index(lungs.affine, center_lps_mm)[2] - used[0]) / max(used[-1] - used[0], 1)
    return ZONES[int(np.clip(share * len(ZONES), 0, len(ZONES) - 1))]


def _pleura_mm(lungs: LungMask, places_lps_mm: np.ndarray) -> float | None:
    """Distance of places (N, 3) to the nearest voxel that is no lung, 0 if one lies in it; None if it is far."""
    spacing = spacing_of(lungs.affine)
    index = to_index(lungs.affine, places_lps_mm)
    low = np.floor(index.min(axis=0) - LOOK_MM / spacing).astype(int).clip(0)
    high = np.minimum(np.ceil(index.max(axis=0) + LOOK_MM / spacing).astype(int) + 1, lungs.mask.shape)
    if (low >= high).any():
        return None
    box = lungs.mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    if box.all():
        return None
    depth = ndimage.distance_transform_edt(box, sampling=spacing)  # to a voxel's centre: half a voxel beyond the border
    at = ndimage.map_coordinates(depth, (index - low).T, order=1, mode="nearest")
    return float(max(at.min() - spacing.mean() / 2, 0.0))
