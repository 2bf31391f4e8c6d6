# SPDX-License-Identifier: Apache-2.0
"""A finding: the one currency between stages, in patient millimetres."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

ATTRIBUTES = (
    "subtlety", "internalStructure", "calcification", "sphericity",
    "margin", "lobulation", "spiculation", "texture",
)  # fmt: skip
"""LIDC-IDRI's eight reader attributes, in LIDC's order and spelling."""


@dataclass(frozen=True)
class FindingMask:
    """Voxels of one finding.

    Attributes:
        mask: (a, b, c) bool, its bounding box on the grid of the stage that segmented it.
        affine: (4, 4), index of ``mask`` to DICOM patient LPS mm.
    """

    mask: np.ndarray
    affine: np.ndarray

    @property
    def volume_mm3(self) -> float:
        """Volume of all voxels in mm3."""
        return float(self.mask.sum() * abs(np.linalg.det(self.affine[:3, :3])))


@dataclass(frozen=True)
class Finding:
    """A suspected nodule. What no stage has found out is None, never 0.

    Attributes:
        center_lps_mm: (x, y, z) in DICOM patient LPS millimetres.
        diameter_mm: diameter of the sphere that the nodule is taken for.
        detection_score: score of the candidate detection in [0, 1].
        nodule_probability: probability after false positive reduction, in [0, 1].
        malignancy_probability: probability in [0, 1] that LIDC-IDRI's readers would call it malignant.
        attributes: score on LIDC's own scale by LIDC's name.
        volume_mm3: volume of the mask; None without a mask.
        mask: voxels, where a stage segmented the nodule; not part of :meth:`as_dict`, and two findings that differ in
            it alone are equal.
    """

    center_lps_mm: tuple[float, float, float]
    diameter_mm: float | None = None
    detection_score: float | None = None
    nodule_probability: float | None = None
    malignancy_probability: float | None = None
    attributes: dict[str, float] | None = None
    volume_mm3: float | None = None
    mask: FindingMask | None = field(default=None, repr=False, compare=False)

    @property
    def score(self) -> float | None:
        """Probability that the finding is reported with: nodule probability, else detection score."""
        return self.detection_score if self.nodule_probability is None else self.nodule_probability

    def as_dict(self) -> dict[str, Any]:
        """Attributes by name in plain types for JSON; the mask is left out."""
        return {name: getattr(self, name) for name in _WRITTEN} | {"center_lps_mm": list(self.center_lps_mm)}

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> "Finding":
        """Finding from the output of :meth:`as_dict`; further keys (id, slice ...) are ignored."""
        known: dict[str, Any] = {name: entry.get(name) for name in _WRITTEN}
        x, y, z = map(float, entry["center_lps_mm"])
        return cls(**known | {"center_lps_mm": (x, y, z)})


_WRITTEN = tuple(attribute.name for attribute in fields(Finding) if attribute.name != "mask")


def centers_of(findings: Sequence[Finding]) -> np.ndarray:
    """Centres (N, 3) in LPS mm."""
    return np.array([finding.center_lps_mm for finding in findings], dtype=float).reshape(-1, 3)
