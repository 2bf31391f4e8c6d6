# SPDX-License-Identifier: Apache-2.0
"""DeepLesion as cases (Zhang et al. 2020, section V): chunks of scans at 1 mm, clipped to the body."""

import json
import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from lungcad.datalists.files import LISTS
from lungcad.errors import InputError
from lungcad.geometry import to_index
from lungcad.reading.volume_file import read_volume
from lungcad.scan.blanking import blanked_grid
from lungcad.scan.lungs import FINE_MM, LungMask, block_means, inside_body
from lungcad.scan.scan import Scan
from lungcad.training.cases import Case, Sphere

logger = logging.getLogger(__name__)

KINDS = ("bone", "abdomen", "mediastinum", "liver", "lung", "kidney", "soft tissue", "pelvis")
"""DeepLesion's coarse lesion types 1 to 8."""
SPACING_MM = (1.0, 1.0, 1.0)
"""Of every case (section V.A)."""
MIN_SLICES = 2
"""A chunk is 60 mm of a scan, or what there is of them at its ends: with slices of 5 mm a few."""


class DeepLesionCases(Dataset):
    """One split of DeepLesion on a grid of 1 mm, clipped to the body; see :func:`deeplesion_case`.

    Args:
        datalist: deeplesion.json from ``scripts/make_datalists.py deeplesion``.
        images_dir: folder with the NIfTI volumes that DeepLesion's DL_save_nifti.py makes.
        split: one of :data:`lungcad.datalists.files.LISTS`.
        ignore_from_mm: lesions of this diameter or more are neither to be found nor false. Those that the list itself
            ignores, the large ones in training, are ignored anyhow.
        max_spacing_mm: volumes with slices farther apart are refused.

    Raises:
        InputError: E-CONFIG, the list or its split is missing; E-IMAGES, the folder is; E-DATALIST, the list is none of
            DeepLesion; on reading an item what :func:`deeplesion_case` refuses.
    """

    def __init__(self, datalist: str | Path, images_dir: str | Path, split: str, *, ignore_from_mm: float = np.inf,
                 max_spacing_mm: float = 5.0):  # fmt: skip
        self.images = Path(images_dir)
        if not self.images.is_dir():
            text = f"no such folder: {self.images.name}."
            raise InputError("E-IMAGES", text, "Give the folder with the volumes that DL_save_nifti.py makes.")
        lists = read_lists(datalist)
        if split not in lists:
            text = f"no list {split} in {Path(datalist).name} (it has {', '.join(lists) or 'none'})."
            raise InputError("E-CONFIG", text, "Choose one that it has.")
        self.items = lists[split]
        self.ignore_from_mm, self.max_spacing_mm = ignore_from_mm, max_spacing_mm

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, item: int) -> Case:
        image, lesions, ignored = self.items[item]
        nodules = [one for one in lesions if one.diameter_mm < self.ignore_from_mm]
        ignored = ignored + [one for one in lesions if one.diameter_mm >= self.ignore_from_mm]
        try:
            return deeplesion_case(self.images / image, nodules, ignored, self.max_spacing_mm)
        except InputError as error:
            raise InputError(error.code, f"volume {image}: {error.message}", error.advice) from error


def deeplesion_case(
    path: Path, nodules: Sequence[Sphere], ignored: Sequence[Sphere], max_spacing_mm: float = 5.0
) -> Case:
    """One chunk with its lesions. Nothing is blanked but what lies outside the chunk (section V.A: no segmentation).

    Args:
        path: of the volume; its name without suffix names the case.
        nodules, ignored: with centres in LPS mm in place of indices.
        max_spacing_mm: of the slices.

    Returns:
        Case at 1 mm over the body's bounding box. Its ``lungs`` are where lesions may be: the body, air in it included.

    Raises:
        InputError: what the reader refuses; E-HU-RANGE where there is no body; E-ANNOTATION where a lesion's centre
            lies outside the volume.
    """
    volume = read_volume(path, max_spacing_mm=max_spacing_mm, min_slices=MIN_SLICES)
    for lesion in [*nodules, *ignored]:
        voxel = to_index(volume.affine, lesion.index)
        if (voxel < -0.5).any() or (voxel > np.array(volume.hu.shape) - 0.5).any():
            text = f"a lesion at {np.round(lesion.index, 1).tolist()} mm (LPS) lies outside the volume."
            raise InputError("E-ANNOTATION", text, "Use a list and volumes made from the same DL_info.csv.")
    grid = blanked_grid(BodyScan(volume, margin_mm=0.0), SPACING_MM, np.inf)
    body = grid.lungs.numpy()

    def placed(spheres: Sequence[Sphere]) -> list[Sphere]:
        return [Sphere(to_index(grid.affine, s.index), s.diameter_mm, s.name) for s in spheres]

    case = Case(volume.series_uid, grid.hu.numpy().round().astype(np.int16), body, SPACING_MM, placed(nodules),
                placed(ignored), affine=grid.affine)  # fmt: skip
    for nodule in case.nodules:
        place = np.rint(nodule.index).astype(int)
        if (place < 0).any() or (place >= body.shape).any() or not body[tuple(place)]:
            logger.warning("volume %s: a lesion lies outside the body's mask", case.name)  # kept: missed, it must count
    return case


def read_lists(path: str | Path) -> dict[str, list[tuple[str, list[Sphere], list[Sphere]]]]:
    """DeepLesion's datalist: by split the images with their lesions and ignored lesions, centres in LPS mm.

    Raises:
        InputError: E-CONFIG, no such file; E-DATALIST, not a list as ``make_datalists.py deeplesion`` writes it.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError("E-CONFIG", f"no such file: {file.name}.", "scripts/make_datalists.py deeplesion makes it.")
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        return {split: [_entry(item) for item in document[split]] for split in LISTS if split in document}
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        text = f"{file.name} is no list of DeepLesion: {type(error).__name__}: {error}."
        raise InputError("E-DATALIST", text, "Make it again with scripts/make_datalists.py deeplesion.") from error


def _entry(item: dict[str, Any]) -> tuple[str, list[Sphere], list[Sphere]]:
    kinds = [KINDS[kind - 1] if kind > 0 else "unknown" for kind in item["lesion_type"]]
    large = item.get("ignored", [])  # lists of before it was written have none
    return str(item["image"]), _spheres(item["box"], kinds), _spheres(large, ["large"] * len(large))


def _spheres(boxes: Sequence[Sequence[float]], names: Sequence[str]) -> list[Sphere]:
    table = np.array(boxes, dtype=np.float64).reshape(len(boxes), 6)
    if not np.isfinite(table).all() or (table[:, 3:] <= 0).any():
        raise ValueError("a box is not finite or has no size")
    return [Sphere(row[:3], float(row[3]), name) for row, name in zip(table, names, strict=True)]

PART = 0.1
"""Least share of the largest piece of tissue that an arm or a leg beside it has; what is left of the table has less."""


class BodyScan(Scan):
    """A scan whose working grid is laid over the body.

    Its ``lungs`` are the body with all that it encloses, lungs and bowel too: where lesions of any kind may be.

    Raises:
        InputError: E-HU-RANGE, on first use of :attr:`lungs` or :meth:`grid`: there is no body.
    """

    @cached_property
    def lungs(self) -> LungMask:
        """The body's mask, computed once."""
        hu, affine = block_means(self.volume, FINE_MM)
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        mask = inside_body(hu, spacing, PART)
        if not mask.any():
            text = f"no body in the volume: values from {hu.min():.0f} to {hu.max():.0f} at 2 mm (expected HU)."
            raise InputError("E-HU-RANGE", text, "Give a CT volume in HU that shows a body.")
        return LungMask(mask, affine, float(mask.sum() * np.prod(spacing) / 1e3))
