# SPDX-License-Identifier: Apache-2.0
"""What lies far from the lungs is blanked, in training and in use alike: ribs, table and arms teach nothing."""

import numpy as np
import SimpleITK as sitk

BLANK_HU = 0.0
"""Value of blanked voxels: soft tissue, the most common neighbour of a lung."""


def far_from_lungs(lungs: np.ndarray, spacing_mm: tuple[float, float, float], margin_mm: float) -> np.ndarray:
    """Voxels more than ``margin_mm`` away from every lung voxel.

    The distance is measured on a grid of about 2 mm, which is eight times faster and exact enough for a margin.

    Args:
        lungs: (X, Y, Z) bool.
        spacing_mm: voxel size along X, Y, Z.
        margin_mm: distance in mm.

    Returns:
        (X, Y, Z) bool.
    """
    step = [max(1, round(2.0 / size)) for size in spacing_mm]
    coarse = np.ascontiguousarray(lungs[:: step[0], :: step[1], :: step[2]])
    image = sitk.GetImageFromArray(coarse.astype(np.uint8))
    image.SetSpacing([size * n for size, n in zip(spacing_mm, step, strict=True)][::-1])
    distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    far = sitk.GetArrayViewFromImage(distance) > margin_mm
    for axis, n in enumerate(step):
        far = np.repeat(far, n, axis=axis) if n > 1 else far
    return far[: lungs.shape[0], : lungs.shape[1], : lungs.shape[2]]
