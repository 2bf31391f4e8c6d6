# SPDX-License-Identifier: Apache-2.0
"""Cubes (x, y, z, diameter): their overlap, and their coding relative to each other.

Zhang et al. 2020, section III.B, write a box as {z, y, x, diameter}: a centre and one side, as radiologists measure a
nodule. Arrays here are (X, Y, Z), so the order is (x, y, z, diameter). A place is a continuous voxel index. The grid is
isotropic, 1 mm in the paper, and a diameter counts its voxels.
"""

import torch
from monai.data.box_utils import box_iou
from torch import Tensor

MOST_LOG = 4.0
"""A decoded cube is at most e^4 = 55 times as large as its anchor: no untrained network makes an infinite one."""


def cube_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of every cube of one list with every cube of another.

    Args:
        first: (N, 4).
        second: (M, 4).

    Returns:
        (N, M), in [0, 1].
    """
    return box_iou(corners(first), corners(second))


def corners(cubes: Tensor) -> Tensor:
    """Cubes (N, 4) as boxes (N, 6) of least and greatest x, y, z: MONAI's StandardMode for 3D boxes."""
    return torch.cat([cubes[:, :3] - cubes[:, 3:] / 2, cubes[:, :3] + cubes[:, 3:] / 2], dim=1)


def encode(cubes: Tensor, anchors: Tensor) -> Tensor:
    """Cubes as seen from anchors, both (..., 4): (x - x_a) / d_a, likewise y and z, and log(d / d_a).

    The paper does not print its coding; this is that of Faster R-CNN, its reference 12, for boxes with one side.
    """
    shift = (cubes[..., :3] - anchors[..., :3]) / anchors[..., 3:]
    return torch.cat([shift, (cubes[..., 3:] / anchors[..., 3:]).log()], dim=-1)


def decode(offsets: Tensor, anchors: Tensor) -> Tensor:
    """Cubes (..., 4) of offsets (..., 4) from anchors: the inverse of :func:`encode` up to :data:`MOST_LOG`."""
    center = anchors[..., :3] + offsets[..., :3] * anchors[..., 3:]
    return torch.cat([center, offsets[..., 3:].clamp(max=MOST_LOG).exp() * anchors[..., 3:]], dim=-1)
