# SPDX-License-Identifier: Apache-2.0
"""Table of nodules as CSV, one row per nodule; unknown values are empty cells."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lungcad.atomic import added_files
from lungcad.lidc.images import SeriesImage, read_grid
from lungcad.lidc.labels import jnsc_label, jnsc_marginal, jnsc_soft_label, mtmrnet_label
from lungcad.lidc.nodules import LidcNodule
from lungcad.lidc.readings import CATEGORIES, RATINGS, LidcScan

COLUMNS = (
    "patient_id", "series_uid", "nodule", "n_readers", "reading_ids", "x_mm", "y_mm", "z_mm", "column", "row",
    "diameter_mm", "luna16_diameter_mm", "extent_mm", "n_slices", "touching", "pixel_mm", "slice_mm", "thickness_mm",
    "label_mtmrnet", "label_jnsc", "soft_label_jnsc", "marginal_jnsc",
    *(f"mean_{name}" for name in RATINGS), *(f"median_{name}" for name in RATINGS),
    *(f"mode_{name}" for name in CATEGORIES),
)  # fmt: skip
"""Columns of the table. Coordinates are DICOM LPS; x_mm and y_mm need the images, since readings lack their origin."""


def write_nodules(
    path: str | Path, nodules: Iterable[LidcNodule], scans: Iterable[LidcScan], images: Mapping[str, SeriesImage]
) -> None:
    """Write the table with the columns :data:`COLUMNS`, completely or not at all.

    Args:
        path: path of the CSV file; an earlier one is replaced.
        nodules: nodules in the order of the rows.
        scans: scans of the nodules.
        images: CT series by UID; nodules of other series get no x and y.

    Raises:
        InputError: E-OUTPUT, the folder cannot be written; E-IMAGES, an image's header lacks geometry.
    """
    path = Path(path)
    scan_of = {scan.series_uid: scan for scan in scans}
    to_xy = {uid: read_grid(images[uid]).to_xy for uid in {nodule.series_uid for nodule in nodules} & set(images)}
    with added_files(path.parent) as folder, (folder / path.name).open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, COLUMNS)
        rows.writeheader()
        for nodule in nodules:
            column, row, _ = nodule.centre
            x_mm, y_mm = to_xy[nodule.series_uid] @ [column, row, 1] if nodule.series_uid in to_xy else (None, None)
            rows.writerow({key: _cell(value) for key, value in _row(nodule, scan_of[nodule.series_uid]).items()}
                          | {"x_mm": _cell(x_mm), "y_mm": _cell(y_mm)})  # fmt: skip


def _row(nodule: LidcNodule, scan: LidcScan) -> dict[str, Any]:
    """Values of a nodule by column, but for x_mm and y_mm."""
    column, row, z_mm = nodule.centre
    return {
        "patient_id": nodule.patient_id, "series_uid": nodule.series_uid, "nodule": nodule.number,
        "n_readers": nodule.n_readers, "reading_ids": ";".join(nodule.reading_ids),
        "z_mm": z_mm, "column": column, "row": row,
        "diameter_mm": nodule.diameter_mm, "luna16_diameter_mm": nodule.luna16[3], "extent_mm": nodule.extent_mm,
        "n_slices": nodule.n_slices, "touching": int(nodule.touching),
        "pixel_mm": scan.pixel_mm, "slice_mm": scan.slice_mm, "thickness_mm": scan.thickness_mm,
        "label_mtmrnet": mtmrnet_label(nodule), "label_jnsc": jnsc_label(nodule),
        "soft_label_jnsc": jnsc_soft_label(nodule), "marginal_jnsc": int(jnsc_marginal(nodule)),
        **{f"mean_{name}": value for name, value in nodule.mean.items()},
        **{f"median_{name}": value for name, value in nodule.median.items()},
        **{f"mode_{name}": value for name, value in nodule.mode.items()},
    }  # fmt: skip


def _cell(value: Any) -> Any:
    """Round to a nanometre, which keeps the file legible; None becomes an empty cell."""
    return round(float(value), 6) if isinstance(value, float) else value
