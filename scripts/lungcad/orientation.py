# SPDX-License-Identifier: Apache-2.0
"""Axes of a volume put in canonical order without moving a voxel: X to the left, Y to the back, Z to the head."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lungcad.volume import Volume

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Canonical:
    """A volume seen along the patient's axes, whatever way it was scanned (prone, feet first, sagittal, descending).

    Attributes:
        hu: (X, Y, Z) float32 view of the volume, axes permuted but not yet reversed: torch has no negative strides.
        reverse: for each axis, whether ``hu`` runs against the patient's axis.
        affine: (4, 4) float64, index of ``hu`` *after* reversal to LPS mm. Each axis points along its own positive
            patient axis as nearly as a permutation allows; what obliqueness is left stays in here.
    """

    hu: "torch.Tensor"
    reverse: tuple[bool, bool, bool]
    affine: np.ndarray

    @property
    def spacing_mm(self) -> np.ndarray:
        """(3,) distance between voxel centres along the canonical axes."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)


def patient_axes(affine: np.ndarray, shape: Sequence[int]) -> tuple[list[int], tuple[bool, bool, bool], np.ndarray]:
    """Find which index axis runs nearest to each of the patient's axes.

    Args:
        affine: (4, 4) index to LPS mm.
        shape: of the volume, in its own order.

    Returns:
        The index axes in the patient's order, whether each runs against the patient's, and the (4, 4) affine of the
        volume with its axes so permuted and then reversed.
    """
    from scipy.optimize import linear_sum_assignment

    direction = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    patient, order = linear_sum_assignment(-np.abs(direction))
    reverse = direction[patient, order] < 0
    to_stored = np.zeros((4, 4))
    to_stored[order, patient] = np.where(reverse, -1, 1)
    to_stored[order, 3] = np.where(reverse, np.array(shape)[order] - 1, 0)
    to_stored[3, 3] = 1
    x, y, z = reverse.tolist()
    return order.tolist(), (x, y, z), affine @ to_stored


def canonical(volume: Volume) -> Canonical:
    """See ``volume`` along the patient's axes; no copy unless torch cannot view the array."""
    import torch

    order, reverse, affine = patient_axes(volume.affine, volume.hu.shape)
    as_is = volume.hu.flags.writeable and all(stride > 0 for stride in volume.hu.strides)
    hu = torch.from_numpy(volume.hu if as_is else volume.hu.copy())
    return Canonical(hu.permute(order), reverse, affine)


def in_memory_order(tensor: "torch.Tensor") -> tuple["torch.Tensor", list[int]]:
    """Permute so that memory is walked in order, several times faster; also the order that undoes it."""
    order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
    return tensor.permute(order), [order.index(axis) for axis in range(tensor.ndim)]
