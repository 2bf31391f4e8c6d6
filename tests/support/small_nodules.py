# SPDX-License-Identifier: Apache-2.0
"""Rated nodules made by hand, and a network that is quick and sums up in one's head."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lungcad.papers.mtmrnet.nodules import RatedNodule


def rated(name: str = "n", malignancy: Sequence[float] = (4,), hu: np.ndarray | None = None, *, patient_id: str = "p",
          pixel_mm: tuple[float, float] = (0.5, 0.7), diameter_mm: float = 8.0,
          attributes: Sequence[float] = (5, 1, 6, 3, 4, 2, 1, 5)) -> RatedNodule:  # fmt: skip
    """A nodule in the middle of slices (S, R, C); one reader for each malignancy, who agree on the attributes."""
    slices = np.zeros((3, 41, 31)) if hu is None else hu
    rows, columns = slices.shape[1:]
    readings = np.array([[one, *attributes] for one in malignancy], dtype=float)
    return RatedNodule(name, patient_id, slices.astype(np.int16), ((rows - 1) / 2, (columns - 1) / 2), pixel_mm,
                       diameter_mm, readings)  # fmt: skip


class MeanNetwork(nn.Module):
    """A stand-in for MTMR-Net: nine linear functions of the mean of each channel.

    As it is made, the logit is the first channel's mean / 128, and every attribute is half way up its scale.
    """

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 9)
        with torch.no_grad():
            self.linear.weight.zero_()
            self.linear.weight[0, 0] = 1 / 128
            self.linear.bias.copy_(torch.zeros(9))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 9)."""
        return self.linear(x.mean(dim=(2, 3)))
