# SPDX-License-Identifier: Apache-2.0
"""The joint network in training: which regions the classification learns from (Liu and Chan 2020, IV.C and IV.E)."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lungcad.cpu import autocast, channels_last
from lungcad.errors import InputError
from lungcad.papers.jnsc.loss import TRAININGS
from lungcad.papers.jnsc.network import JointNet
from lungcad.papers.jnsc.regions import Region, find_regions, stacked

FALSE_POSITIVE = -1
"""Number of the nodule of a region that is none."""

REGIONS = ("predicted", "truth", "both")
"""Where regions come from: the segmentation, as the paper has it; the readers, as in its classification-only mode
(table 5); or the segmentation and, of nodules that it misses, the readers."""


class JointTraining(nn.Module):
    """The network as it is trained: the segmentation, and the classification of regions found in it.

    Args:
        module: the network, by the name under which torch's wrappers hold theirs.
        training: of :data:`lungcad.papers.jnsc.loss.TRAININGS`; ``classification`` takes the true regions.
        regions: of :data:`REGIONS`.
        threshold: of the segmentation's probability; 0.4 in the paper.
        core: see :func:`~lungcad.papers.jnsc.regions.find_regions`.
        least_diameter: voxels; of the sphere as large as a false positive, since smaller ones are none in use either.
        most: false positives per block at most, drawn anew every time, those that a face of the block cuts last; not
            stated in the paper.
        overlap: a region with less of its voxels in a nodule, but some, is neither that nodule nor a false positive;
            not stated in the paper.
        precision: see :func:`~lungcad.cpu.fast_dtype`.

    Shape:
        - x: (B, 1, X, Y, Z)
        - label: (B, 1, X, Y, Z) long, see :class:`~lungcad.papers.jnsc.blocks.ScanBlocks`
        - out: ``segmentation`` (B, 1, X, Y, Z) but for ``classification``; ``classes`` (R, 3) and ``sample`` (R,), the
          nodule's row or :data:`FALSE_POSITIVE`, but for ``segmentation``; float32

    Raises:
        InputError: E-CONFIG, an unknown training or source of regions.
    """

    skips_parameters = True
    """A step without a sample for a branch leaves its parameters without a gradient."""

    def __init__(self, module: JointNet, training: str = "joint", regions: str = "both", threshold: float = 0.4,
                 core: float = 1.0, least_diameter: float = 0.0, most: int = 8, overlap: float = 0.1,
                 precision: str = "auto"):  # fmt: skip
        super().__init__()
        for given, known in ((training, TRAININGS), (regions, REGIONS)):
            if given not in known:
                raise InputError("E-CONFIG", f"unknown: {given} (expected {', '.join(known)}).")
        self.module, self.stage, self.threshold, self.core = module, training, threshold, core
        self.least_diameter, self.most = least_diameter, most
        self.source = "truth" if training == "classification" else regions
        self.overlap, self.precision = overlap, precision

    def forward(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Outputs of what is trained."""
        output: dict[str, Tensor] = {}
        with autocast(x.device, self.precision):
            maps = self.module.features(channels_last(x))
            if self.stage != "classification":
                output["segmentation"] = self.module.segment(maps).float()
            if self.stage == "segmentation":
                return output
            image, regions, sample = self.regions(output.get("segmentation"), label)
            boxes, voxels = stacked(regions, x.device)
            output["classes"] = self.module.classify(maps, image.to(x.device), boxes, voxels).float()
        return output | {"sample": sample.to(x.device)}

    @torch.no_grad()
    def regions(self, logit: Tensor | None, label: Tensor) -> tuple[Tensor, list[Region], Tensor]:
        """Of a batch: the images (R,) that regions are in, the regions, and the nodules (R,) that they are."""
        image, regions, sample = [], [], []
        for number, one in enumerate(label.cpu().numpy()[:, 0]):
            probability = None if logit is None else logit[number, 0].sigmoid().cpu().numpy()
            for region, nodule in self.chosen(probability, one):
                image.append(number)
                regions.append(region)
                sample.append(nodule)
        return torch.tensor(image, dtype=torch.long), regions, torch.tensor(sample, dtype=torch.long)

    def chosen(self, probability: np.ndarray | None, label: np.ndarray) -> list[tuple[Region, int]]:
        """Regions of one block, each with the nodule that it is.

        Args:
            probability: (X, Y, Z) of the segmentation; None for the true regions alone.
            label: (X, Y, Z).
        """
        hits: list[tuple[Region, int]] = []
        false: list[Region] = []
        if self.source != "truth" and probability is not None:
            for region in find_regions(probability, self.threshold, self.core, self.least_diameter):
                nodule = owner(region, label, self.overlap)
                if nodule == FALSE_POSITIVE:
                    false.append(region)
                elif nodule is not None:
                    hits.append((region, nodule))
        if self.source != "predicted":
            known = {nodule for _, nodule in hits}
            missed = [row - 1 for row in np.unique(label[label > 0]).tolist() if row - 1 not in known]
            hits += [(region, nodule) for nodule in missed for region in find_regions(label == nodule + 1, 0.5, most=1)]
        return hits + [(region, FALSE_POSITIVE) for region in self._drawn(false, label.shape)]

    def _drawn(self, false: list[Region], size: tuple[int, ...]) -> list[Region]:
        """Some false positives of a block of that size."""
        large = [region for region in false if region.diameter >= self.least_diameter]
        drawn = [large[n] for n in torch.randperm(len(large)).tolist()]
        drawn.sort(key=lambda region: bool((region.box[:3] == 0).any() or (region.box[3:] == size).any()))
        return drawn[: self.most]


def owner(region: Region, label: np.ndarray, overlap: float) -> int | None:
    """The nodule's row that a region is, :data:`FALSE_POSITIVE`, or None where that is not certain.

    Args:
        region: found in the segmentation.
        label: (X, Y, Z) as in :class:`~lungcad.papers.jnsc.blocks.ScanBlocks`.
        overlap: least share of the region's voxels that lie in the nodule.
    """
    inside = label[region.here][region.mask]
    nodules, count = np.unique(inside[inside > 0], return_counts=True)
    if len(nodules):
        return int(nodules[count.argmax()]) - 1 if count.max() >= overlap * region.voxels else None
    return None if (inside < 0).any() else FALSE_POSITIVE


def clipped(optimizer: Optimizer, most: float) -> Optimizer:
    """The optimiser, which from now on shortens the gradient of all its parameters to the L2 norm ``most``."""

    def shorten(optimizer: Optimizer, args: object, kwargs: object) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, most)

    optimizer.register_step_pre_hook(shorten)
    return optimizer
