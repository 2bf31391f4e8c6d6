# SPDX-License-Identifier: Apache-2.0
"""Measurement and location of a nodule, as guidelines ask for them: what a finding says beside its probability."""

from dataclasses import dataclass
from typing import Any, Literal

Point = tuple[float, float, float]
Kind = Literal["solid", "part-solid", "non-solid"]
THICK_SLICE_MM = 2.5
"""Distance of slices above which volumes and densities of small nodules are not reliable."""


def slices_too_thick(slice_mm: float) -> bool:
    """Whether slices lie more than :data:`THICK_SLICE_MM` apart.

    A thousandth of a mm is allowed: positions in headers are rounded, and 2.5 mm come out as 2.50000004 mm.
    """
    return slice_mm > THICK_SLICE_MM + 1e-3


@dataclass(frozen=True)
class Measurement:
    """Measurement of one nodule on its mask. A value that could not be measured is None.

    Both axes lie in the transverse plane with the longest axis, the short one perpendicular to the long one. Lung-RADS
    v2022 and the Fleischner Society 2017 also measure in other planes, where a nodule is larger there.

    Attributes:
        method: what made the mask, such as ``lung_nodule_segmentation_unet 0.1.0``.
        long_axis_mm, short_axis_mm: lengths of the axes.
        mean_diameter_mm: mean of the two axes.
        effective_diameter_mm: diameter of the sphere with the mask's volume.
        volume_mm3: volume of the mask.
        mean_hu: mean HU in the mask.
        mass_mg: volume times density, at (HU + 1000) mg per ml.
        kind: solid, part-solid or non-solid.
        solid_mm: mean of the two axes of the solid part of a part-solid nodule.
        calcification: pattern, such as ``none``, ``central`` or ``diffuse``; None where slices are too thick to tell.
        long_axis_lps_mm, short_axis_lps_mm: end points of the axes in DICOM patient LPS mm.
        doubts: reasons for not trusting the measurement, in words; empty if there is none.
    """

    method: str
    long_axis_mm: float
    short_axis_mm: float
    mean_diameter_mm: float
    effective_diameter_mm: float
    volume_mm3: float
    mean_hu: float
    mass_mg: float
    kind: Kind | None = None
    solid_mm: float | None = None
    calcification: str | None = None
    long_axis_lps_mm: tuple[Point, Point] | None = None
    short_axis_lps_mm: tuple[Point, Point] | None = None
    doubts: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, entry: dict[str, Any] | None) -> "Measurement | None":
        """Measurement from its JSON object; None for None."""
        if entry is None:
            return None
        axes = {name: _points(entry.get(name)) for name in ("long_axis_lps_mm", "short_axis_lps_mm")}
        return cls(**entry | axes | {"doubts": tuple(entry.get("doubts", ()))})


@dataclass(frozen=True)
class Location:
    """Location of a nodule in the lungs. None: not known.

    Attributes:
        side: ``right`` or ``left``.
        zone: third of that lung's height, ``upper``, ``middle`` or ``lower``: not a lobe.
        pleura_mm: distance in mm from the nodule's surface to the lung's surface; 0 if they touch.
        juxtapleural: True if the nodule touches the surface of the lung (fissures are not located).
    """

    side: str | None = None
    zone: str | None = None
    pleura_mm: float | None = None
    juxtapleural: bool | None = None

    @classmethod
    def from_dict(cls, entry: dict[str, Any] | None) -> "Location | None":
        """Location from its JSON object; None for None."""
        return None if entry is None else cls(**entry)


def _points(pair: Any) -> tuple[Point, Point] | None:
    if pair is None:
        return None
    (x1, y1, z1), (x2, y2, z2) = pair
    return (x1, y1, z1), (x2, y2, z2)
