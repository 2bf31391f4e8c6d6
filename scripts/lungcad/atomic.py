# SPDX-License-Identifier: Apache-2.0
"""Folders and files that are there whole or not at all."""

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from lungcad.errors import InputError


@contextlib.contextmanager
def replaced_folder(target: Path, *, ours: str) -> Iterator[Path]:
    """Yield an empty folder to fill; on success it becomes ``target``, on any exception it vanishes.

    The filling happens in a hidden sibling of ``target``, so a reader never meets half a result, and an earlier
    ``target`` is removed only after the new one stands in its place.

    Args:
        target: folder to create or to replace.
        ours: name of a file that marks an earlier result. A folder without it is somebody else's (DICOM exports
            too are named after the series) and is never replaced.

    Raises:
        InputError: E-OUTPUT, where ``target`` may not be replaced, its parent cannot be written or the disk is full.
    """
    tag = uuid.uuid4().hex[:8]
    fresh, old = (target.with_name(f".{target.name}.{tag}.{kind}") for kind in ("new", "old"))
    with _output_errors():
        _refuse_foreign(target, ours)
        fresh.mkdir(parents=True)  # not tempfile.mkdtemp: its folders are closed to everybody else
        try:
            yield fresh
            _swap(fresh, target, old)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a file to write beside ``path``, whose folder is made; on success it takes the place of ``path``."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def added_files(folder: str | Path) -> Iterator[Path]:
    """Yield an empty folder to fill; on success its files move into ``folder``, each over its earlier self.

    What else ``folder`` holds is left alone; on an exception it is left as it was.

    Raises:
        InputError: E-OUTPUT, where ``folder`` cannot be made or written, or the disk is full.
    """
    folder = Path(folder)
    with _output_errors():
        folder.mkdir(parents=True, exist_ok=True)
        fresh = tempfile.mkdtemp(prefix=".new-", dir=folder)
        try:
            yield Path(fresh)
            for file in sorted(Path(fresh).iterdir()):
                file.replace(folder / file.name)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


@contextlib.contextmanager
def _output_errors() -> Iterator[None]:
    """Tell what the system refuses, from a closed folder to a full disk, as E-OUTPUT."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        text = f"cannot write to the output folder: {reason} (expected a writable folder)."
        raise InputError("E-OUTPUT", text, "Give another --output_dir.") from error


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


def _refuse_foreign(target: Path, ours: str) -> None:
    empty_or_ours = target.is_dir() and ((target / ours).is_file() or not any(target.iterdir()))
    if target.exists() and not empty_or_ours:
        raise InputError(
            "E-OUTPUT", f"{target.name} in the output folder holds other files (expected an earlier {ours}).",
            "Give another --output_dir; nothing was changed.",
        )  # fmt: skip
