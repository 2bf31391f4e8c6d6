# SPDX-License-Identifier: Apache-2.0
"""JNSC in training: the segmentation, and the regions that the classification learns from (sections IV.C and IV.E)."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lungcad.cpu import autocast, channels_last
from lungcad.errors import InputError
from lungcad.papers.jnsc.loss import TRAININGS
from lungcad.papers.jnsc.network import JNSCNet
from lungcad.papers.jnsc.regions import Region, find_regions, stack_regions

FALSE_POSITIVE = -1
"""Value in place of a nodule's row for a region that is no nodule."""

REGIONS = ("predicted", "truth", "both")
"""Sources of regions: the segmentation, as in the paper; the readers' masks, as in its classification-only mode (table
5); or the segmentation and, for nodules that it misses, the readers' masks."""


class JNSCTraining(nn.Module):
    """Network in training: the segmentation, and the classification of regions found in it.

    Args:
        module: network, under the attribute name of torch's wrappers.
        training: one of :data:`lungcad.papers.jnsc.loss.TRAININGS`; ``classification`` takes the true regions.
        regions: one of :data:`REGIONS`.
        threshold: probability that a region's voxels exceed; 0.4 in the paper.
        core_threshold: probability of a region's cores, see :func:`~lungcad.papers.jnsc.regions.find_regions`.
        least_diameter: diameter in voxels of a sphere with the volume of the smallest false positive; inference drops
            smaller ones too.
        max_false_positives: number of false positives per block, drawn anew every time; those that a face of the block
            cuts are drawn last. Not stated in the paper.
        overlap: least share of a region's voxels in a nodule that makes the region that nodule. A region with a smaller
            share, but some voxels in it, is left out, neither nodule nor false positive. Not stated in the paper.
        precision: name of a data type, see :func:`~lungcad.cpu.fast_dtype`.

    Shape:
        - x: (B, 1, X, Y, Z)
        - label: (B, 1, X, Y, Z) long, see :class:`~lungcad.papers.jnsc.blocks.ScanBlocks`
        - out: ``segmentation`` (B, 1, X, Y, Z), except in a ``classification`` training; ``classes`` (R, 3) and
          ``sample`` (R,), the nodule's row or :data:`FALSE_POSITIVE`, except in a ``segmentation`` training; float32

    Raises:
        InputError: E-CONFIG, an unknown training or source of regions.
    """

    skips_parameters = True
    """True: a step without a sample for a branch leaves the branch's parameters without a gradient."""

    def __init__(self, module: JNSCNet, training: str = "joint", regions: str = "both", threshold: float = 0.4,
                 core_threshold: float = 1.0, least_diameter: float = 0.0, max_false_positives: int = 8,
                 overlap: float = 0.1, precision: str = "auto"):  # fmt: skip
        super().__init__()
        for choice, choices in ((training, TRAININGS), (regions, REGIONS)):
            if choice not in choices:
                raise InputError("E-CONFIG", f"unknown: {choice} (expected {', '.join(choices)}).")
        self.module, self.stage, self.threshold, self.core_threshold = module, training, threshold, core_threshold
        self.least_diameter, self.max_false_positives = least_diameter, max_false_positives
        self.source = "truth" if training == "classification" else regions
        self.overlap, self.precision = overlap, precision

    def forward(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Outputs of the branches that are trained."""
        output: dict[str, Tensor] = {}
        with autocast(x.device, self.precision):
            maps = self.module.features(channels_last(x))
            if self.stage != "classification":
                output["segmentation"] = self.module.segment(maps).float()
            if self.stage == "segmentation":
                return output
            image, regions, sample = self.regions(output.get("segmentation"), label)
            boxes, voxels = stack_regions(regions, x.device)
            output["classes"] = self.module.classify(maps, image.to(x.device), boxes, voxels).float()
        return output | {"sample": sample.to(x.device)}

    @torch.no_grad()
    def regions(self, logit: Tensor | None, label: Tensor) -> tuple[Tensor, list[Region], Tensor]:
        """Image (R,), region and nodule's row (R,) of the samples of a batch.

        Args:
            logit: (B, 1, X, Y, Z) output of the segmentation; None for the true regions alone.
            label: (B, 1, X, Y, Z) labels.
        """
        image, regions, sample = [], [], []
        for number, block_label in enumerate(label.cpu().numpy()[:, 0]):
            probability = None if logit is None else logit[number, 0].sigmoid().cpu().numpy()
            for region, nodule in self.choose_regions(probability, block_label):
                image.append(number)
                regions.append(region)
                sample.append(nodule)
        return torch.tensor(image, dtype=torch.long), regions, torch.tensor(sample, dtype=torch.long)

    def choose_regions(self, probability: np.ndarray | None, label: np.ndarray) -> list[tuple[Region, int]]:
        """Regions of one block to classify, each with its nodule's row or :data:`FALSE_POSITIVE`.

        Args:
            probability: (X, Y, Z) probability of the segmentation; None for the true regions alone.
            label: (X, Y, Z) labels, see :class:`~lungcad.papers.jnsc.blocks.ScanBlocks`.
        """
        hits: list[tuple[Region, int]] = []
        false: list[Region] = []
        if self.source != "truth" and probability is not None:
            for region in find_regions(probability, self.threshold, self.core_threshold, self.least_diameter):
                nodule = matching_nodule(region, label, self.overlap)
                if nodule == FALSE_POSITIVE:
                    false.append(region)
                elif nodule is not None:
                    hits.append((region, nodule))
        if self.source != "predicted":
            hit = {nodule for _, nodule in hits}
            missed = [row - 1 for row in np.unique(label[label > 0]).tolist() if row - 1 not in hit]
            for nodule in missed:
                hits += [(region, nodule) for region in find_regions(label == nodule + 1, 0.5, max_regions=1)]
        return hits + [(region, FALSE_POSITIVE) for region in self._draw(false, label.shape)]

    def _draw(self, false: list[Region], size: tuple[int, ...]) -> list[Region]:
        """Random choice among the false positives of a block of ``size`` voxels."""
        large = [region for region in false if region.diameter >= self.least_diameter]
        drawn = [large[n] for n in torch.randperm(len(large)).tolist()]
        drawn.sort(key=lambda region: bool((region.box[:3] == 0).any() or (region.box[3:] == size).any()))
        return drawn[: self.max_false_positives]


def matching_nodule(region: Region, label: np.ndarray, overlap: float) -> int | None:
    """Row of the nodule that a region shows, :data:`FALSE_POSITIVE` for none, or None if the region is ambiguous.

    Args:
        region: region found in the segmentation.
        label: (X, Y, Z) labels, see :class:`~lungcad.papers.jnsc.blocks.ScanBlocks`.
        overlap: least share of the region's voxels that lie in the nodule.
    """
    inside = label[region.slices][region.mask]
    nodules, count = np.unique(inside[inside > 0], return_counts=True)
    if len(nodules):
        return int(nodules[count.argmax()]) - 1 if count.max() >= overlap * region.voxels else None
    return None if (inside < 0).any() else FALSE_POSITIVE


def clip_gradients(optimizer: Optimizer, max_norm: float) -> Optimizer:
    """Make an optimiser clip the gradient of all its parameters to an L2 norm of at most ``max_norm`` at each step.

    Args:
        optimizer: optimiser to change.
        max_norm: greatest norm of the gradient.

    Returns:
        The same optimiser.
    """

    def shorten(optimizer: Optimizer, args: object, kwargs: object) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)

    optimizer.register_step_pre_hook(shorten)
    return optimizer
