# SPDX-License-Identifier: Apache-2.0
"""A case: a lung on the working grid with its known nodules. Real scans and implanted ones look alike from here on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.atomic import whole_file
from lungcad.errors import InputError


@dataclass
class Sphere:
    """A nodule, a lesion to leave out, or a control paste.

    Attributes:
        index: (3,) centre as continuous voxel index.
        diameter_mm: of the sphere.
        name: of the nodule; the same in every case that it is in.
        malignancy: what each reader said, 1 to 5; empty where that is not known.
    """

    index: np.ndarray
    diameter_mm: float
    name: str = ""
    malignancy: tuple[float, ...] = ()


@dataclass
class Case:
    """One scan to train or to score on.

    Attributes:
        name: series or composite, unique.
        hu: (X, Y, Z) int16 HU on the working grid, blanked far from the lungs.
        lungs: (X, Y, Z) bool.
        spacing_mm: of the grid.
        nodules: to be found.
        ignored: neither to be found nor false: unlabelled or excluded lesions.
        controls: nodule-free tissue set in by the same code as the nodules; negatives.
        affine: (4, 4), index to LPS mm, or for a composite, which is nobody's scan, to mm from a corner of it; None for
            mm from the first voxel.
        masks: (X, Y, Z) uint8, n where a voxel belongs to ``nodules[n - 1]``, 0 elsewhere; None where nobody drew any.
    """

    name: str
    hu: np.ndarray
    lungs: np.ndarray
    spacing_mm: tuple[float, float, float]
    nodules: list[Sphere] = field(default_factory=list)
    ignored: list[Sphere] = field(default_factory=list)
    controls: list[Sphere] = field(default_factory=list)
    affine: np.ndarray | None = None
    masks: np.ndarray | None = None

    @property
    def to_mm(self) -> np.ndarray:
        """(4, 4), index to mm, from the first voxel where nothing else is said."""
        return np.diag([*self.spacing_mm, 1.0]) if self.affine is None else self.affine

    def distance_mm(self, index: np.ndarray, spheres: list[Sphere]) -> np.ndarray:
        """Distances (N, M) in mm from places (N, 3) to the centres of spheres (M)."""
        centres = np.array([sphere.index for sphere in spheres]).reshape(-1, 3)
        return np.linalg.norm((np.reshape(index, (-1, 1, 3)) - centres) * np.array(self.spacing_mm), axis=-1)

LEFT_OUT = "left_out.txt"
"""Scans of a folder that were refused, one a line; they are in no figure."""

KINDS = ("nodules", "ignored", "controls")


def save_case(folder: str | Path, case: Case) -> Path:
    """Write ``<folder>/<name>.npz`` atomically."""
    path = Path(folder) / f"{case.name}.npz"
    tables: dict[str, Any] = {}
    for kind in KINDS:
        spheres: list[Sphere] = getattr(case, kind)
        tables[kind] = np.array([[*s.index, s.diameter_mm] for s in spheres]).reshape(-1, 4)
        tables[f"{kind}_names"] = np.array([s.name for s in spheres], dtype=str)
    ratings = np.full((len(case.nodules), max((len(s.malignancy) for s in case.nodules), default=0)), np.nan)
    for row, nodule in zip(ratings, case.nodules, strict=True):
        row[: len(nodule.malignancy)] = nodule.malignancy
    tables["nodules_malignancy"] = ratings
    if case.affine is not None:
        tables["affine"] = case.affine
    if case.masks is not None:  # a few voxels in a thousand
        tables["mask_voxels"] = np.flatnonzero(case.masks)
        tables["mask_labels"] = case.masks.ravel()[tables["mask_voxels"]]
    with whole_file(path) as part, part.open("wb") as stream:
        np.savez(stream, hu=case.hu, lungs=np.packbits(case.lungs), spacing_mm=case.spacing_mm, **tables)
    return path


def load_case(path: str | Path) -> Case:
    """Inverse of :func:`save_case`; files from before there were masks and ratings have none."""
    with np.load(path) as store:
        hu = store["hu"]
        lungs = np.unpackbits(store["lungs"], count=hu.size).reshape(hu.shape).astype(bool)
        x, y, z = map(float, store["spacing_mm"])
        spheres = {
            kind: [Sphere(row[:3], float(row[3]), str(name)) for row, name in zip(store[kind], names, strict=True)]
            for kind in KINDS
            for names in [store[f"{kind}_names"]]
        }
        for nodule, row in zip(spheres["nodules"], store.get("nodules_malignancy", ()), strict=False):
            nodule.malignancy = tuple(row[np.isfinite(row)].tolist())
        affine, masks = store.get("affine", None), None
        if "mask_voxels" in store:
            masks = np.zeros(hu.shape, np.uint8)
            masks.ravel()[store["mask_voxels"]] = store["mask_labels"]
    return Case(Path(path).stem, hu, lungs, (x, y, z), **spheres, affine=affine, masks=masks)


def load_cases(
    folder: str | Path | Sequence[str | Path], spacing_mm: tuple[float, float, float] | None = None
) -> list[Case]:
    """All cases of a folder, or of several, by name.

    Args:
        folder: of cases.
        spacing_mm: that they must have, x, y, z; None takes any.

    Raises:
        InputError: E-CONFIG, no case there, or one on another grid; names the command that makes them.
    """
    folders = [folder] if isinstance(folder, str | Path) else folder
    paths = [path for one in folders for path in sorted(Path(one).glob("*.npz"))]
    if not paths:
        raise InputError("E-CONFIG", f"no case in {folder} (expected *.npz).", "Make them with scripts/make_cases.py.")
    cases = [load_case(path) for path in paths]
    for case in cases:
        if spacing_mm is not None and not np.allclose(case.spacing_mm, spacing_mm, atol=1e-3):
            x, y, z = spacing_mm
            text = f"case {case.name} has voxels of {case.spacing_mm} mm (expected {x:g} x {y:g} x {z:g})."
            raise InputError("E-CONFIG", text, f"Make others with scripts/make_cases.py --slice_mm {z:g}.")
    return cases
