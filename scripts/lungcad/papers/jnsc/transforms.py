# SPDX-License-Identifier: Apache-2.0
"""MONAI dictionary transforms of Liu and Chan 2020: regions to findings, with masks and volumes."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, Transform

from lungcad.finding import Finding, FindingMask, as_place
from lungcad.geometry import scaled_affine, to_world
from lungcad.papers.jnsc.inference import ClassifiedRegions
from lungcad.papers.jnsc.regions import Region
from lungcad.papers.peaks import merge_spheres
from lungcad.papers.transforms import Data


def region_mask(region: Region, affine: np.ndarray) -> FindingMask:
    """Mask of a region, with its own affine.

    Args:
        region: region of a volume.
        affine: (4, 4) of the volume, index to LPS mm.
    """
    return FindingMask(region.mask, scaled_affine(affine, region.first.tolist(), (1, 1, 1)))


def malignancy_probability(classes: Sequence[float]) -> float | None:
    """Probability that a nodule is malignant rather than benign; None for a region that was not classified.

    Args:
        classes: (3,) probabilities of benign, malignant, non-nodule.
    """
    benign, malignant, _ = classes
    return malignant / max(benign + malignant, 1e-9) if np.isfinite(malignant) else None


class RegionsToFindingsd(MapTransform):
    """Regions of a scan to ``findings``: the centre of mass (V.A), and the diameter of a sphere of equal volume.

    The paper does not say what a region's diameter is. The detection score is the region's mean probability of the
    segmentation; the nodule probability is 1 minus that of non-nodule, None without the classification. Each finding
    carries its mask.

    Args:
        keys: key of the regions of :class:`~lungcad.papers.jnsc.inference.LungJNSCInferer`.
        spacing_mm: size of the cubic voxels, x, y, z.
        max_findings: number of findings kept, the most probable.
    """

    def __init__(self, keys: Any, spacing_mm: Sequence[float], max_findings: int):
        super().__init__(keys)
        self.spacing_mm, self.max_findings = spacing_mm[0], max_findings

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Apply the transform to one case."""
        d = dict(data)
        for key in self.keys:
            found: ClassifiedRegions = d[key]
            regions = [region for region in found.regions if region is not None]
            center = to_world(d["grid_affine"], np.array([region.center for region in regions]).reshape(-1, 3))
            diameter = np.array([region.diameter * self.spacing_mm for region in regions])
            classified = bool(found.classes.isfinite().all())
            score = 1 - found.classes[:, 2].numpy() if classified else np.array([r.score for r in regions])
            d["findings"] = []
            for n in merge_spheres(center, diameter, score)[: self.max_findings]:
                mask = region_mask(regions[n], d["grid_affine"])
                place = as_place(center[n])
                d["findings"].append(Finding(
                    place, float(diameter[n]), regions[n].score, float(score[n]) if classified else None,
                    malignancy_probability(found.classes[n].tolist()), volume_mm3=mask.volume_mm3, mask=mask,
                ))  # fmt: skip
        return d


class FindingDiametersd(Transform):
    """Add ``diameters`` (N,) of the ``findings`` in voxels, NaN where unknown.

    Args:
        spacing_mm: size of the cubic voxels, x, y, z.
    """

    def __init__(self, spacing_mm: Sequence[float]):
        self.spacing_mm = spacing_mm[0]

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Apply the transform to one case."""
        d = dict(data)
        diameters = [torch.nan if f.diameter_mm is None else f.diameter_mm / self.spacing_mm for f in d["findings"]]
        d["diameters"] = torch.tensor(diameters, dtype=torch.float32)
        return d


class ClassifyFindingsd(MapTransform):
    """Add malignancy, volume and mask to the ``findings`` of an earlier stage; no finding is dropped.

    A finding without a region has no volume and no mask. Attributes of an earlier stage are removed: they belong to
    that stage's malignancy.

    Args:
        keys: key of the regions of :class:`~lungcad.papers.jnsc.inference.CropJNSCInferer`, in crops around the
            findings.
        patch_size: size of the crops in voxels.
        least_probability: least nodule probability of a finding that gets a malignancy, or least detection score if no
            stage gave a nodule probability.
    """

    def __init__(self, keys: Any, patch_size: Sequence[int], least_probability: float = 0.0):
        super().__init__(keys)
        self.middle, self.least_probability = (np.array(patch_size) - 1) / 2, least_probability

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Apply the transform to one case."""
        d = dict(data)
        for key in self.keys:
            found: ClassifiedRegions = d[key]
            classified = []
            for finding, region, classes, place in zip(
                d["findings"], found.regions, found.classes.tolist(), d["proposals"], strict=True
            ):
                score = finding.score
                probable = score is None or score >= self.least_probability
                malignancy = malignancy_probability(classes) if probable else None
                new = replace(finding, malignancy_probability=malignancy, attributes=None, volume_mm3=None, mask=None)
                if region is not None:
                    first = np.rint(place - self.middle).astype(int)
                    mask = region_mask(region.moved(first), d["grid_affine"])
                    new = replace(new, volume_mm3=mask.volume_mm3, mask=mask)
                classified.append(new)
            d["findings"] = classified
        return d
