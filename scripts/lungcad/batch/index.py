# SPDX-License-Identifier: Apache-2.0
"""Index of an archive: a row for each series in any of its folders, written as it is found.

Each folder's result is a line of JSON in ``<manifest>.journal``, so that a killed index goes on where it was, and a
later one reads only folders that changed. The manifest itself is made from these lines at the end, when all series of
a study are known. Neither holds a name or an identifier of a patient, except where folders are named so.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lungcad.batch.manifest import MADE_UP
from lungcad.console import bar
from lungcad.dicom.grouped import SAFE_UID
from lungcad.dicom.survey import Surveyed, survey_folder
from lungcad.errors import InputError
from lungcad.reading.volume_file import published_name, read_volume_header, volume_suffix

Entry = dict[str, Any]
"""Series as in the journal: ``uid``, ``study``, ``path``, ``slices``, ``code``, ``rank_by``."""


def update_journal(archive: Path, journal: Path, leniency: Mapping[str, Any]) -> dict[str, list[Entry]]:
    """Survey all folders of an archive that the journal does not know as they are now.

    Args:
        archive: folder with any depth of sub-folders; links are not followed.
        journal: file to read and to append to.
        leniency: options of :func:`lungcad.dicom.read_series`.

    Returns:
        Series by folder, relative to the archive.

    Raises:
        InputError: E-NO-DICOM, there is no such folder; E-CONFIG, an option is unknown.
    """
    if not archive.is_dir():
        raise InputError("E-NO-DICOM", "There is no folder of that name.", "Give the folder of the archive.")
    known = read_journal(journal)
    present: dict[str, list[Entry]] = {}
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("ab", buffering=0) as file:
        if journal.stat().st_size:
            file.write(b"\n")  # ends the line of a killed process
        for folder in bar(folders_with_files(archive), "index", " folders"):
            name = os.path.relpath(folder, archive)
            stamp = [folder.stat().st_mtime_ns, sorted(leniency.items())]
            line = known.get(name)
            if line is None or line["stamp"] != json.loads(json.dumps(stamp)):
                line = {"folder": name, "stamp": stamp, "series": list(folder_entries(archive, folder, leniency))}
                file.write(json.dumps(line).encode() + b"\n")
            present[name] = line["series"]
    return present


def read_journal(journal: Path) -> dict[str, Any]:
    """Lines of a journal by folder, the latest of each; incomplete ones are none."""
    lines: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError), journal.open("rb") as file:
        for line in file:
            with contextlib.suppress(ValueError, KeyError):
                document = json.loads(line)
                lines[document["folder"]] = document
    return lines


def folders_with_files(archive: Path) -> Iterator[Path]:
    """Folders at or under a path that hold files, in a stable order; folders that cannot be opened count, too."""
    closed: list[str] = []
    for folder, subfolders, files in os.walk(archive, onerror=lambda error: closed.append(str(error.filename))):
        subfolders.sort()
        yield from map(Path, closed)
        closed.clear()
        if files:
            yield Path(folder)
    yield from map(Path, closed)


def folder_entries(
    archive: Path, folder: Path, leniency: Mapping[str, Any], subfolders: bool = False
) -> Iterator[Entry]:
    """Series in one folder, DICOM and volume files; a folder that is refused as a whole is an entry, too."""
    name, readable = os.path.relpath(folder, archive), os.access(folder, os.R_OK | os.X_OK)
    volumes = sorted(file for file in os.listdir(folder) if volume_suffix(file)) if readable else []
    for file in volumes:
        yield _volume_entry(folder / file, os.path.join(name, file))
    try:
        for surveyed in survey_folder(folder, subfolders, **leniency):
            yield _series_entry(surveyed, name)
    except InputError as error:
        if error.code == "E-CONFIG":
            raise
        if error.code != "E-NO-DICOM" or not readable:  # other files are no series
            yield _entry(f"{MADE_UP}{checksum(name)}", name, error.code)


def _series_entry(surveyed: Surveyed, folder: str) -> Entry:
    """Entry of a DICOM series."""
    summary = surveyed.summary
    safe = SAFE_UID.fullmatch(summary.uid)
    uid = summary.uid if safe else f"{MADE_UP}{checksum(folder + summary.uid)}"
    entry = _entry(uid, folder, summary.code or ("" if safe else "E-TAG-VALUE"), summary.slices, surveyed.study_uid)
    usable = surveyed.usable if not entry["code"] else None
    return entry | {"rank_by": usable and asdict(replace(usable, patient_name="", patient_id=""))}


def _volume_entry(path: Path, name: str) -> Entry:
    """Entry of a volume file: named by its UID or, since files may be named after patients, a checksum of its path."""
    suffix = volume_suffix(path)
    stem = path.name[: len(path.name) - len(suffix)]
    uid = published_name(stem)
    uid = uid if uid == stem else f"volume-{checksum(name)}"
    try:
        return _entry(uid, name, "", read_volume_header(path, suffix).size[2])
    except InputError as error:
        return _entry(uid, name, error.code)
    except (OSError, EOFError, ValueError, UnicodeError):
        return _entry(uid, name, "E-CORRUPT")


def _entry(uid: str, path: str, code: str, slices: int = 0, study: str = "") -> Entry:
    return {"uid": uid, "study": study, "path": path, "slices": slices, "code": code, "rank_by": None}


def checksum(text: str) -> str:
    """Sixteen digits that stand for a path."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
