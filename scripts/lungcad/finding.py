# SPDX-License-Identifier: Apache-2.0
"""A finding: the one currency between stages, in patient millimetres."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

ATTRIBUTES = (
    "subtlety", "internalStructure", "calcification", "sphericity",
    "margin", "lobulation", "spiculation", "texture",
)  # fmt: skip
"""LIDC-IDRI's eight reader attributes, in LIDC's order and spelling."""


@dataclass(frozen=True)
class Finding:
    """A suspected nodule. What a stage has not found out is None, never 0.

    Attributes:
        center_lps_mm: (x, y, z) in DICOM patient LPS millimetres.
        diameter_mm: of the sphere that the nodule is taken for.
        detection_score: the candidate stage's score in [0, 1].
        nodule_probability: after false positive reduction, in [0, 1].
        malignancy_probability: in [0, 1].
        attributes: LIDC name to score on LIDC's own scale.
        volume_mm3: only where a mask exists.
    """

    center_lps_mm: tuple[float, float, float]
    diameter_mm: float | None = None
    detection_score: float | None = None
    nodule_probability: float | None = None
    malignancy_probability: float | None = None
    attributes: dict[str, float] | None = None
    volume_mm3: float | None = None

    @property
    def score(self) -> float | None:
        """Probability that it is reported with: of nodule, else the detection score."""
        return self.detection_score if self.nodule_probability is None else self.nodule_probability

    def as_dict(self) -> dict[str, Any]:
        """Plain types for JSON; the keys are the attribute names."""
        return asdict(self) | {"center_lps_mm": list(self.center_lps_mm)}

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> "Finding":
        """Inverse of :meth:`as_dict`; further keys (slice, plane pictures ...) are ignored."""
        known: dict[str, Any] = {name: entry.get(name) for name in cls.__dataclass_fields__}
        x, y, z = map(float, entry["center_lps_mm"])
        return cls(**known | {"center_lps_mm": (x, y, z)})


def centers_of(findings: Sequence[Finding]) -> np.ndarray:
    """Centres (N, 3) in LPS mm."""
    return np.array([finding.center_lps_mm for finding in findings], dtype=float).reshape(-1, 3)


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
