# SPDX-License-Identifier: Apache-2.0
"""MONAI dictionary transforms of the malignancy bundles: findings to slices, network output to findings."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform
from torch import Tensor
from torch.nn import functional as F

from lungcad.finding import ATTRIBUTES, Finding
from lungcad.lidc.scale import SCALE_ENDS
from lungcad.papers.transforms import Data
from lungcad.reading.monai_reader import to_volume
from lungcad.scan.scan import Scan


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


class LoadedScand(MapTransform):
    """Make the ``scan`` of a loaded image; a chain's shared one stays."""

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """See the class."""
        d = dict(data)
        for key in self.keys:
            d["scan"] = d.get("scan") or Scan(to_volume(d[key]))
        return d


class FindingSlicesd(MapTransform):
    """Replace ``image`` by crops of the axial slices that enclose each of the ``findings``, on the scan's own pixels.

    ``slices_of`` tells how many slices each finding has: none where its diameter is unknown or its nodule probability
    is below ``least_probability``.

    Args:
        keys: of the image.
        cropper: see there.
        most_slices: of one finding; more are thinned out evenly.
        least_probability: of findings to look at; their detection score where no stage gave a nodule probability.
    """

    def __init__(self, keys: Any, cropper: SliceCropper, most_slices: int, least_probability: float):
        super().__init__(keys)
        self.cropper, self.most_slices, self.least_probability = cropper, most_slices, least_probability

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """See the class."""
        d = dict(data)
        crops = [self._crops(d["scan"], finding) for finding in d["findings"]]
        for key in self.keys:
            d[key] = torch.cat([torch.empty(0, 3, self.cropper.crop, self.cropper.crop), *crops])
        d["slices_of"] = [len(one) for one in crops]
        return d

    def _crops(self, scan: Scan, finding: Finding) -> torch.Tensor:
        probability = finding.score
        if finding.diameter_mm is None or (probability is not None and probability < self.least_probability):
            return torch.empty(0, 3, self.cropper.crop, self.cropper.crop)
        slices, center, pixel_mm = scan.axial_slices(finding.center_lps_mm, finding.diameter_mm, self.most_slices)
        return self.cropper(slices, center, [finding.diameter_mm / side for side in pixel_mm])


class DecodeMalignancyd(MapTransform):
    """Outputs (S, 9) of MTMR-Net to ``findings``: the mean over a finding's slices (section III.A.3).

    Args:
        keys: of the outputs, logits of malignancy and of eight attributes.
        temperature: that the logits of malignancy are divided by.
    """

    def __init__(self, keys: Any, temperature: float):
        super().__init__(keys)
        self.temperature = temperature
        self.highest = np.array([SCALE_ENDS[name] for name in ATTRIBUTES])

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """See the class."""
        d = dict(data)
        for key in self.keys:
            output = d[key].float().cpu().reshape(-1, 1 + len(ATTRIBUTES))
            parts = output.split(d["slices_of"])
            d["findings"] = [self._seen(*pair) for pair in zip(d["findings"], parts, strict=True)]
        return d

    def _seen(self, finding: Finding, output: torch.Tensor) -> Finding:
        """The finding with what (S, 9) outputs say of it; without any, nothing is known, whatever it said before."""
        if not len(output):
            return replace(finding, malignancy_probability=None, attributes=None)
        malignancy = float((output[:, 0] / self.temperature).sigmoid().mean())
        unit = output[:, 1:].sigmoid().mean(dim=0).numpy()
        scores = dict(zip(ATTRIBUTES, (1 + unit * (self.highest - 1)).tolist(), strict=True))
        return replace(finding, malignancy_probability=malignancy, attributes=scores)
