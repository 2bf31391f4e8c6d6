# SPDX-License-Identifier: Apache-2.0
"""MONAI inferers of the joint network: all regions in the lungs of a scan, or the region of each given finding."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer
from torch import Tensor
from torch.nn import functional as F

from lungcad.console import bar
from lungcad.cpu import autocast, channels_last, channels_last_network, tune_allocator
from lungcad.papers.inferers import lung_box
from lungcad.papers.jnsc.network import JointNet
from lungcad.papers.jnsc.regions import Region, find_regions


@dataclass(frozen=True)
class Judged:
    """Regions, and what the classification says of them.

    Attributes:
        regions: None where a finding was asked about and the segmentation has nothing there.
        classes: (R, 3) float32, probabilities of benign, malignant, non-nodule; NaN where it was not asked.
    """

    regions: list[Region | None]
    classes: Tensor


class LungJointInferer(Inferer):
    """Regions of the averaged segmentation of overlapping windows, each classified (sections III and V.A).

    The paper averages windows of 64 at steps of 32 voxels. Only windows with lung in their middle, as wide as a step,
    are computed: each voxel of the lungs is in one's middle. A region counts that touches the lungs. The paper does not
    say which window a region's features come from; here it is one with the region in its middle.

    Args:
        window: voxels along a side.
        stride: voxels between windows, a divisor of ``window``.
        threshold: least probability of a region's voxels.
        core: see :func:`~lungcad.papers.jnsc.regions.find_regions`.
        least_diameter: voxels; of the sphere as large as a region. Smaller ones are left out.
        most: regions at most, the largest by summed probability; bounds the work on an untrained network.
        classify: with the classification path.
        batch_size: windows at a time.
        precision: see :func:`~lungcad.cpu.fast_dtype`.
    """

    def __init__(self, window: int = 64, stride: int = 32, threshold: float = 0.4, core: float = 1.0,
                 least_diameter: float = 3.0, most: int = 300, classify: bool = True, batch_size: int = 4,
                 precision: str = "auto"):  # fmt: skip
        super().__init__()
        self.window, self.stride, self.threshold, self.core = window, stride, threshold, core
        self.least_diameter, self.most, self.classify = least_diameter, most, classify
        self.batch_size, self.precision = batch_size, precision

    @torch.inference_mode()
    def __call__(self, inputs: Tensor, network: JointNet, lungs: Tensor, *args: Any, **kwargs: Any) -> Judged:
        """Regions in voxels of the image, largest first.

        Args:
            inputs: (1, 1, X, Y, Z) on the image's scale.
            network: in evaluation mode.
            lungs: (X, Y, Z) bool, not empty.
        """
        tune_allocator()
        channels_last_network(network)
        probability = self.probability(inputs, network, lungs).cpu().numpy()
        inside = lungs.cpu().numpy()
        regions = [
            region
            for region in find_regions(probability, self.threshold, self.core, self.least_diameter)
            if region.diameter >= self.least_diameter and inside[region.here][region.mask].any()
        ][: self.most]
        return Judged(list(regions), self.classes(inputs, network, regions))

    @torch.inference_mode()
    def probability(self, inputs: Tensor, network: JointNet, lungs: Tensor) -> Tensor:
        """Mean probability (X, Y, Z) of nodule over the windows; 0 where there was none."""
        image, low = lung_box(inputs, lungs, self.stride, self.stride)
        image = _at_least(image, self.window)
        sides = image.shape[2:]
        own = lungs[tuple(slice(a, a + n) for a, n in zip(low, sides, strict=True))]
        starts = [range(0, side - self.window + 1, self.stride) for side in sides]
        windows = [tuple(slice(a, a + self.window) for a in corner) for corner in product(*starts)]
        windows = [here for here in windows if own[self._middle(here, sides)].any()]
        total, count = torch.zeros_like(image[0, 0]), torch.zeros_like(image[0, 0])
        for first in bar(range(0, len(windows), self.batch_size), "detect", "batch"):
            some = windows[first : first + self.batch_size]
            batch = torch.cat([image[:, :, *here] for here in some])
            with autocast(inputs.device, self.precision):
                logit = network(channels_last(batch))
            for here, one in zip(some, logit.float().sigmoid()[:, 0], strict=True):
                total[here] += one
                count[here] += 1
        mean = total / count.clamp(min=1)
        whole = torch.zeros_like(inputs[0, 0])
        target = whole[tuple(slice(a, a + n) for a, n in zip(low, sides, strict=True))]
        target.copy_(mean[tuple(slice(n) for n in target.shape)])
        return whole

    def _middle(self, window: tuple[slice, ...], sides: Sequence[int]) -> tuple[slice, ...]:
        """The middle of a window, as wide as a step; middles fill the volume, for at its ends they reach them."""
        edge = (self.window - self.stride) // 2
        return tuple(slice(a.start + edge * (a.start > 0), a.stop - edge * (a.stop < side))
                     for a, side in zip(window, sides, strict=True))  # fmt: skip

    @torch.inference_mode()
    def classes(self, inputs: Tensor, network: JointNet, regions: Sequence[Region]) -> Tensor:
        """Probabilities (R, 3) of benign, malignant, non-nodule."""
        if not self.classify or not regions:
            return torch.full((len(regions), 3), torch.nan)
        image = _at_least(inputs, self.window)
        last = np.array(image.shape[2:]) - self.window
        firsts = [np.clip(np.rint(region.center) - self.window // 2, 0, last).astype(int) for region in regions]
        crops = [image[:, :, *(slice(a, a + self.window) for a in first.tolist())] for first in firsts]
        boxes = [
            np.clip(region.box - np.tile(first, 2), 0, self.window)
            for region, first in zip(regions, firsts, strict=True)
        ]
        voxels = torch.tensor([region.voxels for region in regions], device=inputs.device)
        where = torch.from_numpy(np.array(boxes, dtype=np.int64)).to(inputs.device)
        outputs = []
        for first in range(0, len(crops), self.batch_size):
            some = slice(first, first + self.batch_size)
            with autocast(inputs.device, self.precision):
                maps = network.features(channels_last(torch.cat(crops[some])))
                number = torch.arange(len(maps[0]), device=inputs.device)
                outputs.append(network.classify(maps, number, where[some], voxels[some]).float().softmax(dim=1))
        return torch.cat(outputs).cpu()


class CropJointInferer(Inferer):
    """The region of each finding, in a crop with the finding in its middle, and its class.

    Where no region comes within the finding's radius, the box of its diameter is classified; where that is unknown too,
    nothing is.

    Args:
        threshold: least probability of a region's voxels.
        core, least_core: see :func:`~lungcad.papers.jnsc.regions.find_regions`.
        reach: a region is the finding's if it comes as near to the middle, in voxels, where the diameter is unknown.
        classify: with the classification path.
        precision: see :func:`~lungcad.cpu.fast_dtype`.
    """

    def __init__(self, threshold: float = 0.4, core: float = 1.0, least_core: float = 3.0, reach: float = 3.0,
                 classify: bool = True, precision: str = "auto"):  # fmt: skip
        super().__init__()
        self.threshold, self.core, self.least_core = threshold, core, least_core
        self.reach, self.classify = reach, classify
        self.precision = precision

    @torch.inference_mode()
    def __call__(self, inputs: Tensor, network: JointNet, *args: Any, diameters: Tensor, **kwargs: Any) -> Judged:
        """Regions in voxels of their crops.

        Args:
            inputs: (N, 1, X, Y, Z) crops on the image's scale.
            network: in evaluation mode.
            diameters: (N,) in voxels, NaN where unknown.
        """
        tune_allocator()
        channels_last_network(network)
        regions: list[Region | None] = []
        classes = torch.full((len(inputs), 3), torch.nan)
        for number, diameter in enumerate(bar(diameters.tolist(), "characterise", "nodule")):
            with autocast(inputs.device, self.precision):
                maps = network.features(channels_last(inputs[number : number + 1]))
                probability = network.segment(maps)[0, 0].float().sigmoid().cpu().numpy()
                radius = diameter / 2 if np.isfinite(diameter) else self.reach
                around = find_regions(probability, self.threshold, self.core, self.least_core)
                region = nearest(around, radius, probability.shape)
                box, voxels = (region.box, region.voxels) if region is not None else _cube(diameter, probability.shape)
                if box is not None and self.classify:
                    asked = (torch.from_numpy(box.astype(np.int64)).to(inputs.device)[None],
                             torch.tensor([voxels], device=inputs.device))  # fmt: skip
                    first = torch.zeros(1, dtype=torch.long, device=inputs.device)
                    classes[number] = network.classify(maps, first, *asked)[0].float().softmax(dim=0).cpu()
            regions.append(region)
        return Judged(regions, classes)


def nearest(regions: Sequence[Region], radius: float, size: Sequence[int]) -> Region | None:
    """The region that comes nearest to the middle of a volume, if it comes as near as ``radius``, in voxels."""
    middle = (np.array(size) - 1) / 2

    def distance(region: Region) -> float:
        return float(np.linalg.norm(np.argwhere(region.mask) + region.first - middle, axis=1).min())

    near = [(distance(region), n) for n, region in enumerate(regions)]
    far, best = min(near, default=(np.inf, 0))
    return regions[best] if far <= max(radius, 1.0) else None


def _cube(diameter: float, size: Sequence[int]) -> tuple[np.ndarray | None, float]:
    """The box in the middle of a volume as wide as a diameter, and the voxels of its sphere."""
    if not np.isfinite(diameter):
        return None, 0.0
    middle = np.array(size) / 2
    low, high = np.floor(middle - diameter / 2), np.ceil(middle + diameter / 2)
    return np.concatenate([low.clip(0), np.minimum(high, size)]).astype(int), np.pi / 6 * diameter**3


def _at_least(image: Tensor, side: int) -> Tensor:
    """The image (1, 1, X, Y, Z), its last voxels repeated where it is smaller than ``side``."""
    x, y, z = (max(0, side - n) for n in image.shape[2:])
    return F.pad(image, (0, z, 0, y, 0, x), mode="replicate")
