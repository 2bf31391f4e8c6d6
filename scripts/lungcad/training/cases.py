# SPDX-License-Identifier: Apache-2.0
"""Cases and their files: a lung on the working grid with its known nodules, of a real scan or of a composite.

A composite is a real lung with real nodules of other patients set in (:mod:`lungcad.training.composites`). A case that
was read keeps its arrays in its file, so that LUNA16's 888 scans, 50 GB at 1 mm, take a few hundred MB per process.
"""

import re
import struct
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.errors import InputError
from lungcad.training.mapped import MappedArray, map_arrays, save_arrays

LEFT_OUT = "left_out.txt"
"""File with the scans that were refused, one per line; they are in no figure."""

SPHERE_LISTS = ("nodules", "ignored", "controls")
"""Attributes of a case that are lists of spheres."""


@dataclass
class Sphere:
    """Sphere in a case: a nodule, a lesion to ignore, or a control paste.

    Attributes:
        index: (3,) centre as continuous voxel index.
        diameter_mm: diameter of the sphere.
        name: name of the nodule; the same in every case that it is in.
        malignancy: malignancy score of each reader, 1 to 5; empty if unknown.
    """

    index: np.ndarray
    diameter_mm: float
    name: str = ""
    malignancy: tuple[float, ...] = ()


@dataclass
class Case:
    """Scan or composite to train or to score on.

    Attributes:
        name: name of the series or composite, unique.
        hu: (X, Y, Z) int16 HU on the working grid, blanked far from the lungs.
        lungs: (X, Y, Z) bool, the lung mask.
        spacing_mm: voxel size of the grid, x, y, z.
        nodules: nodules, which a detector must find.
        ignored: unlabelled or excluded lesions; finding one is neither right nor wrong.
        controls: nodule-free tissue set in by the same code as the nodules; negatives.
        affine: (4, 4), index to LPS mm, or for a composite, which has no patient's coordinates, to mm from a corner of
            it; None for mm from the first voxel.
        masks: (X, Y, Z) uint8, n for a voxel of ``nodules[n - 1]``, 0 elsewhere; None if there are no masks.
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
        """Affine (4, 4), index to mm; from the first voxel if the case has no affine."""
        return np.diag([*self.spacing_mm, 1.0]) if self.affine is None else self.affine

    def distance_mm(self, index: np.ndarray, spheres: list[Sphere]) -> np.ndarray:
        """Distances (N, M) in mm from places (N, 3) to the centres of spheres (M)."""
        centres = np.array([sphere.index for sphere in spheres]).reshape(-1, 3)
        return np.linalg.norm((np.reshape(index, (-1, 1, 3)) - centres) * np.array(self.spacing_mm), axis=-1)


def _on_demand(name: str) -> Any:
    """Property that holds an array, or a function that gives the array at each access."""

    def get(case: Case) -> np.ndarray | None:
        held: np.ndarray | Callable[[], np.ndarray] | None = case.__dict__[f"_{name}"]
        return held() if callable(held) else held

    def put(case: Case, held: np.ndarray | Callable[[], np.ndarray] | None) -> None:
        case.__dict__[f"_{name}"] = held

    return property(get, put)


class StoredCase(Case):
    """Case in a file: ``hu`` is mapped, ``lungs`` and ``masks`` are unpacked at each access (some 10 ms), not kept."""

    hu = _on_demand("hu")
    lungs = _on_demand("lungs")
    masks = _on_demand("masks")


def save_case(folder: str | Path, case: Case) -> Path:
    """Write a case to ``<folder>/<name>.npz``, completely or not at all, and return that path."""
    tables: dict[str, Any] = {"hu": case.hu, "lungs": np.packbits(case.lungs), "spacing_mm": case.spacing_mm}
    for kind in SPHERE_LISTS:
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
    return save_arrays(Path(folder) / f"{case.name}.npz", tables)


def load_case(path: str | Path) -> StoredCase:
    """Open a case that :func:`save_case` wrote, without reading its arrays; older files have no masks and ratings."""
    arrays = map_arrays(Path(path))
    hu = arrays["hu"]
    with np.load(path) as store:
        x, y, z = map(float, store["spacing_mm"])
        spheres = {
            kind: [Sphere(row[:3], float(row[3]), str(name)) for row, name in zip(store[kind], names, strict=True)]
            for kind in SPHERE_LISTS
            for names in [store[f"{kind}_names"]]
        }
        for nodule, row in zip(spheres["nodules"], store.get("nodules_malignancy", ()), strict=False):
            nodule.malignancy = tuple(row[np.isfinite(row)].tolist())
        affine, masks = store.get("affine", None), None
        if "mask_voxels" in store:
            masks = partial(_scattered, store["mask_voxels"], store["mask_labels"], hu.shape)
    lungs = partial(_unpacked, arrays["lungs"], hu.shape)
    return StoredCase(Path(path).stem, hu, lungs, (x, y, z), **spheres, affine=affine, masks=masks)  # type: ignore[arg-type]


def _readable_case(path: Path) -> StoredCase:
    """Case in a file; raises InputError E-CONFIG for a damaged file, or for one that is no case."""
    try:
        return load_case(path)
    except (OSError, EOFError, LookupError, ValueError, struct.error, zipfile.BadZipFile) as error:
        text = f"case {path.stem} cannot be read: {type(error).__name__}."
        raise InputError("E-CONFIG", text, "Delete its file and make it again.") from error


def _unpacked(packed: MappedArray, shape: tuple[int, ...]) -> np.ndarray:
    """Mask (X, Y, Z) bool of its packed bits."""
    return np.unpackbits(packed(), count=int(np.prod(shape))).view(bool).reshape(shape)


def _scattered(voxels: np.ndarray, labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Volume (X, Y, Z) uint8 of the labels at flat indices, 0 elsewhere."""
    volume = np.zeros(shape, np.uint8)
    volume.ravel()[voxels] = labels
    return volume


def lung_of(name: str) -> str:
    """Lung of a case, by the case's name: its series or, of a composite, the scan that nodules were set into.

    Example:
        >>> lung_of("LIDC-IDRI-0001-4-004"), lung_of("1.3.6.1-2"), lung_of("LIDC-IDRI-0001")
        ('LIDC-IDRI-0001', '1.3.6.1', 'LIDC-IDRI-0001')
    """
    return name.split("-")[0] if re.match(r"[\d.]+-", name) else re.sub(r"-\d-\d{3}$", "", name)


def select_part(cases: Sequence[Case], part: str) -> list[Case]:
    """Cases of a part of the lungs, for cross-fitting: a detector's candidates in lungs that it was not trained on.

    Args:
        cases: cases; their lungs, ordered by name, are dealt to the parts in turn.
        part: ``1 of 2`` for the first of two parts, ``all but 1 of 2`` for the rest.

    Raises:
        InputError: E-CONFIG, another word, or a part without a case.
    """
    match = re.fullmatch(r"(all but )?(\d+) of (\d+)", part)
    if match is None or not 1 <= int(match[2]) <= int(match[3]):
        raise InputError("E-CONFIG", f"part is {part} (expected such as 1 of 2, or all but 1 of 2).")
    lungs = sorted({lung_of(case.name) for case in cases})
    inside = set(lungs[int(match[2]) - 1 :: int(match[3])])
    kept = [case for case in cases if (lung_of(case.name) in inside) != bool(match[1])]
    if not kept:
        raise InputError("E-CONFIG", f"no case in part {part} of {len(lungs)} lungs.", "Make fewer parts.")
    return kept


def load_cases(
    folder: str | Path | Sequence[str | Path], spacing_mm: tuple[float, float, float] | None = None,
    part: str | None = None, apart_from: Sequence[Case] = (),
) -> list[Case]:  # fmt: skip
    """Read all cases of a folder, or of several, ordered by name.

    Args:
        folder: folder or folders of cases.
        spacing_mm: voxel size that the cases must have, x, y, z; None for any.
        part: part of the lungs to read, see :func:`select_part`; None for all.
        apart_from: cases of which none may be among them, such as those of the training for a validation.

    Raises:
        InputError: E-CONFIG, there is no case, one has another grid (the advice names the command that makes them),
            is in two of the folders or in ``apart_from``, or its file is damaged.
    """
    folders = [folder] if isinstance(folder, str | Path) else folder
    paths = [path for parent in folders for path in sorted(Path(parent).glob("*.npz"))]
    if not paths:
        raise InputError("E-CONFIG", f"no case in {folder} (expected *.npz).", "Make them with scripts/make_cases.py.")
    if twice := [name for name, files in Counter(path.stem for path in paths).items() if files > 1]:
        raise InputError("E-CONFIG", f"case {twice[0]} is in two of the folders (expected in one).", "Delete one.")
    cases: list[Case] = [_readable_case(path) for path in paths]
    for case in cases:
        if spacing_mm is not None and not np.allclose(case.spacing_mm, spacing_mm, atol=1e-3):
            x, y, z = spacing_mm
            text = f"case {case.name} has voxels of {case.spacing_mm} mm (expected {x:g} x {y:g} x {z:g})."
            raise InputError("E-CONFIG", text, f"Make others with scripts/make_cases.py --slice_mm {z:g}.")
    if shared := {case.name for case in cases} & {case.name for case in apart_from}:
        text = f"case {min(shared)} is among the training's cases (expected others to validate on)."
        raise InputError("E-CONFIG", text, "Give another --validation_dir.")
    return cases if part is None else select_part(cases, part)
