# SPDX-License-Identifier: Apache-2.0
"""Layers that the networks of several papers share."""

from torch import Tensor, nn


class ResidualUnit(nn.Module):
    """Residual unit x + F(x); F is twice batch normalisation, ReLU and a padded 3x3x3 convolution.

    The unit of Dou et al. 2017 (section 2.2), which Yao and Zhang 2018 use too.

    Args:
        channels: number of input and output channels.
        shortcut: False for F(x) alone, a unit of a plain network.

    Shape:
        - x: (B, channels, X, Y, Z)
        - out: the same
    """

    def __init__(self, channels: int, shortcut: bool = True):
        super().__init__()
        self.shortcut = shortcut
        self.residual = nn.Sequential(
            nn.BatchNorm3d(channels),
            nn.ReLU(),
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm3d(channels),
            nn.ReLU(),
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Sum of the input and its residual, or the residual alone, of the same shape as ``x``."""
        residual: Tensor = self.residual(x)
        return x + residual if self.shortcut else residual
