# SPDX-License-Identifier: Apache-2.0
"""Files that are not read but may be slices, and folders that change meanwhile.

Nothing in the data tells that the last slices of a scan are missing; their remains in the folder do: files without a
byte, files whose beginning was overwritten, links that are not followed.
"""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from lungcad.dicom.header import Damaged, Header
from lungcad.volume import Notice

SEARCHED_BYTES = 1 << 16
MIXED_NAMES = 0.5
"""Share of names without a common pattern from which on any name with the suffix counts as alike."""

State = dict[str, tuple[int, int]]
"""Size in bytes and time of the last change in ns, by path."""


def find_lost(headers: Sequence[Header], strangers: Sequence[Path], links: Sequence[Path]) -> list[Damaged | Notice]:
    """Find what may be slices among the files that were not read as DICOM.

    Args:
        headers: of the DICOM objects.
        strangers: files that are no DICOM.
        links: links to files that were not followed.

    Returns:
        a Damaged for each that a slice is known to have been: named like the slices beside it and without a byte, or a
        link, or with the UID of a series in it; W-LOST for the others that look like it.
    """
    names: dict[Path, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for header in headers:
        names[header.path.parent][_pattern(header.path.name)].add(header.text("SeriesInstanceUID"))
    counts: dict[Path, int] = defaultdict(int)
    for header in headers:
        counts[header.path.parent] += 1
    uids = {uid.encode() for kinds in names.values() for found in kinds.values() for uid in found if len(uid) > 8}
    lost: list[Damaged | Notice] = []
    doubtful = 0
    for path in (*strangers, *links):
        kinds = names.get(path.parent, {})
        alike = kinds.get(_pattern(path.name), set())
        same_suffix = any(path.suffix.lower() == os.path.splitext(kind)[1] for kind in kinds)
        if not alike and same_suffix and len(kinds) > max(3, MIXED_NAMES * counts[path.parent]):
            alike = set().union(*kinds.values())
        reason = _reason(path, path in links, uids)
        if reason and (alike or (same_suffix and "overwritten" in reason)):
            lost.append(Damaged(path, "E-CORRUPT", reason, among=frozenset(alike) or None))
        elif alike or (same_suffix and path.suffix.lower() in (".dcm", ".ima", ".dicom")):
            doubtful += 1
    if doubtful:
        text = f"{doubtful} file(s) named like the slices are no DICOM: the scan may be longer than what was read."
        lost.append(Notice("W-LOST", text))
    return lost


def _pattern(name: str) -> str:
    """A file's name in lower case, each run of digits as one sign."""
    return re.sub(r"\d+", "#", name.lower())


def _reason(path: Path, is_link: bool, uids: set[bytes]) -> str:
    """What shows that a slice was here; empty where nothing does."""
    if is_link:
        return "a link out of the folder or to nothing, which is not followed"
    try:
        with path.open("rb") as file:
            start = file.read(SEARCHED_BYTES)
    except OSError:
        return "the file cannot be read"
    if not start:
        return "the file holds no byte"
    binary = b"\0\0" in start  # a table of series is none
    return "the file's beginning was overwritten" if binary and any(uid in start for uid in uids) else ""


def folder_state(path: str | os.PathLike[str]) -> State:
    """Sizes and times of all files at or under a path; links are not followed."""
    found: State = {}
    files = [os.fspath(path)]
    for folder, _, names in os.walk(path):
        files += [os.path.join(folder, name) for name in names]
    for file in files:
        try:
            status = os.stat(file, follow_symlinks=False)
        except OSError:
            continue
        if not os.path.isdir(file):
            found[file] = (status.st_size, status.st_mtime_ns)
    return found


def changes(before: State, path: str | os.PathLike[str]) -> list[Notice]:
    """W-CHANGED where files at or under a path came, went or changed since :func:`folder_state` looked."""
    after = folder_state(path)
    came, went = len(after.keys() - before.keys()), len(before.keys() - after.keys())
    changed = sum(after[file] != before[file] for file in after.keys() & before.keys())
    if not (came or went or changed):
        return []
    text = f"the input changed meanwhile: {came} file(s) came, {went} went, {changed} changed; analyse it again."
    return [Notice("W-CHANGED", text)]
