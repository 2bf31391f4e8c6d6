# SPDX-License-Identifier: Apache-2.0
"""Datalist of LUNA16: its ten subsets are the ten folds, a scan with its nodules is an item."""

from collections.abc import Sequence
from pathlib import Path

from lungcad.datalists.files import Item, sphere_boxes
from lungcad.errors import InputError
from lungcad.lidc.images import image_files
from lungcad.scores.luna16 import ANNOTATION_COLUMNS, read_series, read_spheres
from lungcad.tables import read_table

SUBSETS = 10
"""Number of LUNA16's subsets, the folds of its cross-validation."""


def luna16_items(luna16_dir: str | Path, subsets: Sequence[int] = range(SUBSETS)) -> tuple[list[Item], list[str], int]:
    """List LUNA16's scans; those without nodules have an empty ``box`` and ``label``.

    Args:
        luna16_dir: folder with ``subset0`` ... ``subset9``, annotations.csv and, optionally, seriesuids.csv.
        subsets: numbers of the subsets to list; fewer for samples of LUNA16's shape.

    Returns:
        Items in the order of subsets and series; missing images, one line each: series that the tables name but that
        have no image, and images without their data file; and the number of series there should be.

    Raises:
        InputError: E-DATALIST, a series is in two subsets or is not in seriesuids.csv; E-TABLE, a table is missing or
            damaged.
    """
    root = Path(luna16_dir)
    annotated = {row.text("seriesuid") for row in read_table(root / "annotations.csv", ANNOTATION_COLUMNS).rows}
    spheres, _ = read_spheres(root / "annotations.csv", sorted(annotated))
    paths = _scans(root, subsets)
    named = _expected_series(root, set(paths), annotated)
    missing = [f"series {uid}: no image" for uid in sorted(named - set(paths))]
    items = []
    for uid, (subset, path) in paths.items():
        data = _data_file(path)
        if data is not None and not data.is_file():
            missing.append(f"series {uid}: no data file {data.name}")
            continue
        boxes = sphere_boxes(spheres.get(uid, ()))
        items.append({"image": path.relative_to(root).as_posix(), "box": boxes, "label": [0] * len(boxes),
                      "fold": subset, "ids": {"series": uid}})  # fmt: skip
    return items, missing, len(named)


def _scans(root: Path, subsets: Sequence[int]) -> dict[str, tuple[int, Path]]:
    """Subset and path of each series that has an image."""
    found: dict[str, tuple[int, Path]] = {}
    for subset in subsets:
        for path in image_files(root / f"subset{subset}"):
            uid = path.stem
            if uid in found:
                text = f"series {uid} is in subset{found[uid][0]} and in subset{subset}: twice."
                raise InputError("E-DATALIST", text, "Unpack the subsets again: folds must not share a scan.")
            found[uid] = (subset, path)
    return found


def _expected_series(root: Path, present: set[str], annotated: set[str]) -> set[str]:
    """Series that should have an image: LUNA16's list or, without it, those with nodules and those present."""
    if not (root / "seriesuids.csv").is_file():
        return present | annotated
    listed = set(read_series(root / "seriesuids.csv"))
    stray = sorted((present | annotated) - listed)
    if stray:
        text = f"series {stray[0]} is not in seriesuids.csv, nor are {len(stray) - 1} others."
        raise InputError("E-DATALIST", text, "Use scans and tables of the same LUNA16 release.")
    return listed


def _data_file(path: Path) -> Path | None:
    """Path of the voxels by a .mhd header; None where they are in the file itself."""
    with path.open(encoding="latin-1") as header:  # of a .mha file the voxels follow
        for line in header:
            key, _, value = line.partition("=")
            if key.strip() == "ElementDataFile":
                return None if value.strip() == "LOCAL" else path.parent / value.strip()
    raise InputError("E-DATALIST", f"{path.name} names no ElementDataFile.", "Unpack the scan again.")
