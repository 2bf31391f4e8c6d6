# SPDX-License-Identifier: Apache-2.0
"""MONAI dictionary transforms of Liu and Chan 2020: regions to findings, with masks and volumes."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, Transform

from lungcad.finding import Finding, FindingMask
from lungcad.geometry import scaled_affine, to_world
from lungcad.papers.jnsc.inference import Judged
from lungcad.papers.jnsc.regions import Region
from lungcad.papers.peaks import merge_spheres
from lungcad.papers.transforms import Data


def region_mask(region: Region, affine: np.ndarray) -> FindingMask:
    """A region of a grid with that affine as a mask."""
    return FindingMask(region.mask, scaled_affine(affine, region.first.tolist(), (1, 1, 1)))


def malignancy(classes: Sequence[float]) -> float | None:
    """Of a nodule: that of being malignant rather than benign; None where the classification was not asked."""
    benign, malignant, _ = classes
    return malignant / max(benign + malignant, 1e-9) if np.isfinite(malignant) else None


class RegionsToFindingsd(MapTransform):
    """Regions of a scan to ``findings``: the centre of mass, and the diameter of the sphere as large (section V.A).

    The detection score is the region's mean probability of the segmentation; the nodule probability is that of not
    being a non-nodule, unknown without the classification. Each finding carries its mask.

    Args:
        keys: of what :class:`~lungcad.papers.jnsc.inference.LungJointInferer` gives.
        spacing_mm: of the cubic voxels.
        most: findings at most, the most probable.
    """

    def __init__(self, keys: Any, spacing_mm: Sequence[float], most: int):
        super().__init__(keys)
        self.spacing_mm, self.most = spacing_mm[0], most

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """See the class."""
        d = dict(data)
        for key in self.keys:
            judged: Judged = d[key]
            regions = [region for region in judged.regions if region is not None]
            center = to_world(d["grid_affine"], np.array([region.center for region in regions]).reshape(-1, 3))
            diameter = np.array([region.diameter * self.spacing_mm for region in regions])
            classified = bool(judged.classes.isfinite().all())
            score = 1 - judged.classes[:, 2].numpy() if classified else np.array([r.score for r in regions])
            d["findings"] = []
            for n in merge_spheres(center, diameter, score)[: self.most]:
                mask = region_mask(regions[n], d["grid_affine"])
                place = (float(center[n, 0]), float(center[n, 1]), float(center[n, 2]))
                d["findings"].append(Finding(
                    place, float(diameter[n]), regions[n].score, float(score[n]) if classified else None,
                    malignancy(judged.classes[n].tolist()), volume_mm3=mask.volume_mm3, mask=mask,
                ))  # fmt: skip
        return d


class FindingDiametersd(Transform):
    """Give ``diameters`` (N,) of the ``findings`` in voxels, NaN where unknown.

    Args:
        spacing_mm: of the cubic voxels.
    """

    def __init__(self, spacing_mm: Sequence[float]):
        self.spacing_mm = spacing_mm[0]

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """See the class."""
        d = dict(data)
        known = [torch.nan if f.diameter_mm is None else f.diameter_mm / self.spacing_mm for f in d["findings"]]
        d["diameters"] = torch.tensor(known, dtype=torch.float32)
        return d


class JudgedFindingsd(MapTransform):
    """Malignancy and volume of given ``findings``; nothing else of them changes, and none is dropped.

    A finding carries a mask where the segmentation has something. Attributes of an earlier stage are removed: they
    belong to its opinion on malignancy.

    Args:
        keys: of what :class:`~lungcad.papers.jnsc.inference.CropJointInferer` gives for crops around the findings.
        patch_size: of the crops, in voxels.
        least_probability: of findings that get a malignancy; their detection score where no stage gave a nodule
            probability.
    """

    def __init__(self, keys: Any, patch_size: Sequence[int], least_probability: float = 0.0):
        super().__init__(keys)
        self.middle, self.least_probability = (np.array(patch_size) - 1) / 2, least_probability

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """See the class."""
        d = dict(data)
        for key in self.keys:
            judged: Judged = d[key]
            found = []
            for finding, region, classes, place in zip(
                d["findings"], judged.regions, judged.classes.tolist(), d["proposals"], strict=True
            ):
                score = finding.score
                asked = score is None or score >= self.least_probability
                new = replace(finding, malignancy_probability=malignancy(classes) if asked else None, attributes=None,
                              volume_mm3=None, mask=None)  # fmt: skip
                if region is not None:
                    first = np.rint(place - self.middle).astype(int)
                    mask = region_mask(region.moved(first), d["grid_affine"])
                    new = replace(new, volume_mm3=mask.volume_mm3, mask=mask)
                found.append(new)
            d["findings"] = found
        return d
