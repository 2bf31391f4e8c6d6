# SPDX-License-Identifier: Apache-2.0
"""Inference of MTMR-Net: findings to crops of their slices, and the network's output back to findings.

:class:`SliceCropper` cuts the network's input, in training too; :class:`LoadedScand`, :class:`FindingSlicesd` and
:class:`DecodeMalignancyd` are MONAI dictionary transforms around the network.
"""

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
from lungcad.papers.transforms import LoadedScand as LoadedScand  # its name in the bundle's config
from lungcad.scan.scan import Scan


class SliceCropper:
    """Cropper of a square around a nodule, resized (bilinear) to the network's input (section III.A.3).

    The square's side is a multiple of the nodule's diameter, so nodules of any size fill the same share of the picture.

    Args:
        window_hu: lowest and highest HU, shown black and white.
        channel_means: values to subtract from the three equal channels, which go from 0 to 255.
        crop_factor: side of the square in diameters.
        size: side of the resized square in pixels; 256 in the paper.
        crop: side of the network's input in pixels, cut from the square's centre, or at random in training; 224 in the
            paper.
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
            center: row and column of the nodule's centre, continuous indices.
            diameter_px: diameter of the nodule in rows and in columns.
            rng: source of a random crop, flips and turns by 90 degrees, in training; None crops at the centre.

        Returns:
            Crops (S, 3, crop, crop) float32. Pixels beyond the slice repeat its edge.
        """
        low, high = self.window_hu
        grey = ((slices.float() - low) / (high - low)).clamp(0, 1)[:, None] * 255
        axes = [
            self._positions(middle, diameter, length, rng)
            for middle, diameter, length in zip(center, diameter_px, slices.shape[1:], strict=True)
        ]
        rows, columns = (torch.from_numpy(axis).float() for axis in axes)
        grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)  # (crop, crop, 2): x, y
        crops = F.grid_sample(grey, grid.expand(len(grey), -1, -1, -1), padding_mode="border", align_corners=False)
        if rng is not None and rng.random() < 0.5:
            crops = crops.transpose(2, 3)  # with the flips: any turn by 90 degrees
        return crops.expand(-1, 3, -1, -1) - self.means

    def _positions(self, center: float, diameter: float, length: int, rng: np.random.Generator | None) -> np.ndarray:
        """Positions (crop,) of the output's pixels along one axis, from -1 to 1 as grid_sample counts."""
        spare = self.size - self.crop
        first = spare / 2 if rng is None else rng.integers(spare + 1)
        pixel = (first + np.arange(self.crop) + 0.5) / self.size - 0.5  # in sides of the square, from its centre
        if rng is not None and rng.random() < 0.5:
            pixel = -pixel
        return (2 * (center + pixel * self.crop_factor * diameter) + 1) / length - 1


class FindingSlicesd(MapTransform):
    """Replace ``image`` by crops of the axial slices that enclose each of the ``findings``, on the scan's own pixels.

    ``slice_counts`` holds the number of slices of each finding: none if its diameter is unknown or its nodule
    probability is below ``least_probability``.

    Args:
        keys: key of the image.
        cropper: cropper of the slices.
        max_slices: largest number of slices of one finding; more are thinned out evenly.
        least_probability: least nodule probability of a finding to crop, or least detection score if no stage gave a
            nodule probability.
    """

    def __init__(self, keys: Any, cropper: SliceCropper, max_slices: int, least_probability: float):
        super().__init__(keys)
        self.cropper, self.max_slices, self.least_probability = cropper, max_slices, least_probability

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Apply the transform to one case."""
        d = dict(data)
        crops = [self._crops(d["scan"], finding) for finding in d["findings"]]
        for key in self.keys:
            d[key] = torch.cat([torch.empty(0, 3, self.cropper.crop, self.cropper.crop), *crops])
        d["slice_counts"] = [len(slices) for slices in crops]
        return d

    def _crops(self, scan: Scan, finding: Finding) -> torch.Tensor:
        """Crops (S, 3, crop, crop) of one finding's slices; S is 0 for a finding that is left out."""
        probability = finding.score
        if finding.diameter_mm is None or (probability is not None and probability < self.least_probability):
            return torch.empty(0, 3, self.cropper.crop, self.cropper.crop)
        slices, center, pixel_mm = scan.axial_slices(finding.center_lps_mm, finding.diameter_mm, self.max_slices)
        return self.cropper(slices, center, [finding.diameter_mm / side for side in pixel_mm])


class DecodeMalignancyd(MapTransform):
    """Outputs (S, 9) of MTMR-Net to ``findings``: the mean over a finding's slices (section III.A.3).

    Args:
        keys: key of the outputs, logits of malignancy and of eight attributes.
        temperature, shift: divisor of the logits of malignancy, and what is added to them then, see
            :mod:`lungcad.papers.mtmrnet.calibration`.
    """

    def __init__(self, keys: Any, temperature: float = 1.0, shift: float = 0.0):
        super().__init__(keys)
        self.temperature, self.shift = temperature, shift
        self.highest = np.array([SCALE_ENDS[name] for name in ATTRIBUTES])

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Apply the transform to one case."""
        d = dict(data)
        for key in self.keys:
            output = d[key].float().cpu().reshape(-1, 1 + len(ATTRIBUTES))
            parts = output.split(d["slice_counts"])
            d["findings"] = [self._characterised(*pair) for pair in zip(d["findings"], parts, strict=True)]
        return d

    def _characterised(self, finding: Finding, output: torch.Tensor) -> Finding:
        """Finding with malignancy and attributes of its outputs (S, 9), or with neither if there are none (S = 0)."""
        if not len(output):
            return replace(finding, malignancy_probability=None, attributes=None)
        malignancy = float((output[:, 0] / self.temperature + self.shift).sigmoid().mean())
        unit = output[:, 1:].sigmoid().mean(dim=0).numpy()
        scores = dict(zip(ATTRIBUTES, (1 + unit * (self.highest - 1)).tolist(), strict=True))
        return replace(finding, malignancy_probability=malignancy, attributes=scores)
