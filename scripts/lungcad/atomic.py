# SPDX-License-Identifier: Apache-2.0
"""Folders and files that are there whole or not at all, and what a killed process left of them."""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path

from lungcad.errors import InputError

_LEFT_OVER = re.compile(r"\.(?P<target>.+)\.[0-9a-f]{8}\.(?P<kind>new|old)")
"""Name of a folder that :func:`replaced_folder` works in."""


@contextlib.contextmanager
def replaced_folder(target: Path, *, ours: str, names: Collection[str] | None = None) -> Iterator[Path]:
    """Yield an empty folder to fill; on success it becomes ``target``, on any exception it vanishes.

    The filling happens in a hidden sibling of ``target``, so a reader never meets half a result, and an earlier
    ``target`` is removed only after the new one stands in its place, on the disk.

    Args:
        target: folder to create or to replace.
        ours: name of a file that marks an earlier result. A folder without it is somebody else's (DICOM exports
            too are named after the series) and is never replaced.
        names: files that a result can have; others in an earlier one stay in the new one. None for all of them.

    Raises:
        InputError: E-OUTPUT, where ``target`` may not be replaced, its parent cannot be written or the disk is full.
    """
    tag = uuid.uuid4().hex[:8]
    fresh, old = (target.with_name(f".{target.name}.{tag}.{kind}") for kind in ("new", "old"))
    with _output_errors():
        check_replaceable(target, ours=ours)
        fresh.mkdir(parents=True)  # not tempfile.mkdtemp: its folders are closed to everybody else
        with _locked(fresh):
            try:
                yield fresh
                _to_disk(fresh)
                _swap(fresh, target, old)
                _discard(old, target, names)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a file to write beside ``path``, whose folder is made; on success it takes the place of ``path``."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    try:
        yield part
        _sync(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def added_files(folder: str | Path) -> Iterator[Path]:
    """Yield an empty folder to fill; on success its files move into ``folder``, each over its earlier self.

    Other files in ``folder`` are left alone; on an exception it is left as it was.

    Raises:
        InputError: E-OUTPUT, where ``folder`` cannot be made or written, or the disk is full.
    """
    folder = Path(folder)
    with _output_errors():
        folder.mkdir(parents=True, exist_ok=True)
        fresh = tempfile.mkdtemp(prefix=".new-", dir=folder)
        try:
            yield Path(fresh)
            _to_disk(Path(fresh))
            for file in sorted(Path(fresh).iterdir()):
                file.replace(folder / file.name)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def check_output(folder: str | Path) -> None:
    """Try the output folder before the work; nothing of the try is left, and no folder is made.

    Raises:
        InputError: E-OUTPUT, it is a file, or nothing can be written there.
    """
    with _output_errors():
        existing = next(path for path in (Path(folder).absolute(), *Path(folder).absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"lungcad")
            file.flush()


def check_replaceable(target: Path, *, ours: str) -> None:
    """Refuse a folder that is neither empty nor an earlier result.

    Raises:
        InputError: E-OUTPUT.
    """
    empty_or_ours = target.is_dir() and ((target / ours).is_file() or not any(target.iterdir()))
    if target.exists() and not empty_or_ours:
        raise InputError(
            "E-OUTPUT", f"the output folder holds a folder of that name with other files (expected an earlier {ours}).",
            "Give another --output_dir; nothing was changed.",
        )  # fmt: skip


def remove_left_overs(folder: str | Path, names: Collection[str]) -> None:
    """Remove what killed processes left in an output folder: it holds half a result, with the patient's name.

    A folder that another process is filling is locked, and left alone. An earlier result that was moved aside and not
    replaced goes back to its place.

    Args:
        folder: where :func:`replaced_folder` made its folders.
        names: files that a result can have.
    """
    for path in sorted(Path(folder).glob(".*.*")):
        match = _LEFT_OVER.fullmatch(path.name)
        if match is None or path.is_symlink() or not path.is_dir():
            continue
        with contextlib.suppress(OSError), _locked(path):
            target = path.with_name(match["target"])
            if match["kind"] == "old" and not target.exists():
                path.rename(target)
            elif match["kind"] == "old":
                _discard(path, target, names)
            elif {file.name for file in path.iterdir()} <= set(names):
                shutil.rmtree(path)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; OSError where another process has it. The system lets go of it when a process ends."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _output_errors() -> Iterator[None]:
    """Report what the system refuses, from a closed folder to a full disk, as E-OUTPUT."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        text = f"cannot write to the output folder: {reason} (expected a writable folder)."
        raise InputError("E-OUTPUT", text, "Give another --output_dir.") from error


def _to_disk(folder: Path) -> None:
    """Wait until a folder's files are on the disk: a rename can reach it before what was written."""
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    if not path.exists() or path.is_symlink():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _swap(fresh: Path, target: Path, old: Path) -> None:
    earlier = target.exists()
    if earlier:
        target.rename(old)
    try:
        fresh.rename(target)
    except BaseException:
        if earlier:
            old.rename(target)
        raise
    _sync(target.parent)


def _discard(old: Path, target: Path, names: Collection[str] | None) -> None:
    """Remove an earlier result; what is not ours moves into the new one, unless that has a file of the same name."""
    if names is not None and old.exists():
        for path in sorted(old.iterdir()):
            if path.name not in names and not (target / path.name).exists():
                path.rename(target / path.name)
            elif path.name not in names:
                return  # both are kept
    shutil.rmtree(old, ignore_errors=True)
