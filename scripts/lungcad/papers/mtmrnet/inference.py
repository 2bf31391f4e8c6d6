# SPDX-License-Identifier: Apache-2.0
"""MONAI dictionary transforms of the malignancy bundles: findings to slices, network output to findings."""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform

from lungcad.finding import ATTRIBUTES, Finding
from lungcad.grid import Scan
from lungcad.lidc_scale import SCALE_ENDS
from lungcad.nodule_slices import SliceCropper
from lungcad.transforms import Data, to_volume


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
