# SPDX-License-Identifier: Apache-2.0
"""Inference of Yao and Zhang 2018: the U-Net on the lungs, candidates with diameters, and their nodule probability.

:class:`LungUNetInferer` and :class:`ProbabilityVolumeToFindingsd` serve the candidate network,
:class:`AssumeDiametersd` and :class:`ClassifiedFindingsd` the classifier that reduces false positives.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer
from monai.transforms import MapTransform, Transform
from torch import Tensor

from lungcad.console import bar
from lungcad.cpu import tune_allocator
from lungcad.fast_network import make_fast
from lungcad.finding import Finding, as_place, centers_of
from lungcad.geometry import to_world
from lungcad.papers.inferers import lung_box
from lungcad.papers.peaks import IndexMap, merge_spheres, region_diameters, suppress_score_volume
from lungcad.papers.transforms import Data
from lungcad.papers.yao2018.network import SimplifiedUNet


class LungUNetInferer(Inferer):
    """Volume-to-volume inference with a U-Net on the lungs' box, slab by slab (Yao 2018, section 1.1.2).

    Slabs overlap by the network's receptive radius and start at multiples of its unit, so their outputs equal the whole
    box's.

    Args:
        context: voxels around the lungs' box that the network sees.
        slab: number of slices at a time; bounds the memory.
        precision: name of a data type, see :func:`~lungcad.cpu.fast_dtype`.
    """

    def __init__(self, context: int = 16, slab: int = 320, precision: str = "auto"):
        super().__init__()
        self.context, self.slab, self.precision = context, slab, precision

    @torch.inference_mode()
    def __call__(self, inputs: Tensor, network: SimplifiedUNet, lungs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Log odds of a nodule, -inf outside the box.

        Args:
            inputs: (1, 1, X, Y, Z) image, scaled as the network expects it.
            network: U-Net in evaluation mode.
            lungs: (X, Y, Z) bool, the lung mask, not empty.

        Returns:
            (1, 1, X // 2, Y // 2, Z // 2) float32.
        """
        tune_allocator()
        unit, radius = network.unit, network.receptive_radius
        fast = make_fast(network, inputs.device, self.precision)
        score = inputs.new_full([side // 2 for side in inputs.shape[2:]], -torch.inf)
        box, low = lung_box(inputs, lungs, self.context, unit)
        depth = box.shape[-1]
        step = max(self.slab // unit, 1) * unit
        for start in bar(range(0, depth, step), "detect", "slab"):
            end = min(start + step, depth)
            first, last = max(0, start - radius), min(depth, end + radius)
            output = fast(box[..., first:last])[0, 0].float()
            inner = output[..., (start - first) // 2 : (end - first) // 2]
            x, y, z = low[0] // 2, low[1] // 2, (low[2] + start) // 2
            target = score[x : x + inner.shape[0], y : y + inner.shape[1], z : z + inner.shape[2]]
            target.copy_(inner[tuple(slice(side) for side in target.shape)])
        return score[None, None]


class ProbabilityVolumeToFindingsd(MapTransform):
    """Peaks of a probability volume (1, 1, X', Y', Z') in the lungs to ``findings`` with diameters (section 1.1.2).

    Args:
        keys: key of the volume, log odds.
        spacing_mm: voxel size of the network's input, x, y, z.
        index_map: index map of the network.
        threshold: least probability of a peak.
        radius_mm: least distance of two peaks.
        max_candidates: number of candidates kept, the best ones.
        shift_mm: radius of the mean shift's window, which refines a candidate's place.
        temperature: divisor of a peak's log odds before they become the detection score. A Dice loss leaves most
            probabilities at 1; undivided, they differ only in digits too small to report.
    """

    def __init__(self, keys: Any, spacing_mm: Sequence[float], index_map: IndexMap, threshold: float, radius_mm: float,
                 max_candidates: int, shift_mm: float, temperature: float = 1.0):  # fmt: skip
        super().__init__(keys)
        self.spacing_mm, self.index_map, self.threshold = spacing_mm, index_map, threshold
        self.radius_mm, self.max_candidates = radius_mm, max_candidates
        self.shift_mm, self.temperature = shift_mm, temperature

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Apply the transform to one case."""
        d = dict(data)
        x, y, z = (size * n for size, n in zip(self.spacing_mm, self.index_map.stride, strict=True))
        for key in self.keys:
            logit = d[key][0, 0]
            lungs = torch.nn.functional.avg_pool3d(d["lungs"][None].float(), self.index_map.stride)[0] >= 0.5
            place, score = suppress_score_volume(
                logit, (x, y, z), self.radius_mm, self.threshold, self.max_candidates, self.shift_mm,
                allowed=lungs.to(logit.device), temperature=self.temperature,
            )  # fmt: skip
            diameter = region_diameters(logit, place, np.array([x, y, z]))
            lps = to_world(d["grid_affine"], self.index_map.to_voxel(place))
            d["findings"] = [
                Finding(as_place(lps[n]), float(diameter[n]), float(score[n]))
                for n in merge_spheres(lps, diameter, score)
            ]
        return d


class AssumeDiametersd(Transform):
    """Add ``diameters`` (N,) of the ``findings`` in voxels, for a network that takes them as input.

    A finding of unknown diameter is repeated with each trial diameter; after the network the most probable of them is
    left, because findings at one place are merged.

    Args:
        spacing_mm: size of the cubic voxels, x, y, z.
        trial_diameters_mm: diameters to try.
    """

    def __init__(self, spacing_mm: Sequence[float], trial_diameters_mm: Sequence[float]):
        self.spacing_mm, self.trial_diameters_mm = spacing_mm[0], trial_diameters_mm

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Apply the transform to one case."""
        d = dict(data)
        findings = [
            replace(f, diameter_mm=diameter)
            for f in d["findings"]
            for diameter in (self.trial_diameters_mm if f.diameter_mm is None else [f.diameter_mm])
        ]
        d["findings"] = findings
        d["diameters"] = torch.tensor([f.diameter_mm / self.spacing_mm for f in findings])
        return d


class ClassifiedFindingsd(MapTransform):
    """Outputs (N, 2), logits or log probabilities, to the nodule probability of the ``findings``.

    Findings that are the same nodule are merged; findings below ``threshold`` are dropped.

    Args:
        keys: key of the outputs.
        threshold: least nodule probability of a finding.
    """

    def __init__(self, keys: Any, threshold: float):
        super().__init__(keys)
        self.threshold = threshold

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Apply the transform to one case."""
        d = dict(data)
        for key in self.keys:
            probability = d[key].float().cpu().reshape(-1, 2).softmax(dim=1)[:, 1].numpy()
            findings = d["findings"]
            center = centers_of(findings)
            diameter = np.array([f.diameter_mm for f in findings])
            d["findings"] = [
                replace(findings[n], nodule_probability=float(probability[n]))
                for n in merge_spheres(center, diameter, probability)
                if probability[n] >= self.threshold
            ]
        return d
