# SPDX-License-Identifier: Apache-2.0
"""Patches of a volume at whole voxels, around a place that may lie between them."""

import numpy as np


def cut(volume: np.ndarray, center: np.ndarray, size: tuple[int, int, int], fill: float) -> np.ndarray:
    """Patch of ``size`` whose middle, (size - 1) / 2, is the voxel grid's place nearest to ``center``.

    Args:
        volume: (X, Y, Z).
        center: (3,) continuous index.
        size: patch size in voxels.
        fill: value outside the volume.

    Returns:
        A copy of shape ``size``; its true centre is ``patch_center(center, size)``.
    """
    first = _first(center, size)
    patch = np.full(size, fill, volume.dtype)
    low = np.maximum(first, 0)
    high = np.minimum(first + size, volume.shape)
    if (low < high).all():
        inner = tuple(slice(a - f, b - f) for a, b, f in zip(low, high, first, strict=True))
        patch[inner] = volume[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return patch


def patch_center(center: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """Where the middle of the patch that :func:`cut` gives really lies, (3,) continuous index."""
    return _first(center, size) + (np.array(size) - 1) / 2


def _first(center: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    return np.floor(np.asarray(center) - (np.array(size) - 1) / 2 + 0.5).astype(int)
