# SPDX-License-Identifier: Apache-2.0
"""Datalist of DeepLesion: 2D boxes on key slices become spheres, as section V of 3D-AG describes.

Noisy annotations are removed, annotations of one lesion merged, and lesions of 48 mm or more removed from training. A
diameter is the smaller of the box's long side and the measured long diameter, here for every lesion, in the paper for
small ones, without a size; z comes from the key slice and the slice interval. The paper does not say when two
annotations are of one lesion: here, if the centre of one lies in the sphere of the other. The official split is kept.
Where training volumes show lesions that were removed for their size, the item's ``ignored`` has their boxes, since they
are no background either.

Images are the NIfTI volumes that DeepLesion's own script DL_save_nifti.py makes, in whose frame the first pixel of the
first slice is the origin and slices run from head to foot.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse.csgraph import connected_components

from lungcad.datalists.files import LISTS, Item, sphere_boxes
from lungcad.errors import InputError
from lungcad.tables import Row, read_table

LARGE_MM = 48.0
"""Diameter in mm from which lesions are not used for training (section V.B)."""

_COLUMNS = (
    "File_name", "Patient_index", "Study_index", "Series_ID", "Key_slice_index", "Bounding_boxes", "Possibly_noisy",
    "Lesion_diameters_Pixel_", "Coarse_lesion_type", "Slice_range", "Spacing_mm_px_", "Train_Val_Test",
)  # fmt: skip


@dataclass(frozen=True)
class Lesion:
    """Lesion as one annotation, or several merged ones, describes it.

    Attributes:
        volume: name of the NIfTI file without suffix.
        split: one of :data:`lungcad.datalists.files.LISTS`.
        sphere: x, y, z, diameter in LPS mm.
        kind: DeepLesion's coarse type, 1 to 8; -1 is unknown.
    """

    volume: str
    split: str
    sphere: tuple[float, float, float, float]
    kind: int


@dataclass(frozen=True)
class DeepLesionLists:
    """Lists made from DL_info.csv, and counts of what was left out.

    Attributes:
        lists: items by split; an item is a volume with its lesions.
        missing: volumes without image, one line each.
        volumes: number of volumes in the table.
        noisy: number of annotations removed as noisy.
        merged: number of annotations merged into another.
        large: number of lesions not used for training because of their size.
    """

    lists: dict[str, list[Item]]
    missing: list[str]
    volumes: int
    noisy: int
    merged: int
    large: int


def deeplesion_lists(info_csv: str | Path, images_dir: str | Path) -> DeepLesionLists:
    """List DeepLesion's volumes by its official split.

    Args:
        info_csv: path of DL_info.csv.
        images_dir: folder with ``<patient>_<study>_<series>_<first>-<last>.nii.gz``.

    Raises:
        InputError: E-TABLE, the table cannot be read or a row contradicts itself; E-IMAGES, there is no such folder.
    """
    if not Path(images_dir).is_dir():
        text = f"no such folder: {Path(images_dir).name}."
        raise InputError("E-IMAGES", text, "Give the folder with the volumes that DL_save_nifti.py makes.")
    rows = read_table(info_csv, _COLUMNS).rows
    kept = [row for row in rows if row.text("Possibly_noisy") != "1"]
    by_volume: dict[str, list[Lesion]] = defaultdict(list)
    for row in kept:
        lesion = read_lesion(row)
        if by_volume[lesion.volume] and by_volume[lesion.volume][0].split != lesion.split:
            raise row.refusal(f"volume {lesion.volume} is in two splits", "Fetch DL_info.csv again.")
        by_volume[lesion.volume].append(lesion)
    lists: dict[str, list[Item]] = {name: [] for name in LISTS}
    missing, merged, large = [], 0, 0
    for volume, lesions in by_volume.items():
        distinct = merge_lesions(lesions)
        merged += len(lesions) - len(distinct)
        split = lesions[0].split
        too_large = [lesion for lesion in distinct if split == "training" and lesion.sphere[3] >= LARGE_MM]
        used = [lesion for lesion in distinct if lesion not in too_large]
        large += len(too_large)
        if not Path(images_dir, f"{volume}.nii.gz").is_file():
            missing.append(f"{volume}.nii.gz")
        elif used:  # a volume with too large lesions only would teach that they are nothing
            lists[split].append(_item(volume, used, too_large))
    return DeepLesionLists(lists, missing, len(by_volume), len(rows) - len(kept), merged, large)


def read_lesion(row: Row) -> Lesion:
    """Lesion from a row of DL_info.csv.

    Raises:
        InputError: E-TABLE, the row contradicts itself.
    """
    patient, study, series, key = (
        int(row.number(name)) for name in ("Patient_index", "Study_index", "Series_ID", "Key_slice_index")
    )
    left, top, right, bottom = _numbers(row, "Bounding_boxes", 4)
    long_px = max(_numbers(row, "Lesion_diameters_Pixel_", 2))
    x_mm, y_mm, z_mm = _numbers(row, "Spacing_mm_px_", 3)
    first, last = (int(value) for value in _numbers(row, "Slice_range", 2))
    name = f"{patient:06d}_{study:02d}_{series:02d}"
    if row.text("File_name") != f"{name}_{key:03d}.png":
        raise row.refusal(f"File_name is {row.cells['File_name']} (expected {name}_{key:03d}.png)")
    if not first <= key <= last:
        raise row.refusal(f"key slice {key} lies outside its slices {first} to {last}")
    if right <= left or bottom <= top or min(long_px, x_mm, y_mm, z_mm) <= 0:
        raise row.refusal("a box, a diameter or a spacing is not positive")
    if row.text("Train_Val_Test") not in ("1", "2", "3"):
        raise row.refusal(f"Train_Val_Test is {row.cells['Train_Val_Test']} (expected 1, 2 or 3)")
    diameter = min(max((right - left) * x_mm, (bottom - top) * y_mm), long_px * x_mm)
    sphere = ((left + right) / 2 * x_mm, (top + bottom) / 2 * y_mm, -(key - first) * z_mm, diameter)
    split = LISTS[int(row.cells["Train_Val_Test"]) - 1]
    return Lesion(f"{name}_{first:03d}-{last:03d}", split, sphere, int(row.number("Coarse_lesion_type")))


def merge_lesions(lesions: list[Lesion]) -> list[Lesion]:
    """Merge annotations of the same lesion: mean of the centres, largest diameter, the first known type."""
    spheres = np.array([lesion.sphere for lesion in lesions])
    distance = np.linalg.norm(spheres[:, None, :3] - spheres[None, :, :3], axis=-1)
    inside = distance < spheres[:, 3] / 2
    group = connected_components(inside | inside.T, directed=False)[1]
    merged = []
    for number in dict.fromkeys(group.tolist()):
        members = np.flatnonzero(group == number)
        x, y, z = spheres[members, :3].mean(axis=0).tolist()
        kind = next((lesions[n].kind for n in members if lesions[n].kind > 0), -1)
        first = lesions[members[0]]
        merged.append(Lesion(first.volume, first.split, (x, y, z, float(spheres[members, 3].max())), kind))
    return merged


def _item(volume: str, lesions: list[Lesion], ignored: list[Lesion]) -> Item:
    """Item of a volume with its lesions."""
    item: Item = {
        "image": f"{volume}.nii.gz",
        "box": sphere_boxes(lesion.sphere for lesion in lesions),
        "label": [0] * len(lesions),
        "lesion_type": [lesion.kind for lesion in lesions],
        "ids": {"patient": volume.partition("_")[0], "volume": volume},
    }
    return item | ({"ignored": sphere_boxes(lesion.sphere for lesion in ignored)} if ignored else {})


def _numbers(row: Row, column: str, count: int) -> list[float]:
    """Numbers in a cell, separated by commas; raises InputError E-TABLE unless there are ``count``."""
    try:
        values = [float(part) for part in row.text(column).split(",")]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        raise row.refusal(f"{column} is {row.cells[column]!r} (expected {count} numbers)")
    return values
