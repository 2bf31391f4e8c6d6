# SPDX-License-Identifier: Apache-2.0
"""Measurement of one nodule on its mask, with reasons for doubt."""

from collections.abc import Iterator

import numpy as np

from lungcad.geometry import sphere_diameter, to_world
from lungcad.measure.axes import Axes, transverse_axes
from lungcad.measure.mask import NoduleMask
from lungcad.measure.tissue import tissue_of
from lungcad.measurement import THICK_SLICE_MM, Location, Measurement, Point, slices_too_thick

LIKELY_RATIO = (0.5, 2.0)
"""Limits of the effective diameter as a multiple of the detector's diameter; beyond them one of the two is wrong."""
LEAST_VOXELS = 20.0
"""Volume in the scan's own voxels below which a size is a matter of chance."""
RIM_HU = 100.0
"""HU by which near surroundings are denser than far ones, from which ground glass may have been left out. Of 343 solid
nodules from 6 mm up, folds 0 to 3 of LIDC-IDRI, 2 have that; simulated ground glass of 3 mm that was left out, 130 and
more."""
TALL_RATIO, TALL_MM = 1.5, 1.0
"""Height as a multiple of the long axis, and excess of the effective diameter over the mean of the axes, beyond which
the transverse plane does not show a nodule's true size."""


def measure_nodule(
    nodule: NoduleMask, method: str, voxel_mm: np.ndarray, diameter_mm: float | None = None,
    location: Location | None = None,
) -> Measurement:  # fmt: skip
    """Measurement of a nodule.

    Args:
        nodule: mask and HU.
        method: name and version of what made the mask.
        voxel_mm: (3,) size of the scan's own voxels, X, Y, Z.
        diameter_mm: diameter that the detector gave.
        location: location of the nodule, for doubts.
    """
    mask, hu, spacing = nodule.mask.mask, nodule.hu, nodule.spacing_mm
    axes, volume = transverse_axes(mask, spacing), nodule.mask.volume_mm3
    mean_hu, tissue = float(hu[mask].mean()), tissue_of(mask, hu, spacing, float(voxel_mm[2]), axes.mean_mm)
    effective = float(sphere_diameter(volume))
    return Measurement(
        method, axes.long_mm, axes.short_mm, axes.mean_mm, effective, volume, mean_hu,
        volume * max(mean_hu + 1000, 0.0) / 1000, tissue.kind, tissue.solid_mm, tissue.calcification,
        _points(nodule.mask.affine, axes.long_ends), _points(nodule.mask.affine, axes.short_ends),
        (*_doubts(nodule, effective, voxel_mm, diameter_mm, location), *_tall(nodule, axes, effective), *tissue.doubts),
    )  # fmt: skip


def _doubts(
    nodule: NoduleMask, effective_mm: float, voxel_mm: np.ndarray, diameter_mm: float | None, location: Location | None
) -> Iterator[str]:
    """Reasons for not trusting the measurement."""
    low, high = LIKELY_RATIO
    if nodule.cut:
        yield "the nodule reaches the edge of the measured cube"
    if nodule.rim_hu > RIM_HU:
        yield f"what lies around it is {nodule.rim_hu:.0f} HU denser than the lung: ground glass may be left out"
    if diameter_mm is not None and not low <= effective_mm / diameter_mm <= high:
        yield f"the mask's size, {effective_mm:.1f} mm, is far from the detector's, {diameter_mm:.1f} mm"
    if location is not None and location.juxtapleural:
        yield "the nodule touches the pleura, where its border is uncertain"
    if slices_too_thick(float(voxel_mm[2])):
        yield f"slices are {voxel_mm[2]:.1f} mm apart (volumes need {THICK_SLICE_MM} mm or less)"
    if (voxels := nodule.mask.volume_mm3 / float(np.prod(voxel_mm))) < LEAST_VOXELS:
        yield f"the nodule fills only {voxels:.0f} voxels of the scan"


def _tall(nodule: NoduleMask, axes: Axes, effective_mm: float) -> Iterator[str]:
    """Doubt about a nodule that is much taller than it is long on the transverse plane."""
    height, mean = float(nodule.mask.mask.any(axis=(0, 1)).sum() * nodule.spacing_mm[2]), axes.mean_mm
    if height > TALL_RATIO * axes.long_mm and effective_mm - mean > TALL_MM:
        yield f"it is {height:.1f} mm tall: the transverse plane, {mean:.1f} mm, does not show its true size"


def _points(affine: np.ndarray, ends: np.ndarray) -> tuple[Point, Point]:
    """Ends (2, 3) of an axis in LPS mm."""
    (x1, y1, z1), (x2, y2, z2) = to_world(affine, ends).tolist()
    return (x1, y1, z1), (x2, y2, z2)
