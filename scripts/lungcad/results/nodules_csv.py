# SPDX-License-Identifier: Apache-2.0
"""Writer of nodules.csv: LUNA16's submission columns followed by further ones."""

import csv
from pathlib import Path

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


def text_cell(text: str) -> str:
    """Text of a cell; a spreadsheet would run what begins as a formula, so an apostrophe goes before it."""
    shown = printable(text)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown


def write_nodules_csv(folder: Path, result: Result) -> None:
    """Write nodules.csv into a folder; unknown values are empty cells.

    ``probability`` is the nodule probability, or the detection score if false positive reduction did not run (then
    ``nodule_probability`` is empty).
    """
    with (folder / "nodules.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow([*LUNA16_COLUMNS, *EXTRA_COLUMNS])
        for finding in result.findings:
            entry = plain_values(finding.as_dict())
            values = entry | (entry["attributes"] or {})
            extra = [values.get(column) for column in EXTRA_COLUMNS]
            rows.writerow([text_cell(result.volume.public_uid), *entry["center_lps_mm"], reported_score(entry), *extra])
