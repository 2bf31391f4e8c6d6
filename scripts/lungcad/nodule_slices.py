# SPDX-License-Identifier: Apache-2.0
"""Slices that enclose a nodule, cropped to its size: what MTMR-Net looks at (Liu et al. 2019, section III.A.3)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


class SliceCropper:
    """Cut a square around a nodule, as large as the nodule demands, and resize it (bilinear) to the network's input.

    The square's side is a multiple of the diameter, so nodules of any size fill the same share of the picture.

    Args:
        window_hu: shown from black to white.
        channel_means: subtracted from the three equal channels, which go from 0 to 255.
        crop_factor: side of the square in diameters.
        size: pixels that the square is resized to; 256 in the paper.
        crop: pixels of the network's input, cut from its centre, or at random in training; 224 in the paper.
    """

    def __init__(self, window_hu: Sequence[float], channel_means: Sequence[float], crop_factor: float, size: int,
                 crop: int):  # fmt: skip
        self.window_hu, self.crop_factor, self.size, self.crop = tuple(window_hu), crop_factor, size, crop
        self.means = torch.tensor(channel_means, dtype=torch.float32).view(1, 3, 1, 1)

    def __call__(self, slices: Tensor, center: Sequence[float], diameter_px: Sequence[float],
                 rng: np.random.Generator | None = None) -> Tensor:  # fmt: skip
        """Crop slices around one nodule.

        Args:
            slices: (S, R, C) HU of any type.
            center: row and column, continuous indices.
            diameter_px: diameter of the nodule in rows and in columns.
            rng: in training, for a random crop, flips and turns by 90 degrees; None crops at the centre.

        Returns:
            (S, 3, crop, crop) float32. What lies beyond the slice repeats its edge.
        """
        low, high = self.window_hu
        grey = ((slices.float() - low) / (high - low)).clamp(0, 1)[:, None] * 255
        axes = [
            self._positions(at, diameter, length, rng)
            for at, diameter, length in zip(center, diameter_px, slices.shape[1:], strict=True)
        ]
        rows, columns = (torch.from_numpy(axis).float() for axis in axes)
        grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)  # (crop, crop, 2): x, y
        crops = F.grid_sample(grey, grid.expand(len(grey), -1, -1, -1), padding_mode="border", align_corners=False)
        if rng is not None and rng.random() < 0.5:
            crops = crops.transpose(2, 3)  # with the flips: any turn by 90 degrees
        return crops.expand(-1, 3, -1, -1) - self.means

    def _positions(self, center: float, diameter: float, length: int, rng: np.random.Generator | None) -> np.ndarray:
        """Where along one axis the output's pixels lie, from -1 to 1 as grid_sample counts."""
        spare = self.size - self.crop
        first = spare / 2 if rng is None else rng.integers(spare + 1)
        pixel = (first + np.arange(self.crop) + 0.5) / self.size - 0.5  # in sides of the square, from its centre
        if rng is not None and rng.random() < 0.5:
            pixel = -pixel
        return (2 * (center + pixel * self.crop_factor * diameter) + 1) / length - 1
