# SPDX-License-Identifier: Apache-2.0
"""Geometry: affines, the exchange of LPS (DICOM) and RAS (NIfTI, MONAI), spheres and slices, orientation of volumes.

An affine maps a voxel index (x, y, z, 1) to patient millimetres; voxel centres lie at whole indices. LPS and RAS are
exchanged here only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from lungcad.volume import Volume

if TYPE_CHECKING:
    import torch


_FLIP_XY = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Change from LPS to RAS and back."""


def swap_lps_ras(affine: np.ndarray) -> np.ndarray:
    """Convert an LPS affine (4, 4) to the RAS affine of the same grid, or back: the flip is its own inverse."""
    return _FLIP_XY @ np.asarray(affine, dtype=np.float64)


def affine_of(columns: np.ndarray, origin: Sequence[float] | np.ndarray) -> np.ndarray:
    """Affine (4, 4) from the steps along the axes, columns of (3, 3), and the first voxel's position (3,), in mm."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = columns, origin
    return affine


def spacing_of(affine: np.ndarray) -> np.ndarray:
    """Distances (3,) in mm between neighbouring voxels along the axes of an affine (4, 4)."""
    spacing: np.ndarray = np.linalg.norm(affine[:3, :3], axis=0)
    return spacing


def to_world(affine: np.ndarray, index: np.ndarray | Sequence[float]) -> np.ndarray:
    """Map indices (..., 3) to millimetres (..., 3) in the affine's frame."""
    return np.asarray(index, dtype=np.float64) @ affine[:3, :3].T + affine[:3, 3]


def to_index(affine: np.ndarray, world: np.ndarray | Sequence[float]) -> np.ndarray:
    """Map millimetres (..., 3) to continuous indices (..., 3); the inverse of :func:`to_world`."""
    return (np.asarray(world, dtype=np.float64) - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T


def scaled_affine(affine: np.ndarray, first_index: Sequence[float], step: Sequence[float]) -> np.ndarray:
    """Affine (4, 4) of a grid with voxels ``step`` old voxels apart, the first at ``first_index`` of the old grid."""
    inner = np.diag([*step, 1.0])
    inner[:3, 3] = first_index
    return affine @ inner


def sphere_diameter(volume: np.ndarray | float) -> Any:
    """Diameter of a sphere with the same volume, in mm for mm3, in voxels for a voxel count; also for arrays."""
    return np.cbrt(6 / np.pi * volume)


def enclosing_slices(center: float, radius: float, count: int, max_slices: int) -> list[int]:
    """Indices of the slices through a nodule: those within its radius, at least the nearest one.

    Args:
        center: centre of the nodule, a continuous slice index.
        radius: radius of the nodule in slices.
        count: number of slices of the volume.
        max_slices: largest number of indices; where there are more, they are thinned out evenly.

    Returns:
        Slice indices, ascending.
    """
    nearest = int(np.clip(np.rint(center), 0, count - 1))
    low, high = max(int(np.ceil(center - radius)), 0), min(int(np.floor(center + radius)), count - 1)
    inside = list(range(min(low, nearest), max(high, nearest) + 1)) if low <= high else [nearest]
    if len(inside) <= max_slices:
        return inside
    if max_slices == 1:
        return [nearest]
    return [inside[n] for n in np.rint(np.linspace(0, len(inside) - 1, max_slices)).astype(int)]


@dataclass(frozen=True)
class Canonical:
    """View of a volume along the patient's axes, however it was scanned (prone, feet first, sagittal, descending).

    Attributes:
        hu: (X, Y, Z) float32 view of the volume, axes permuted but not yet reversed: torch has no negative strides.
        reverse: for each axis, whether ``hu`` runs against the patient's axis.
        affine: (4, 4) float64, index of ``hu`` *after* reversal to LPS mm. Each axis points along its own positive
            patient axis as nearly as a permutation allows; the affine keeps the obliqueness that remains.
    """

    hu: "torch.Tensor"
    reverse: tuple[bool, bool, bool]
    affine: np.ndarray

    @property
    def spacing_mm(self) -> np.ndarray:
        """Distance (3,) between voxel centres along the canonical axes, in mm."""
        return spacing_of(self.affine)


def patient_axes(affine: np.ndarray, shape: Sequence[int]) -> tuple[list[int], tuple[bool, bool, bool], np.ndarray]:
    """Match each of the patient's axes with the index axis that runs nearest to it.

    Args:
        affine: (4, 4) index to LPS mm.
        shape: shape of the volume, in its own order of axes.

    Returns:
        Index axes in the order of the patient's axes, whether each runs against the patient's, and the (4, 4) affine
        of the volume with its axes permuted and reversed accordingly.
    """
    direction = affine[:3, :3] / spacing_of(affine)
    patient = np.arange(3)
    order = np.array(max(permutations(range(3)), key=lambda axes: np.abs(direction[patient, axes]).sum()))
    reverse = direction[patient, order] < 0
    to_stored = np.zeros((4, 4))
    to_stored[order, patient] = np.where(reverse, -1, 1)
    to_stored[order, 3] = np.where(reverse, np.array(shape)[order] - 1, 0)
    to_stored[3, 3] = 1
    x, y, z = reverse.tolist()
    return order.tolist(), (x, y, z), affine @ to_stored


def canonical(volume: Volume) -> Canonical:
    """View of a volume along the patient's axes; copies only where torch cannot view the array."""
    import torch

    order, reverse, affine = patient_axes(volume.affine, volume.hu.shape)
    viewable = volume.hu.flags.writeable and all(stride > 0 for stride in volume.hu.strides)
    hu = torch.from_numpy(volume.hu if viewable else volume.hu.copy())
    return Canonical(hu.permute(order), reverse, affine)


def in_memory_order(tensor: "torch.Tensor") -> tuple["torch.Tensor", list[int]]:
    """Permute a tensor to the order of its memory, several times faster to read; returns the inverse order too."""
    order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
    return tensor.permute(order), [order.index(axis) for axis in range(tensor.ndim)]


def nearest_lps_order(volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """View of HU (X, Y, Z), its axes nearest to left, posterior and superior, and its affine (4, 4) to LPS mm."""
    order, reverse, affine = patient_axes(volume.affine, volume.hu.shape)
    return np.flip(volume.hu.transpose(order), tuple(np.flatnonzero(reverse).tolist())), affine
