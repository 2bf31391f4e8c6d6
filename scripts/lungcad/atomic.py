# SPDX-License-Identifier: Apache-2.0
"""Atomic writing: folders and files that exist complete or not at all, and removal of what killed processes left."""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from lungcad.errors import InputError

_LEFT_OVER = re.compile(r"\.(?P<target>.+)\.[0-9a-f]{8}\.(?P<kind>new|old)")
"""Pattern of the names of the hidden folders that :func:`replaced_folder` uses."""


@contextlib.contextmanager
def replaced_folder(target: Path, *, mark: str, names: Collection[str] | None = None) -> Iterator[Path]:
    """Yield an empty folder to fill; on success it becomes ``target``, on any exception it vanishes.

    The filling happens in a hidden sibling of ``target``, so a reader never meets half a result, and an earlier
    ``target`` is removed only after the new one stands in its place, on the disk.

    Args:
        target: folder to create or to replace.
        mark: name of a file that marks an earlier result. A folder without it holds other data (DICOM exports too are
            named after the series) and is never replaced.
        names: names of the files of a result; other files of an earlier result move to the new one. None for all files.

    Raises:
        InputError: E-OUTPUT (``target`` must not be replaced, its parent cannot be written, or the disk is full).
    """
    tag = uuid.uuid4().hex[:8]
    new, old = (target.with_name(f".{target.name}.{tag}.{kind}") for kind in ("new", "old"))
    with _output_errors():
        check_replaceable(target, mark=mark)
        new.mkdir(parents=True)  # not tempfile.mkdtemp: its folders are closed to everybody else
        with _locked(new):
            try:
                yield new
                _to_disk(new)
                _swap(new, target, old)
                _discard(old, target, names)
            finally:
                shutil.rmtree(new, ignore_errors=True)


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file beside ``path`` to write; on success it replaces ``path``. Makes missing folders."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    try:
        yield part
        sync(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def added_files(folder: str | Path) -> Iterator[Path]:
    """Yield an empty folder to fill; on success its files move into ``folder`` and replace files of the same name.

    Other files in ``folder`` stay; on an exception nothing in it changes.

    Raises:
        InputError: E-OUTPUT (``folder`` cannot be made or written, or the disk is full).
    """
    folder = Path(folder)
    with _output_errors():
        folder.mkdir(parents=True, exist_ok=True)
        new = tempfile.mkdtemp(prefix=".new-", dir=folder)
        try:
            yield Path(new)
            _to_disk(Path(new))
            for file in sorted(Path(new).iterdir()):
                file.replace(folder / file.name)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def check_output(folder: str | Path) -> None:
    """Check before a long computation that an output folder can be written; leaves nothing behind and makes no folder.

    Raises:
        InputError: E-OUTPUT (it is a file, or cannot be written).
    """
    with _output_errors():
        existing = next(path for path in (Path(folder).absolute(), *Path(folder).absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"lungcad")
            file.flush()


def check_replaceable(target: Path, *, mark: str) -> None:
    """Refuse to replace a folder that is neither empty nor an earlier result, which holds a file named ``mark``.

    Raises:
        InputError: E-OUTPUT.
    """
    replaceable = target.is_dir() and ((target / mark).is_file() or not any(target.iterdir()))
    if target.exists() and not replaceable:
        raise InputError(
            "E-OUTPUT", f"the output folder holds a folder of that name with other files (expected an earlier {mark}).",
            "Give another --output_dir; nothing was changed.",
        )  # fmt: skip


def remove_left_overs(
    folder: str | Path, names: Collection[str], is_target: Callable[[str], bool] | None = None
) -> None:
    """Remove the hidden folders that killed processes left in an output folder: incomplete results with patient data.

    A folder that another process is filling is locked and stays. An earlier result that was moved aside and not
    replaced goes back to its place.

    Args:
        folder: output folder, the parent of the targets of :func:`replaced_folder`.
        names: names of the files of a result.
        is_target: function of a folder's name that says whether it is one of the targets; None for all.
    """
    for path in sorted(Path(folder).glob(".*.*")):
        match = _LEFT_OVER.fullmatch(path.name)
        if match is None or path.is_symlink() or not path.is_dir():
            continue
        if is_target is not None and not is_target(match["target"]):
            continue
        with contextlib.suppress(OSError), _locked(path):
            target = path.with_name(match["target"])
            if match["kind"] == "old" and not target.exists():
                path.rename(target)
            elif match["kind"] == "old":
                _discard(path, target, names)
            elif {file.name for file in path.iterdir()} <= set(names):
                shutil.rmtree(path)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk; missing paths and links are skipped."""
    if not path.exists() or path.is_symlink():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which ends with the process at the latest; OSError where another process holds it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _output_errors() -> Iterator[None]:
    """Turn every OSError, from missing permission to a full disk, into InputError E-OUTPUT."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        text = f"cannot write to the output folder: {reason} (expected a writable folder)."
        raise InputError("E-OUTPUT", text, "Give another --output_dir.") from error


def _to_disk(folder: Path) -> None:
    """Wait until a folder's files are on the disk: a rename can reach the disk before the contents."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)


def _swap(new: Path, target: Path, old: Path) -> None:
    """Move ``target``, if there is one, to ``old`` and ``new`` to ``target``; restores ``target`` on an exception."""
    earlier = target.exists()
    if earlier:
        target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        if earlier:
            old.rename(target)
        raise
    sync(target.parent)


def _discard(old: Path, target: Path, names: Collection[str] | None) -> None:
    """Remove an earlier result; files that are not in ``names`` move to ``target``, where none is overwritten."""
    if names is not None and old.exists():
        for path in sorted(old.iterdir()):
            if path.name not in names and not (target / path.name).exists():
                path.rename(target / path.name)
            elif path.name not in names:
                return  # two files of one name: both are kept
    shutil.rmtree(old, ignore_errors=True)
