# SPDX-License-Identifier: Apache-2.0
"""Lost slices: files that are not read but may be slices, and folders that change while they are read.

Nothing in the data shows that the last slices of a scan are missing; their remains in the folder do: empty files, files
with an overwritten beginning, links that are not followed.
"""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from pydicom import dcmread, uid

from lungcad.dicom.header import CT_CLASSES, Damaged, Header, text_of
from lungcad.volume import Notice, Volume

SEARCHED_BYTES = 1 << 16
"""Number of bytes at the beginning of a file that are searched for the UID of a series."""
DICOMDIR_BYTES = 64 << 20
"""Largest DICOMDIR that is read."""
MIXED_NAMES = 0.5
"""Share of patterns among a folder's names above which any name with the same suffix counts as similar."""

UNFINISHED = re.compile(
    r"(\.(gz|bz2|xz|zip|part|partial|filepart|crdownload|download|tmp|temp|bak|old)|~)$", re.IGNORECASE
)
"""Endings that programs append to the name of a file which they pack, have not finished or keep."""
TEMPORARY = re.compile(r"\.(.+)\.[a-z0-9]{6}", re.IGNORECASE)
"""Name under which rsync writes a file until it is whole: ``.IM001.dcm.Xa2f4C``."""
SIDE_FILES = frozenset("autorun dirfile index license lockfile manifest md5sum readme version".split())
"""Names of files that lie on exported discs beside the images."""
APPLE_DOUBLE = bytes.fromhex("00051607")
"""First bytes of the file with a file's attributes that macOS leaves on foreign discs."""

State = dict[str, tuple[int, int]]
"""Size in bytes and time of the last change in ns, by path."""


def find_lost(headers: Sequence[Header], other_files: Sequence[Path], links: Sequence[Path]) -> list[Damaged | Notice]:
    """Find files that may be slices among those that were not read as DICOM.

    Args:
        headers: headers of the DICOM objects.
        other_files: files that are not DICOM.
        links: links to files, which were not followed.

    Returns:
        Damaged for each file that certainly was a slice: named like the slices beside it and empty or a link, or with
        the UID of a series in it; one notice W-LOST for files that are only named like slices.
    """
    names: dict[Path, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for header in headers:
        names[header.path.parent][_name_pattern(header.path.name)].add(header.text("SeriesInstanceUID"))
    counts: dict[Path, int] = defaultdict(int)
    for header in headers:
        counts[header.path.parent] += 1
    uids = {uid.encode() for kinds in names.values() for found in kinds.values() for uid in found if len(uid) > 8}
    lost: list[Damaged | Notice] = []
    doubtful = 0
    for path in (*other_files, *links):
        kinds = names.get(path.parent, {})
        plain = UNFINISHED.sub("", path.name)
        if temporary := TEMPORARY.fullmatch(path.name):
            plain = temporary[1]
        if _is_apple_double(path) or (plain != path.name and path.with_name(plain).exists()):
            continue
        plain = plain.lower()
        suffix = os.path.splitext(plain)[1]
        similar = kinds.get(_name_pattern(plain), set())
        same_suffix = any(suffix == os.path.splitext(kind)[1] for kind in kinds) and plain not in SIDE_FILES
        if not similar and same_suffix and len(kinds) > max(3, MIXED_NAMES * counts[path.parent]):
            similar = set().union(*kinds.values())
        reason = _why_lost(path, path in links, uids)
        if reason and (similar or (same_suffix and "overwritten" in reason)):
            lost.append(Damaged(path, "E-CORRUPT", reason, among=frozenset(similar) or None))
        elif similar or (same_suffix and suffix in (".dcm", ".ima", ".dicom")):
            doubtful += 1
    if doubtful:
        text = f"{doubtful} file(s) named like the slices are no DICOM: the scan may be longer than what was read."
        lost.append(Notice("W-LOST", text))
    return lost


def find_unlisted(headers: Sequence[Header]) -> list[Notice]:
    """Notice W-LOST where a DICOMDIR names images of a CT series that are not there, though others of it are.

    Args:
        headers: headers of the DICOM objects, those of file-sets (DICOMDIR) among them.
    """
    by_instance = {header.text("SOPInstanceUID"): header for header in headers}
    present = {header.text("SeriesInstanceUID") for header in headers if header.text("SOPClassUID") in CT_CLASSES}
    missing = 0
    for header in headers:
        if header.text("SOPClassUID") == uid.MediaStorageDirectoryStorage:
            listed = _listed_images(header.path)
            missing += sum(series_uid in present and image not in by_instance for image, series_uid in listed.items())
    if not missing:
        return []
    return [Notice("W-LOST", f"the DICOMDIR names {missing} image(s) of a CT series that are not there.")]


def _listed_images(path: Path) -> dict[str, str]:
    """SeriesInstanceUID by SOPInstanceUID of the images that a DICOMDIR names; empty where it cannot be read."""
    listed: dict[str, str] = {}
    try:
        if path.stat().st_size > DICOMDIR_BYTES:
            return listed
        records = dcmread(path, specific_tags=["DirectoryRecordSequence"]).DirectoryRecordSequence
        current = ""
        for record in records:
            kind = text_of(record, "DirectoryRecordType")
            if kind == "SERIES":
                current = text_of(record, "SeriesInstanceUID")
            elif kind == "IMAGE":
                listed[text_of(record, "ReferencedSOPInstanceUIDInFile")] = current
    except Exception:  # it is not needed: every file is read by itself
        return {}
    return listed


def _is_apple_double(path: Path) -> bool:
    """Whether a file holds the attributes of another, as macOS writes them."""
    try:
        with path.open("rb") as file:
            return path.name.startswith("._") and file.read(4) == APPLE_DOUBLE
    except OSError:
        return False


def _name_pattern(name: str) -> str:
    """Pattern of a file name: lower case, each run of digits replaced by ``#``."""
    return re.sub(r"\d+", "#", name.lower())


def _why_lost(path: Path, is_link: bool, uids: set[bytes]) -> str:
    """Reason in words why a file certainly was a slice or a link to one; empty where nothing shows it."""
    if is_link:
        return "a link out of the folder or to nothing, which is not followed (cp -rL copies what links lead to)"
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
    """Sizes and modification times of all files at or under a path; links are not followed."""
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


def change_notices(before: State, path: str | os.PathLike[str]) -> list[Notice]:
    """Notice W-CHANGED where files at or under a path were added, removed or changed since ``before`` was taken."""
    after = folder_state(path)
    came, went = len(after.keys() - before.keys()), len(before.keys() - after.keys())
    changed = sum(after[file] != before[file] for file in after.keys() & before.keys())
    if not (came or went or changed):
        return []
    text = f"the input changed meanwhile: {came} file(s) came, {went} went, {changed} changed; analyse it again."
    return [Notice("W-CHANGED", text)]


def warn_of_changes(volume: Volume, before: State, path: str | os.PathLike[str]) -> None:
    """Add :func:`change_notices` since ``before`` to the warnings of a volume that was read from there, once."""
    known = {notice.code for notice in volume.warnings}
    volume.warnings += [notice for notice in change_notices(before, path) if notice.code not in known]
