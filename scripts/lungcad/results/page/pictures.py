# SPDX-License-Identifier: Apache-2.0
"""Pictures of a scan in grey: planes through a point, whole slices and projections, all true to scale.

Pictures hold pixels only. Circles, scale bars and letters are drawn over them as vectors in millimetres (see
:mod:`lungcad.results.page.report`), so that they stay exact and sharp at any size.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lungcad.geometry import nearest_lps_order, spacing_of, to_index
from lungcad.volume import Volume

LUNG_WINDOW_HU = (-600.0, 1500.0)
"""Level and width of the lung window in HU."""

SOFT_WINDOW_HU = (40.0, 400.0)
"""Level and width of the soft tissue window in HU."""

SLICE_PIXELS = 256
"""Width in pixels of the picture of a whole slice."""

PLANES = {
    # directions to the right and downwards in LPS; letters at the left, right, top and bottom edge
    "axial": ((1, 0, 0), (0, 1, 0), "RLAP"),
    "coronal": ((1, 0, 0), (0, 0, -1), "RLHF"),
    "sagittal": ((0, 1, 0), (0, 0, -1), "APHF"),
}
"""Planes in radiological convention: axial from the feet, coronal from the front, sagittal from the patient's left."""


@dataclass(frozen=True)
class Picture:
    """Picture of grey pixels (rows, columns) uint8 that cover ``width_mm`` x ``height_mm``."""

    pixels: np.ndarray
    width_mm: float
    height_mm: float

    def data_uri(self) -> str:
        """Data URI of the picture as PNG."""
        from PIL import Image

        png = io.BytesIO()
        Image.fromarray(self.pixels).save(png, "PNG", compress_level=4)
        return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()


def window_to_grey(hu: np.ndarray) -> np.ndarray:
    """Map HU to grey values 0 to 255 (uint8) in the lung window; ``level - width / 2`` and below are black."""
    level, width = LUNG_WINDOW_HU
    return np.clip((hu - (level - width / 2)) * (255 / width) + 0.5, 0, 255).astype(np.uint8)


def plane_picture(
    volume: Volume, center_lps_mm: Sequence[float], plane: str, width_mm: float, pixels: int = 256
) -> Picture:
    """Picture of a square plane along the patient's axes around a point, in the lung window; black outside the scan.

    The point lies exactly in the middle. The plane is resampled with cubic splines at half the number of pixels, then
    enlarged for smooth edges.

    Args:
        volume: the scan; its axes may have any order, sign and obliquity.
        center_lps_mm: (x, y, z) in patient LPS mm.
        plane: key of :data:`PLANES`.
        width_mm: width and height of the picture in mm.
        pixels: number of pixels along an edge.
    """
    from scipy.ndimage import affine_transform

    count = pixels // 2
    pixel_mm = width_mm / count
    right, down, _ = (np.asarray(direction) for direction in PLANES[plane])
    step = np.linalg.inv(volume.affine[:3, :3]) @ (np.stack([down, right], axis=1) * pixel_mm)  # (3, 2) voxels
    first = to_index(volume.affine, center_lps_mm) - step.sum(axis=1) * (count - 1) / 2
    corners = first + np.array([[0, 0], [0, 1], [1, 0], [1, 1]]) @ step.T * (count - 1)
    margin = 4  # voxels around the plane for the spline's prefilter, whose influence falls by 0.27 a voxel
    low = np.clip(np.floor(corners.min(axis=0)).astype(int) - margin, 0, np.array(volume.hu.shape) - 1)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + margin + 1, low + 1, volume.hu.shape)
    block = volume.hu[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    hu = affine_transform(
        block, step, first - low, (count, count), np.float32, order=3, mode="constant", cval=-2000.0
    )
    return Picture(_resized(window_to_grey(hu), pixels, pixels), width_mm, width_mm)


@dataclass(frozen=True)
class ScanPicture:
    """Picture along the scan's own axes, which can locate points of the scan.

    Attributes:
        picture: columns run along ``axes[0]``; rows along ``axes[1]``, or against it where that is 2 (head first).
        affine: (4, 4) affine of the scan in the order of :func:`nearest_lps_order`.
        axes: scan axes of columns and rows: 0 runs to the left, 1 to the back, 2 to the head.
    """

    picture: Picture
    affine: np.ndarray
    axes: tuple[int, int]

    def position_mm(self, center_lps_mm: Sequence[float]) -> tuple[float, float]:
        """Distances in mm of a point from the left and from the top edge of the picture."""
        from_corner = (to_index(self.affine, center_lps_mm) + 0.5) * spacing_of(self.affine)
        right, down = (float(from_corner[axis]) for axis in self.axes)
        return right, self.picture.height_mm - down if self.axes[1] == 2 else down


def slice_picture(volume: Volume, center_lps_mm: Sequence[float]) -> ScanPicture:
    """Picture of the whole scanned slice nearest to a point, in the lung window, 256 pixels wide."""
    hu, affine = nearest_lps_order(volume)
    width, height, _ = (float(mm) for mm in np.array(hu.shape) * spacing_of(affine))
    level = int(np.clip(np.rint(to_index(affine, center_lps_mm)[2]), 0, hu.shape[2] - 1))
    pixels = _resized(window_to_grey(hu[:, :, level].T), SLICE_PIXELS, max(1, round(SLICE_PIXELS * height / width)))
    return ScanPicture(Picture(pixels, width, height), affine, (0, 1))


def projection_picture(volume: Volume, axis: int) -> ScanPicture:
    """Projection of the scan like a chest radiograph, by mean density along the rays.

    Args:
        volume: the scan.
        axis: axis of the columns: 0 for a frontal, 1 for a lateral view.
    """
    hu, affine = nearest_lps_order(volume)
    spacing = spacing_of(affine)
    every_mm = np.array([4.0, 4.0, 1.5])
    every_mm[axis] = 1.5
    x, y, z = np.maximum(1, np.round(every_mm / spacing)).astype(int)
    density = np.clip(hu[::x, ::y, ::z] + 1000.0, 0.0, 1800.0)  # air weighs nothing, metal no more than bone
    mean = density.mean(axis=1 - axis)[:, ::-1].T
    low, high = np.percentile(mean[mean > 0.05 * mean.max()], (1, 99.5)) if mean.any() else (0.0, 1.0)
    grey = np.clip((mean - low) / max(high - low, 1e-6), 0, 1) ** 0.8 * 255
    width, height = (float(mm) for mm in (np.array(hu.shape) * spacing)[[axis, 2]])
    pixels = _resized(grey.astype(np.uint8), max(1, round(width)), max(1, round(height)))
    return ScanPicture(Picture(pixels, width, height), affine, (axis, 2))


def _resized(grey: np.ndarray, columns: int, rows: int) -> np.ndarray:
    """Picture (rows, columns) resampled with cubic splines."""
    from PIL import Image

    return np.asarray(Image.fromarray(grey).resize((columns, rows), Image.Resampling.BICUBIC))
