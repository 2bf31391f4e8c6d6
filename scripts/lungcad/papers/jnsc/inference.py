# SPDX-License-Identifier: Apache-2.0
"""MONAI inferers of JNSC: all regions in the lungs of a scan, or the region of each given finding, with classes."""

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
from lungcad.cpu import autocast, tune_allocator
from lungcad.errors import InputError
from lungcad.fast_network import make_fast
from lungcad.papers.inferers import lung_box
from lungcad.papers.jnsc.network import JNSCNet
from lungcad.papers.jnsc.regions import Region, find_regions, trimmed_region


@dataclass(frozen=True)
class ClassifiedRegions:
    """Regions and their class probabilities.

    Attributes:
        regions: R regions; None for a given finding without a region in the segmentation.
        classes: (R, 3) float32, probabilities of benign, malignant, non-nodule; NaN for a region that was not
            classified.
    """

    regions: list[Region | None]
    classes: Tensor


class LungJNSCInferer(Inferer):
    """Regions of the averaged segmentation of overlapping windows, each classified (sections III and V.A).

    The paper averages windows of 64 at steps of 32 voxels, eight around each voxel. Only windows with lung in their
    middle, as wide as a step, are computed, and of these only as many as ``coverage`` asks for: at 2 those with all
    numbers along x, y, z even or all odd, at 4 those with an even sum. Regions that do not touch the lungs are dropped.
    The paper does not say which window a region's features come from; here it is one with the region in its middle.
    Mirroring is not in the paper either.

    Args:
        window: side of a window in voxels.
        stride: voxels between windows, a divisor of ``window``.
        coverage: number of windows around a voxel that are averaged if the stride is half a window: 8, 4 or 2. Where
            these leave out voxels of the lungs, further ones are computed.
        threshold: probability that a region's voxels exceed.
        core_threshold: probability of a region's cores, see :func:`~lungcad.papers.jnsc.regions.find_regions`.
        least_diameter: diameter in voxels of a sphere with the volume of the smallest region kept.
        max_regions: number of regions kept, the largest by summed probability; bounds the work on an untrained network.
        classify: True to run the classification path.
        batch_size: number of windows at a time.
        precision: name of a data type, see :func:`~lungcad.cpu.fast_dtype`.
        mask_weight, peak_share: masks of the regions, see :func:`~lungcad.papers.jnsc.regions.trimmed_region`; regions
            are classified as they are.
        mirror: sets of axes (0, 1, 2 for x, y, z); class logits are averaged over a region's window mirrored along
            each set.
        mirror_from: least probability of nodule by the first set of a region that is seen along the others too.
    """

    def __init__(self, window: int = 64, stride: int = 32, threshold: float = 0.4, core_threshold: float = 1.0,
                 least_diameter: float = 3.0, max_regions: int = 300, classify: bool = True, batch_size: int = 4,
                 precision: str = "auto", mask_weight: float = 0.5, peak_share: float = 0.0, coverage: int = 8,
                 mirror: Sequence[Sequence[int]] = ((),), mirror_from: float = 0.0):  # fmt: skip
        super().__init__()
        if coverage not in (8, 4, 2):
            raise InputError("E-CONFIG", f"coverage is {coverage} (expected 8, 4 or 2).")
        self.mask_weight, self.peak_share, self.coverage = mask_weight, peak_share, coverage
        self.window, self.stride, self.threshold, self.core_threshold = window, stride, threshold, core_threshold
        self.least_diameter, self.max_regions, self.classify = least_diameter, max_regions, classify
        self.batch_size, self.precision = batch_size, precision
        self.mirror, self.mirror_from = mirror or ((),), mirror_from

    @torch.inference_mode()
    def __call__(self, inputs: Tensor, network: JNSCNet, lungs: Tensor, *args: Any, **kwargs: Any) -> ClassifiedRegions:
        """Regions in voxels of the image, largest first.

        Args:
            inputs: (1, 1, X, Y, Z) image, scaled as the network expects it.
            network: network in evaluation mode.
            lungs: (X, Y, Z) bool, the lung mask, not empty.
        """
        tune_allocator()
        probability = self.probability(inputs, network, lungs).cpu().numpy()
        inside = lungs.cpu().numpy()
        regions = [
            region
            for region in find_regions(probability, self.threshold, self.core_threshold, self.least_diameter)
            if region.diameter >= self.least_diameter and inside[region.slices][region.mask].any()
        ][: self.max_regions]
        masks = [trimmed_region(region, probability, self.mask_weight, self.peak_share) for region in regions]
        return ClassifiedRegions(list(masks), self.classes(inputs, network, regions))

    @torch.inference_mode()
    def probability(self, inputs: Tensor, network: JNSCNet, lungs: Tensor) -> Tensor:
        """Mean probability (X, Y, Z) of nodule over the windows; 0 outside all windows."""
        image, low = lung_box(inputs, lungs, self.stride, self.stride)
        image = _at_least(image, self.window)
        sides = image.shape[2:]
        lungs_in_box = lungs[tuple(slice(a, a + n) for a, n in zip(low, sides, strict=True))]
        starts = [range(0, side - self.window + 1, self.stride) for side in sides]
        windows = [tuple(slice(a, a + self.window) for a in corner) for corner in product(*starts)]
        windows = [window for window in windows if lungs_in_box[self._middle(window, sides)].any()]
        windows = self._windows_with_lung(windows, lungs_in_box)
        total, count = torch.zeros_like(image[0, 0]), torch.zeros_like(image[0, 0])
        encode, decode = (make_fast(network, image.device, self.precision, part) for part in ("features", "segment"))
        for first in bar(range(0, len(windows), self.batch_size), "detect", "batch"):
            batch = windows[first : first + self.batch_size]
            logit = decode(encode(torch.cat([image[:, :, *window] for window in batch])))
            for window, probability in zip(batch, logit.float().sigmoid()[:, 0], strict=True):
                total[window] += probability
                count[window] += 1
        mean = total / count.clamp(min=1)
        volume = torch.zeros_like(inputs[0, 0])
        target = volume[tuple(slice(a, a + n) for a, n in zip(low, sides, strict=True))]
        target.copy_(mean[tuple(slice(n) for n in target.shape)])
        return volume

    def _windows_with_lung(self, windows: Sequence[tuple[slice, ...]], lungs: Tensor) -> list[tuple[slice, ...]]:
        """Windows of the pattern of :attr:`coverage`, and those that hold lung which the pattern leaves out."""
        left_out = lungs.clone()
        chosen = [window for window in windows if self._in_pattern([side.start // self.stride for side in window])]
        for window in chosen:
            left_out[window] = False
        for window in windows:
            if left_out[window].any():
                chosen.append(window)
                left_out[window] = False
        return chosen

    def _in_pattern(self, numbers: Sequence[int]) -> bool:
        if self.coverage == 2:
            return len({number % 2 for number in numbers}) == 1
        return self.coverage == 8 or sum(numbers) % 2 == 0

    def _middle(self, window: tuple[slice, ...], sides: Sequence[int]) -> tuple[slice, ...]:
        """Middle of a window, as wide as a step, extended to the volume's ends, so that middles fill the volume."""
        edge = (self.window - self.stride) // 2
        return tuple(slice(a.start + edge * (a.start > 0), a.stop - edge * (a.stop < side))
                     for a, side in zip(window, sides, strict=True))  # fmt: skip

    @torch.inference_mode()
    def classes(self, inputs: Tensor, network: JNSCNet, regions: Sequence[Region]) -> Tensor:
        """Probabilities (R, 3) of benign, malignant, non-nodule for each region; NaN without classification."""
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
        box = torch.from_numpy(np.array(boxes, dtype=np.int64)).to(inputs.device)
        first_set, *others = self.mirror
        logits = self._class_logits(crops, box, voxels, network, first_set)
        likely = (1 - logits.softmax(dim=1)[:, 2] >= self.mirror_from).nonzero()[:, 0]
        if others and len(likely):
            again = [crops[n] for n in likely.tolist()]
            mirrored = [self._class_logits(again, box[likely], voxels[likely], network, axes) for axes in others]
            logits[likely] = torch.stack([logits[likely], *mirrored]).mean(dim=0)
        return logits.softmax(dim=1).cpu()

    def _class_logits(
        self, crops: list[Tensor], boxes: Tensor, voxels: Tensor, network: JNSCNet, axes: Sequence[int]
    ) -> Tensor:
        """Logits (R, 3) float32 of the regions in R crops (1, 1, W, W, W) mirrored along axes."""
        device = boxes.device
        encode = make_fast(network, device, self.precision, "features")
        boxes = boxes.clone()
        for axis in axes:
            boxes[:, [axis, axis + 3]] = self.window - boxes[:, [axis + 3, axis]]
        outputs = []
        for first in range(0, len(crops), self.batch_size):
            batch = slice(first, first + self.batch_size)
            maps = encode(torch.cat(crops[batch]).flip([axis + 2 for axis in axes]))
            with autocast(device, self.precision):
                number = torch.arange(len(maps[0]), device=device)
                outputs.append(network.classify(maps, number, boxes[batch], voxels[batch]).float())
        return torch.cat(outputs)


class CropJNSCInferer(Inferer):
    """Region of each given finding, in a crop with the finding in its middle, and its class.

    If no region comes within the finding's radius, the box of its diameter is classified; if the diameter is unknown
    too, nothing is.

    Args:
        threshold: probability that a region's voxels exceed.
        core_threshold, least_core_diameter: cores of regions, see :func:`~lungcad.papers.jnsc.regions.find_regions`.
        max_distance: distance in voxels within which a region must come to a finding of unknown diameter to be its own.
        classify: True to run the classification path.
        precision: name of a data type, see :func:`~lungcad.cpu.fast_dtype`.
        mask_weight, peak_share: masks of the regions, see :func:`~lungcad.papers.jnsc.regions.trimmed_region`; regions
            are classified as they are.
    """

    def __init__(self, threshold: float = 0.4, core_threshold: float = 1.0, least_core_diameter: float = 3.0,
                 max_distance: float = 3.0, classify: bool = True, precision: str = "auto",
                 mask_weight: float = 0.5, peak_share: float = 0.0):  # fmt: skip
        super().__init__()
        self.mask_weight, self.peak_share = mask_weight, peak_share
        self.threshold, self.core_threshold, self.least_core_diameter = threshold, core_threshold, least_core_diameter
        self.max_distance, self.classify = max_distance, classify
        self.precision = precision

    @torch.inference_mode()
    def __call__(
        self, inputs: Tensor, network: JNSCNet, *args: Any, diameters: Tensor, **kwargs: Any
    ) -> ClassifiedRegions:
        """Regions in voxels of their crops.

        Args:
            inputs: (N, 1, X, Y, Z) crops, scaled as the network expects them.
            network: network in evaluation mode.
            diameters: (N,) diameters of the findings in voxels, NaN where unknown.
        """
        tune_allocator()
        regions: list[Region | None] = []
        classes = torch.full((len(inputs), 3), torch.nan)
        encode, decode = (make_fast(network, inputs.device, self.precision, part) for part in ("features", "segment"))
        for number, diameter in enumerate(bar(diameters.tolist(), "characterise", "nodule")):
            maps = encode(inputs[number : number + 1])
            probability = decode(maps)[0, 0].float().sigmoid().cpu().numpy()
            with autocast(inputs.device, self.precision):
                radius = diameter / 2 if np.isfinite(diameter) else self.max_distance
                in_crop = find_regions(probability, self.threshold, self.core_threshold, self.least_core_diameter)
                region = nearest_region(in_crop, radius, probability.shape)
                box, voxels = (
                    (region.box, region.voxels) if region is not None else _central_box(diameter, probability.shape)
                )
                if box is not None and self.classify:
                    boxes = torch.from_numpy(box.astype(np.int64)).to(inputs.device)[None]
                    counts = torch.tensor([voxels], device=inputs.device)
                    image = torch.zeros(1, dtype=torch.long, device=inputs.device)
                    classes[number] = network.classify(maps, image, boxes, counts)[0].float().softmax(dim=0).cpu()
            mask = None if region is None else trimmed_region(region, probability, self.mask_weight, self.peak_share)
            regions.append(mask)
        return ClassifiedRegions(regions, classes)


def nearest_region(regions: Sequence[Region], radius: float, size: Sequence[int]) -> Region | None:
    """Region that comes nearest to the middle of a volume, or None if none comes within the radius.

    Args:
        regions: regions of the volume.
        radius: greatest distance in voxels, at least 1.
        size: voxels of the volume, x, y, z.
    """
    middle = (np.array(size) - 1) / 2

    def distance(region: Region) -> float:
        return float(np.linalg.norm(np.argwhere(region.mask) + region.first - middle, axis=1).min())

    near = [(distance(region), n) for n, region in enumerate(regions)]
    least_distance, best = min(near, default=(np.inf, 0))
    return regions[best] if least_distance <= max(radius, 1.0) else None


def _central_box(diameter: float, size: Sequence[int]) -> tuple[np.ndarray | None, float]:
    """Box (6,) in the middle of a volume, as wide as a diameter, and the volume in voxels of a sphere in it.

    Box None and volume 0 for a diameter that is not finite.
    """
    if not np.isfinite(diameter):
        return None, 0.0
    middle = np.array(size) / 2
    low, high = np.floor(middle - diameter / 2), np.ceil(middle + diameter / 2)
    return np.concatenate([low.clip(0), np.minimum(high, size)]).astype(int), np.pi / 6 * diameter**3


def _at_least(image: Tensor, side: int) -> Tensor:
    """Image (1, 1, X, Y, Z) with its last voxels repeated to at least ``side`` voxels along each axis."""
    x, y, z = (max(0, side - n) for n in image.shape[2:])
    return F.pad(image, (0, z, 0, y, 0, x), mode="replicate")
