# SPDX-License-Identifier: Apache-2.0
"""A nodule with its readers' scores and the slices that enclose it: what the malignancy bundles train and score on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lungcad.atomic import whole_file
from lungcad.errors import InputError
from lungcad.finding import ATTRIBUTES
from lungcad.lidc.labels import INDETERMINATE
from lungcad.lidc.scale import SCALE_ENDS

SCORES = ("malignancy", *ATTRIBUTES)
"""What each reader rated, in the order of :attr:`RatedNodule.readings`."""

LOWEST = np.ones(len(SCORES))
"""LIDC's scales begin at 1 ..."""
HIGHEST = np.array([5, *(SCALE_ENDS[name] for name in ATTRIBUTES)])
"""... and end here."""

SETS = ("single_slice", "multi_slice")
"""Folders of nodules: with one slice, the largest or the middle one, and with all slices that enclose them."""


@dataclass(frozen=True)
class RatedNodule:
    """One nodule.

    Attributes:
        name: unique in its set.
        patient_id: by which folds are made.
        slices: (S, R, C) int16 HU, native pixels, from foot to head.
        center: row and column of the nodule's centre, continuous indices.
        pixel_mm: distance of rows and of columns.
        diameter_mm: of the nodule.
        readings: (readers, 9) scores on LIDC's scales, in the order of :data:`SCORES`.
    """

    name: str
    patient_id: str
    slices: np.ndarray
    center: tuple[float, float]
    pixel_mm: tuple[float, float]
    diameter_mm: float
    readings: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """(9,) mean score of the readers (MTMR-Net, section III.A.1)."""
        return self.readings.mean(axis=0)

    @property
    def diameter_px(self) -> tuple[float, float]:
        """Diameter in rows and in columns."""
        row, column = self.pixel_mm
        return self.diameter_mm / row, self.diameter_mm / column

    @property
    def margin_px(self) -> float:
        """Distance of the centre from the nearest edge of the slices."""
        sides = zip(self.center, self.slices.shape[1:], strict=True)
        return min(min(at + 0.5, length - 0.5 - at) for at, length in sides)


def to_unit(scores: np.ndarray) -> np.ndarray:
    """Scores (..., 9) on LIDC's scales to [0, 1]."""
    return (scores - LOWEST) / (HIGHEST - LOWEST)


def save_nodule(folder: str | Path, nodule: RatedNodule) -> Path:
    """Write ``<folder>/<name>.npz``."""
    path = Path(folder) / f"{nodule.name}.npz"
    fields = {key: getattr(nodule, key) for key in RatedNodule.__dataclass_fields__ if key != "name"}
    with whole_file(path) as part, part.open("wb") as stream:
        np.savez_compressed(stream, **fields)
    return path


def load_nodule(path: str | Path) -> RatedNodule:
    """Inverse of :func:`save_nodule`."""
    with np.load(path) as store:
        row, column = store["center"].tolist()
        height, width = store["pixel_mm"].tolist()
        return RatedNodule(Path(path).stem, str(store["patient_id"]), store["slices"], (row, column), (height, width),
                           float(store["diameter_mm"]), store["readings"])  # fmt: skip


def load_nodules(
    folder: str | Path | Sequence[str | Path], sets: Sequence[str] = SETS, least_readers: int = 1,
    indeterminate: bool = False,
) -> list[RatedNodule]:  # fmt: skip
    """All nodules of a folder, or of several, by set and name.

    Args:
        folder: with the sub-folders ``sets``.
        sets: of :data:`SETS`.
        least_readers: nodules that fewer marked are left out.
        indeterminate: keep nodules whose mean malignancy is 3, neither benign nor malignant.

    Raises:
        InputError: E-CONFIG, an unknown set or no nodule there; names the command that makes them.
    """
    if unknown := set(sets) - set(SETS):
        raise InputError("E-CONFIG", f"unknown set: {', '.join(sorted(unknown))} (expected {', '.join(SETS)}).")
    folders = [folder] if isinstance(folder, str | Path) else folder
    paths = [path for one in folders for name in sets for path in sorted((Path(one) / name).glob("*.npz"))]
    nodules = [nodule for nodule in map(load_nodule, paths) if len(nodule.readings) >= least_readers]
    kept = [nodule for nodule in nodules if indeterminate or nodule.mean[0] != INDETERMINATE]
    if not kept:
        where = ", ".join(Path(one).name for one in folders)
        raise InputError("E-CONFIG", f"no nodule in {where}.", "Make them with scripts/make_nodules.py.")
    return kept
