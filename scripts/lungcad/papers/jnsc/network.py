# SPDX-License-Identifier: Apache-2.0
"""JNSC, the joint nodule segmentation and classification network of Liu and Chan 2020 (IEEE Access), IV.A and IV.C.

A V-Net segments (:class:`JNSCNet`); a linear layer separates benign, malignant and non-nodule regions by features of
the V-Net's encoder (:class:`RegionClassifier`). Table 3 with the widths is not legible in the text at hand: the widths
here are V-Net's own (its reference 37).
"""

from collections.abc import Sequence
from itertools import pairwise
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lungcad.errors import InputError

CLASSES = ("benign", "malignant", "non-nodule")
"""Classes of a region, in the order of the logits."""

POOLED = (2, 2, 1, 1, 1)
"""Cells along a side of a region after adaptive max-pooling, by scale (section IV.C)."""


class JNSCNet(nn.Module):
    """V-Net with an encoder that also feeds the classification of regions (figure 3).

    Instance normalisation makes an output depend on the whole input, so inference goes window by window, as training.

    Args:
        channels: widths at the five scales.
        depth: numbers of convolutions per block at the five scales.
        dropout: rate at which whole channels are left out; 0.1 in the paper.
        classify: True for the classification path.
        levels: number of scales with features to classify by, from the finest on: 5 is V1 to V5 (table 7).
        features: channels behind the 1x1x1 convolution of each scale; not stated in the paper.
        prior: probability of nodule that the segmentation starts from; not stated in the paper.

    Shape:
        - x: (B, 1, X, Y, Z) float, 1 mm voxels, sides that are multiples of 16, 64 in training, 32 at least
        - out: (B, 1, X, Y, Z), log odds of nodule

    Raises:
        InputError: E-CONFIG, other than five scales, or ``levels`` beyond 1 to 5.
    """

    def __init__(self, channels: Sequence[int] = (16, 32, 64, 128, 256), depth: Sequence[int] = (1, 2, 2, 2, 2),
                 dropout: float = 0.1, classify: bool = True, levels: int = 5, features: int = 32,
                 prior: float = 0.01):  # fmt: skip
        super().__init__()
        if len(channels) != 5 or len(depth) != 5:
            raise InputError("E-CONFIG", f"{len(channels)} widths and {len(depth)} depths (expected five of each).")
        self.encode = nn.ModuleList([nn.Sequential(Block(1, channels[0], depth[0], dropout))])
        for before, width, count in zip(channels, channels[1:], depth[1:], strict=False):
            down = normalised(nn.Conv3d(before, width, 2, 2, bias=False), width)
            self.encode.append(nn.Sequential(down, Block(width, width, count, dropout)))
        upwards = list(channels)[::-1]
        self.up = nn.ModuleList(
            normalised(nn.ConvTranspose3d(below, width, 2, 2, bias=False), width) for below, width in pairwise(upwards)
        )
        self.decode = nn.ModuleList(
            Block(2 * width, width, count, dropout)
            for width, count in zip(upwards[1:], list(depth)[-2::-1], strict=True)
        )
        self.out = nn.Conv3d(channels[0], 1, 1)
        self.classifier = RegionClassifier(channels, levels, features) if classify else None
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.normal_(self.out.weight, 0.0, 0.01)
        nn.init.constant_(self.out.bias, log(prior / (1 - prior)))  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Log odds (B, 1, X, Y, Z) of nodule."""
        return self.segment(self.features(x))

    @torch.jit.export
    def features(self, x: Tensor) -> list[Tensor]:
        """Maps (B, channels, X / s, Y / s, Z / s) of the encoder for s = 1, 2, 4, 8, 16."""
        maps: list[Tensor] = []
        for encode in self.encode:
            x = encode(x)
            maps.append(x)
        return maps

    @torch.jit.export
    def segment(self, features: list[Tensor]) -> Tensor:
        """Log odds (B, 1, X, Y, Z) of nodule from the encoder's maps."""
        x = features[-1]
        level = len(features) - 2
        for up, decode in zip(self.up, self.decode, strict=False):
            x = decode(torch.cat([features[level], up(x)], dim=1))
            level -= 1
        return self.out(x)

    @torch.jit.export
    def classify(self, features: list[Tensor], image: Tensor, boxes: Tensor, voxels: Tensor) -> Tensor:
        """Class logits of regions; see :class:`~lungcad.papers.jnsc.network.RegionClassifier`.

        Args:
            features: maps of the encoder.
            image: (R,) long, index of the region's image in the batch.
            boxes: (R, 6) long, first voxel and the voxel behind the last one.
            voxels: (R,) number of voxels of each region.

        Returns:
            Logits (R, 3) float32 of benign, malignant, non-nodule; NaN without the classification path.
        """
        if self.classifier is None:
            return torch.full((boxes.shape[0], 3), float("nan"), device=boxes.device)
        return self.classifier(features, image, boxes, voxels)


class Block(nn.Module):
    """Convolutions with a shortcut around them and spatial dropout, the common part of figure 3's blocks E and D.

    Args:
        inside, outside: numbers of input and output channels; if they differ the shortcut is a 1x1x1 convolution.
        count: number of convolutions.
        dropout: rate at which whole channels are left out.

    Shape:
        - x: (B, inside, X, Y, Z)
        - out: (B, outside, X, Y, Z)
    """

    def __init__(self, inside: int, outside: int, count: int, dropout: float):
        super().__init__()
        widths = [inside] + [outside] * count
        self.layers = nn.Sequential(
            *(normalised(nn.Conv3d(a, b, 3, padding=1, bias=False), b) for a, b in pairwise(widths)),
            nn.Dropout3d(dropout),
        )
        self.shortcut = nn.Identity() if inside == outside else nn.Conv3d(inside, outside, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, outside, X, Y, Z)."""
        return self.layers(x) + self.shortcut(x)


class InstanceNorm(nn.InstanceNorm3d):
    """Instance normalisation as batch normalisation of one sample after the other.

    The numbers equal those of torch's own, which brings tensors in channels-last order into the other order and back:
    a third of a training step on CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Input (B, C, X, Y, Z), normalised by sample and channel."""
        done = [F.batch_norm(sample, None, None, self.weight, self.bias, True, 0.0, self.eps) for sample in x.split(1)]
        return torch.cat(done)


def normalised(convolution: nn.Module, channels: int) -> nn.Sequential:
    """Convolution, instance normalisation, ReLU (section IV.F)."""
    return nn.Sequential(convolution, InstanceNorm(channels, affine=True), nn.ReLU(inplace=True))


class RegionClassifier(nn.Module):
    """Classifier of regions by crops of the encoder's maps and the regions' sizes (section IV.C).

    On a map of stride s a box covers the cells that it touches. Section IV.F normalises every convolution, but the
    1x1x1 convolutions here are not normalised: the smallest regions have one cell at the coarsest scale, and instance
    normalisation makes every single cell 0.

    Args:
        channels: widths of the maps.
        levels: number of scales in use, from the finest on.
        features: channels behind each scale's 1x1x1 convolution.

    Shape:
        - maps: (B, channels, X / s, Y / s, Z / s) for s = 1, 2, 4, 8, 16
        - image: (R,) long, index of the region's image in the batch
        - boxes: (R, 6) long, first voxel and the voxel behind the last one, within the image
        - voxels: (R,) number of voxels of each region
        - out: (R, 3) float32, logits of :data:`CLASSES`

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
        """Cells (1, C, a, b, c) of a map that a box touches."""
        low = box[:3] // stride
        high = (box[3:] + stride - 1) // stride
        x, y, z = int(low[0]), int(low[1]), int(low[2])
        return features[image : image + 1, :, x : int(high[0]), y : int(high[1]), z : int(high[2])]


def size_feature(voxels: Tensor) -> Tensor:
    """Size feature (R,) of regions: a tenth of the cube root of the number (R,) of 1 mm voxels (equation 1)."""
    return voxels.float().pow(1 / 3) / 10
