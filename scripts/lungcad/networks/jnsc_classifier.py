# SPDX-License-Identifier: Apache-2.0
"""Classification path of Liu and Chan 2020, section IV.C: multiscale features of a region, and its size."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lungcad.errors import InputError

CLASSES = ("benign", "malignant", "non-nodule")
"""What a region can be, in the order of the logits."""

POOLED = (2, 2, 1, 1, 1)
"""Cells along a side that adaptive max-pooling leaves of a region, by scale (section IV.C)."""


def size_feature(voxels: Tensor) -> Tensor:
    """A tenth of the cube root of the number of 1 mm voxels (equation 1)."""
    return voxels.float().pow(1 / 3) / 10


class RegionClassifier(nn.Module):
    """Logits of regions from crops of the encoder's maps and the regions' sizes.

    On a map of stride s a box covers the cells that it touches. Where section IV.F normalises every convolution, the
    1x1x1 convolutions here are not: of the smallest regions one cell is left at the coarsest scale, and instance
    normalisation makes every single cell 0.

    Args:
        channels: of the maps.
        levels: scales in use, from the finest on.
        features: channels behind each scale's 1x1x1 convolution.

    Shape:
        - maps: (B, channels, X / s, Y / s, Z / s) for s = 1, 2, 4, 8, 16
        - image: (R,) long
        - boxes: (R, 6) long, first voxel and the one behind the last, within the image
        - voxels: (R,)
        - out: (R, 3) float32

    Raises:
        InputError: E-CONFIG, ``levels`` beyond 1 to 5.
    """

    def __init__(self, channels: Sequence[int], levels: int = 5, features: int = 32):
        super().__init__()
        if not 1 <= levels <= len(POOLED):
            raise InputError("E-CONFIG", f"{levels} feature levels (expected 1 to {len(POOLED)}).")
        self.reduce = nn.ModuleList(
            nn.Sequential(nn.Conv3d(width, features, 1), nn.ReLU(inplace=True)) for width in channels[:levels]
        )
        self.pooled = list(POOLED[:levels])
        self.linear = nn.Linear(features * sum(side**3 for side in self.pooled) + 1, len(CLASSES))

    def forward(self, maps: list[Tensor], image: Tensor, boxes: Tensor, voxels: Tensor) -> Tensor:
        """Logits (R, 3)."""
        if boxes.shape[0] == 0:
            return self.linear(self.linear.weight.new_zeros(0, self.linear.in_features)).float()
        columns: list[Tensor] = []
        for level, reduce in enumerate(self.reduce):
            rows: list[Tensor] = []
            for number in range(boxes.shape[0]):
                crop = reduce(self.crop(maps[level], int(image[number]), boxes[number], 1 << level))
                rows.append(F.adaptive_max_pool3d(crop.float(), self.pooled[level]).flatten(1))
            columns.append(torch.cat(rows))
        columns.append(size_feature(voxels)[:, None])
        return self.linear(torch.cat(columns, dim=1)).float()

    def crop(self, features: Tensor, image: int, box: Tensor, stride: int) -> Tensor:
        """The cells (1, C, a, b, c) of a map that a box touches."""
        low = box[:3] // stride
        high = (box[3:] + stride - 1) // stride
        x, y, z = int(low[0]), int(low[1]), int(low[2])
        return features[image : image + 1, :, x : int(high[0]), y : int(high[1]), z : int(high[2])]
