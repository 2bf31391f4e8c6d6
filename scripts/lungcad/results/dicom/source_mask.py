# SPDX-License-Identifier: Apache-2.0
"""Mask of a finding on the pixels of the source series."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from lungcad.finding import FindingMask
from lungcad.geometry import scaled_affine, to_index, to_world
from lungcad.results.dicom.source import Source

INSIDE = 0.5
"""Smallest filled share of a pixel that belongs to the nodule."""
ROUNDING = 1e-6
"""Tolerance for floating-point error."""


@dataclass(frozen=True)
class SourceMask:
    """Pixels of one nodule.

    Attributes:
        mask: (columns, rows, slices) bool, cropped to its bounding box.
        first: index (column, row, slice) of the box's first pixel in the series, or in its thin slices.
    """

    mask: np.ndarray
    first: tuple[int, int, int]


def on_source(mask: FindingMask, source: Source) -> SourceMask | None:
    """Resample a mask to the pixels of the series by the filled share of each pixel; None where it fills none.

    The mask is interpolated linearly, at as many points per pixel as the pixel has mask voxels along each axis. A mask
    on the grid of the series stays unchanged; a small mask that fills no pixel by half keeps the pixel that it fills
    most.
    """
    return _on_grid(mask, source.affine, (source.columns, source.rows, len(source.slices)))


def on_thin_slices(mask: FindingMask, source: Source) -> SourceMask | None:
    """Resample a mask to the pixels of the series with each slice divided into thin ones, for measurements.

    The thin slices are at most as thick as the mask's voxels. In a thick slice a small nodule fills by half only the
    pixels near its middle, or none.
    """
    cuts = int(_voxels_per_step(mask, source.affine)[2])
    thin = scaled_affine(source.affine, (0, 0, 0.5 / cuts - 0.5), (1, 1, 1 / cuts))
    return _on_grid(mask, thin, (source.columns, source.rows, cuts * len(source.slices)))


def _on_grid(mask: FindingMask, affine: np.ndarray, shape: tuple[int, int, int]) -> SourceMask | None:
    """Resample a mask to a grid of (4, 4) affine to LPS mm and shape (columns, rows, slices)."""
    size = np.array(shape)
    corners = np.stack(np.meshgrid(*[(-1, n) for n in mask.mask.shape], indexing="ij"), axis=-1).reshape(-1, 3)
    corners_index = to_index(affine, to_world(mask.affine, corners))
    low = np.floor(corners_index.min(axis=0)).astype(int).clip(0, size)
    high = np.ceil(corners_index.max(axis=0) + 1).astype(int).clip(0, size)
    if (low >= high).any():
        return None
    points = _voxels_per_step(mask, affine)
    axes = [
        (np.arange(first * n, last * n) + 0.5) / n - 0.5 for first, last, n in zip(low, high, points, strict=True)
    ]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    at = np.moveaxis(to_index(mask.affine, to_world(affine, index)), -1, 0)
    filled = map_coordinates(np.pad(mask.mask, 1).astype(np.float32), at + 1, order=1, mode="constant")
    blocks = filled.reshape([part for n, k in zip(high - low, points, strict=True) for part in (n, k)])
    share = blocks.mean(axis=(1, 3, 5))
    if share.max() <= ROUNDING:
        return None
    inside = share >= min(INSIDE, share.max()) - ROUNDING
    used = np.argwhere(inside)
    start, stop = used.min(axis=0), used.max(axis=0) + 1
    box = inside[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    column, row, level = (low + start).tolist()
    return SourceMask(box, (column, row, level))


def _voxels_per_step(mask: FindingMask, affine: np.ndarray) -> np.ndarray:
    """Number of mask voxels (3,), rounded up, along one step of each axis of a grid."""
    strides = np.linalg.inv(mask.affine[:3, :3]) @ affine[:3, :3]
    return np.ceil(np.abs(strides).max(axis=0) - ROUNDING).clip(1).astype(int)
