# SPDX-License-Identifier: Apache-2.0
"""Patches of whole voxels cut from a volume around a point that may lie between voxels."""

import numpy as np


def cut_patch(volume: np.ndarray, center: np.ndarray, size: tuple[int, int, int], fill: float) -> np.ndarray:
    """Cut a patch of whole voxels, with its middle, (size - 1) / 2, as near to ``center`` as the grid allows.

    Args:
        volume: (X, Y, Z) array.
        center: (3,) continuous index of the point.
        size: shape of the patch in voxels.
        fill: value of patch voxels outside the volume.

    Returns:
        Copy of shape ``size``; its middle lies at ``patch_center(center, size)`` in the volume.
    """
    first = _first_index(center, size)
    patch = np.full(size, fill, volume.dtype)
    low = np.maximum(first, 0)
    high = np.minimum(first + size, volume.shape)
    if (low < high).all():
        inner = tuple(slice(a - f, b - f) for a, b, f in zip(low, high, first, strict=True))
        patch[inner] = volume[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return patch


def patch_center(center: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """Middle of the patch that :func:`cut_patch` cuts, (3,) continuous index in the volume."""
    return _first_index(center, size) + (np.array(size) - 1) / 2


def _first_index(center: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """Index (3,) of the patch's first voxel in the volume."""
    return np.floor(np.asarray(center) - (np.array(size) - 1) / 2 + 0.5).astype(int)
