# SPDX-License-Identifier: Apache-2.0
"""Changes of grid on request: a gantry-tilted stack made upright, coronal or sagittal axes permuted to axial."""

import numpy as np

from lungcad.geometry import patient_axes
from lungcad.volume import LOWEST_HU


def straighten(hu: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Resample a sheared stack to an orthogonal one; no part of the patient is cut off.

    Each slice is shifted in its own plane with linear interpolation; the matrix grows by the largest shift and the
    new rim is air.

    Args:
        hu: (X, Y, Z) float32.
        affine: (4, 4) whose third column is not normal to the first two.

    Returns:
        hu (X', Y', Z), affine (4, 4) without shear.
    """
    from scipy.ndimage import shift as shift_image

    spacing = np.linalg.norm(affine[:3, :2], axis=0)
    axes = affine[:3, :2] / spacing
    step = affine[:3, 2]
    drift = (axes.T @ step) / spacing  # pixels per slice along X and Y
    offsets = np.arange(hu.shape[2])[:, None] * drift
    low = np.floor(offsets.min(axis=0)).astype(int)
    high = np.ceil(offsets.max(axis=0)).astype(int)
    out = np.full((hu.shape[2], hu.shape[1] + high[1] - low[1], hu.shape[0] + high[0] - low[0]), LOWEST_HU, np.float32)
    for index, offset in enumerate(offsets - low):
        pixels = np.floor(offset).astype(int)
        padded = np.pad(hu[:, :, index], ((0, 1), (0, 1)), constant_values=LOWEST_HU)
        moved = shift_image(padded, offset - pixels, order=1, cval=LOWEST_HU, prefilter=False)
        target = out[index].T[pixels[0] : pixels[0] + moved.shape[0], pixels[1] : pixels[1] + moved.shape[1]]
        target[...] = moved[: target.shape[0], : target.shape[1]]
    upright = affine.copy()
    upright[:3, 2] = step - axes @ (axes.T @ step)
    upright[:3, 3] = affine[:3, 3] + affine[:3, :2] @ low
    return out.transpose(2, 1, 0), upright


def to_axial_order(hu: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Permute the axes so that X, Y, Z run nearest to left-right, front-back, foot-head, Z upwards; no resampling.

    Args:
        hu: (X, Y, Z).
        affine: (4, 4) index to LPS mm.

    Returns:
        a view of ``hu`` with permuted axes, and its affine.
    """
    order, _, _ = patient_axes(affine, hu.shape)
    hu, turned = hu.transpose(order), affine[:, [*order, 3]]
    if turned[2, 2] < 0:
        turned[:3, 3] += turned[:3, 2] * (hu.shape[2] - 1)
        turned[:3, 2] *= -1
        hu = hu[:, :, ::-1]
    return hu, turned
