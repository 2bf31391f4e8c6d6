# SPDX-License-Identifier: Apache-2.0
"""List of writers, and the folder that they fill: completely or not at all."""

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from lungcad.atomic import replaced_folder
from lungcad.options import true_or_false
from lungcad.results.nodules_csv import write_nodules_csv
from lungcad.results.nodules_json import write_nodules_json
from lungcad.results.result import Result
from lungcad.results.run_json import write_run_json
from lungcad.volume import Volume

Writer = Callable[[Path, Result], None]
"""Function that writes one format of a result into an existing folder."""


def _write_report(folder: Path, result: Result) -> None:
    from lungcad.results.page.report import write_report  # imports Jinja and Pillow

    write_report(folder, result)


def _write_dicom(folder: Path, result: Result, comprehensive: bool = False) -> None:
    from lungcad.results.dicom import write_dicom  # imports highdicom

    write_dicom(folder, result, comprehensive)


FILES: tuple[Writer, ...] = (write_nodules_csv, _write_report, write_nodules_json)
"""Writers of every result. run.json is written after them, because it holds the seconds that they took."""

WRITERS: tuple[Writer, ...] = (*FILES, _write_dicom)
"""Writers of a result with DICOM objects for an archive, which are written if the input is DICOM."""

MARK = "nodules.json"
"""File that marks a folder as an earlier result."""

RESULT_FILES = frozenset({MARK, "nodules.csv", "report.html", "run.json", "nodules.sr.dcm", "nodules.seg.dcm"})
"""Names of all files of a result; other files in its folder are not part of it."""

COMPREHENSIVE = "comprehensive"
"""Value of the key ``dicom_results`` for archives that take no Comprehensive 3D SR."""


def writers_for(dicom_results: bool | str) -> Sequence[Writer]:
    """Writers for the key ``dicom_results``: true, false, or ``comprehensive`` for a Comprehensive SR.

    Raises:
        InputError: E-CONFIG, any other word.
    """
    if str(dicom_results).lower() == COMPREHENSIVE:
        return (*FILES, partial(_write_dicom, comprehensive=True))
    return WRITERS if true_or_false("dicom_results", dicom_results) else FILES


def write(result: Result, output_dir: str | Path, writers: Sequence[Writer] = WRITERS) -> Path:
    """Write a result to ``<output_dir>/<folder_name of the series>/``; an earlier result there is replaced.

    Files of others that lie in an earlier result stay.

    Args:
        result: result to write.
        output_dir: folder, created if needed.
        writers: writers, in this order.

    Returns:
        Folder of the result.

    Raises:
        InputError: E-OUTPUT, the folder cannot be written or holds files of another origin.
    """
    start = time.perf_counter()
    target = result_folder(output_dir, result.volume)
    with replaced_folder(target, mark=MARK, names=RESULT_FILES) as folder:
        result = replace(result, earlier=target if target.is_dir() else None)
        for writer in writers:
            writer(folder, result)
        seconds = {**result.seconds, "report": time.perf_counter() - start}
        write_run_json(folder, replace(result, seconds=seconds))
    return target


def result_folder(output_dir: str | Path, volume: Volume) -> Path:
    """Folder of a volume's result."""
    return Path(output_dir) / folder_name(volume.series_uid)


def folder_name(series_uid: str) -> str:
    """Safe name of a folder for a series' UID or the name of a file; UIDs stay as they are.

    In names of files every unusual character becomes ``_``; a checksum then keeps two files from sharing a folder.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", series_uid).strip("._-")[:120] or "series"
    checksum = hashlib.sha256(series_uid.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return safe if safe == series_uid else f"{safe}_{checksum}"
