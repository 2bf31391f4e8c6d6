# SPDX-License-Identifier: Apache-2.0
"""3D Aggregated Faster R-CNN of Zhang et al. 2020 (arXiv 2001.11071): backbone, region proposals, classifier branch.

Table I gives the layers. Its PreBlock's width is not stated and is an argument here.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lungcad.papers.threedag.anchors import STRIDES, check_anchors
from lungcad.papers.threedag.classifier import AggregatedClassifier
from lungcad.papers.threedag.layers import DenseBlock, bottleneck, pointwise

FRONT_RECEPTIVE_RADIUS = 6
"""Greatest distance, in voxels, from an output cell of :attr:`DensePyramid.front` to an input voxel that it depends
on."""

PREBLOCK_RECEPTIVE_RADIUS = 2
"""Greatest such distance from an output cell of :meth:`DensePyramid.preblock`, in voxels; and from one of
:meth:`DensePyramid.first_dense_block`, in the cells that it takes."""


class DensePyramid(nn.Module):
    """U-Net of dense blocks with a feature pyramid as its way up (section III.A, table I).

    Args:
        stem: width of the PreBlock, at full resolution.
        growth: channels that a layer of a dense block adds.
        channels: width of the pyramid and of every transition.

    Shape:
        - x: (B, 1, X, Y, Z), sides that are multiples of 16
        - out: a list of (B, channels, X / s, Y / s, Z / s) for s = 4, 8, 16
    """

    def __init__(self, stem: int = 16, growth: int = 16, channels: int = 32):
        super().__init__()
        first, *blocks = (DenseBlock(inside, growth) for inside in (stem, channels, channels))
        self.front = nn.Sequential(
            nn.Conv3d(1, stem, 3, padding=1, bias=False),
            nn.BatchNorm3d(stem),
            nn.ReLU(inplace=True),
            nn.Conv3d(stem, stem, 3, padding=1, bias=False),
            nn.MaxPool3d(2),
            first,
            pointwise(first.channels, channels),
            nn.AvgPool3d(2),
        )
        """Layers from PreBlock to transition 1, at stride 4: most of the work, with a small receptive field."""
        self.encode = nn.ModuleList(blocks)
        self.reduce = nn.ModuleList(pointwise(block.channels, channels) for block in blocks)
        self.up = nn.ModuleList(nn.ConvTranspose3d(channels, channels, 2, 2) for _ in blocks)
        self.decode = nn.ModuleList()
        for block in blocks[::-1]:
            dense = DenseBlock(channels, growth)
            merge, transition = pointwise(channels + block.channels, channels), pointwise(dense.channels, channels)
            self.decode.append(nn.Sequential(merge, dense, transition))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features at strides 4, 8 and 16."""
        return self.from_front(self.front(x))

    def preblock(self, x: Tensor) -> Tensor:
        """Output (B, stem, X / 2, Y / 2, Z / 2) of the first part of ``front``, of an image."""
        for layer in list(self.front)[:5]:
            x = layer(x)
        return x

    def first_dense_block(self, x: Tensor) -> Tensor:
        """Output (B, channels, X / 4, Y / 4, Z / 4) of the rest of ``front``, of the output of ``preblock``."""
        for layer in list(self.front)[5:]:
            x = layer(x)
        return x

    def from_front(self, x: Tensor) -> list[Tensor]:
        """Features at strides 4, 8 and 16 from the output (B, channels, X / 4, Y / 4, Z / 4) of ``front``."""
        levels: list[Tensor] = []
        for encode, reduce in zip(self.encode, self.reduce, strict=False):
            x = encode(x)
            levels.append(x)
            x = F.avg_pool3d(reduce(x), 2)
        pyramid = [x]  # stride 16
        for up, decode in zip(self.up, self.decode, strict=False):
            x = decode(torch.cat([levels.pop(), up(x)], dim=1))
            pyramid.insert(0, x)
        return pyramid


def proposal_head(channels: int, inner: int, anchors: int) -> nn.Sequential:
    """Two bottlenecks and a 1x1x1 convolution to five numbers per anchor: table I's detector."""
    return nn.Sequential(
        bottleneck(channels, inner, channels),
        bottleneck(channels, inner, channels),
        nn.BatchNorm3d(channels),
        nn.ReLU(inplace=True),
        nn.Conv3d(channels, 5 * anchors, 1),
    )


class AggregatedFasterRCNN(nn.Module):
    """Network of both branches: proposals of all scales in one tensor, and a classifier of chosen proposals.

    A proposal is the log odds of nodule, then the offsets x, y, z, diameter from its anchor
    (:func:`lungcad.papers.threedag.anchors.decode_offsets`). The paper's order is z, y, x, diameter; here it is that of
    the arrays. Proposals come in the order of :func:`lungcad.papers.threedag.anchors.anchor_cubes`.

    Args:
        anchors_mm: anchor diameters per level; a level without anchors proposes nothing (table II's single scale).
        stem: width of the PreBlock.
        growth: channels that a layer of a dense block adds, and inner channels of the bottlenecks of the heads and of
            Local Magnification.
        channels: width of the pyramid.
        diameter_alignment: True for Diameter Alignment in the classifier branch.
        magnify: True for Local Magnification (the paper's 3D-AG-LM), False for 3D-AG.
        crop: cells along a side that Local Magnification looks at.

    Shape:
        - x: (B, 1, X, Y, Z) float, 1 mm voxels, sides that are multiples of 16; 128 in training
        - out: (B, 5, N), channels first as MONAI's checks require; N = sum over the levels of X Y Z / s^3 times the
          level's number of anchors

    Raises:
        InputError: E-CONFIG, anchors as in :func:`~lungcad.papers.threedag.anchors.check_anchors`.
    """

    def __init__(self, anchors_mm: Sequence[Sequence[float]] = ((4, 6), (8, 12), (16, 24)), stem: int = 16,
                 growth: int = 16, channels: int = 32, diameter_alignment: bool = True, magnify: bool = False,
                 crop: int = 4):  # fmt: skip
        super().__init__()
        check_anchors(anchors_mm)
        self.proposing = [level for level in range(len(STRIDES)) if anchors_mm[level]]
        self.backbone = DensePyramid(stem, growth, channels)
        self.heads = nn.ModuleList(proposal_head(channels, growth, len(anchors_mm[level])) for level in self.proposing)
        self.classifier = AggregatedClassifier(
            channels, diameter_alignment=diameter_alignment, magnify=magnify, inner=growth, crop=crop
        )
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Proposals (B, 5, N) of an image."""
        return self.propose(self.pyramid(x)).transpose(1, 2)

    @torch.jit.export
    def pyramid(self, x: Tensor) -> list[Tensor]:
        """Features at strides 4, 8, 16, which :meth:`propose` and :meth:`classify` share."""
        return self.backbone(x)

    @torch.jit.export
    def propose(self, pyramid: list[Tensor]) -> Tensor:
        """Proposals (B, N, 5) of a pyramid."""
        proposals: list[Tensor] = []
        for n, head in enumerate(self.heads):
            output = head(pyramid[self.proposing[n]])  # (B, 5 A, X', Y', Z')
            proposals.append(output.unflatten(1, [-1, 5]).permute(0, 3, 4, 5, 1, 2).flatten(1, 4))
        return torch.cat(proposals, dim=1)

    @torch.jit.export
    def classify(self, pyramid: list[Tensor], cubes: Tensor, level: Tensor) -> Tensor:
        """Log odds (B, N) of proposals by the classifier branch; see :class:`AggregatedClassifier`."""
        return self.classifier(pyramid, cubes, level)
