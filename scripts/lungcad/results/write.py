# SPDX-License-Identifier: Apache-2.0
"""List of writers, and the folder that they fill: completely or not at all."""

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from lungcad.atomic import replaced_folder
from lungcad.results.nodules_csv import write_nodules_csv
from lungcad.results.nodules_json import write_nodules_json
from lungcad.results.result import Result
from lungcad.results.run_json import write_run_json

Writer = Callable[[Path, Result], None]
"""Function that writes one format of a result into an existing folder."""


def _write_report(folder: Path, result: Result) -> None:
    from lungcad.results.report import write_report  # imports Jinja and Pillow

    write_report(folder, result)


def _write_dicom(folder: Path, result: Result) -> None:
    from lungcad.results.dicom import write_dicom  # imports highdicom

    write_dicom(folder, result)


FILES: tuple[Writer, ...] = (write_nodules_csv, _write_report, write_nodules_json)
"""Writers of every result. run.json is written after them, because it holds the seconds that they took."""

WRITERS: tuple[Writer, ...] = (*FILES, _write_dicom)
"""Writers of a result with DICOM objects for an archive, which are written if the input is DICOM."""


def write(result: Result, output_dir: str | Path, writers: Sequence[Writer] = WRITERS) -> Path:
    """Write a result to ``<output_dir>/<folder_name of the series>/``; an earlier result there is replaced as a whole.

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
    target = Path(output_dir) / folder_name(result.volume.series_uid)
    with replaced_folder(target, ours="nodules.json") as folder:
        for writer in writers:
            writer(folder, result)
        seconds = {**result.seconds, "report": time.perf_counter() - start}
        write_run_json(folder, replace(result, seconds=seconds))
    return target


def folder_name(series_uid: str) -> str:
    """Safe name of a folder for a series' UID or the name of a file; UIDs stay as they are.

    In names of files every unusual character becomes ``_``; a checksum then keeps two files from sharing a folder.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", series_uid).strip("._-")[:120] or "series"
    checksum = hashlib.sha256(series_uid.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return safe if safe == series_uid else f"{safe}_{checksum}"
