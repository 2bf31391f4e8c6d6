# SPDX-License-Identifier: Apache-2.0
"""Rules for volumes that are not DICOM: right angles, enough slices, values that can be HU."""

from collections.abc import Sequence

import numpy as np

from lungcad.dicom import Leniency
from lungcad.dicom.geometry import TILT_DEGREES
from lungcad.errors import InputError
from lungcad.geometry import spacing_of
from lungcad.volume import (
    BELOW_AIR_HU,
    LOWEST_HU,
    MAX_HU,
    PADDING_HU,
    Notice,
    Volume,
    warn_below_air,
    warn_of_scale,
    why_no_hu,
)

SPACING_MM = (0.05, 100.0)
"""Smallest and largest spacing of voxels; the slice distance has a stricter limit of its own."""
FARTHEST_MM = 1e5
"""Largest coordinate of the first voxel in the scanner's coordinates."""


def check_axes(name: str, affine: np.ndarray) -> None:
    """Refuse impossible spacings and origins, and axes that are not at right angles, as for DICOM.

    Args:
        name: name of the input, for the message.
        affine: (4, 4) index to LPS mm.

    Raises:
        InputError: E-TAG-VALUE (a step or an origin out of bounds), E-GEOM-TILT.
    """
    steps = spacing_of(affine)
    if not (steps.min() >= SPACING_MM[0] and steps.max() <= SPACING_MM[1]):
        text = f"Spacing of {name} is {steps} mm (expected from {SPACING_MM[0]} to {SPACING_MM[1]:g})."
        raise InputError("E-TAG-VALUE", text, "Repair the header.")
    if np.abs(affine[:3, 3]).max() > FARTHEST_MM:
        text = f"The origin of {name} is {affine[:3, 3]} mm (expected within {FARTHEST_MM:g})."
        raise InputError("E-TAG-VALUE", text, "Repair the header.")
    units = affine[:3, :3] / steps
    skew = float(np.degrees(np.arcsin(np.abs(units.T @ units - np.eye(3)).max().clip(max=1))))
    if skew > TILT_DEGREES:
        text = f"The axes of {name} are {skew:.1f} degrees off right angles (gantry tilt?)."
        raise InputError("E-GEOM-TILT", text, "Give a volume that was resampled to right angles, or the DICOM series.")


def _implausible(text: str) -> InputError:
    """Refusal E-HU-RANGE of values that cannot be CT, to be raised."""
    return InputError("E-HU-RANGE", f"Not plausible for CT: {text}.", "Give a CT volume in HU.")


def judged_volume(
    hu: np.ndarray,
    affine: np.ndarray,
    options: Leniency,
    name: str,
    notices: Sequence[Notice] = (),
    published: str = "",
) -> Volume:
    """Volume of voxels and their place, after checks that they can be a chest CT in HU.

    Args:
        hu: (X, Y, Z) float32, in any order of axes; changed in place.
        affine: (4, 4) index to LPS mm.
        options: limits ``max_spacing_mm`` and ``min_slices``.
        name: name of the volume, in place of a series UID and a description.
        notices: notices from reading, for the volume's warnings.
        published: name that the results show; empty for ``name`` itself.

    Raises:
        InputError: E-FEW-SLICES, E-SPACING-THICK, E-HU-RANGE.
    """
    from lungcad.dicom.plan import check_spacing, describe_grid
    from lungcad.dicom.regrid import to_axial_order

    hu, affine = to_axial_order(hu, affine)
    spacing_mm = spacing_of(affine)
    if hu.shape[2] < options.min_slices:
        text = f"{hu.shape[2]} slice(s) (expected at least {options.min_slices})."
        raise InputError("E-FEW-SLICES", text, "Give a whole CT volume of the chest.")
    check_spacing(spacing_mm, hu.shape[2], options.max_spacing_mm)
    lowest, highest = float(hu.min()), float(hu.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)) or highest > MAX_HU:
        strange = int(np.count_nonzero(~np.isfinite(hu)))
        text = f"values from {lowest:g} to {highest:g} (expected HU)"
        raise _implausible(f"{strange} values are no finite number" if strange else text)
    thinned = hu[::4, ::4]
    if reason := why_no_hu(thinned, highest):
        raise _implausible(reason)
    below_air = int(np.count_nonzero((thinned > BELOW_AIR_HU[0]) & (thinned < BELOW_AIR_HU[1])))
    found = [*notices, *describe_grid(affine, hu.shape), *warn_of_scale(thinned, spacing_mm * hu.shape)]
    found += warn_below_air(below_air, thinned.size)
    if lowest < PADDING_HU:
        found.append(Notice("N-PADDING", f"values down to {lowest:.0f} HU; set to -1024 HU."))
    np.maximum(hu, np.float32(LOWEST_HU), out=hu)
    return Volume(
        hu=hu, affine=affine, series_uid=name, description=published or name, warnings=found, published_uid=published
    )
