# SPDX-License-Identifier: Apache-2.0
"""Rated nodules from folders of crops: ``nodules2d`` (one slice each) and ``nodules3d`` (all slices)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from lungcad.geometry import enclosing_slices
from lungcad.tables import Row, read_table
from lungcad.training.rated_nodule import SCORES, RatedNodule

OUTLINE_MM = 1.9
"""By so much the circle of an outline's area is wider than LUNA16's diameter: the median of the 824 nodules that are in
both folders, nearly the same for small and large ones (1.7 to 2.3 mm), since outlines run around a nodule."""

SMALLEST_MM = 2.5
"""What is left of the smallest outlines."""

READERS = 4


def single_slice(folder: str | Path) -> Iterator[RatedNodule]:
    """Nodules of ``nodules2d``: 71 x 71 pixels of the slice in which the nodule is largest.

    Raises:
        InputError: E-TABLE, where slices.csv cannot be read.
    """
    root = Path(folder)
    with np.load(root / "slices.npz") as store:
        images = store["image"]
    middle = (images.shape[1] - 1) / 2
    for row in _usable(root / "slices.csv"):
        pixel = row.number("pixel_spacing_mm")
        diameter = max(row.number("equiv_diameter_mm") - OUTLINE_MM, SMALLEST_MM)
        image = images[int(row.number("index"))][None]
        patient = row.text("patient_id")
        yield RatedNodule(f"{patient}_{row.text('nodule_id_2d')}", patient, image, (middle, middle), (pixel, pixel),
                          diameter, _readings(row))  # fmt: skip


def multi_slice(folder: str | Path, view: float = 2.0) -> Iterator[RatedNodule]:
    """Nodules of ``nodules3d``: the slices no farther from the centre than LUNA16's radius.

    Large nodules fill their crops. What a network would see of them beyond the crop's edge is not there, and as most of
    them are malignant, the want of it would tell the answer: they are left out here, and are in ``nodules2d``.

    Args:
        folder: with nodules.csv.
        view: diameters that must be there, half of them to each side of the centre.

    Raises:
        InputError: E-TABLE, where nodules.csv cannot be read.
    """
    root = Path(folder)
    for row in _usable(root / "nodules.csv"):
        name, diameter = row.text("nodule_id"), row.number("diameter_mm")
        column, line, number = (row.number(f"centre_{axis}") for axis in "ijk")
        width, height, depth = (row.number(f"spacing_{axis}") for axis in "xyz")
        slices = sitk.GetArrayFromImage(sitk.ReadImage(str(root / f"{name}.nii.gz")))  # (k, j, i)
        inside = enclosing_slices(number, diameter / 2 / depth, len(slices), len(slices))
        nodule = RatedNodule(name, row.text("patient_id"), slices[inside].astype(np.int16), (line, column),
                             (height, width), diameter, _readings(row))  # fmt: skip
        if nodule.margin_px >= view / 2 * max(nodule.diameter_px) - 1:
            yield nodule


def _usable(table: Path) -> Sequence[Row]:
    """Rows with readings whose picture is right."""
    return [row for row in read_table(table).rows if row.cells["usable"] == "1" and row.cells["r1_malignancy"]]


def _readings(row: Row) -> np.ndarray:
    return np.array([
        [row.number(f"r{reader}_{score}") for score in SCORES]
        for reader in range(1, READERS + 1)
        if row.cells[f"r{reader}_malignancy"]
    ])  # fmt: skip
