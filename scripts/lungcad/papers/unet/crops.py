# SPDX-License-Identifier: Apache-2.0
"""Outlined crops: one nodule with its readers' outlines and enough surroundings to train and score a segmentation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lungcad.errors import InputError
from lungcad.training.mapped import save_arrays

OUTLINED, INSIDE, NODULE = 1, 2, 4
"""Bits of a voxel's label: within the readers' outlines, pixels of the outline itself included; within them without
the outline itself; taken for nodule (:func:`lungcad.papers.unet.sources.nodule_voxels`)."""


@dataclass(frozen=True)
class OutlinedCrop:
    """Nodule with its surroundings.

    Attributes:
        name: name of the nodule, unique in its set.
        patient_id: identifier of the patient, by which folds are made.
        hu: (V, X, Y, Z) int16 HU, native voxels, to the left, back and head, in V versions that differ beyond ``box``.
        label: (X, Y, Z) uint8, bits :data:`OUTLINED`, :data:`INSIDE` and :data:`NODULE`.
        box: (2, 3) first voxel of the scan's own voxels, and the one behind the last; lung of other patients beyond.
        spacing_mm: (3,) size of the voxels.
        center: (3,) continuous index of the nodule's centre by LUNA16.
        diameter_mm: diameter by LUNA16.
        texture: texture score of each reader, 1 to 5.
        calcification: calcification of each reader, LIDC-IDRI's kinds 1 to 6; 6 is none.
    """

    name: str
    patient_id: str
    hu: np.ndarray
    label: np.ndarray
    box: np.ndarray
    spacing_mm: np.ndarray
    center: np.ndarray
    diameter_mm: float
    texture: np.ndarray
    calcification: np.ndarray

    @property
    def affine(self) -> np.ndarray:
        """Affine (4, 4), index to mm from the crop's first voxel."""
        return np.diag([*self.spacing_mm, 1.0])

    def voxels(self, bit: int) -> np.ndarray:
        """Mask (X, Y, Z) bool of a bit of the label."""
        return (self.label & bit) > 0

    def volume_mm3(self, bit: int) -> float:
        """Volume of the voxels with a bit of the label."""
        return float(self.voxels(bit).sum() * np.prod(self.spacing_mm))


def save_crop(folder: str | Path, crop: OutlinedCrop) -> Path:
    """Write a crop with its labels and readings to ``<folder>/<name>.npz``, and return that path."""
    fields = {key: getattr(crop, key) for key in OutlinedCrop.__dataclass_fields__ if key != "name"}
    return save_arrays(Path(folder) / f"{crop.name}.npz", fields, compressed=True)


def load_crop(path: str | Path) -> OutlinedCrop:
    """Read a crop that :func:`save_crop` wrote."""
    with np.load(path) as store:
        arrays = {key: store[key] for key in store.files}
    patient, diameter = str(arrays.pop("patient_id")), float(arrays.pop("diameter_mm"))
    return OutlinedCrop(Path(path).stem, patient, diameter_mm=diameter, **arrays)


def load_crops(folder: str | Path | Sequence[str | Path]) -> list[OutlinedCrop]:
    """Read all crops of a folder, or of several, ordered by name.

    Raises:
        InputError: E-CONFIG, there is none; the advice names the command that makes them.
    """
    folders = [folder] if isinstance(folder, str | Path) else folder
    paths = [path for parent in folders for path in sorted((Path(parent) / "outlined").glob("*.npz"))]
    if not paths:
        names = ", ".join(Path(parent).name for parent in folders)
        raise InputError("E-CONFIG", f"no outlined nodule in {names}.", "Make them with scripts/make_nodules.py.")
    return [load_crop(path) for path in paths]
