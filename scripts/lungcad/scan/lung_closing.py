# SPDX-License-Identifier: Apache-2.0
"""Closing of the lung mask: adds vessels, nodules and masses to aerated lung, and removes the trachea above the lungs.

The closings are morphological, with balls. A ball large enough for a mass at the pleura would swallow the mediastinum,
so the large one is used towards the chest wall only.
"""

import numpy as np

COARSE_MM = 4.0
"""Spacing in mm of the coarse grid for the large closing and the trachea: the nearest whole multiple of the mask's."""
CLOSING_MM = 12.0
"""Radius in mm of the ball for both lungs: covers vessels and fills the hila, but not the mediastinum between them."""
WALL_CLOSING_MM = 45.0
"""Radius in mm of the ball for one side, towards the chest wall: covers pleural nodules, and most of a 5 cm mass."""
AIRWAY_MM = 12.0
"""Half the width in mm of the widest trachea: narrower parts above the lungs are trachea and throat."""


def include_dense(aerated: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Add to aerated lung the dense tissue that it encloses or nearly encloses; remove the trachea above the lungs.

    Args:
        aerated: (X, Y, Z) bool, aerated lung in canonical order.
        spacing: (3,) voxel size in mm.

    Returns:
        (X, Y, Z) bool, the whole lungs.
    """
    from scipy.ndimage import binary_fill_holes

    box = _bounding_box(aerated, np.ceil(WALL_CLOSING_MM / spacing).astype(int) + 2)
    lung = aerated[box]
    step = np.maximum(np.rint(COARSE_MM / spacing), 1).astype(int)
    wall = _upsampled(_close_towards_wall(_downsampled(lung, step), spacing * step), step, lung.shape)
    lung = binary_fill_holes(_close(lung, spacing, CLOSING_MM) | wall)
    lung &= _upsampled(_below_trachea(_downsampled(lung, step), spacing * step), step, lung.shape)
    mask = np.zeros_like(aerated)
    mask[box] = lung
    return mask


def _close(mask: np.ndarray, spacing: np.ndarray, radius_mm: float) -> np.ndarray:
    """Close a mask with a ball. A lung cut by the first or last slice is taken to continue, so its cut face is kept."""
    from scipy.ndimage import distance_transform_edt

    if not mask.any():
        return mask
    dilated = distance_transform_edt(~mask, spacing) <= radius_mm
    sides = ((1, 1), (1, 1), (0, 0))
    return mask | (distance_transform_edt(np.pad(dilated, sides), spacing)[1:-1, 1:-1] > radius_mm)


def _close_towards_wall(lung: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Close each side with a large ball; keep voxels that lie behind lung as seen from the middle of the chest."""
    middle = [int(np.mean(np.flatnonzero(lung.any(others))[[0, -1]])) for others in ((1, 2), (0, 2))]
    closed, behind = np.zeros_like(lung), np.zeros_like(lung)
    for axis, centre in enumerate(middle):
        for side in _halves(axis, centre):
            behind[side] |= np.maximum.accumulate(lung[side], axis)
    for side in _halves(0, middle[0]):
        closed[side] = _close(lung[side], spacing, WALL_CLOSING_MM)
    return closed & behind


def _halves(axis: int, centre: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Indices of the two halves of an array on either side of ``centre``, both running outwards from the centre."""
    before = (slice(None),) * axis
    return (*before, slice(centre, None)), (*before, slice(centre - 1, None, -1) if centre else slice(0, 0))


def _below_trachea(lung: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Mask of all voxels but those farther above the wide parts of the lungs than a lung apex reaches."""
    from scipy.ndimage import distance_transform_edt, label

    labels, _ = label(distance_transform_edt(np.pad(lung, 1, mode="edge"), spacing)[1:-1, 1:-1, 1:-1] > AIRWAY_MM)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    wide = np.isin(labels, np.flatnonzero(sizes > sizes.max() / 10))
    if not wide.any():
        return np.ones_like(lung)
    kept = distance_transform_edt(~wide, spacing) <= 2 * AIRWAY_MM
    kept[:, :, : np.flatnonzero(wide.any((0, 1)))[-1] + 1] = True
    return kept


def _downsampled(mask: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Down-sample a mask by majority over blocks of ``step`` voxels; beyond the array there is no mask."""
    votes = mask.astype(np.float32)
    for axis in range(3):
        starts = np.arange(0, mask.shape[axis], step[axis])
        votes = np.add.reduceat(votes, starts, axis)
    return votes >= np.prod(step) / 2


def _upsampled(mask: np.ndarray, step: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Up-sample a mask of blocks to ``shape``, the inverse of :func:`_downsampled`."""
    for axis in range(3):
        mask = np.repeat(mask, step[axis], axis)
    return mask[: shape[0], : shape[1], : shape[2]]


def _bounding_box(mask: np.ndarray, margin: np.ndarray) -> tuple[slice, slice, slice]:
    """Bounding box of a mask with a margin in voxels, clipped to the array."""
    ends = [np.flatnonzero(mask.any(others))[[0, -1]] for others in ((1, 2), (0, 2), (0, 1))]
    x, y, z = (slice(max(0, low - m), high + 1 + m) for (low, high), m in zip(ends, margin, strict=True))
    return x, y, z
