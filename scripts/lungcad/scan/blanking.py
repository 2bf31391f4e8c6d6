# SPDX-License-Identifier: Apache-2.0
"""Blanking of voxels far from the lungs, in training and in inference alike: ribs, table and arms teach nothing."""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
import SimpleITK as sitk
import torch

from lungcad.scan.scan import Grid, Scan
from lungcad.volume import Volume

BLANK_HU = 0.0
"""Value of blanked voxels: soft tissue, the most common neighbour of a lung."""

_BLANKED: WeakKeyDictionary[Scan, tuple[tuple[float, ...], Grid]] = WeakKeyDictionary()
"""Last blanked grid by scan, with its spacing and margin, for stages of a chain that share it.

Only one is kept, because a grid is as large as the scan; it is freed together with its scan.
"""


def far_from_lungs(lungs: np.ndarray, spacing_mm: tuple[float, float, float], margin_mm: float) -> np.ndarray:
    """Mask of the voxels more than ``margin_mm`` away from every lung voxel.

    The distance is measured on a grid of about 2 mm, which is eight times faster and exact enough for a margin.

    Args:
        lungs: (X, Y, Z) bool, the lung mask.
        spacing_mm: voxel size in mm along X, Y, Z.
        margin_mm: largest distance from the lungs that is kept, in mm.

    Returns:
        (X, Y, Z) bool, True far from the lungs.
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


def blanked_grid(scan: Scan, spacing_mm: Sequence[float], margin_mm: float) -> Grid:
    """Working grid of a scan in which voxels far from the lungs, or outside the scan, have :data:`BLANK_HU`.

    Args:
        scan: volume and lungs.
        spacing_mm: voxel size in mm along X, Y, Z.
        margin_mm: largest distance from the lungs that is kept, in mm.
    """
    x, y, z = map(float, spacing_mm)
    key, grid = _BLANKED.pop(scan, (None, None))
    if grid is None or key != (x, y, z, margin_mm):
        grid = None  # freed before the next one is made
        grid = scan.resampled((x, y, z))
        far = torch.from_numpy(far_from_lungs(grid.lungs.numpy(), (x, y, z), margin_mm))
        grid.hu.masked_fill_(far.logical_or_(~_inside_volume(grid, scan.volume)), BLANK_HU)
    _BLANKED[scan] = (x, y, z, margin_mm), grid
    return grid


def _inside_volume(grid: Grid, volume: Volume) -> torch.Tensor:
    """Mask (X, Y, Z) of grid voxels with centres inside the volume, whose axes are the grid's but for their order."""
    step = np.linalg.inv(volume.affine) @ grid.affine
    ranges = []
    for axis, count in enumerate(grid.hu.shape):
        along = int(np.abs(step[:3, axis]).argmax())
        index = step[along, axis] * np.arange(count) + step[along, 3]
        ranges.append(torch.from_numpy((index > -0.5) & (index < volume.hu.shape[along] - 0.5)))
    return ranges[0][:, None, None] & ranges[1][:, None] & ranges[2]
