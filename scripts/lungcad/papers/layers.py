# SPDX-License-Identifier: Apache-2.0
"""Layers that the networks of several papers share."""
from torch import Tensor, nn


class ResidualUnit(nn.Module):
    """x + F(x), with F two rounds of batch normalisation, ReLU and a padded 3x3x3 convolution (section 2.2)."""

    def __init__(self, channels: int):
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm3d(channels),
            nn.ReLU(),
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm3d(channels),
            nn.ReLU(),
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as ``x``."""
        return x + self.residual(x)
