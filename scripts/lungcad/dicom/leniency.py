# SPDX-License-Identifier: Apache-2.0
"""Leniency: exceptions to the strict rules of the intake that a caller may allow."""

import math
from dataclasses import dataclass, fields
from typing import Any

from lungcad.errors import InputError
from lungcad.options import true_or_false

GIB = 1024**3
MIN_SLICES_LIMIT = 2
"""Smallest ``min_slices``."""


@dataclass(frozen=True)
class Leniency:
    """Exceptions to the strict rules; the defaults are the strict rules.

    Attributes:
        allow_derived: read processed images, such as projections, subtractions and maps.
        assume_hu: take the stored values as HU where RescaleIntercept is missing.
        correct_tilt: resample a gantry-tilted series in plane to an upright stack instead of refusing it.
        allow_non_axial: take coronal, sagittal and steep series, with the axes permuted so that Z runs head to foot.
        max_spacing_mm: largest distance between slices that is read, in mm.
        min_slices: fewest slices that are read, at least two.
        memory_limit_bytes: largest volume (float32) that is decoded, and largest deflated file that is inflated.
    """

    allow_derived: bool = False
    assume_hu: bool = False
    correct_tilt: bool = False
    allow_non_axial: bool = False
    max_spacing_mm: float = 5.0
    min_slices: int = 8
    memory_limit_bytes: int = 8 * GIB

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> "Leniency":
        """Leniency of keyword options, checked by name and value.

        Raises:
            InputError: E-CONFIG for a name that does not exist, a switch that is neither true nor false, or a limit
                that is not a number above 0.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise InputError("E-CONFIG", f"Unknown reading option: {unknown[0]}.", f"Use one of {', '.join(known)}.")
        checked: dict[str, Any] = {}
        for name, value in options.items():
            if isinstance(getattr(cls, name), bool):
                checked[name] = true_or_false(name, value)
            elif isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
                checked[name] = value
            else:
                raise InputError("E-CONFIG", f"{name} is {value} (expected a number above 0).")
        slices = checked.get("min_slices", MIN_SLICES_LIMIT)
        if slices < MIN_SLICES_LIMIT:
            expected = f"expected {MIN_SLICES_LIMIT} or more: one image has no distance"
            raise InputError("E-CONFIG", f"min_slices is {slices} ({expected}).")
        return cls(**checked)
