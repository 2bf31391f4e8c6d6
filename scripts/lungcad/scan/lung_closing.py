# SPDX-License-Identifier: Apache-2.0
"""From aerated lung to the whole lung: vessels, nodules and masses come in by closings with balls, the windpipe goes.

A ball large enough for a mass at the pleura would swallow the mediastinum: it is only trusted towards the chest wall.
"""

import numpy as np

COARSE_MM = 4.0
"""Spacing at which the large closing and the airways are judged: the nearest whole multiple of the mask's."""
CLOSING_MM = 12.0
"""Ball for all of the lungs: covers vessels and fills the hila, but leaves the mediastinum between the lungs."""
WALL_CLOSING_MM = 45.0
"""Ball for one side towards the chest wall: covers nodules at the pleura, and masses of 5 cm but for the outer rim."""
AIRWAY_MM = 12.0
"""Above the lungs, what is narrower than twice this is windpipe and throat."""


def include_dense(aerated: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Add what the lung (X, Y, Z) encloses or nearly encloses; take the windpipe above the lungs away."""
    from scipy.ndimage import binary_fill_holes

    box = _box(aerated, np.ceil(WALL_CLOSING_MM / spacing).astype(int) + 2)
    lung = aerated[box]
    step = np.maximum(np.rint(COARSE_MM / spacing), 1).astype(int)
    wall = _repeat(_close_towards_wall(_thin(lung, step), spacing * step), step, lung.shape)
    lung = binary_fill_holes(_close(lung, spacing, CLOSING_MM) | wall)
    lung &= _repeat(_without_throat(_thin(lung, step), spacing * step), step, lung.shape)
    mask = np.zeros_like(aerated)
    mask[box] = lung
    return mask


def _close(mask: np.ndarray, spacing: np.ndarray, radius_mm: float) -> np.ndarray:
    """Close with a ball. A lung cut by the first or last slice is taken to go on, so what lies at the cut is kept."""
    from scipy.ndimage import distance_transform_edt

    if not mask.any():
        return mask
    dilated = distance_transform_edt(~mask, spacing) <= radius_mm
    sides = ((1, 1), (1, 1), (0, 0))
    return mask | (distance_transform_edt(np.pad(dilated, sides), spacing)[1:-1, 1:-1] > radius_mm)


def _close_towards_wall(lung: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Close each side with a large ball, and keep what lies behind lung as seen from the middle of the chest."""
    middle = [int(np.mean(np.flatnonzero(lung.any(others))[[0, -1]])) for others in ((1, 2), (0, 2))]
    closed, behind = np.zeros_like(lung), np.zeros_like(lung)
    for axis, centre in enumerate(middle):
        for side in _halves(axis, centre):
            behind[side] |= np.maximum.accumulate(lung[side], axis)
    for side in _halves(0, middle[0]):
        closed[side] = _close(lung[side], spacing, WALL_CLOSING_MM)
    return closed & behind


def _halves(axis: int, centre: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Index the two halves of an array on either side of ``centre``, both walked from the centre outwards."""
    before = (slice(None),) * axis
    return (*before, slice(centre, None)), (*before, slice(centre - 1, None, -1) if centre else slice(0, 0))


def _without_throat(lung: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Mark all but what rises above the wide parts of the lungs by more than an apex does."""
    from scipy.ndimage import distance_transform_edt, label

    labels, _ = label(distance_transform_edt(np.pad(lung, 1, mode="edge"), spacing)[1:-1, 1:-1, 1:-1] > AIRWAY_MM)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    core = np.isin(labels, np.flatnonzero(sizes > sizes.max() / 10))
    if not core.any():
        return np.ones_like(lung)
    kept = distance_transform_edt(~core, spacing) <= 2 * AIRWAY_MM
    kept[:, :, : np.flatnonzero(core.any((0, 1)))[-1] + 1] = True
    return kept


def _thin(mask: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Let blocks of ``step`` voxels vote, those at the far ends with the voxels they have."""
    votes = mask.astype(np.float32)
    for axis in range(3):
        starts = np.arange(0, mask.shape[axis], step[axis])
        votes = np.add.reduceat(votes, starts, axis)
    return votes >= np.prod(step) / 2


def _repeat(mask: np.ndarray, step: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Blow a thinned mask up to ``shape``."""
    for axis in range(3):
        mask = np.repeat(mask, step[axis], axis)
    return mask[: shape[0], : shape[1], : shape[2]]


def _box(mask: np.ndarray, margin: np.ndarray) -> tuple[slice, slice, slice]:
    """Bound a mask, with a margin in voxels where there is room."""
    ends = [np.flatnonzero(mask.any(others))[[0, -1]] for others in ((1, 2), (0, 2), (0, 1))]
    x, y, z = (slice(max(0, low - m), high + 1 + m) for (low, high), m in zip(ends, margin, strict=True))
    return x, y, z
