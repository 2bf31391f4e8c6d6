# SPDX-License-Identifier: Apache-2.0
"""Inference of the U-Net: findings to cubes around them, and the network's output to masks and measurements."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform

from lungcad.finding import Finding
from lungcad.measure.location import locate
from lungcad.measure.mask import central_mask
from lungcad.measure.nodule import measure_nodule
from lungcad.papers.transforms import Data
from lungcad.scan.scan import Scan


def cube_spacing_mm(diameter_mm: float | None, size: int, spacing_mm: float, diameters: float) -> float:
    """Distance of a cube's voxels in mm: ``spacing_mm``, or more for a nodule that would fill the cube.

    Args:
        diameter_mm: diameter of the nodule; None if it is not known.
        size: voxels of the cube along each axis.
        spacing_mm: least distance.
        diameters: least side of the cube in diameters.
    """
    return max(spacing_mm, diameters * (diameter_mm or 0.0) / size)


class FindingCubesd(MapTransform):
    """Replace ``image`` by cubes (N, 1, X, Y, Z) HU around the ``findings`` that are probable enough.

    ``cubes`` holds, for each finding, its cube's HU (X, Y, Z) and affine, or None for a finding that is left out.

    Args:
        keys: key of the image.
        patch_size: voxels of a cube, the same along each axis.
        spacing_mm, diameters: see :func:`cube_spacing_mm`.
        least_probability: least nodule probability of a finding to measure, or least detection score if no stage gave
            a nodule probability; a finding with neither is measured.
    """

    def __init__(self, keys: Any, patch_size: Sequence[int], spacing_mm: float, diameters: float,
                 least_probability: float = 0.0):  # fmt: skip
        super().__init__(keys)
        self.size, self.spacing_mm, self.diameters = patch_size[0], spacing_mm, diameters
        self.least_probability = least_probability

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Apply the transform to one case."""
        d = dict(data)
        d["cubes"] = [self._cube(d["scan"], finding) for finding in d["findings"]]
        taken = [cube[0] for cube in d["cubes"] if cube is not None]
        for key in self.keys:
            d[key] = torch.stack(taken)[:, None] if taken else torch.empty((0, 1, *(self.size,) * 3))
        return d

    def _cube(self, scan: Scan, finding: Finding) -> tuple[torch.Tensor, np.ndarray] | None:
        if finding.score is not None and finding.score < self.least_probability:
            return None
        step = (cube_spacing_mm(finding.diameter_mm, self.size, self.spacing_mm, self.diameters),) * 3
        size = (self.size,) * 3
        return scan.crop(finding.center_lps_mm, size, step), scan.crop_affine(finding.center_lps_mm, size, step)


class MeasureFindingsd(MapTransform):
    """Log odds (N, 1, X, Y, Z) of cubes to masks, measurements and locations of the ``findings``.

    A finding that is left out, or where the network outlines nothing, keeps what it has, such as another stage's mask.
    Data without a ``scan``, crops of nodules, have ``voxel_mm``, the size of their voxels, and get no location.

    Args:
        keys: key of the log odds.
        threshold: probability that a nodule's voxels exceed.
        method: name and version of the network, for the measurement.
    """

    def __init__(self, keys: Any, threshold: float, method: str):
        super().__init__(keys)
        self.threshold, self.method = threshold, method

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Apply the transform to one case; raises InputError E-NO-LUNG."""
        d = dict(data)
        for key in self.keys:
            probability = iter(d[key].float().sigmoid().cpu().numpy())
            d["findings"] = [
                finding if cube is None else self._measured(finding, next(probability)[0], cube, d)
                for finding, cube in zip(d["findings"], d["cubes"], strict=True)
            ]
        return d

    def _measured(
        self, finding: Finding, probability: np.ndarray, cube: tuple[torch.Tensor, np.ndarray], d: Data
    ) -> Finding:
        (hu, affine), scan = cube, d.get("scan")
        nodule = central_mask(probability, hu.numpy(), affine, self.threshold)
        if nodule is None:
            return finding
        location = None if scan is None else locate(scan, nodule.mask)
        voxel_mm = d["voxel_mm"] if scan is None else scan.spacing_mm
        measurement = measure_nodule(nodule, self.method, voxel_mm, finding.diameter_mm, location)
        return replace(
            finding, volume_mm3=measurement.volume_mm3, measurement=measurement, location=location, mask=nodule.mask
        )
