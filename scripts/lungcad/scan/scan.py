# SPDX-License-Identifier: Apache-2.0
"""Resampling of a scan: working grids over the lungs and crops around points, both straight from the native HU.

Grids and crops are parallel to the volume's own axes, so 1D interpolations along one axis after the other suffice. A
crop has the same values as the grid of its spacing where their voxels coincide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lungcad.geometry import (
    Canonical,
    canonical,
    enclosing_slices,
    in_memory_order,
    scaled_affine,
    spacing_of,
    to_index,
)
from lungcad.scan.lungs import LungMask, segment_lungs
from lungcad.volume import LOWEST_HU, Notice, Volume

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

AVERAGE_FROM = 1.5
"""Down-sampling factor above which samples are averaged over the new voxel's width; below, linear interpolation."""

_BLOCK = 64
"""Samples along an axis that one product of matrices makes; more would multiply by more zeros."""


@dataclass(frozen=True)
class Grid:
    """Scan on a working grid over the lungs and their surroundings.

    Attributes:
        hu: (X, Y, Z) float32, X to the left, Y to the back, Z to the head; -1024 beyond the scanned volume.
        lungs: (X, Y, Z) bool, the lung mask on the same grid.
        affine: (4, 4) float64, index of ``hu`` to LPS mm.
    """

    hu: "torch.Tensor"
    lungs: "torch.Tensor"
    affine: np.ndarray


class Scan:
    """Volume with its lung mask, from which the stages take working grids and crops.

    Args:
        volume: CT volume in any axis order.
        margin_mm: width in mm of the tissue around the lungs' bounding box that a grid shows, for a network's halo.

    Raises:
        InputError: E-NO-LUNG, on first use of :attr:`lungs` or :meth:`resampled`.
    """

    def __init__(self, volume: Volume, margin_mm: float = 32.0) -> None:
        self.volume = volume
        self.margin_mm = margin_mm

    @cached_property
    def lungs(self) -> LungMask:
        """Lung mask, computed once on first use."""
        return segment_lungs(self.volume)

    @cached_property
    def _native(self) -> Canonical:
        return canonical(self.volume)

    @property
    def warnings(self) -> tuple[Notice, ...]:
        """Warnings and notes from reading the scan and, once the lungs have been segmented, about them."""
        return (*self.volume.warnings, *(self.lungs.warnings if "lungs" in vars(self) else ()))

    def crop(
        self, center_lps_mm: Sequence[float], size_vox: Sequence[int], spacing_mm: Sequence[float]
    ) -> "torch.Tensor":
        """Resample (X, Y, Z) float32 HU around a point, which gets the index (size - 1) / 2; see :meth:`crops`."""
        return self.crops([center_lps_mm], size_vox, spacing_mm)[0]

    def crops(
        self, centers_lps_mm: "ArrayLike", size_vox: Sequence[int], spacing_mm: Sequence[float]
    ) -> "torch.Tensor":
        """Resample crops around points. Needs no lungs.

        Args:
            centers_lps_mm: (N, 3) points in LPS mm; each gets the index (size - 1) / 2 of its crop.
            size_vox: size of a crop in voxels along X, Y, Z.
            spacing_mm: voxel size in mm along X, Y, Z.

        Returns:
            (N, X, Y, Z) float32 HU; -1024 beyond the volume.
        """
        import torch

        step = np.asarray(spacing_mm, dtype=np.float64) / self._native.spacing_mm
        size = np.asarray(size_vox)
        centers = to_index(self._native.affine, np.reshape(centers_lps_mm, (-1, 3)))
        if not len(centers):
            return torch.empty((0, *size.tolist()))
        return torch.stack([_sample(self._native, center - (size - 1) / 2 * step, step, size) for center in centers])

    @property
    def spacing_mm(self) -> np.ndarray:
        """Size (3,) of the volume's own voxels along X, Y, Z: to the left, back and head."""
        return self._native.spacing_mm

    def crop_affine(
        self, center_lps_mm: Sequence[float], size_vox: Sequence[int], spacing_mm: Sequence[float]
    ) -> np.ndarray:
        """Affine (4, 4) of the crop that :meth:`crop` makes, index to LPS mm."""
        step = np.asarray(spacing_mm, dtype=np.float64) / self._native.spacing_mm
        first = to_index(self._native.affine, center_lps_mm) - (np.asarray(size_vox) - 1) / 2 * step
        return scaled_affine(self._native.affine, first.tolist(), step.tolist())

    def axial_slices(
        self, center_lps_mm: Sequence[float], diameter_mm: float, max_slices: int
    ) -> tuple["torch.Tensor", tuple[float, float], tuple[float, float]]:
        """Select the scan's own axial slices through a sphere, without interpolation. Needs no lungs.

        Args:
            center_lps_mm: centre of the sphere in LPS mm.
            diameter_mm: diameter of the sphere in mm.
            max_slices: largest number of slices; where there are more, they are thinned out evenly.

        Returns:
            (S, R, C) float32 HU from foot to head, rows to the back, columns to the left; row and column of the centre,
            continuous; and the distances of rows and of columns in mm.
        """
        native = self._native
        width, height, depth = native.spacing_mm.tolist()
        column, row, number = to_index(native.affine, center_lps_mm).tolist()
        last = native.hu.shape[2] - 1
        numbers = enclosing_slices(number, diameter_mm / 2 / depth, last + 1, max_slices)
        hu = native.hu[:, :, [last - n if native.reverse[2] else n for n in numbers]]
        backwards = [axis for axis in (0, 1) if native.reverse[axis]]
        return hu.flip(backwards).permute(2, 1, 0), (row, column), (height, width)

    def resampled(self, spacing_mm: Sequence[float]) -> Grid:
        """Resample the bounding box of the lungs with its margin.

        Voxels lie at whole multiples of ``spacing_mm`` from the volume's first voxel, so at native spacing nothing is
        interpolated at all.

        Args:
            spacing_mm: voxel size in mm along X, Y, Z.
        """
        import torch

        mask, native, spacing = self.lungs, self._native, np.array(spacing_mm, dtype=np.float64)
        low, high = self._lung_box_mm()
        first = np.floor((low - self.margin_mm) / spacing)
        size = (np.ceil((high + self.margin_mm) / spacing) - first + 1).astype(int)
        step = spacing / native.spacing_mm
        affine = scaled_affine(native.affine, (first * step).tolist(), step.tolist())
        # Mask and grid are parallel, so the nearest mask voxel can be looked up for each axis by itself.
        start, stride = to_index(mask.affine, affine[:3, 3]), spacing / spacing_of(mask.affine)
        lungs = torch.from_numpy(np.pad(mask.mask, 1))
        for axis in (2, 1, 0):  # whole rows are copied last, where there are most
            nearest = np.rint(start[axis] + stride[axis] * np.arange(size[axis])) + 1
            lungs = lungs.index_select(axis, torch.from_numpy(nearest.clip(0, lungs.shape[axis] - 1).astype(np.int64)))
        return Grid(_sample(native, first * step, step, size), lungs, affine)

    def _lung_box_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the lungs' bounding box, through voxel centres, in mm from the volume's first voxel."""
        ends = [np.flatnonzero(self.lungs.mask.any(others))[[0, -1]] for others in ((1, 2), (0, 2), (0, 1))]
        corners = np.transpose(ends) @ np.diag(spacing_of(self.lungs.affine))
        corners = corners + to_index(self._native.affine, self.lungs.affine[:3, 3]) * self._native.spacing_mm
        return corners[0], corners[1]


def _sample(native: Canonical, first: np.ndarray, step: np.ndarray, size: np.ndarray) -> "torch.Tensor":
    """Sample (X, Y, Z) HU at ``first + step * n``, in canonical voxels of the native volume."""
    import torch

    hu, back = in_memory_order(native.hu)
    plans = {}
    for axis in np.argsort(-step, kind="stable"):  # the axis that shrinks most goes first
        along, length = back[axis], native.hu.shape[axis]
        index, weight = _taps(first[axis] + step[axis] * np.arange(size[axis]), step[axis], length)
        index = length - 1 - index if native.reverse[axis] else index
        low = int(index.min())
        hu = hu.narrow(along, low, int(index.max()) - low + 1)
        plans[along] = index - low, weight.astype(np.float32)
    for along, (index, weight) in plans.items():
        hu = _weighted(hu, along, index, weight)
        hu = hu.index_fill_(along, torch.from_numpy(np.flatnonzero(weight.sum(1) == 0)), LOWEST_HU)
    return hu.permute(back).contiguous()


def _weighted(hu: "torch.Tensor", along: int, index: np.ndarray, weight: np.ndarray) -> "torch.Tensor":
    """Weighted sums of a volume's planes across one axis, as products with a matrix, a block of samples at a time.

    Args:
        hu: (A, B, C) volume.
        along: axis, 0 to 2.
        index: (n, taps) planes that contribute to each sample, next to each other.
        weight: (n, taps) float32, their weights.
    """
    import torch

    blocks = []
    for near, share in zip(*(np.array_split(a, range(_BLOCK, len(a), _BLOCK)) for a in (index, weight)), strict=True):
        low = int(near.min())
        matrix = np.zeros((len(near), int(near.max()) - low + 1), np.float32)
        np.add.at(matrix, (np.arange(len(near))[:, None], near - low), share)
        planes, factors = hu.narrow(along, low, matrix.shape[1]), torch.from_numpy(matrix)
        if along == 2:
            blocks.append(planes @ factors.T)
        else:
            blocks.append((factors @ planes.flatten(along + 1)).unflatten(-1, planes.shape[along + 1 :]))
    return torch.cat(blocks, dim=along)


def _taps(position: np.ndarray, step: float, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Native voxels (n, taps) that contribute to each sample along one axis, and their weights (n, taps).

    A sample is the linear interpolant, averaged over the sample's width when down-sampling: exact for linear fields. At
    the volume's ends it is averaged over the part inside; with less than half of it inside, all its weights are 0.
    """
    width = step if step > AVERAGE_FROM else 0.0
    index = np.floor(position - width / 2)[:, None] + np.arange(int(np.ceil(width)) + 2)
    offset = position[:, None] - index
    if width:
        weight = (_hat_integral(offset + width / 2) - _hat_integral(offset - width / 2)) / width
    else:
        weight = np.maximum(1 - np.abs(offset), 0)
    weight = np.where((index >= 0) & (index < length), weight, 0)
    share = weight.sum(1, keepdims=True)
    weight = np.where(share >= 0.5 - 1e-6, weight / np.maximum(share, 0.25), 0)
    return index.clip(0, length - 1).astype(np.int64), weight


def _hat_integral(t: np.ndarray) -> np.ndarray:
    """Integral of linear interpolation's hat function, max(0, 1 - abs(t)), from minus infinity to ``t``."""
    t = t.clip(-1, 1)
    return 0.5 + t - np.sign(t) * t**2 / 2
