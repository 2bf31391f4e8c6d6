# SPDX-License-Identifier: Apache-2.0
"""Lung segmentation of a scan on a grid of about 2 mm, and the check that the scan shows lungs at all.

Aerated lung is air inside the body with the density of parenchyma; :mod:`lungcad.scan.lung_closing` adds the parts of
the lung that are not aerated.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lungcad.errors import InputError
from lungcad.geometry import nearest_lps_order, scaled_affine, spacing_of
from lungcad.scan.lung_closing import include_dense
from lungcad.volume import Notice, Volume

FINE_MM = 2.0
"""Spacing of the mask in mm: the nearest whole multiple of the native spacing."""
AIR_HU = -400.0
"""Upper end of air and aerated lung in HU; ground glass lies below it too."""
GAS_HU = -950.0
"""Upper end of gas without tissue in HU, averaged over a mask voxel: bowel, airways, air around the patient."""
TABLE_MM = 5.0
"""Half the thickness in mm below which tissue is no body: the shell of the table, cables, blankets."""
PARENCHYMA_SHARE = 0.25
"""Least share of an air region's inner voxels above GAS_HU for the region to be lung; bowel gas has hardly any."""
LUNG_ML = 150.0
"""Least aerated volume in ml of the largest region: a collapsed lung, or the lung bases in an abdominal scan."""
PART_ML = 2.0
"""Least aerated volume in ml of a further region at the height of the lungs."""
CUT_CM2 = 10.0
"""Area of lung in cm2 in the first or last slice from which the scan is reported to cut the lungs."""


@dataclass(frozen=True)
class LungMask:
    """Mask of both lungs, or of the only one, with vessels and nodules, hila and main bronchi.

    Attributes:
        mask: (X, Y, Z) bool in canonical order: X to the left, Y to the back, Z to the head.
        affine: (4, 4) float64, index of ``mask`` to LPS mm.
        volume_ml: volume of the mask in ml, dense parts included.
        warnings: W-COVERAGE where the scan cuts the lungs.
    """

    mask: np.ndarray
    affine: np.ndarray
    volume_ml: float
    warnings: tuple[Notice, ...] = ()


def segment_lungs(volume: Volume) -> LungMask:
    """Segment the lungs in a CT volume of any axis order.

    Raises:
        InputError: E-NO-LUNG, there is no region of aerated lung inside a body.
    """
    hu, affine = block_means(volume, FINE_MM)
    spacing = spacing_of(affine)
    mask = include_dense(aerated_lung(hu, spacing), spacing)
    return LungMask(mask, affine, float(mask.sum() * np.prod(spacing) / 1e3), tuple(_coverage_warnings(mask, spacing)))


def block_means(volume: Volume, spacing_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Down-sample a volume to about ``spacing_mm`` by averaging whole blocks of voxels.

    Returns:
        (X, Y, Z) float32 HU in canonical order and its (4, 4) affine to LPS mm.
    """
    hu, affine = nearest_lps_order(volume)  # so that the same scan has the same blocks however it is stored
    step = np.maximum(np.rint(spacing_mm / spacing_of(affine)), 1).astype(int)
    order = np.argsort(np.abs(hu.strides))[::-1]  # that of the memory, several times faster to read
    means = _pooled(hu.transpose(order), step[order]).transpose(np.argsort(order))
    return np.ascontiguousarray(means), scaled_affine(affine, ((step - 1) / 2).tolist(), step.tolist())


def _pooled(hu: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Means (A, B, C) float32 of whole blocks of voxels; at the far ends, of what is left of a block.

    Sums go voxel by voxel, so that no copy of the volume is made.
    """
    shape = [-(-size // n) for size, n in zip(hu.shape, block, strict=True)]
    total = np.zeros(shape, np.float32)
    for number, layer in enumerate(hu):
        sums = total[number // block[0]]
        for row, column in np.ndindex(*block[1:]):
            part = layer[row :: block[1], column :: block[2]]
            sums[: part.shape[0], : part.shape[1]] += part
    counts = [
        np.minimum(n, size - n * np.arange(blocks)) for size, n, blocks in zip(hu.shape, block, shape, strict=True)
    ]
    total /= (counts[0][:, None, None] * counts[1][:, None] * counts[2]).astype(np.float32)
    return total


def aerated_lung(hu: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Mask of the air regions inside the body that have the density of lung.

    Args:
        hu: (X, Y, Z) in canonical order.
        spacing: (3,) voxel size in mm.

    Returns:
        (X, Y, Z) bool.

    Raises:
        InputError: E-NO-LUNG, no region has at least :data:`LUNG_ML`.
    """
    from scipy import ndimage

    voxel_ml = float(np.prod(spacing)) / 1e3
    air = (hu < AIR_HU) & inside_body(hu, spacing)
    labels, count = ndimage.label(air)
    size_ml = np.bincount(labels.ravel(), minlength=count + 1) * voxel_ml
    inner = np.where(ndimage.binary_erosion(air), labels, 0).ravel()  # the surface of any region is half tissue
    tissue = np.bincount(inner, weights=hu.ravel() > GAS_HU, minlength=count + 1)
    share = tissue / np.maximum(np.bincount(inner, minlength=count + 1), 1)
    lung_ml = np.where(share >= PARENCHYMA_SHARE, size_ml, 0.0)
    lung_ml[0] = 0.0
    if lung_ml.max() < LUNG_ML:
        raise InputError(
            "E-NO-LUNG",
            f"No lung found: the largest region of aerated lung inside a body has {lung_ml.max():.0f} ml "
            f"(expected at least {LUNG_ML:.0f} ml).",
            "Give a chest CT in Hounsfield units.",
        )
    large = np.isin(labels, np.flatnonzero(lung_ml >= max(LUNG_ML, lung_ml.max() / 10)))
    area = large.sum((0, 1))
    parts = np.isin(labels, np.flatnonzero(lung_ml >= PART_ML))
    return large | parts & (area > area.max() / 3)  # stool can look like lung, but lies where the lungs taper off


def inside_body(hu: np.ndarray, spacing: np.ndarray, min_share: float = 1.0) -> np.ndarray:
    """Mask of the voxels with body on their left, right, front and back in their slice; thin walls may have gaps.

    Args:
        hu: (X, Y, Z) in canonical order.
        spacing: (3,) voxel size in mm.
        min_share: least size of a connected piece of tissue that counts as body, as a share of the largest piece.

    Returns:
        (X, Y, Z) bool.
    """
    from scipy import ndimage

    thick = [2 * int(np.rint(TABLE_MM / spacing[axis])) + 1 for axis in (0, 1)]
    tissue = _open_in_plane(hu > AIR_HU, thick)
    labels, _ = ndimage.label(tissue)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    body = tissue & (sizes >= min_share * sizes.max())[labels]
    # A field of view narrower than the patient may cut the lung or leave little wall: its edge is the wall then.
    lung_like = (hu > GAS_HU) & (hu < AIR_HU)
    for axis, across in ((0, 1), (1, 0)) if body.any() else ():
        for inwards in (1, -1):
            near = np.moveaxis(lung_like, axis, 0)[::inwards][: thick[axis]].any(0)
            edge = np.moveaxis(hu, axis, 0)[::inwards][0] > GAS_HU
            wall = ndimage.binary_opening(near & edge, np.ones((thick[across], 1)))
            np.moveaxis(body, axis, 0)[::inwards][0] |= wall
    surrounded = np.ones_like(body)
    for axis in (0, 1):
        surrounded &= np.maximum.accumulate(body, axis)
        surrounded &= np.flip(np.maximum.accumulate(np.flip(body, axis), axis), axis)
    return surrounded


def _open_in_plane(mask: np.ndarray, size: list[int]) -> np.ndarray:
    """Remove parts thinner than ``size`` voxels along X or Y; the mask is taken to continue beyond the array."""
    from scipy.ndimage import maximum_filter1d, minimum_filter1d

    for extremum in (minimum_filter1d, maximum_filter1d):
        for axis in (0, 1):
            mask = extremum(mask, size[axis], axis=axis, mode="nearest")
    return mask


def _coverage_warnings(mask: np.ndarray, spacing: np.ndarray) -> Iterator[Notice]:
    """Warnings for the ends of the scan at which lung is missing."""
    for index, end in ((0, "feet"), (-1, "head")):
        area = mask[:, :, index].sum() * spacing[0] * spacing[1] / 100
        if area >= CUT_CM2:
            text = f"The scan ends inside the lungs towards the {end}: {area:.0f} cm2 of lung in its last slice."
            yield Notice("W-COVERAGE", text)
