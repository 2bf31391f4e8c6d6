# SPDX-License-Identifier: Apache-2.0
"""The list of writers, and the folder that they fill: whole or not at all."""

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
"""Writes one format of a result into an existing folder."""


def _write_report(folder: Path, result: Result) -> None:
    from lungcad.results.report import write_report  # imports Jinja and Pillow

    write_report(folder, result)


def _write_dicom(folder: Path, result: Result) -> None:
    from lungcad.results.dicom import write_dicom  # imports highdicom

    write_dicom(folder, result)


FILES: tuple[Writer, ...] = (write_nodules_csv, _write_report, write_nodules_json)
"""Formats of every result. run.json comes after them, because it holds the seconds that they took."""

WRITERS: tuple[Writer, ...] = (*FILES, _write_dicom)
"""Formats of a result that goes to an archive too: with DICOM objects, where the input is DICOM."""


def write(result: Result, output_dir: str | Path, writers: Sequence[Writer] = WRITERS) -> Path:
    """Write a result to ``<output_dir>/<folder_name of the series>/``; an earlier result there is replaced as a whole.

    Args:
        result: what was found.
        output_dir: created if needed.
        writers: formats to write, in this order.

    Returns:
        The folder of the result.

    Raises:
        InputError: E-OUTPUT, the folder cannot be written or holds somebody else's files.
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
    """Turn a series' UID, or the name of a file, into a safe name of a folder; UIDs stay as they are.

    In names of files everything unusual becomes ``_``; a checksum then keeps two of them from sharing a folder.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", series_uid).strip("._-")[:120] or "series"
    checksum = hashlib.sha256(series_uid.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return safe if safe == series_uid else f"{safe}_{checksum}"
