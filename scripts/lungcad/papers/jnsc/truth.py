# SPDX-License-Identifier: Apache-2.0
"""Malignancy of the regions that readers outlined, without a segmentation (Liu and Chan 2020, section V.B.1, table 5).

The scoring of the paper's classification-only mode, and of a joint network on the same regions.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer
from monai.transforms import Transform
from torch import Tensor

from lungcad.cpu import autocast, tune_allocator
from lungcad.fast_network import make_fast
from lungcad.finding import Finding, as_place
from lungcad.geometry import to_index, to_world
from lungcad.papers.jnsc.inference import ClassifiedRegions
from lungcad.papers.jnsc.network import JNSCNet
from lungcad.papers.jnsc.regions import Region, find_regions, stack_regions
from lungcad.papers.transforms import Data
from lungcad.scan.patch import cut_patch
from lungcad.training.cases import Case


class OutlinedNodulesd(Transform):
    """Replace ``findings`` by the outlined nodules of the ``case``, each with a detection score of 1."""

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Apply the transform to one case."""
        d = dict(data)
        case: Case = d["case"]
        masks = case.masks
        outlined = [] if masks is None else [number for number in np.unique(masks).tolist() if number]
        nodules = [case.nodules[number - 1] for number in outlined]
        d["findings"] = [
            Finding(as_place(to_world(case.to_mm, nodule.index)), nodule.diameter_mm, detection_score=1.0)
            for nodule in nodules
        ]
        d["numbers"] = outlined
        return d


class WithMasksd(Transform):
    """Add the mask of each of the ``numbers`` to the crops in ``image`` as second channel: (N, 2, X, Y, Z).

    Args:
        patch_size: size of the crops in voxels.
    """

    def __init__(self, patch_size: Sequence[int]):
        x, y, z = patch_size
        self.patch_size = (x, y, z)

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Apply the transform to one case."""
        d = dict(data)
        case: Case = d["case"]
        labels = case.masks
        masks = np.zeros((len(d["numbers"]), 1, *self.patch_size), np.float32)
        if labels is not None:
            half = (np.array(self.patch_size) - 1) / 2
            places = to_index(case.to_mm, to_world(d["grid_affine"], d["proposals"]))  # by whole voxels apart
            for mask, number, place in zip(masks, d["numbers"], places, strict=True):
                mask[0] = cut_patch(labels, np.rint(place - half) + half, self.patch_size, 0) == number
        d["image"] = torch.cat([d["image"], torch.from_numpy(masks)], dim=1)
        return d


class TrueRegionInferer(Inferer):
    """Class of the region in the mask of each crop.

    Args:
        precision: name of a data type, see :func:`~lungcad.cpu.fast_dtype`.
    """

    def __init__(self, precision: str = "auto"):
        super().__init__()
        self.precision = precision

    @torch.inference_mode()
    def __call__(self, inputs: Tensor, network: JNSCNet, *args: Any, **kwargs: Any) -> ClassifiedRegions:
        """Regions in voxels of their crops; None for a crop without a region.

        Args:
            inputs: (N, 2, X, Y, Z) crops, scaled as the network expects them, and masks.
            network: network in evaluation mode.
        """
        tune_allocator()
        regions: list[Region | None] = []
        classes = torch.full((len(inputs), 3), torch.nan)
        encode = make_fast(network, inputs.device, self.precision, "features")
        for number, crop in enumerate(inputs):
            found = find_regions(crop[1].cpu().numpy(), 0.5, max_regions=1)
            regions.append(found[0] if found else None)
            if found:
                maps = encode(crop[None, :1])
                boxes, voxels = stack_regions(found, inputs.device)
                image = torch.zeros(1, dtype=torch.long, device=inputs.device)
                with autocast(inputs.device, self.precision):
                    classes[number] = network.classify(maps, image, boxes, voxels)[0].float().softmax(dim=0).cpu()
        return ClassifiedRegions(regions, classes)
