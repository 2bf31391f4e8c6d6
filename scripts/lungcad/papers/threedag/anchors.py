# SPDX-License-Identifier: Apache-2.0
"""Cubes and anchors of Zhang et al. 2020: overlap, coding as offsets, the anchors of a feature pyramid, their targets.

A cube is (x, y, z, side): its centre as continuous voxel index and its side in voxels, which is the diameter of the
nodule that it encloses. Anchors are cubes of fixed sides spread over the cells of the pyramid's levels (sections III.B
and IV.B).
"""

from collections.abc import Sequence

import torch
from monai.data.box_utils import box_iou
from torch import Tensor

from lungcad.errors import InputError

STRIDES = (4, 8, 16)
"""Voxels per cell of the pyramid's levels; cell i of stride s is centred on voxel s i + (s - 1) / 2."""

IGNORED = -1
"""Label of anchors that are neither nodule nor background."""

MAX_LOG_SCALE = 4.0
"""Greatest log ratio of a decoded cube's side to its anchor's: e^4 = 55, so that no untrained network makes an infinite
cube."""


def check_anchors(anchors_mm: Sequence[Sequence[float]]) -> None:
    """Refuse anchors that are no list of positive diameters per level.

    Args:
        anchors_mm: anchor diameters in mm per level of :data:`STRIDES`.

    Raises:
        InputError: E-CONFIG, another number of levels, no anchor at all, or one that is not positive.
    """
    if len(anchors_mm) != len(STRIDES) or not any(anchors_mm) or not all(d > 0 for level in anchors_mm for d in level):
        text = f"unusable anchors: {anchors_mm} (expected lists of diameters above 0 for the strides {STRIDES})."
        raise InputError("E-CONFIG", text, "A level without anchors has an empty list.")


def anchor_cubes(
    size: Sequence[int], anchors_mm: Sequence[Sequence[float]], device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Anchors of an image in the order of the network's proposals.

    Levels come in the order of :data:`STRIDES`; within a level cells in the order of an (X, Y, Z) array, z fastest;
    within a cell anchors as given.

    Args:
        size: voxels of the image, (X, Y, Z), multiples of 16.
        anchors_mm: anchor diameters per level; 1 mm is one voxel of the grid.
        device: device of the result.

    Returns:
        Anchors as cubes (N, 4), and the index of each one's level (N,).

    Raises:
        InputError: E-CONFIG, anchors as in :func:`check_anchors`; E-SIZE, sides that are no multiples of 16.
    """
    check_anchors(anchors_mm)
    if any(side % STRIDES[-1] for side in size):
        raise InputError("E-SIZE", f"sides {tuple(size)} (expected multiples of {STRIDES[-1]}).", "Pad the image.")
    cubes, levels = [], []
    for level, (stride, diameters) in enumerate(zip(STRIDES, anchors_mm, strict=True)):
        axes = [torch.arange(side // stride, device=device) * stride + (stride - 1) / 2 for side in size]
        grid = torch.cartesian_prod(*axes, torch.tensor(diameters, dtype=torch.float32, device=device))
        cubes.append(grid.reshape(-1, 4))
        levels.append(torch.full((len(cubes[-1]),), level, device=device))
    return torch.cat(cubes), torch.cat(levels)


def corner_boxes(cubes: Tensor) -> Tensor:
    """Cubes (N, 4) as boxes (N, 6) of least and greatest x, y, z: MONAI's StandardMode for 3D boxes."""
    return torch.cat([cubes[:, :3] - cubes[:, 3:] / 2, cubes[:, :3] + cubes[:, 3:] / 2], dim=1)


def cube_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union (IoU) of every cube of one list with every cube of another.

    Args:
        first: (N, 4) cubes.
        second: (M, 4) cubes.

    Returns:
        IoUs (N, M), in [0, 1].
    """
    return box_iou(corner_boxes(first), corner_boxes(second))


def shared_part(first: Tensor, second: Tensor) -> Tensor:
    """Intersection of every cube of one list with every cube of another, as a share of the smaller cube.

    Args:
        first: (N, 4) cubes.
        second: (M, 4) cubes.

    Returns:
        Shares (N, M), in [0, 1].
    """
    (low, high), (other_low, other_high) = (corner_boxes(cubes).split(3, dim=1) for cubes in (first, second))
    sides = torch.minimum(high[:, None], other_high) - torch.maximum(low[:, None], other_low)
    return (sides.clamp(min=0).prod(dim=2) / torch.minimum(first[:, None, 3], second[:, 3]) ** 3).clamp(max=1)


def encode_offsets(cubes: Tensor, anchors: Tensor) -> Tensor:
    """Offsets (..., 4) of cubes from anchors, both (..., 4): (x - x_a) / d_a, the same for y and z, and log(d / d_a).

    The paper does not print its coding; this is that of Faster R-CNN, its reference 12, for boxes with one side.
    """
    shift = (cubes[..., :3] - anchors[..., :3]) / anchors[..., 3:]
    return torch.cat([shift, (cubes[..., 3:] / anchors[..., 3:]).log()], dim=-1)


def decode_offsets(offsets: Tensor, anchors: Tensor) -> Tensor:
    """Cubes (..., 4) at offsets (..., 4) from anchors; inverts :func:`encode_offsets` up to :data:`MAX_LOG_SCALE`."""
    center = anchors[..., :3] + offsets[..., :3] * anchors[..., 3:]
    return torch.cat([center, offsets[..., 3:].clamp(max=MAX_LOG_SCALE).exp() * anchors[..., 3:]], dim=-1)


def assign_anchors(
    anchors: Tensor, nodules: Tensor, ignored: Tensor, positive: float = 0.5, negative: float = 0.02
) -> tuple[Tensor, Tensor]:
    """Label of each anchor, and the nodule that a positive anchor stands for.

    An anchor is positive if its IoU with a nodule is above ``positive``, negative if its IoU with all of them is below
    ``negative``, ignored in between (section IV.B). Besides, every nodule that touches an anchor gets its best one, or
    the best one left if another nodule took that: small nodules between two cells reach no IoU of 0.5.

    Args:
        anchors: (N, 4) cubes.
        nodules: (M, 4) cubes of the nodules.
        ignored: (K, 4) cubes of lesions that count neither as nodules nor as background; an anchor that overlaps one is
            not negative.
        positive: IoU+, above which an anchor is positive.
        negative: IoU-, below which an anchor is negative.

    Returns:
        Labels (N,), 1, 0 or :data:`IGNORED`, and indices of nodules (N,), valid where the label is 1.
    """
    iou = cube_iou(anchors, nodules)
    best, nodule = _highest(iou)
    lesion, _ = _highest(cube_iou(anchors, ignored))
    label = torch.where(torch.maximum(best, lesion) < negative, 0, IGNORED)
    label[best > positive] = 1
    for number in iou.amax(dim=0).argsort(descending=True).tolist():
        anchor = int(iou[:, number].argmax())
        if iou[anchor, number] > 0:
            label[anchor], nodule[anchor] = 1, number
            iou[anchor] = 0  # taken
    return label, nodule


def _highest(iou: Tensor) -> tuple[Tensor, Tensor]:
    """Values (N,) and columns (N,) of the rows' maxima of a table (N, M); value 0 if there is no column."""
    value, column = torch.nn.functional.pad(iou, (0, 1)).max(dim=1)
    return value, column


def rpn_target(
    anchors: Tensor, nodules: Tensor, ignored: Tensor, positive: float = 0.5, negative: float = 0.02
) -> Tensor:
    """Class and regression targets of the region proposal network.

    Args:
        anchors, nodules, ignored, positive, negative: as in :func:`assign_anchors`.

    Returns:
        Targets (N, 5): label, then the offsets of the nodule from the anchor, 0 where the label is not 1.
    """
    label, nodule = assign_anchors(anchors, nodules, ignored, positive, negative)
    target = torch.nn.functional.pad(label[:, None].to(anchors), (0, 4))
    found = label == 1
    target[found, 1:] = encode_offsets(nodules[nodule[found]], anchors[found])
    return target
