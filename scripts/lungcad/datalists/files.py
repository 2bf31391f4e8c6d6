# SPDX-License-Identifier: Apache-2.0
"""Parts that datalists share: boxes, folds by patient, lists per fold, JSON files, the list of missing images."""

import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lungcad.atomic import added_files
from lungcad.errors import InputError

Item = dict[str, Any]
"""Entry of a list; its ``image`` is relative to the folder of the images."""

LISTS = ("training", "validation", "test")
"""Names of the lists, as MONAI expects them."""

MISSING = "missing.txt"
"""Name of the file, in the output folder, that lists missing images, one per line."""

DECIMALS = 6
"""Decimals of millimetres in a datalist: a nanometre."""


def sphere_box(sphere: Sequence[float]) -> list[float]:
    """Box x, y, z, d, d, d around a sphere x, y, z, diameter: MONAI's mode ``cccwhd``."""
    x, y, z, diameter = (round(float(value), DECIMALS) for value in sphere)
    return [x, y, z, diameter, diameter, diameter]


def sphere_boxes(spheres: Iterable[Sequence[float]]) -> list[list[float]]:
    """Boxes around spheres, see :func:`sphere_box`."""
    return [sphere_box(sphere) for sphere in spheres]


def patient_fold(patient_id: str, folds: int) -> int:
    """Fold of a patient, 0 to ``folds - 1``: CRC-32 of the id followed by ``cv``, modulo the number of folds.

    Example:
        >>> patient_fold("LIDC-IDRI-0001", 5), patient_fold("LIDC-IDRI-0001", 10)
        (4, 4)
    """
    return zlib.crc32(f"{patient_id}cv".encode()) % folds


def fold_lists(
    items: Sequence[Item], folds: int, *, validation: bool = True, tested: Callable[[Item], bool] = lambda _: True
) -> list[dict[str, list[Item]]]:
    """Lists of a cross-validation: one dictionary by the names of :data:`LISTS` per fold.

    Args:
        items: items, each with its ``fold``.
        folds: number of folds; fold k is the test list of the k-th dictionary.
        validation: use the next fold (the first after the last) as the validation list; False trains on it too.
        tested: predicate; items for which it is false are used for training only.

    Raises:
        InputError: E-DATALIST, a fold is empty or leaves nothing to train on.
    """
    by_fold = []
    for test in range(folds):
        lists: dict[str, list[Item]] = {name: [] for name in LISTS}
        for item in items:
            name = "test" if item["fold"] == test else "training"
            if validation and item["fold"] == (test + 1) % folds:
                name = "validation"
            if name == "training" or tested(item):
                lists[name].append(item)
        for name in ("training", "test"):
            if not lists[name]:
                text = f"fold {test} of {folds} has an empty {name} list ({len(items)} items in all)."
                raise InputError("E-DATALIST", text, "Use fewer folds or more data, or add --train_on_all.")
        by_fold.append(lists)
    return by_fold


def write_lists(output_dir: str | Path, files: Mapping[str, Mapping[str, Sequence[Item]]], about: str) -> None:
    """Write one JSON file per datalist, all or none.

    Args:
        output_dir: folder, created if needed; its other files are kept.
        files: lists by name, by file name without suffix; empty lists are left out, because MONAI fails on them.
        about: text for the file's ``description``.

    Raises:
        InputError: E-OUTPUT, the folder cannot be written.
    """
    with added_files(output_dir) as folder:
        for name, lists in files.items():
            (folder / f"{name}.json").write_text(_document(name, lists, about), encoding="utf-8")


def report_missing(output_dir: str | Path, missing: Sequence[str], expected: int, allow: bool) -> None:
    """Write missing images to :data:`MISSING`, and refuse to go on unless that is allowed.

    Args:
        output_dir: folder of the file; an earlier file is removed if nothing is missing.
        missing: missing images, one line each.
        expected: number of images there should be.
        allow: whether to go on without the missing images.

    Raises:
        InputError: E-DATALIST-MISSING, an image is missing and that is not allowed; E-OUTPUT.
    """
    if not missing:
        Path(output_dir, MISSING).unlink(missing_ok=True)
        return
    with added_files(output_dir) as folder:
        (folder / MISSING).write_text("\n".join(missing) + "\n", encoding="utf-8")
    if not allow:
        text = f"{len(missing)} of {expected} missing; first: {missing[0]}. All are in {MISSING} of the output folder."
        raise InputError("E-DATALIST-MISSING", text, "Fetch them, or add --allow_missing to go on without.")


def _document(name: str, lists: Mapping[str, Sequence[Item]], about: str) -> str:
    """JSON of a datalist with one item per line, so that lists can be read and compared."""
    head = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in (("name", name), ("description", about))]
    body = [
        f"{json.dumps(key)}: [\n" + ",\n".join(json.dumps(item, allow_nan=False) for item in items) + "\n]"
        for key, items in lists.items()
        if items
    ]
    return "{\n" + ",\n".join(head + body) + "\n}\n"
