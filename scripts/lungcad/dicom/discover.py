# SPDX-License-Identifier: Apache-2.0
"""Search for the DICOM objects under a path, independent of the names and depth of their files."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import uid

from lungcad.dicom.errors import DicomSeriesError
from lungcad.dicom.header import Damaged, Header, read_header
from lungcad.dicom.lost import find_lost, find_unlisted
from lungcad.dicom.quiet import quiet
from lungcad.volume import Notice

ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".iso")
ARCHIVE_STARTS = (b"PK\3\4", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf", b"Rar!")
"""First bytes of archives and packed files, which may have lost their suffix."""

VOLUME_FILES = (".mhd", ".mha", ".nrrd", ".nhdr", ".nii", ".nii.gz", ".hdr")
"""Suffixes of volume files, which are read one at a time, not by the folder."""


@dataclass
class Found:
    """Result of the search under a path.

    Attributes:
        headers: DICOM objects, without their pixels.
        damaged: DICOM files that cannot be read.
        notices: remarks on files that are not used.
        links: symbolic links to files out of the folder, or to nothing; they are not followed.
    """

    headers: list[Header] = field(default_factory=list)
    damaged: list[Damaged] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)


def find_objects(path: str | os.PathLike[str], subfolders: bool = True) -> Found:
    """Read every DICOM header at or under a path.

    Args:
        path: a folder (searched with all its sub-folders), a DICOMDIR, or one DICOM file. Links that lead out of
            the folder are not followed.
        subfolders: search the sub-folders too.

    Raises:
        DicomSeriesError: E-NO-DICOM (nothing there, nothing readable, no DICOM), E-ARCHIVE (only archives).
    """
    root = checked_path(path)
    found = Found()
    files = _list_files(root, found, subfolders)
    with quiet(), ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        results = list(pool.map(read_header, files))
    found.damaged = [result for result in results if isinstance(result, Damaged)]
    headers = [result for result in results if isinstance(result, Header)]
    found.headers = [header for header in headers if header.text("SOPClassUID") != uid.MediaStorageDirectoryStorage]
    if len(found.headers) < len(headers):
        found.notices.append(Notice("N-DICOMDIR", "DICOMDIR itself not used: every file beside and below it was read."))
        found.notices += find_unlisted(headers)
    other_files = [file for file, result in zip(files, results, strict=True) if result is None]
    if not found.headers and not found.damaged:
        _raise_no_dicom(files, found)
    for lost in find_lost(found.headers, other_files, found.links):
        (found.damaged if isinstance(lost, Damaged) else found.notices).append(lost)  # type: ignore[arg-type]
    if other_files:
        found.notices.append(Notice("N-NOT-DICOM", f"{len(other_files)} of {len(files)} files are not DICOM."))
    return found


def checked_path(path: str | os.PathLike[str]) -> Path:
    """Path as an object; raises DicomSeriesError E-NO-DICOM where it is empty or holds a NUL character.

    An empty path, as of a variable that is not set, would mean the current folder.
    """
    text = os.fspath(path)
    if not text or "\0" in text:
        what = "holds a NUL character" if text else "is empty"
        raise DicomSeriesError("E-NO-DICOM", f"The path {what}.", "Give the folder that holds one CT series.")
    return Path(path)


def _list_files(root: Path, found: Found, subfolders: bool) -> list[Path]:
    """Regular files under a path, in a stable order; adds the links that are not followed to ``found``."""
    try:
        root.stat()
    except FileNotFoundError as error:
        raise DicomSeriesError("E-NO-DICOM", "There is no file or folder of that name.", "Check the path.") from error
    except OSError as error:  # a folder above is closed, the name is too long, links lead in a circle
        text = f"The path cannot be read: {error.strerror}."
        raise DicomSeriesError("E-NO-DICOM", text, "Check the path and the permissions.") from error
    if root.is_file():
        header = read_header(root)
        if not (isinstance(header, Header) and header.text("SOPClassUID") == uid.MediaStorageDirectoryStorage):
            return [root]
        root = root.parent
    if not root.is_dir():
        raise DicomSeriesError("E-NO-DICOM", "The path is no folder and no file.", "Give the folder of one CT series.")
    real = root.resolve()
    outside: list[Path] = []
    files = sorted(_walk(real, real, outside, subfolders))
    if outside:
        text = f"{len(outside)} symbolic link(s) out of the folder or to nothing not followed."
        found.notices.append(Notice("W-SYMLINK", text))
        found.links = [link for link in outside if not link.is_dir()]
    return files


def _walk(folder: Path, root: Path, outside: list[Path], subfolders: bool) -> Iterator[Path]:
    """Yield the regular files under a folder; append links that lead out of ``root`` to ``outside``."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        advice = "Grant read permission, or copy the series to a folder you can read."
        raise DicomSeriesError("E-NO-DICOM", f"Folder cannot be read: {error.strerror}.", advice) from error
    for entry in entries:
        if entry.is_symlink():
            # a link that stays inside leads to a file that the walk meets anyway
            target = Path(os.path.realpath(entry.path))  # unlike resolve() it raises nothing at links in a circle
            if not target.is_relative_to(root) or not os.path.exists(target):
                outside.append(Path(entry.path))
        elif entry.is_dir(follow_symlinks=False):
            if subfolders:
                yield from _walk(Path(entry.path), root, outside, subfolders)
        elif entry.is_file(follow_symlinks=False):  # never opens pipes, sockets or devices
            yield Path(entry.path)


def _raise_no_dicom(files: list[Path], found: Found) -> None:
    """Raise E-ARCHIVE where an archive is among the files, else E-NO-DICOM."""
    archives = [file for file in files if _is_archive(file)]
    if archives:
        text = f"{len(archives)} archive(s) and no DICOM object: {archives[0].suffix or 'without a suffix'}."
        raise DicomSeriesError("E-ARCHIVE", text, "Unpack the archive and give the folder with the DICOM files.")
    links = "".join(f" {notice}" for notice in found.notices if notice.code == "W-SYMLINK")
    text = f"No DICOM object among {len(files)} file(s).{links}"
    if any(notice.code == "N-DICOMDIR" for notice in found.notices):
        text = f"A DICOMDIR, which is only a list, and no image among {len(files)} file(s).{links}"
    names = [file.name.lower() for file in files]
    volumes = [suffix for suffix in VOLUME_FILES if any(name.endswith(suffix) for name in names)]
    advice = f"Give the folder that holds one CT series in DICOM, or a volume file ({', '.join(VOLUME_FILES)})."
    if links:
        advice = "Copy what the links lead to (cp -rL), and give that folder."
    if volumes:
        advice = f"Volume files ({', '.join(volumes)}) are read one at a time: give one of them to lungcad run."
    raise DicomSeriesError("E-NO-DICOM", text, advice)


def _is_archive(file: Path) -> bool:
    """Whether a file is an archive by its suffix or, where it has none, by its first bytes."""
    if file.suffix:
        return file.suffix.lower() in ARCHIVES and not file.name.endswith(".nii.gz")
    try:
        with file.open("rb") as opened:
            return opened.read(8).startswith(ARCHIVE_STARTS)
    except OSError:
        return False
