# SPDX-License-Identifier: Apache-2.0
"""Building blocks of densely connected networks: each unit is batch normalisation, ReLU, convolution."""

import torch
from torch import Tensor, nn


def pointwise(inside: int, outside: int) -> nn.Sequential:
    """DenseNet's transition without its pooling: batch normalisation, ReLU, 1x1x1 convolution."""
    return nn.Sequential(nn.BatchNorm3d(inside), nn.ReLU(inplace=True), nn.Conv3d(inside, outside, 1, bias=False))


def bottleneck(inside: int, inner: int, outside: int) -> nn.Sequential:
    """Bottleneck: a 1x1x1 convolution to ``inner`` and a padded 3x3x3 one to ``outside`` channels.

    Batch normalisation and ReLU come before each convolution.
    """
    return nn.Sequential(
        pointwise(inside, inner),
        nn.BatchNorm3d(inner),
        nn.ReLU(inplace=True),
        nn.Conv3d(inner, outside, 3, padding=1, bias=False),
    )


class DenseBlock(nn.Module):
    """Dense block: each layer sees the outputs of all layers before it and adds ``growth`` channels (DenseNet-B).

    Args:
        inside: number of input channels.
        growth: number of channels that a layer adds; its bottleneck has four times as many.
        layers: number of layers.

    Shape:
        - x: (B, inside, X, Y, Z)
        - out: (B, inside + layers * growth, X, Y, Z)
    """

    def __init__(self, inside: int, growth: int, layers: int = 2):
        super().__init__()
        self.layers = nn.ModuleList(bottleneck(inside + n * growth, 4 * growth, growth) for n in range(layers))
        self.channels = inside + layers * growth

    def forward(self, x: Tensor) -> Tensor:
        """Input and all layers' outputs, concatenated."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], dim=1)
        return x
