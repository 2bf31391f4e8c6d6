# SPDX-License-Identifier: Apache-2.0
"""Outlined crops from the folders ``nodules3d`` and ``lungs``: nodules, readers' outlines, and lung around them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from lungcad.papers.unet.crops import INSIDE, NODULE, OUTLINED, OutlinedCrop
from lungcad.scan.patch import cut_patch
from lungcad.tables import Row, read_table
from lungcad.training.composites import Background, load_nodules
from lungcad.training.implant import LUNG_HU, VESSEL_HU, Tissue

READERS = 4
"""Number of readers in the table."""
FOLDS = (0, 1, 2, 3, 4)
"""Folds of the table."""
LEAST_CONTRAST_HU = 100.0
"""Least difference of a nodule and its surroundings by which the filled share of a voxel can be told."""
REACH_MM, REACH_DIAMETERS = 24.0, 1.65
"""Least distance from a nodule's centre to the crop's faces, in mm and in diameters: a training's input and its
jitter fit in."""


def outlined_crops(
    data_dir: str | Path, lungs: Sequence[str], versions: int = 2, seed: int = 0
) -> Iterator[OutlinedCrop]:
    """Read the nodules of ``nodules3d`` and put lung of other patients around them.

    Most crops of the folder end with the nodule. Beyond its last slices a nodule falls off to lung within one slice
    (:meth:`~lungcad.training.implant.Tissue.with_ends`), and then lung from a random place follows.

    Args:
        data_dir: folder with nodules3d and lungs.
        lungs: names of the lungs that surroundings are taken from.
        versions: number of versions of the surroundings.
        seed: seed of the random places.
    """
    root = Path(data_dir)
    rows = {row.text("nodule_id"): row for row in read_table(root / "nodules3d" / "nodules.csv").rows}
    around = [Background(root / "lungs", name) for name in lungs]
    for number, tissue in enumerate(load_nodules(root / "nodules3d", FOLDS)):
        yield _crop(tissue, rows[tissue.name], around, versions, np.random.default_rng((seed, number)))


def _crop(
    tissue: Tissue, row: Row, around: Sequence[Background], versions: int, rng: np.random.Generator
) -> OutlinedCrop:
    """Crop of one nodule."""
    ended = tissue.with_ends()
    half_side = max(REACH_MM, REACH_DIAMETERS * tissue.diameter_mm) / ended.spacing_mm
    before = np.ceil(half_side - ended.center).clip(0).astype(int)
    after = np.ceil(half_side - (np.array(ended.hu.shape) - 1 - ended.center)).clip(0).astype(int)
    width = list(zip(before.tolist(), after.tolist(), strict=True))
    shape = np.array(ended.hu.shape) + before + after
    nodule_box = tuple(slice(a, a + n) for a, n in zip(before.tolist(), ended.hu.shape, strict=True))
    chosen = [around[int(n)] for n in rng.integers(len(around), size=versions)]
    hu = np.stack([_lung(lungs, shape, ended.spacing_mm, rng) for lungs in chosen])
    hu[(slice(None), *nodule_box)] = ended.hu
    inside = without_outline(ended.mask)
    label = OUTLINED * ended.mask + INSIDE * inside + NODULE * nodule_voxels(ended.hu, ended.mask)
    first = before + np.array([0, 0, 1])  # with_ends added a slice at both ends
    return OutlinedCrop(
        tissue.name, row.text("patient_id"), hu.round().clip(-1024, 3071).astype(np.int16),
        np.pad(label.astype(np.uint8), width), np.stack([first, first + tissue.hu.shape]), ended.spacing_mm,
        ended.center + before, tissue.diameter_mm, _scores(row, "texture"), _scores(row, "calcification"),
    )  # fmt: skip


def _lung(lungs: Background, shape: np.ndarray, spacing_mm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Tissue (X, Y, Z) HU around a random place of the lungs, on native voxels."""
    sides = np.ceil(shape * spacing_mm).astype(int) | 1
    places = np.argwhere(lungs.mask[::2, ::2, ::2]) * 2
    nx, ny, nz = sides.tolist()
    block = cut_patch(lungs.hu, places[rng.integers(len(places))].astype(float), (nx, ny, nz), 0).astype(np.float32)
    block += rng.uniform(-lungs.hu_step / 2, lungs.hu_step / 2, block.shape).astype(np.float32)
    native: np.ndarray = ndimage.zoom(block, shape / sides, order=1, mode="nearest")
    return native


def without_outline(mask: np.ndarray) -> np.ndarray:
    """Mask (X, Y, Z) without its outermost pixels in each slice.

    LIDC-IDRI's readers drew the outline on the first pixels outside of the nodule (Armato et al. 2011, section II.C);
    the masks of ``nodules3d`` hold those pixels, which are filled to a third in the median.
    """
    cross = ndimage.generate_binary_structure(2, 1)[:, :, None]
    inner: np.ndarray = ndimage.binary_erosion(mask, cross)
    return inner


def nodule_voxels(hu: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Voxels (X, Y, Z) bool of the nodule: those within the outline, and those of it that are at least half filled.

    The filled share of a voxel is where its HU lie between the lung around the nodule and the nodule's own density,
    the 80th percentile within the outline.

    Args:
        hu: (X, Y, Z) HU.
        mask: (X, Y, Z) bool, readers' mask with the outline's own pixels.
    """
    inner = without_outline(mask)
    flat = np.ones((3, 3, 1), bool)
    ring = ndimage.binary_dilation(mask, flat, 3) & ~ndimage.binary_dilation(mask, flat)
    lung = hu[ring & (hu < VESSEL_HU)]
    background = float(np.median(lung)) if lung.size > 5 else LUNG_HU
    density = float(np.percentile(hu[inner], 80) if inner.sum() > 3 else np.percentile(hu[mask], 95))
    filled = mask & (hu > (background + density) / 2) if density - background >= LEAST_CONTRAST_HU else inner
    nodule = inner | filled
    return nodule if nodule.any() else mask


def _scores(row: Row, name: str) -> np.ndarray:
    """Scores (readers,) of one of LIDC's attributes."""
    cells = [f"r{reader}_{name}" for reader in range(1, READERS + 1)]
    return np.array([row.number(cell) for cell in cells if row.cells[cell]])
