# SPDX-License-Identifier: Apache-2.0
"""Masks of findings, beside the list of findings.

A :class:`~lungcad.finding.Finding` is plain JSON and goes from stage to stage, which may reorder, drop and replace
findings. A mask is thousands of voxels on one stage's grid. So masks travel beside the list: a case's dictionary has
``masks``, which maps a finding's ``center_lps_mm`` to its mask, and in a chain that is ``scan.masks``, shared by all
stages. A later stage that keeps a finding where it is keeps its mask; one that moves a finding has measured another
thing, and the mask no longer belongs to it.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FindingMask:
    """The voxels of one finding.

    Attributes:
        mask: (a, b, c) bool, its bounding box on the grid of the stage that segmented it.
        affine: (4, 4), index of ``mask`` to DICOM patient LPS mm.
    """

    mask: np.ndarray
    affine: np.ndarray

    @property
    def volume_mm3(self) -> float:
        """Of all its voxels."""
        return float(self.mask.sum() * abs(np.linalg.det(self.affine[:3, :3])))


Masks = dict[tuple[float, float, float], FindingMask]
"""By a finding's ``center_lps_mm``."""
