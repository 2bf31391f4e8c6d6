# SPDX-License-Identifier: Apache-2.0
"""Mask of a finding on the pixels of the series, and the axes that are measured on it."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from lungcad.finding import FindingMask
from lungcad.geometry import scaled_affine, to_index, to_world
from lungcad.results.dicom.source import Source

INSIDE = 0.5
"""Least share of a pixel that the nodule fills for the pixel to belong to it."""
ROUNDING = 1e-6


@dataclass(frozen=True)
class SourceMask:
    """Pixels of one nodule.

    Attributes:
        mask: (columns, rows, slices) bool, its bounding box.
        first: index (column, row, slice) in the series, or its thin slices, of the box's first pixel.
    """

    mask: np.ndarray
    first: tuple[int, int, int]


def on_source(found: FindingMask, source: Source) -> SourceMask | None:
    """Resample a mask to the pixels of the series, by how much of each pixel it fills; None where it fills none.

    The mask is interpolated linearly, at as many points per pixel as the pixel has mask voxels along each axis. On its
    own grid a mask stays as it is; one that fills no pixel by half, being smaller, keeps the pixel that it fills most.
    """
    return _on_grid(found, source.affine, (source.columns, source.rows, len(source.slices)))


def on_thin_slices(found: FindingMask, source: Source) -> SourceMask | None:
    """Resample a mask to the pixels of the series with each slice cut into thin ones, to be measured in.

    The thin slices are no thicker than the mask's voxels. In a thick slice a small nodule fills by half only the pixels
    near its middle, or none.
    """
    cuts = int(_voxels_per_step(found, source.affine)[2])
    thin = scaled_affine(source.affine, (0, 0, 0.5 / cuts - 0.5), (1, 1, 1 / cuts))
    return _on_grid(found, thin, (source.columns, source.rows, cuts * len(source.slices)))


def _on_grid(found: FindingMask, affine: np.ndarray, shape: tuple[int, int, int]) -> SourceMask | None:
    size = np.array(shape)
    corners = np.stack(np.meshgrid(*[(-1, n) for n in found.mask.shape], indexing="ij"), axis=-1).reshape(-1, 3)
    reach = to_index(affine, to_world(found.affine, corners))
    low = np.floor(reach.min(axis=0)).astype(int).clip(0, size)
    high = np.ceil(reach.max(axis=0) + 1).astype(int).clip(0, size)
    if (low >= high).any():
        return None
    points = _voxels_per_step(found, affine)
    axes = [
        (np.arange(first * n, last * n) + 0.5) / n - 0.5 for first, last, n in zip(low, high, points, strict=True)
    ]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    at = np.moveaxis(to_index(found.affine, to_world(affine, index)), -1, 0)
    filled = map_coordinates(np.pad(found.mask, 1).astype(np.float32), at + 1, order=1, mode="constant")
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


def _voxels_per_step(found: FindingMask, affine: np.ndarray) -> np.ndarray:
    """Number of mask voxels, rounded up, along a step of each of a grid's axes: (3,) int."""
    strides = np.linalg.inv(found.affine[:3, :3]) @ affine[:3, :3]
    return np.ceil(np.abs(strides).max(axis=0) - ROUNDING).clip(1).astype(int)


def long_and_short_axis_mm(found: SourceMask, source: Source) -> tuple[float, float]:
    """Long and short axis in the slice with most pixels: the largest diameter, and the largest at right angles, in mm.

    Both are chords of the convex outline; a pixel reaches half its width to each side of its centre.
    """
    level = int(found.mask.sum(axis=(0, 1)).argmax())
    centers = np.argwhere(found.mask[:, :, level])
    half = np.array([[0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]])
    points = (centers[:, None] + half).reshape(-1, 2) * source.spacing_mm[:2]
    outline = points[ConvexHull(points).vertices]
    distances = squareform(pdist(outline))
    one, other = np.unravel_index(distances.argmax(), distances.shape)
    long = distances[one, other]
    x, y = (outline[other] - outline[one]) / long
    along, across = ((outline - outline[one]) @ np.array([[x, -y], [y, x]])).T
    sides = []
    for side in (across >= -ROUNDING, across <= ROUNDING):  # both chains run from one end of the long axis to the other
        order = np.argsort(along[side])
        sides.append(np.interp(along, along[side][order], across[side][order]))
    return float(long), float((sides[0] - sides[1]).max())  # of a convex outline the largest chord meets a corner
