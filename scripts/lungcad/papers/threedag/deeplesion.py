# SPDX-License-Identifier: Apache-2.0
"""DeepLesion as cases (Zhang et al. 2020, section V): chunks of scans at 1 mm, clipped to the body.

DeepLesion publishes 60 mm of a scan around each marked slice; such a part is called a chunk here.
"""

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
from lungcad.geometry import spacing_of, to_index
from lungcad.reading.volume_file import read_volume
from lungcad.scan.blanking import blanked_grid
from lungcad.scan.lungs import FINE_MM, LungMask, block_means, inside_body
from lungcad.scan.scan import Scan
from lungcad.training.cases import Case, Sphere

logger = logging.getLogger(__name__)

LESION_TYPES = ("bone", "abdomen", "mediastinum", "liver", "lung", "kidney", "soft tissue", "pelvis")
"""DeepLesion's coarse lesion types 1 to 8."""

SPACING_MM = (1.0, 1.0, 1.0)
"""Voxel size of every case (section V.A)."""

MIN_SLICES = 2
"""Least number of slices of a chunk: at a scan's ends fewer than 60 mm are left, a few slices of 5 mm."""

LIMB_SHARE = 0.1
"""Least size of an arm or a leg as a share of the largest piece of tissue; remains of the table are smaller."""


class DeepLesionCases(Dataset):
    """One split of DeepLesion on a grid of 1 mm, clipped to the body; see :func:`deeplesion_case`.

    Args:
        datalist: file deeplesion.json from ``scripts/make_datalists.py deeplesion``.
        images_dir: folder with the NIfTI volumes that DeepLesion's DL_save_nifti.py makes.
        split: name of one of :data:`lungcad.datalists.files.LISTS`.
        ignore_from_mm: diameter from which on a lesion is ignored, counting neither as nodule nor as background. The
            lesions that the list itself ignores, the large ones in training, are always ignored.
        max_spacing_mm: greatest distance of slices; volumes with slices farther apart are refused.

    Raises:
        InputError: E-CONFIG, the list or its split is missing; E-IMAGES, the folder is missing; E-DATALIST, the list is
            none of DeepLesion; on reading an item the errors of :func:`deeplesion_case`.
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

    @property
    def names(self) -> list[str]:
        """Name of each case: that of its volume without suffix."""
        return [Path(image).name.removesuffix(".nii.gz") for image, *_ in self.items]

    def __getitem__(self, item: int) -> Case:
        """Case of one chunk."""
        image, lesions, ignored = self.items[item]
        nodules = [lesion for lesion in lesions if lesion.diameter_mm < self.ignore_from_mm]
        ignored = ignored + [lesion for lesion in lesions if lesion.diameter_mm >= self.ignore_from_mm]
        try:
            return deeplesion_case(self.images / image, nodules, ignored, self.max_spacing_mm)
        except InputError as error:
            raise InputError(error.code, f"volume {image}: {error.message}", error.advice) from error


def deeplesion_case(
    path: Path, nodules: Sequence[Sphere], ignored: Sequence[Sphere], max_spacing_mm: float = 5.0
) -> Case:
    """Case of one chunk with its lesions; only voxels outside the chunk are blanked (section V.A: no segmentation).

    Args:
        path: file of the volume; its name without suffix names the case.
        nodules, ignored: lesions with centres in LPS mm in place of indices.
        max_spacing_mm: greatest distance of slices.

    Returns:
        Case at 1 mm over the body's bounding box. Its ``lungs`` mark the body, enclosed air included: lesions may be
        anywhere in it.

    Raises:
        InputError: errors of the reader; E-HU-RANGE, there is no body in the volume; E-ANNOTATION, a lesion's centre
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
    """Read DeepLesion's datalist: images with their lesions and ignored lesions, by split, centres in LPS mm.

    Args:
        path: file deeplesion.json.

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
    """Image, lesions and ignored lesions of one entry of the list."""
    types = [LESION_TYPES[kind - 1] if kind > 0 else "unknown" for kind in item["lesion_type"]]
    large = item.get("ignored", [])  # lists of before it was written have none
    return str(item["image"]), _spheres(item["box"], types), _spheres(large, ["large"] * len(large))


def _spheres(boxes: Sequence[Sequence[float]], names: Sequence[str]) -> list[Sphere]:
    """Spheres of boxes (N, 6): centre and sides in mm; the first side is the diameter."""
    table = np.array(boxes, dtype=np.float64).reshape(len(boxes), 6)
    if not np.isfinite(table).all() or (table[:, 3:] <= 0).any():
        raise ValueError("a box is not finite or has no size")
    return [Sphere(row[:3], float(row[3]), name) for row, name in zip(table, names, strict=True)]


class BodyScan(Scan):
    """Scan with a working grid over the body instead of the lungs.

    Its ``lungs`` are the body with all that it encloses, lungs and bowel too: lesions of any type may be there.

    Raises:
        InputError: E-HU-RANGE, on first use of :attr:`lungs` or :meth:`grid`: there is no body.
    """

    @cached_property
    def lungs(self) -> LungMask:
        """Mask of the body, computed once."""
        hu, affine = block_means(self.volume, FINE_MM)
        spacing = spacing_of(affine)
        mask = inside_body(hu, spacing, LIMB_SHARE)
        if not mask.any():
            text = f"no body in the volume: values from {hu.min():.0f} to {hu.max():.0f} at 2 mm (expected HU)."
            raise InputError("E-HU-RANGE", text, "Give a CT volume in HU that shows a body.")
        return LungMask(mask, affine, float(mask.sum() * np.prod(spacing) / 1e3))
