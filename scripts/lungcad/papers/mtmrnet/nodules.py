# SPDX-License-Identifier: Apache-2.0
"""Rated nodules: a nodule's slices with its readers' scores, which MTMR-Net trains and scores on, and their files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lungcad.errors import InputError
from lungcad.finding import ATTRIBUTES
from lungcad.lidc.labels import INDETERMINATE
from lungcad.lidc.scale import SCALE_ENDS
from lungcad.training.mapped import save_arrays

SCORES = ("malignancy", *ATTRIBUTES)
"""Scores that each reader gave, in the order of :attr:`RatedNodule.readings`."""

LOWEST = np.ones(len(SCORES))
"""Lowest score of each of LIDC's scales."""
HIGHEST = np.array([5, *(SCALE_ENDS[name] for name in ATTRIBUTES)])
"""Highest score of each of LIDC's scales."""

SETS = ("single_slice", "multi_slice")
"""Folders of nodules: with one slice of each, the largest or the middle one, and with all slices that enclose it."""


@dataclass(frozen=True)
class RatedNodule:
    """One nodule with its slices and ratings.

    Attributes:
        name: name of the nodule, unique in its set.
        patient_id: identifier of the patient, by which folds are made.
        slices: (S, R, C) int16 HU, native pixels, from foot to head.
        center: row and column of the nodule's centre, continuous indices.
        pixel_mm: distance of rows and distance of columns.
        diameter_mm: diameter of the nodule.
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
        """Mean scores (9,) of the readers (MTMR-Net, section III.A.1)."""
        return self.readings.mean(axis=0)

    @property
    def diameter_px(self) -> tuple[float, float]:
        """Diameter of the nodule in rows and in columns."""
        row, column = self.pixel_mm
        return self.diameter_mm / row, self.diameter_mm / column

    @property
    def margin_px(self) -> float:
        """Distance of the centre from the nearest edge of the slices, in pixels."""
        sides = zip(self.center, self.slices.shape[1:], strict=True)
        return min(min(middle + 0.5, length - 0.5 - middle) for middle, length in sides)


def to_unit(scores: np.ndarray) -> np.ndarray:
    """Scale scores (..., 9) from LIDC's scales to [0, 1]."""
    return (scores - LOWEST) / (HIGHEST - LOWEST)


def save_nodule(folder: str | Path, nodule: RatedNodule) -> Path:
    """Write a nodule with its readings to ``<folder>/<name>.npz``, and return that path."""
    fields = {key: getattr(nodule, key) for key in RatedNodule.__dataclass_fields__ if key != "name"}
    return save_arrays(Path(folder) / f"{nodule.name}.npz", fields, compressed=True)


def load_nodule(path: str | Path) -> RatedNodule:
    """Read a nodule that :func:`save_nodule` wrote."""
    with np.load(path) as store:
        row, column = store["center"].tolist()
        height, width = store["pixel_mm"].tolist()
        return RatedNodule(Path(path).stem, str(store["patient_id"]), store["slices"], (row, column), (height, width),
                           float(store["diameter_mm"]), store["readings"])  # fmt: skip


def load_nodules(
    folder: str | Path | Sequence[str | Path], sets: Sequence[str] = SETS, least_readers: int = 1,
    indeterminate: bool = False,
) -> list[RatedNodule]:  # fmt: skip
    """Read all nodules of a folder, or of several, ordered by set and name.

    Args:
        folder: folder or folders with the sub-folders ``sets``.
        sets: names of sub-folders, of :data:`SETS`.
        least_readers: least number of readers; nodules that fewer readers marked are left out.
        indeterminate: True to keep nodules of mean malignancy 3, neither benign nor malignant.

    Raises:
        InputError: E-CONFIG, an unknown set or no nodule; the advice names the command that makes them.
    """
    if unknown := set(sets) - set(SETS):
        raise InputError("E-CONFIG", f"unknown set: {', '.join(sorted(unknown))} (expected {', '.join(SETS)}).")
    folders = [folder] if isinstance(folder, str | Path) else folder
    paths = [path for parent in folders for name in sets for path in sorted((Path(parent) / name).glob("*.npz"))]
    nodules = [nodule for nodule in map(load_nodule, paths) if len(nodule.readings) >= least_readers]
    kept = [nodule for nodule in nodules if indeterminate or nodule.mean[0] != INDETERMINATE]
    if not kept:
        names = ", ".join(Path(parent).name for parent in folders)
        raise InputError("E-CONFIG", f"no nodule in {names}.", "Make them with scripts/make_nodules.py.")
    return kept
