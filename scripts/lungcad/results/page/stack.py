# SPDX-License-Identifier: Apache-2.0
"""Stack of a scan's slices over the lungs, small enough for one offline page, from which any window can be shown.

A slice is a grey JPEG whose grey values stand for HU by :data:`HU_KNOTS` and :data:`GREY_KNOTS`; the page maps them to
the window that its reader chooses. The map rises with HU, so the largest grey of neighbouring slices is their maximum
intensity projection.
"""

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lungcad.geometry import nearest_lps_order, patient_axes, spacing_of, to_index, to_world
from lungcad.volume import Volume

if TYPE_CHECKING:
    from lungcad.scan.lungs import LungMask

HU_KNOTS = (-1024, -160, 240, 1040)
GREY_KNOTS = (0, 135, 235, 255)
"""Knots of the map from HU to grey, linear between them: steps of 6.4 HU in the lungs, of 4 HU in soft tissue."""

MARGIN_MM = 15.0
"""Width of the tissue around the lungs that is shown."""
LEAST_PIXEL_MM = 0.6
"""Smallest pixel; a finer scan is reduced to it."""
LEAST_STEP_MM = 0.9
"""Smallest distance between slices shown; of a finer scan every second, third ... slice is shown."""
MOST_SLICES = 400
MOST_PIXELS = 28_000_000
"""Largest number of slices, and of pixels in all; pixels become larger instead."""
MOST_BYTES = 8_500_000
"""Largest size of all slices: 11.4 MB as text. Beyond it every second slice is left out."""
QUALITY = 85
"""Quality of the JPEGs."""


@dataclass(frozen=True)
class SliceStack:
    """Slices of a scan in radiological convention: columns run to the patient's left, rows to the back.

    Attributes:
        jpegs: slices from the feet to the head.
        slices: index along the scan's own Z axis of each, or along the patient's axis where Z runs another way.
        images: InstanceNumber of each, None where unknown.
        z_mm: z of the middle of each in LPS mm.
        columns, rows: size of a slice in pixels.
        width_mm, height_mm: size of a slice in mm.
        step_mm: distance between slices.
        affine: (4, 4) affine of the scan in the order of :func:`nearest_lps_order`.
        first: (3,) index of the first voxel shown, in that order.
        every: number of slices from one shown to the next.
    """

    jpegs: list[bytes]
    slices: list[int]
    images: list[int | None]
    z_mm: list[float]
    columns: int
    rows: int
    width_mm: float
    height_mm: float
    step_mm: float
    affine: np.ndarray
    first: np.ndarray
    every: int

    def position(self, center_lps_mm: Sequence[float]) -> tuple[float, float, float]:
        """Distances in mm of a point from the left and the top edge, and its place in the stack, 0 at the first."""
        index = to_index(self.affine, center_lps_mm) - self.first
        x_mm, y_mm, _ = spacing_of(self.affine)
        return float((index[0] + 0.5) * x_mm), float((index[1] + 0.5) * y_mm), float(index[2] / self.every)

    def corner_lps_mm(self, number: int) -> np.ndarray:
        """Upper left corner (3,) of slice ``number`` of the stack in LPS mm."""
        return to_world(self.affine, self.first + np.array([-0.5, -0.5, number * self.every]))


def slice_stack(volume: Volume, lungs: "LungMask | None", points_lps_mm: Sequence[Sequence[float]] = ()) -> SliceStack:
    """Slices over the lungs and over given points, encoded in threads; the whole slices where the lungs are unknown.

    Args:
        volume: CT volume in any axis order.
        lungs: lungs of the volume.
        points_lps_mm: points that are shown with their surroundings, wherever they lie.
    """
    hu, affine = nearest_lps_order(volume)
    low, high = _box(hu.shape, affine, lungs, points_lps_mm)
    x_mm, y_mm, z_mm = spacing_of(affine).tolist()
    width, height, depth = (high - low).tolist()
    every = max(1, round(LEAST_STEP_MM / z_mm), -(-depth // MOST_SLICES))
    levels = list(range(int(low[2]), int(high[2]), every))
    reduction = max(1.0, (width * height * len(levels) / MOST_PIXELS) ** 0.5)
    columns = max(1, round(width / max(reduction, LEAST_PIXEL_MM / x_mm)))
    rows = max(1, round(height / max(reduction, LEAST_PIXEL_MM / y_mm)))

    def encode(level: int) -> bytes:
        return _jpeg(hu[low[0] : high[0], low[1] : high[1], level].T, columns, rows)

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        jpegs = list(pool.map(encode, levels))
    while len(jpegs) > 1 and sum(map(len, jpegs)) > MOST_BYTES:
        jpegs, levels, every = jpegs[::2], levels[::2], 2 * every
    slices, images = _names(volume, levels)
    middle = (low + high - 1) / 2
    return SliceStack(
        jpegs, slices, images, [float(to_world(affine, [middle[0], middle[1], level])[2]) for level in levels],
        columns, rows, width * x_mm, height * y_mm, every * z_mm, affine, low, every,
    )  # fmt: skip


def grey_of_hu(hu: np.ndarray) -> np.ndarray:
    """Map HU to the greys of a stack (uint8)."""
    lowest, highest = HU_KNOTS[0], HU_KNOTS[-1]
    table = np.interp(np.arange(lowest, highest + 1), HU_KNOTS, GREY_KNOTS).round().astype(np.uint8)
    return table[(np.clip(hu, lowest, highest) - (lowest - 0.5)).astype(np.uint16)]


def _jpeg(hu: np.ndarray, columns: int, rows: int) -> bytes:
    """JPEG of a slice (rows, columns) of HU, resampled to a size."""
    from PIL import Image

    picture = Image.fromarray(grey_of_hu(hu))
    if picture.size != (columns, rows):
        picture = picture.resize((columns, rows), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _box(
    shape: Sequence[int], affine: np.ndarray, lungs: "LungMask | None", points_lps_mm: Sequence[Sequence[float]]
) -> tuple[np.ndarray, np.ndarray]:
    """First index (3,) and the index behind the last of what is shown."""
    size = np.array(shape)
    if lungs is None or not lungs.mask.any():
        return np.zeros(3, int), size
    ends = np.transpose([np.flatnonzero(lungs.mask.any(axis=axes))[[0, -1]] for axes in ((1, 2), (0, 2), (0, 1))])
    points = to_index(affine, np.vstack([to_world(lungs.affine, ends), np.reshape(points_lps_mm, (-1, 3))]))
    margin = MARGIN_MM / spacing_of(affine)
    low = np.clip(np.floor(points.min(axis=0) - margin).astype(int), 0, size - 1)
    return low, np.clip(np.ceil(points.max(axis=0) + margin).astype(int) + 1, low + 1, size)


def _names(volume: Volume, levels: Sequence[int]) -> tuple[list[int], list[int | None]]:
    """Indices along the scan's own Z axis and InstanceNumbers of slices counted from the feet."""
    order, reverse, _ = patient_axes(volume.affine, volume.hu.shape)
    if order[2] != 2:
        return list(levels), [None] * len(levels)
    stored = [volume.hu.shape[2] - 1 - level if reverse[2] else level for level in levels]
    return stored, [volume.instance_numbers[index] if volume.instance_numbers else None for index in stored]
