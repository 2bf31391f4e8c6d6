# SPDX-License-Identifier: Apache-2.0
"""A folder that is there whole or not at all."""

import contextlib
import shutil
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
        InputError: E-OUTPUT, where ``target`` may not be replaced or its parent cannot be written.
    """
    _refuse_foreign(target, ours)
    tag = uuid.uuid4().hex[:8]
    fresh, old = (target.with_name(f".{target.name}.{tag}.{kind}") for kind in ("new", "old"))
    try:
        fresh.mkdir(parents=True)  # not tempfile.mkdtemp: its folders are closed to everybody else
    except OSError as error:
        raise InputError(
            "E-OUTPUT", f"cannot write to the output folder: {error.strerror} (expected a writable folder).",
            "Give another --output_dir.",
        ) from error  # fmt: skip
    try:
        yield fresh
        _swap(fresh, target, old)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


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
