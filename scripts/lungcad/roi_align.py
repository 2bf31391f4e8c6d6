# SPDX-License-Identifier: Apache-2.0
"""Features of regions of interest: RoI Align in three dimensions, and fixed crops of cells around places.

Zhang et al. 2020, section III.C: Mask R-CNN's RoI Align with eight neighbours instead of four. Places are continuous
cell indices, a cell's value sits at its centre, and beyond the map its border's values go on: no half-cell shift, as
in RoI Align's later, "aligned" form.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def roi_align(features: Tensor, rois: Tensor, size: int = 2, samples: int = 2) -> Tensor:
    """Mean of trilinear samples in each of the bins that a cubic region is divided into.

    Differentiable with respect to features and regions. Computed in the regions' data type.

    Args:
        features: (B, C, X, Y, Z).
        rois: (B, N, 4), N > 0; centre in cells, side in cells.
        size: bins along a side.
        samples: per bin along a side, evenly spread.

    Returns:
        (B, N, C, size, size, size)
    """
    count = rois.shape[1]
    points = size * samples
    step = (torch.arange(points, device=rois.device, dtype=rois.dtype) + 0.5) / points - 0.5
    place = rois[:, :, None, :3] + step[:, None] * rois[:, :, None, 3:]  # (B, N, points, 3)
    extent = torch.tensor(features.shape[2:], device=rois.device, dtype=rois.dtype)
    x, y, z = ((2 * place + 1) / extent - 1).unbind(dim=-1)  # -1 and 1 are the map's ends
    whole = [rois.shape[0], count, points, points, points]
    grid = torch.stack(
        [z[:, :, None, None, :].expand(whole), y[:, :, None, :, None].expand(whole), x[..., None, None].expand(whole)],
        dim=-1,
    )  # grid_sample counts the last axis first
    sampled = F.grid_sample(
        features.to(rois.dtype), grid.flatten(1, 2), mode="bilinear", padding_mode="border", align_corners=False
    )  # (B, C, N points, points, points)
    return F.avg_pool3d(sampled, samples).unflatten(2, [count, size]).transpose(1, 2)


def crop_cells(features: Tensor, center: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Cubes of whole cells whose middle is as near to a place as the cells allow.

    Args:
        features: (B, C, X, Y, Z).
        center: (B, N, 3) continuous cell indices.
        size: cells along a side.

    Returns:
        Crops (B, N, C, size, size, size), and the cell (B, N, 3) that each one's first cell is.
    """
    first = (center - (size - 1) / 2 + 0.5).floor()
    inside = torch.arange(size, device=center.device)[:, None] + first.long()[:, :, None]  # (B, N, size, 3)
    extent = torch.tensor(features.shape[2:], device=center.device)
    x, y, z = torch.minimum(inside.clamp(min=0), extent - 1).unbind(dim=-1)
    cell = (x[..., None, None] * extent[1] + y[:, :, None, :, None]) * extent[2] + z[:, :, None, None, :]
    index = cell.flatten(1)[:, None].expand(-1, features.shape[1], -1)
    crops = features.flatten(2).gather(2, index)  # (B, C, N size^3)
    return crops.unflatten(2, [center.shape[1], size, size, size]).transpose(1, 2), first
