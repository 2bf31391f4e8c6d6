# SPDX-License-Identifier: Apache-2.0
"""Write datalists, and what was missing for them."""

import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lungcad.atomic import added_files
from lungcad.errors import InputError

Item = dict[str, Any]
"""One entry of a list; ``image`` is relative to the folder of the images."""

LISTS = ("training", "validation", "test")
"""Keys under which MONAI looks for lists."""

MISSING = "missing.txt"
"""Names what is missing, one line each, in the output folder."""


def fold_lists(
    items: Sequence[Item], folds: int, *, validation: bool = True, tested: Callable[[Item], bool] = lambda _: True
) -> list[dict[str, list[Item]]]:
    """Distribute items over cross-validation: one dictionary of :data:`LISTS` per fold.

    Args:
        items: each with its ``fold``.
        folds: how many; fold k is the test list of the k-th dictionary.
        validation: make the fold after it (the first after the last) the validation list; False trains on it too.
        tested: items for which this is false are trained on, but neither validated nor tested.

    Raises:
        InputError: E-DATALIST, where a fold is empty or leaves nothing to train on.
    """
    made = []
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
        made.append(lists)
    return made


def write_lists(output_dir: str | Path, files: Mapping[str, Mapping[str, Sequence[Item]]], about: str) -> None:
    """Write one JSON file for each entry, all or none.

    Args:
        output_dir: created if needed; what else it holds is left alone.
        files: file name without suffix to lists by name; empty lists are left out, because MONAI fails on them.
        about: in words; becomes ``description``.

    Raises:
        InputError: E-OUTPUT, where the folder cannot be written.
    """
    with added_files(output_dir) as folder:
        for name, lists in files.items():
            (folder / f"{name}.json").write_text(_document(name, lists, about), encoding="utf-8")


def settle_missing(output_dir: str | Path, missing: Sequence[str], wanted: int, allow: bool) -> None:
    """Report what is missing in :data:`MISSING`, and refuse to go on unless allowed.

    Args:
        output_dir: gets the report; an earlier report is removed where nothing is missing.
        missing: one line each.
        wanted: how many there should be.
        allow: go on with what is there.

    Raises:
        InputError: E-DATALIST-MISSING, where something is missing and not allowed to; E-OUTPUT.
    """
    if not missing:
        Path(output_dir, MISSING).unlink(missing_ok=True)
        return
    with added_files(output_dir) as folder:
        (folder / MISSING).write_text("\n".join(missing) + "\n", encoding="utf-8")
    if not allow:
        text = f"{len(missing)} of {wanted} missing; first: {missing[0]}. All are in {MISSING} of the output folder."
        raise InputError("E-DATALIST-MISSING", text, "Fetch them, or add --allow_missing to go on without.")


def _document(name: str, lists: Mapping[str, Sequence[Item]], about: str) -> str:
    """One item per line, so that lists can be read and compared."""
    head = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in (("name", name), ("description", about))]
    body = [
        f"{json.dumps(key)}: [\n" + ",\n".join(json.dumps(item, allow_nan=False) for item in items) + "\n]"
        for key, items in lists.items()
        if items
    ]
    return "{\n" + ",\n".join(head + body) + "\n}\n"

DECIMALS = 6
"""Of millimetres in a datalist: a nanometre."""


def sphere_box(sphere: Sequence[float]) -> list[float]:
    """Turn x, y, z, diameter into the box x, y, z, d, d, d around it, MONAI's mode ``cccwhd``."""
    x, y, z, diameter = (round(float(value), DECIMALS) for value in sphere)
    return [x, y, z, diameter, diameter, diameter]


def sphere_boxes(spheres: Iterable[Sequence[float]]) -> list[list[float]]:
    """Boxes of any number of spheres."""
    return [sphere_box(sphere) for sphere in spheres]


def patient_fold(patient_id: str, folds: int) -> int:
    """Fold of a patient, 0 to ``folds - 1``: CRC-32 of the id followed by ``cv``, modulo the number of folds.

    Example:
        >>> patient_fold("LIDC-IDRI-0001", 5), patient_fold("LIDC-IDRI-0001", 10)
        (4, 4)
    """
    return zlib.crc32(f"{patient_id}cv".encode()) % folds
