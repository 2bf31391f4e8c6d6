# SPDX-License-Identifier: Apache-2.0
"""Folder of a comparison: written completely or not at all."""

import hashlib
from pathlib import Path

from lungcad.atomic import replaced_folder
from lungcad.followup.comparison import Comparison
from lungcad.followup.dicom import write_comparison_dicom
from lungcad.followup.documents import write_comparison_csv, write_comparison_json
from lungcad.followup.page import write_comparison_page
from lungcad.results.write import folder_name
from lungcad.volume import Volume

MARK = "comparison.json"
"""File that marks a folder as an earlier comparison."""
FILES = frozenset({MARK, "comparison.csv", "comparison.html", "comparison.sr.dcm"})
"""Names of all files of a comparison."""


def write_comparison(comparison: Comparison, output_dir: str | Path) -> Path:
    """Write a comparison to its folder in ``output_dir``; an earlier one of the same two series is replaced.

    Args:
        comparison: comparison to write.
        output_dir: folder, created if needed.

    Returns:
        Folder of the comparison, see :func:`comparison_folder`.

    Raises:
        InputError: E-OUTPUT.
    """
    target = comparison_folder(output_dir, comparison.prior.volume, comparison.current.volume)
    with replaced_folder(target, mark=MARK, names=FILES) as folder:
        write_comparison_csv(folder, comparison)
        write_comparison_page(folder, comparison)
        write_comparison_dicom(folder, comparison)
        write_comparison_json(folder, comparison)
    return target


def comparison_folder(output_dir: str | Path, prior: Volume, current: Volume) -> Path:
    """Folder ``compare_<current series>_<checksum of the prior series>``."""
    checksum = hashlib.sha256(prior.series_uid.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return Path(output_dir) / f"compare_{folder_name(current.series_uid)}_{checksum}"


def earlier_comparisons(output_dir: str | Path, current: Volume) -> list[Path]:
    """Files comparison.json in an output folder that have a series as the current one, the latest last."""
    found = Path(output_dir).glob(f"compare_{folder_name(current.series_uid)}_*/{MARK}")
    return sorted(found, key=lambda path: path.stat().st_mtime)
