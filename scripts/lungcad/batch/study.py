# SPDX-License-Identifier: Apache-2.0
"""Series of a whole archive: each one's folder, though it may lie in several, and its rank within its study."""

import bisect
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lungcad.batch.index import Entry, folder_entries, update_journal
from lungcad.batch.manifest import Item, write_manifest
from lungcad.dicom.rank import Usable, rank_usable

MAX_FOLDERS = 64
"""Largest number of folders with files, at or under the folder of a series, that are searched for its slices."""


def index_archive(archive: Path, manifest: Path, leniency: Mapping[str, Any] | None = None) -> list[Item]:
    """Write the manifest of an archive, and return its rows.

    Args:
        archive: folder with any depth of sub-folders.
        manifest: CSV table to write; ``<manifest>.journal`` beside it lets an interrupted or later index go on.
        leniency: options of :func:`lungcad.dicom.read_series`.

    Raises:
        InputError: E-NO-DICOM, there is no such folder; E-CONFIG, an option is unknown.
    """
    archive, options = archive.absolute(), dict(leniency or {})
    found = update_journal(archive, manifest.with_name(f"{manifest.name}.journal"), options)
    entries = list(joined_entries(archive, found, options))
    ranks = ranks_by_uid(entries)
    items = [
        Item(
            entry["uid"],
            archive / entry["path"],
            entry["study"],
            entry["slices"],
            entry["code"],
            ranks.get(entry["uid"], 0),
        )
        for entry in sorted(entries, key=lambda entry: (entry["study"], entry["path"], entry["uid"]))
    ]
    write_manifest(manifest, items)
    return items


def joined_entries(archive: Path, found: Mapping[str, list[Entry]], leniency: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield each series once: of one that lies in several folders, in parts or copies, the folder around them.

    The reader searches a series' folder with its sub-folders. Where these are too many it is refused with E-SPLIT.
    """
    by_uid: dict[str, list[Entry]] = defaultdict(list)
    for entries in found.values():
        for entry in entries:
            by_uid[entry["uid"]].append(entry)
    names = sorted(found)
    for uid, entries in by_uid.items():
        first = entries[0]
        common = os.path.commonpath([entry["path"] for entry in entries]) or "."
        if folders_under(common, names) > MAX_FOLDERS:
            code = first["code"] if len(entries) == 1 else ""
            yield first | {"code": code or "E-SPLIT", "rank_by": None}
        elif len(entries) == 1:
            yield first
        else:
            again = folder_entries(archive, archive / common, leniency, subfolders=True)
            yield next((entry for entry in again if entry["uid"] == uid), first | {"path": common, "code": "E-SPLIT"})


def folders_under(folder: str, names: Sequence[str]) -> int:
    """Number of folders at or under one, among sorted relative names."""
    if folder == ".":
        return len(names)
    first, last = (bisect.bisect_left(names, folder + end) for end in (os.sep, chr(ord(os.sep) + 1)))
    return last - first + 1


def ranks_by_uid(entries: list[Entry]) -> dict[str, int]:
    """Place of each usable series within its study, from 1, the best first; series without a study stand alone."""
    studies: dict[str, list[Usable]] = defaultdict(list)
    for entry in entries:
        if entry["rank_by"]:
            studies[entry["study"] or entry["path"]].append(Usable(**entry["rank_by"]))
    return {ranked.uid: place for group in studies.values() for place, ranked in enumerate(rank_usable(group), 1)}
