# SPDX-License-Identifier: Apache-2.0
"""Manifest of a packed bundle: SHA256SUMS, a line per file, as ``sha256sum --check`` reads it.

It detects files that are not the ones that were packed: a broken copy, an edited config, weights of another version.
Anybody who can write to the folder can write the manifest too, or the code that checks it. Against that, only the
SHA-256 of SHA256SUMS itself helps, compared with one published elsewhere; ``scripts/pack_bundle.py`` prints it.
"""

import hashlib
from collections.abc import Iterable
from importlib.machinery import all_suffixes
from pathlib import Path

from lungcad.errors import InputError

MANIFEST = "SHA256SUMS"
"""Name of the manifest in a packed bundle."""

_SEALED_FOLDERS = ("configs", "lungcad", "models", "stages")
"""Folders of a packed bundle to which nothing may be added, because their files are run."""

_COMPILED = "__pycache__/*.pyc*"
"""Pattern of the files that Python itself adds to them; while it writes, a number follows the suffix."""

_ADVICE = "Unpack the bundle again, from where you trust it; keep configs of your own outside of it."


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_manifest(root: Path) -> Path:
    """Write SHA256SUMS with all files below ``root``, sorted by name; returns the manifest's path."""
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    lines = [f"{sha256_of(root / name)}  {name}\n" for name in names if name != MANIFEST]
    path = root / MANIFEST
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
    return path


def check_pack(bundles: Iterable[Path] = ()) -> None:
    """Refuse an altered pack: the one that contains this package, and the given bundles, each run by its own package.

    Args:
        bundles: folders of the bundles that will be run.

    Raises:
        InputError: E-CONFIG, E-WEIGHTS; see :func:`check_manifest`. E-CONFIG too where a packed bundle would be run by
            another ``lungcad`` than its own.
    """
    imported_from = Path(__file__).resolve().parents[2]
    for root in {imported_from, *(bundle.resolve() for bundle in bundles)}:
        check_manifest(root)
        if root != imported_from and (root / MANIFEST).is_file() and (root / "lungcad").is_dir():
            raise InputError("E-CONFIG", "another lungcad than the packed bundle's own was imported.",
                             "Run it from a folder, and with a PYTHONPATH, that has none.")  # fmt: skip


def check_manifest(root: Path) -> None:
    """Refuse a packed bundle whose files have changed. A folder without SHA256SUMS is no packed bundle: it passes.

    Raises:
        InputError: E-WEIGHTS for ``.pt``, E-CONFIG for anything else that was altered, removed or added.
    """
    if not (root / MANIFEST).is_file():
        return
    listed = _read_manifest(root / MANIFEST)
    for name in sorted(listed.keys() | _files_present(root)):
        path = root / name
        if name not in listed:
            what = "was added to the packed bundle"
        elif not path.is_file():
            what = "is missing from the packed bundle"
        elif sha256_of(path) != listed[name]:
            what = f"was altered: its SHA-256 is not that of {MANIFEST}"
        else:
            continue
        raise InputError("E-WEIGHTS" if path.suffix == ".pt" else "E-CONFIG", f"{name} {what}.", _ADVICE)


def _read_manifest(path: Path) -> dict[str, str]:
    """SHA-256 by file name, from a manifest."""
    text = path.read_text(encoding="utf-8", errors="replace")  # a byte that is no UTF-8 makes a name that is missing
    lines = [line.split("  ", 1) for line in text.splitlines()]
    if not lines or any(len(line) != 2 or not _is_inside(line[1]) for line in lines):
        raise InputError("E-CONFIG", f"{MANIFEST} is no list of SHA-256 and names.", _ADVICE)
    return {name: digest for digest, name in lines}


def _is_inside(name: str) -> bool:
    """Whether a file name stays inside the bundle's folder."""
    return not Path(name).is_absolute() and ".." not in Path(name).parts


def _files_present(root: Path) -> set[str]:
    """Names of the files in sealed folders, and of importable files beside them.

    MONAI puts ``root`` on Python's path before the installed packages: a module in it would be taken for one of theirs.
    A folder that is a link counts as a file, since its content is listed nowhere.
    """
    sealed = (
        path for folder in _SEALED_FOLDERS for path in (root / folder).rglob("*")
        if (path.is_file() or path.is_symlink()) and not path.match(_COMPILED)
    )  # fmt: skip
    beside = (path for pattern in ("*", "*/__init__.*") for path in root.glob(pattern) if path.is_file())
    importable = (path for path in beside if path.name.endswith(tuple(all_suffixes())))
    return {path.relative_to(root).as_posix() for path in (*sealed, *importable)}
