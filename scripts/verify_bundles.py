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

import fire

from lungcad.bundle.manifest import sha256_of
from lungcad.bundle.registry import bundle_root, list_bundles
from lungcad.checks import hash_key, verify
from lungcad.console import guarded
from lungcad.options import true_or_false


def write_sha256(root: Path) -> None:
    """Write the SHA-256 of models/*.pt into metadata.json."""
    path = root / "configs" / "metadata.json"
    for weights in (root / "models").glob("*.pt"):
        text = re.sub(rf'("{hash_key(weights)}": )(null|"\w*")', rf'\1"{sha256_of(weights)}"', path.read_text())
        path.write_text(text)


def write_small_series(folder: Path) -> tuple[Path, Path]:
    """The small synthetic chest as a DICOM series, and its nodules as a table of candidates."""
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
    """Keep MONAI from telling what it parses, so that a line is a check."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def main(*bundles: str, schema: str | None = None, inference: bool = True, write_hash: bool = False) -> None:
    """Verify bundles; exit code 1 if a check fails.

    Args:
        bundles: names; all by default.
        schema: copy of MONAI's metadata schema. Else the variable LUNGCAD_META_SCHEMA, the copy in
            ../shared/data/schema beside the checkout, or MONAI's own URL.
        inference: also run each bundle on a small synthetic series.
        write_hash: first write the SHA-256 of each model.pt into its metadata.json.
    """
    roots = [bundle_root(name).resolve() for name in bundles or [one["name"] for one in list_bundles()]]
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "schema" / "meta_schema_20240725.json"
    found = schema or os.environ.get("LUNGCAD_META_SCHEMA") or (beside if beside.is_file() else None)
    failed = 0
    with quiet(), tempfile.TemporaryDirectory() as work:
        series, candidates = write_small_series(Path(work)) if true_or_false("inference", inference) else (None, None)
        for root in roots:
            if true_or_false("write_hash", write_hash):
                write_sha256(root)
            failed += len(verify(root, Path(found) if found else None, Path(work), series, candidates))
    print(f"{len(roots)} bundles, {failed} failed checks")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    guarded(fire.Fire, main)
