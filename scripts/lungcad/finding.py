# SPDX-License-Identifier: Apache-2.0
"""Finding: a suspected nodule in patient millimetres, the only type of result that stages exchange."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from lungcad.geometry import to_world
from lungcad.measurement import Location, Measurement

ATTRIBUTES = (
    "subtlety", "internalStructure", "calcification", "sphericity",
    "margin", "lobulation", "spiculation", "texture",
)  # fmt: skip
"""LIDC-IDRI's eight reader attributes, in LIDC's order and spelling."""


def as_place(values: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    """Place (x, y, z) in plain numbers, from three numbers of any type."""
    x, y, z = map(float, values)
    return x, y, z


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

    @property
    def center_lps_mm(self) -> tuple[float, float, float]:
        """Centre of gravity (x, y, z) in LPS mm."""
        return as_place(to_world(self.affine, np.argwhere(self.mask).mean(axis=0)))


@dataclass(frozen=True)
class Finding:
    """Suspected nodule. A value that no stage has computed is None, never 0.

    Attributes:
        center_lps_mm: (x, y, z) in DICOM patient LPS millimetres.
        diameter_mm: diameter of the sphere that the nodule is taken for.
        detection_score: score of the candidate detection in [0, 1].
        nodule_probability: probability after false positive reduction, in [0, 1].
        malignancy_probability: probability in [0, 1] that LIDC-IDRI's readers would call it malignant.
        attributes: scores on LIDC's own scales by LIDC's names (:data:`ATTRIBUTES`).
        volume_mm3: volume of the mask; None without a mask.
        measurement: axes, volume, mass and kind, measured on the mask.
        location: side, zone and distance to the pleura.
        mask: voxels of the nodule, where a stage segmented it; not part of :meth:`as_dict`, and two findings that
            differ in their masks alone are equal.
    """

    center_lps_mm: tuple[float, float, float]
    diameter_mm: float | None = None
    detection_score: float | None = None
    nodule_probability: float | None = None
    malignancy_probability: float | None = None
    attributes: dict[str, float] | None = None
    volume_mm3: float | None = None
    measurement: Measurement | None = None
    location: Location | None = None
    mask: FindingMask | None = field(default=None, repr=False, compare=False)

    @property
    def size_mm(self) -> float | None:
        """Mean diameter in mm where the finding was measured, else :attr:`diameter_mm`."""
        return self.diameter_mm if self.measurement is None else self.measurement.mean_diameter_mm

    @property
    def score(self) -> float | None:
        """Probability with which the finding is reported: nodule probability, else detection score."""
        return self.detection_score if self.nodule_probability is None else self.nodule_probability

    def as_dict(self) -> dict[str, Any]:
        """Attributes by name in plain types for JSON; the mask is left out."""
        parts = {name: asdict(part) if (part := getattr(self, name)) else None for name in ("measurement", "location")}
        plain = {name: getattr(self, name) for name in _WRITTEN} | {"center_lps_mm": list(self.center_lps_mm)}
        return plain | parts

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> "Finding":
        """Finding from the output of :meth:`as_dict`; further keys (id, slice ...) are ignored."""
        values: dict[str, Any] = {name: entry.get(name) for name in _WRITTEN}
        values["measurement"] = Measurement.from_dict(values["measurement"])
        values["location"] = Location.from_dict(values["location"])
        return cls(**values | {"center_lps_mm": as_place(entry["center_lps_mm"])})


_WRITTEN = tuple(attribute.name for attribute in fields(Finding) if attribute.name != "mask")
"""Attributes that :meth:`Finding.as_dict` writes."""


def centers_of(findings: Sequence[Finding]) -> np.ndarray:
    """Centres (N, 3) of N findings in LPS mm."""
    return np.array([finding.center_lps_mm for finding in findings], dtype=float).reshape(-1, 3)
