# SPDX-License-Identifier: Apache-2.0
"""Verify the bundles, one line per check: ``python scripts/verify_bundles.py [BUNDLE ...] [--schema FILE]``."""

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lungcad.bundle.manifest import sha256_of
from lungcad.bundle.registry import bundle_root, list_bundles
from lungcad.checks import hash_key, verify
from lungcad.cli import run_script
from lungcad.options import true_or_false


def write_sha256(root: Path) -> None:
    """Write the SHA-256 of models/*.pt into metadata.json."""
    path = root / "configs" / "metadata.json"
    for weights in (root / "models").glob("*.pt"):
        text = re.sub(rf'("{hash_key(weights)}": )(null|"\w*")', rf'\1"{sha256_of(weights)}"', path.read_text())
        path.write_text(text)


def write_small_series(folder: Path) -> tuple[Path, Path]:
    """Write the small synthetic chest as a DICOM series, its nodules as a table of candidates; returns both paths."""
    from pydicom import dcmread

    from lungcad.phantom import SIZES, make_phantom, write_series

    hu, affine, nodules = make_phantom(**SIZES["small"])
    uid = dcmread(write_series(folder / "ct", hu, affine)[0]).SeriesInstanceUID
    rows = [f"{uid},{x},{y},{z},0.9,{diameter}" for (x, y, z), diameter, *_ in nodules]
    table = folder / "candidates.csv"
    table.write_text("\n".join(["seriesuid,coordX,coordY,coordZ,probability,diameter_mm", *rows]) + "\n")
    return folder / "ct", table


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence MONAI's log messages, so that every line of output is a check."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def main(*bundles: str, schema: str | None = None, inference: bool = True, write_hash: bool = False) -> None:
    """Verify bundles; exit code 1 if a check fails.

    Args:
        bundles: names of bundles; all by default.
        schema: path of a copy of MONAI's metadata schema; by default the variable LUNGCAD_META_SCHEMA, or MONAI's own
            URL.
        inference: run each bundle on a small synthetic series too.
        write_hash: write the SHA-256 of each model.pt into its metadata.json first.
    """
    roots = [bundle_root(name).resolve() for name in bundles or [bundle["name"] for bundle in list_bundles()]]
    copy = schema or os.environ.get("LUNGCAD_META_SCHEMA")
    failed = 0
    with quiet(), tempfile.TemporaryDirectory() as work:
        series, candidates = write_small_series(Path(work)) if true_or_false("inference", inference) else (None, None)
        for root in roots:
            if true_or_false("write_hash", write_hash):
                write_sha256(root)
            failed += len(verify(root, Path(copy) if copy else None, Path(work), series, candidates))
    print(f"{len(roots)} bundles, {failed} failed checks")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    run_script(main)
