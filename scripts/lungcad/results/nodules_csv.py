# SPDX-License-Identifier: Apache-2.0
"""Writer of nodules.csv: LUNA16's submission columns followed by further ones."""

import csv
from pathlib import Path
from typing import Any

from lungcad.finding import ATTRIBUTES
from lungcad.printable import printable
from lungcad.results.nodules_json import plain_values, reported_score
from lungcad.results.result import Result

LUNA16_COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "probability")
"""Columns of a LUNA16 submission."""

EXTRA_COLUMNS = (
    "diameter_mm", "detection_score", "nodule_probability", "malignancy_probability", "volume_mm3", *ATTRIBUTES,
)  # fmt: skip
"""Columns that nodules.csv adds to LUNA16's."""

MEASURED_COLUMNS = {
    "long_axis_mm": "long_axis_mm", "short_axis_mm": "short_axis_mm", "mean_diameter_mm": "mean_diameter_mm",
    "effective_diameter_mm": "effective_diameter_mm", "mean_hu": "mean_hu", "mass_mg": "mass_mg", "kind": "kind",
    "solid_mm": "solid_mm", "calcification_pattern": "calcification", "doubts": "doubts",
    "method": "method",
}  # fmt: skip
"""Further columns, and the names of their values in a measurement; ``calcification`` alone is LIDC's attribute."""

LOCATED_COLUMNS = ("side", "zone", "pleura_mm", "juxtapleural")
"""Further columns, values of a location."""

CSV_COLUMNS = (*LUNA16_COLUMNS, *EXTRA_COLUMNS, *MEASURED_COLUMNS, *LOCATED_COLUMNS)
"""All columns of nodules.csv."""


def text_cell(text: str) -> str:
    """Text of a cell; a spreadsheet would run what begins as a formula, so an apostrophe goes before it."""
    shown = printable(text)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown


def _cell(value: Any) -> Any:
    """Value of a cell: 1 or 0 for yes or no, several texts joined."""
    if isinstance(value, bool):
        return int(value)
    return "; ".join(value) if isinstance(value, list) else value


def write_nodules_csv(folder: Path, result: Result) -> None:
    """Write nodules.csv into a folder; unknown values are empty cells.

    ``probability`` is the nodule probability, or the detection score if false positive reduction did not run (then
    ``nodule_probability`` is empty).
    """
    with (folder / "nodules.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(CSV_COLUMNS)
        for finding in result.findings:
            entry = plain_values(finding.as_dict())
            values = entry | (entry["attributes"] or {})
            extra = [values.get(column) for column in EXTRA_COLUMNS]
            measured, located = entry["measurement"] or {}, entry["location"] or {}
            extra += [_cell(measured.get(name)) for name in MEASURED_COLUMNS.values()]
            extra += [_cell(located.get(name)) for name in LOCATED_COLUMNS]
            rows.writerow([text_cell(result.volume.public_uid), *entry["center_lps_mm"], reported_score(entry), *extra])
